"""Finds the block size of a file that ONNX Runtime has optimised for a certain machine.

A block has 8 or 16 channels, depending on the machine, and the file does not store this number. But
in the file each number of filters is rounded up to a multiple of the block size. In nearly every
network this excludes one of the two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.tensors import StoredTensor

DOMAIN = "com.microsoft.nchwc"
BLOCK = "ellc.block"
"""An attribute that is added to nodes: the channels of a block, or 0 if this number is unclear."""


def with_blocks(nodes: Sequence[OnnxNode], constants: Mapping[str, StoredTensor]) -> list[OnnxNode]:
    """Add the attribute `BLOCK` to the nodes that work on blocks."""
    on_blocks = [n for n in nodes if n.domain == DOMAIN]
    if not on_blocks:
        return list(nodes)
    possible = [
        size for size in (8, 16) if all(_fits(n, size) for n in _facts(on_blocks, constants))
    ]
    block = possible[0] if len(possible) == 1 else 0
    return [_with_block(n, block) if n.domain == DOMAIN else n for n in nodes]


def _with_block(node: OnnxNode, block: int) -> OnnxNode:
    attributes = {**node.attributes, BLOCK: block}
    # The attribute counts as asked for, because most of these nodes' handlers do not read it.
    return replace(node, attributes=MappingProxyType(attributes), asked={BLOCK})


_Fact = tuple[int, int]
"""A number of channels: before rounding up to whole blocks (0 if unknown), and after it."""


def _facts(nodes: Sequence[OnnxNode], constants: Mapping[str, StoredTensor]) -> Iterator[_Fact]:
    """The facts about the channels of filters and results that the file contains."""
    stored: dict[str, int] = {}  # channels of each value in blocks, after rounding up
    for node in nodes:
        if node.operator == "Conv" and len(node.inputs) > 1 and node.inputs[1] in constants:
            shape = [int(d) for d in constants[node.inputs[1]].proto.dims]
            stored.update(dict.fromkeys(node.outputs, shape[0]))
            yield 0, shape[0]
        elif node.operator == "ReorderOutput":
            counted, channels = node.attributes.get("channels"), stored.get(node.inputs[0])
            if isinstance(counted, int) and channels is not None:
                yield counted, channels
        elif node.inputs and node.inputs[0] in stored:
            stored.update(dict.fromkeys(node.outputs, stored[node.inputs[0]]))


def _fits(fact: _Fact, block: int) -> bool:
    counted, stored = fact
    return stored % block == 0 and (not counted or stored - counted < block)
