"""Finds the layers of a float graph that can be computed with integers of 8 bits.

A layer is a node with its activation. It reads stored integers and gives stored integers. All other
nodes compute with floats; `rewrite` converts values between the two kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Pointwise
from ellc.ir.ops.activations import Clip, Relu
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.elementwise import Unary
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Mover
from ellc.ir.types import Array, DType

Kind = Literal["product", "sum", "scaled", "mean", "pooled", "moved", "table"]
"""How a layer computes: sums of products with weights, the sum or the product of two values, the
mean of axes, means under windows, elements moved or selected, a function by a table."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Nodes that become one integer layer: the first computes, the others are its activation.

    `operands` are the values that the layer reads as stored integers; other operands of the first
    node are constants that become part of the layer, or integers.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    operands: tuple[str, ...]

    @property
    def head(self) -> Node:
        """The node that reads the operands."""
        return self.nodes[0]

    @property
    def results(self) -> tuple[str, ...]:
        """The values that the layer stores; values between its nodes are not stored."""
        return self.nodes[-1].outputs

    @property
    def name(self) -> str:
        """The layers of the model that this one computes; without such a name, its result."""
        return next((s for node in self.nodes for s in node.source), self.results[0])

    @property
    def keeps_scale(self) -> bool:
        """Whether operands and results must have the same scale and zero point."""
        return self.kind in ("moved", "pooled")


def find_layers(graph: Graph, float_layers: Collection[str] = ()) -> tuple[Layer, ...]:
    """The layers of a graph that can be computed in integers, in order.

    Convolutions and dense layers are computed in integers whenever they can. Other layers are if
    their operands are stored integers, because conversions would cost more than they save. A layer
    with a result in `float_layers` stays float. The graph has no fused nodes, and no composites.
    """
    finder = _Finder(_Facts(graph))
    for node in graph.nodes:
        layer = finder.layer(node)
        if layer is not None and not set(layer.results) & set(float_layers):
            finder.add(layer)
    return tuple(finder.layers)


