"""Cross-layer equalisation: gives the channels between two layers similar ranges.

A channel between two layers can be divided by any number in the first layer, and multiplied by it
in the second one. The network stays the same, but a single scale then fits all channels better. The
numbers are powers of two, so that not even rounding changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.activations import LeakyRelu, Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array
from ellc.quantise.observers import Observation

_MOST_STEPS = 8
"""Numbers are from 2^-8 to 2^8."""


@dataclass(frozen=True)
class Pair:
    """Two layers of products, and the value that the second one reads."""

    first: Node
    second: Node
    between: str


def equalised(graph: Graph, seen: Mapping[str, Observation]) -> Graph:
    """The same network with similar ranges of channels between layers; `seen` are its values."""
    editor = Editor(graph)
    for pair in list(pairs(editor)):
        observation = seen.get(pair.between)
        if observation is not None and observation.peaks is not None:
            first, second = (editor.producer(n.output) for n in (pair.first, pair.second))
            assert first is not None and second is not None
            _scale(editor, first, second, _factors(editor, second, observation.peaks))
    return editor.graph()


def pairs(editor: Editor) -> Iterator[Pair]:
    """The pairs of layers with nothing between them but a function f with f(c x) = c f(x)."""
    for node in editor.nodes():
        if not isinstance(node.op, Conv2D | Dense) or not _is_constant(editor, node):
            continue
        value = node.inputs[0]
        producer = editor.producer(value)
        between = value
        if producer is not None and isinstance(producer.op, Relu | LeakyRelu):
            if not editor.used_once(value):
                continue
            value = producer.inputs[0]
            producer = editor.producer(value)
        if producer is None or not isinstance(producer.op, Conv2D | Dense):
            continue
        plain = isinstance(node.op, Dense) or node.op.padding.is_zero
        if plain and editor.used_once(value) and _is_constant(editor, producer):
            yield Pair(producer, node, between)


def _is_constant(editor: Editor, node: Node) -> bool:
    return all(editor.array(v) is not None for v in node.inputs[1:])


def _factors(editor: Editor, second: Node, peaks: Array) -> Array:
    """The number by which to divide each channel.

    It makes the channel's largest number, relative to those of other channels, as large as the
    weights that multiply it, relative to the other weights of their filters.
    """
    weights = editor.array(second.inputs[1])
    assert weights is not None
    relative = peaks / max(peaks.max(), 1e-30)
    if isinstance(second.op, Conv2D) and second.op.groups == len(peaks):
        return _powers(relative)  # each filter reads one channel, and has its own scale
    largest = (
        np.abs(weights.reshape(len(weights), -1)).max(1).reshape(-1, *(1,) * (weights.ndim - 1))
    )
    shares = np.abs(weights) / np.where(largest > 0, largest, 1)
    shares = shares.reshape(len(weights), -1, weights.shape[-1]).max(1)  # by filter and channel
    groups = second.op.groups if isinstance(second.op, Conv2D) else 1
    of_channels = shares.reshape(groups, len(weights) // groups, -1).max(1).reshape(-1)
    ratio = np.sqrt(relative / np.maximum(of_channels, 1e-3))
    return _powers(np.where(of_channels > 0, ratio, 1.0))


def _powers(ratios: Array) -> Array:
    """The nearest powers of two; 1 for channels that are always 0."""
    steps = np.rint(np.log2(np.where(ratios > 0, ratios, 1.0)))
    return np.asarray(2.0 ** np.clip(steps, -_MOST_STEPS, _MOST_STEPS))


def _scale(editor: Editor, first: Node, second: Node, factors: Array) -> None:
    """Divide the first layer's filters by `factors`, and multiply the second one's weights."""
    arrays = [editor.array(v) for v in first.inputs[1:]]
    divided = [
        (a / factors.reshape(-1, *(1,) * (a.ndim - 1))).astype(np.float32)
        for a in arrays
        if a is not None
    ]
    editor.replace(first, first.op, first.inputs[0], *map(editor.constant, divided))
    weights = editor.array(second.inputs[1])
    assert weights is not None
    groups = second.op.groups if isinstance(second.op, Conv2D) else 1
    by_group = factors.reshape(groups, 1, *(1,) * (weights.ndim - 2), -1)
    parts = weights.reshape(groups, len(weights) // groups, *weights.shape[1:])
    multiplied = (parts * by_group).reshape(weights.shape).astype(np.float32)
    x, _, *bias = second.inputs
    editor.replace(second, second.op, x, editor.constant(multiplied), *bias)
