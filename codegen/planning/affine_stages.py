"""Requantises sums in float32 where this gives exactly the results of TFLite's fixed-point rules.

A product of 32-bit integers that is rounded twice takes some 25 instructions for a vector of sums
on x86-64; a conversion, a multiply-add and a rounding take 4 to 6. Factors and offsets with which
all possible sums give the same results are searched for each channel
(`ellc.ir.affine_factors`). Layers for which one channel has none keep their rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ellc.codegen.kir.instructions import has_high_products
from ellc.codegen.machine.target import Target
from ellc.ir.affine_factors import AffineFactors, Sums, affine_factors
from ellc.ir.fixed_point import multiply, multiply_once
from ellc.ir.graph import Constant, Graph, Node
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.quantised import BYTES, Requantize
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array, TensorType, type_of

_EXACT = {"tflite": multiply, "tflite_once": multiply_once}
_LEAST_VECTOR = 16  # bytes


def with_affine_stages(graph: Graph, target: Target) -> Graph:
    """The graph with affine rules in the first stages of convolutions and dense layers of bytes.

    Targets without vectors of floats, and those with an instruction for high products, keep the
    graph.
    """
    if has_high_products(target) or target.vector_bytes < _LEAST_VECTOR:
        return graph
    result = _Rewritten(graph)
    for index, node in enumerate(graph.nodes):
        result.visit(index, node)
    return result.finish()


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer of products of bytes and the operands of its first stage, a `Requantize`."""

    anchor: IntConv2D | IntDense
    stage: Requantize
    image: TensorType
    weights: Array
    bias: Array | None
    mantissas: Array
    shifts: Array

    def sums(self) -> Sums:
        """The least and the most that each filter's sum can be."""
        filters = self.weights.shape[0]
        zeros = np.reshape(self.anchor.weight_zero, (-1, 1))
        weights = self.weights.reshape(filters, -1).astype(np.int64) - zeros
        info = np.iinfo(self.image.dtype.numpy)
        low, high = (int(n) - self.anchor.input_zero for n in (info.min, info.max))
        positive = np.maximum(weights, 0).sum(axis=1)
        negative = np.minimum(weights, 0).sum(axis=1)
        bias = 0 if self.bias is None else self.bias.astype(np.int64)
        # Pixels outside the image contribute 0, which is between `low` and `high`.
        least = bias + positive * min(low, 0) + negative * max(high, 0)
        return Sums(least, bias + positive * max(high, 0) + negative * min(low, 0))

    def affine(self) -> AffineFactors | None:
        """Factors and offsets that give the same results: one, or one per filter."""
        mantissas, shifts = (np.ravel(x).astype(np.int64) for x in (self.mantissas, self.shifts))
        if (mantissas < 0).any() or (shifts > 0).any():
            return None
        sums = self.sums()
        if mantissas.size == shifts.size == 1:
            sums = Sums(sums.least.min(keepdims=True), sums.most.max(keepdims=True))
        shape = (sums.least.size, 1)
        pair = [np.broadcast_to(x, shape[0]).astype(np.int32) for x in (mantissas, shifts)]
        columns = [x.reshape(shape) for x in pair]
        op, exact = self.stage, _EXACT[self.stage.rule]
        results = range(op.low - op.zero_point, op.high - op.zero_point + 1)
        return affine_factors(
            lambda x: exact(x, *(np.broadcast_to(c, x.shape) for c in columns)),
            pair[0] * 2.0 ** (pair[1].astype(np.float64) - 31),
            sums,
            results,
            centred=self.bias is not None,
            away=op.rule == "tflite",
        )


class _Rewritten:
    """A graph in which layers get affine rules, one after another."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys = {c.value: c.key for c in graph.constants}
        self._nodes, self._types = list(graph.nodes), dict(graph.types)
        self._constants = list(graph.constants)

    def finish(self) -> Graph:
        """The graph; only constants that something reads are left."""
        if len(self._constants) == len(self._graph.constants):
            return self._graph
        used = {v for node in self._nodes for v in node.inputs}
        used |= {port.value for port in self._graph.outputs}
        used |= {state.next for state in self._graph.states}
        constants = tuple(c for c in self._constants if c.value in used)
        return replace(
            self._graph, nodes=tuple(self._nodes), constants=constants, types=self._types
        )

    def visit(self, index: int, node: Node) -> None:
        """Give a node an affine rule, if it is a layer for which there is one."""
        op = node.op
        layer = self._layer(node)
        found = None if layer is None else layer.affine()
        if layer is None or found is None:
            return
        assert isinstance(op, Fused)
        first, stage = op.operands, layer.stage
        rule = "affine_apart" if found.apart else "affine"
        affine = replace(stage, rule=rule, zero_point=stage.zero_point + found.middle)
        stages = (replace(op.stages[0], op=affine), *op.stages[1:])
        names = [*node.inputs]
        rank = len(self._types[names[first]].shape)
        for place, array in ((first, found.factor), (first + 1, found.offset)):
            names[place] = self._constant(names[place], array.reshape(*[1] * (rank - 1), -1))
        if layer.bias is not None and found.centre.any():
            moved = layer.bias.astype(np.int64) - found.centre
            names[2] = self._constant(names[2], moved.astype(layer.bias.dtype))
        self._nodes[index] = replace(node, op=replace(op, stages=stages), inputs=tuple(names))

    def _layer(self, node: Node) -> _Layer | None:
        op = node.op
        if not isinstance(op, Fused) or not isinstance(op.anchor, IntConv2D | IntDense):
            return None
        stage, first = op.stages[0].op, op.operands
        if not isinstance(stage, Requantize) or stage.rule not in _EXACT:
            return None
        image = self._graph.types[node.inputs[0]]
        fixed = [self._array(v) for v in node.inputs[1 : first + 2]]
        arrays = [a for a in fixed if a is not None]
        if stage.dtype not in BYTES or image.dtype not in BYTES or len(arrays) < len(fixed):
            return None
        weights, *bias, mantissas, shifts = arrays
        filters = weights.shape[0]
        if any(x.size != 1 and x.shape[-1:] != (filters,) for x in (mantissas, shifts)):
            return None
        if mantissas.size not in (1, filters) or shifts.size not in (1, filters):
            return None
        own_bias = bias[0] if bias else None
        return _Layer(op.anchor, stage, image, weights, own_bias, mantissas, shifts)

    def _array(self, value: str) -> Array | None:
        return self._graph.weights[self._keys[value]] if value in self._keys else None

    def _constant(self, old: str, array: Array) -> str:
        name = next(n for n in _names(f"{old}.affine") if n not in self._types)
        self._constants.append(Constant(name, self._graph.weights.add(array)))
        self._types[name] = type_of(array)
        return name


def _names(name: str) -> Iterator[str]:
    while True:
        yield name
        name += "_"