@dataclass(frozen=True)
class _Facts:
    """What the rules ask about a graph."""

    graph: Graph

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        return self.graph.constant_arrays()

    @cached_property
    def readers(self) -> Mapping[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for value in dict.fromkeys(node.inputs):
                readers.setdefault(value, []).append(node)
        return readers

    @cached_property
    def uses(self) -> Mapping[str, int]:
        uses = Counter(v for node in self.graph.nodes for v in node.inputs)
        uses.update(p.value for p in self.graph.outputs)
        uses.update(s.next for s in self.graph.states)
        return uses

    @cached_property
    def feeding(self) -> frozenset[str]:
        """The values on which a convolution or dense layer depends."""
        feeding: set[str] = set()
        for node in reversed(self.graph.nodes):
            if isinstance(node.op, Conv2D | Dense) or feeding.intersection(node.outputs):
                feeding.update(node.inputs)
        return frozenset(feeding)

    @cached_property
    def given(self) -> frozenset[str]:
        """The float inputs of the network."""
        values = (p.value for p in self.graph.inputs)
        return frozenset(v for v in values if self.is_float(v))

    def is_float(self, value: str) -> bool:
        return self.graph.types[value].dtype is DType.F32

    def shape(self, value: str) -> tuple[int, ...]:
        return self.graph.types[value].shape

    def sole_reader(self, node: Node) -> Node | None:
        """The only reader of a node's only result; None if there are others."""
        if len(node.outputs) != 1 or self.uses[node.output] != 1:
            return None
        readers = self.readers.get(node.output)
        return readers[0] if readers else None


class _Finder:
    """Collects layers; `stored` are the values that layers compute as stored integers."""

    def __init__(self, facts: _Facts) -> None:
        self._facts = facts
        self._stored: set[str] = set()
        self._inside: set[str] = set()
        self.layers: list[Layer] = []

    def add(self, layer: Layer) -> None:
        self.layers.append(layer)
        self._stored.update(layer.results)
        self._inside.update(v for node in layer.nodes for v in node.outputs)

    def layer(self, node: Node) -> Layer | None:
        """The layer that begins with a node; None if it is float or part of another layer."""
        facts = self._facts
        if node.outputs[0] in self._inside or not all(map(facts.is_float, node.outputs)):
            return None
        if not all(facts.shape(value) for value in (*node.inputs[:1], *node.outputs)):
            return None  # scalars
        match node.op:
            case Conv2D() | Dense():
                return self._product(node)
            case Add() | Mul():
                return self._of_two(node)
            case AvgPool2D() | Reduce():
                return self._mean(node)
            case MaxPool2D() | Mover():
                return self._moved(node)
            case Pointwise():
                return self._table(node)
        return None

    def _product(self, node: Node) -> Layer | None:
        x, *constants = node.inputs
        if not all(c in self._facts.arrays for c in constants) or x in self._facts.arrays:
            return None
        if isinstance(node.op, Conv2D) and node.op.padding.values != (0.0,):
            return None
        return self._with_activation("product", node, (x,))

    def _of_two(self, node: Node) -> Layer | None:
        facts = self._facts
        x, y = node.inputs
        if facts.shape(x) != facts.shape(node.output):
            return None
        if y in facts.arrays and facts.arrays[y].size == 1:
            return self._table(node)
        known = [v for v in node.inputs if v in facts.arrays]
        if len(known) > 1 or not all(v in self._stored for v in node.inputs if v not in known):
            return None
        kind: Kind = "sum" if isinstance(node.op, Add) else "scaled"
        return self._with_activation(kind, node, (x, y))

    def _mean(self, node: Node) -> Layer | None:
        (x,) = node.inputs
        if x not in self._stored:
            return None
        match node.op:
            case Reduce(kind="mean"):
                return self._with_activation("mean", node, (x,))
            case AvgPool2D(window=window, padding=padding) if (
                padding.is_empty and window == self._facts.shape(x)[1:3]
            ):
                return self._with_activation("mean", node, (x,))
            case AvgPool2D(padding=padding, include_padding=counted, dilation=(1, 1)) if (
                padding.is_empty or not counted
            ) and _always_inside(node.op):
                return Layer("pooled", (node,), (x,))
        return None

    def _moved(self, node: Node) -> Layer | None:
        facts = self._facts
        floats = tuple(v for v in node.inputs if facts.is_float(v))
        if not floats or not all(self._is_at_hand(v, node) for v in floats):
            return None
        if isinstance(node.op, Pad) and node.op.mode == "constant" and node.op.value != 0:
            return None
        if isinstance(node.op, MaxPool2D) and not node.op.takes_largest:
            return None
        return Layer("moved", (node,), floats)

    def _is_at_hand(self, value: str, node: Node) -> bool:
        """Whether `node` reads the value as stored integers.

        An input that reaches a convolution is converted before its elements are moved.
        """
        if value in self._stored:
            return True
        alone = len(node.inputs) == 1 and node.outputs[0] in self._facts.feeding
        return alone and value in self._facts.given

    def _table(self, node: Node) -> Layer | None:
        facts = self._facts
        x, *others = node.inputs
        known = all(v in facts.arrays and facts.arrays[v].size == 1 for v in others)
        if x not in self._stored or not known or facts.shape(x) != facts.shape(node.output):
            return None
        if not isinstance(node.op, Unary) and not others:
            return None
        # A function at the end of the network is more accurate with floats.
        if node.output not in facts.feeding:
            return None
        return Layer("table", (node,), (x,))

    def _with_activation(self, kind: Kind, node: Node, operands: tuple[str, ...]) -> Layer:
        after = self._facts.sole_reader(node)
        chain = (node, after) if after and isinstance(after.op, Relu | Clip) else (node,)
        return Layer(kind, chain, operands)


def _always_inside(op: AvgPool2D) -> bool:
    """Whether every window of a pool has an element inside the image."""
    return all(a < w for a, w in zip(op.padding.amounts, op.window * 2, strict=True))


def limits(layer: Layer) -> tuple[float, float]:
    """The bounds of a layer's activation."""
    match layer.nodes[-1].op if len(layer.nodes) > 1 else None:
        case Relu():
            return 0.0, np.inf
        case Clip(low=low, high=high):
            return low, high
    return -np.inf, np.inf
