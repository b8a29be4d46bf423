"""Merges SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND into one dilated convolution.

Old converters wrote dilated convolutions in this way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ellc.frontends.tflite.common import EXPLICIT_PADDING
from ellc.frontends.tflite.model import NodeOptions, TfliteNode

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_VALID = 1


def merge_dilations(nodes: Sequence[TfliteNode], wanted: Iterable[str]) -> list[TfliteNode]:
    """Replace each such group by one convolution with dilation and padding.

    `wanted` names the results that are read outside of `nodes`. A group is not replaced if anything
    else reads the convolution's result.
    """
    consumers = Counter(name for node in nodes for name in node.inputs)
    consumers.update(wanted)
    producers = {name: node for node in nodes for name in node.outputs}
    merged = []
    for node in nodes:
        group = _group(node, producers, consumers)
        merged.append(node if group is None else group)
    return merged


def _group(
    last: TfliteNode, producers: Mapping[str, TfliteNode], consumers: Mapping[str, int]
) -> TfliteNode | None:
    """The convolution that replaces a group ending with this node; None if it ends no group."""
    if last.kind != "BATCH_TO_SPACE_ND" or len(last.inputs) != 3:
        return None
    middle = producers.get(last.inputs[0])
    if middle is None or middle.kind not in _CONVOLUTIONS or consumers[last.inputs[0]] != 1:
        return None
    first = producers.get(middle.inputs[0]) if middle.inputs else None
    if first is None or first.kind != "SPACE_TO_BATCH_ND" or len(first.inputs) != 3:
        return None
    block, same = _numbers(first, 1), _numbers(last, 1)
    added, crop = _numbers(first, 2), _numbers(last, 2)
    if len(block) != 2 or block != same or len(added) != 4 or len(crop) != 4:
        return None
    amounts = [a - b for a, b in zip(added, crop, strict=True)]
    options = middle.options
    plain = [options.whole(n) for n in ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor")]
    if min(amounts) < 0 or plain != [1, 1, 1, 1] or options.whole("Padding") != _VALID:
        return None
    top, bottom, left, right = amounts
    values = {
        **options.values,
        "DilationHFactor": block[0],
        "DilationWFactor": block[1],
        EXPLICIT_PADDING: (top, left, bottom, right),
    }
    return replace(
        middle,
        label=last.label,
        operands=(first.operands[0], *middle.operands[1:]),
        results=last.results,
        options=NodeOptions(MappingProxyType(values)),
    )


def _numbers(node: TfliteNode, index: int) -> tuple[int, ...]:
    tensor = node.operands[index]
    if tensor is None or tensor.array is None:
        return ()
    return tuple(int(n) for n in tensor.array.reshape(-1))
