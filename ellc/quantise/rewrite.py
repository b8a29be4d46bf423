"""Rewrites layers of a float graph to operators on stored integers.

The operators, their factors and their order are those to which the ONNX importer turns
QuantizeLinear, an operator and DequantizeLinear, so they round as ONNX Runtime does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ellc.frontends.onnx.quantisation import Bounds, Quantisation, one_quant, stored_bounds
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.activations import Clip
from ellc.ir.ops.arithmetic import Mul, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import AvgPool2D
from ellc.ir.ops.quantised import Dequantize, Lookup, Quantize, Requantize
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.ops.quantised_pool import IntAvgPool2D
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.scaled_add import ScaledAdd
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType
from ellc.quantise.layers import Layer, limits
from ellc.quantise.ranges import HIGHEST, LOWEST, filter_scales


@dataclass(frozen=True)
class Weights:
    """The stored weights of a layer, a scale for each filter, and the bias in units of the sums."""

    stored: Array
    scales: Array
    bias: Array | None


def weights_of(
    layer: Layer,
    arrays: Mapping[str, Array],
    of_x: Quantisation,
    means: Array | None = None,
    adapted: Array | None = None,
) -> Weights:
    """Round the weights of a layer to the nearest stored integers, or take those in `adapted`.

    `adapted` has stored weights for scales that depend on the weights alone. `means` are the means
    of the operand's channels; with them, the bias makes up for what rounding the weights adds to
    the mean of each result.
    """
    _, name, *rest = layer.head.inputs
    weights, bias = arrays[name], arrays[rest[0]] if rest else None
    scales = filter_scales(weights, bias, float(of_x.one_scale))
    stored = rounded_weights(weights, scales)
    if adapted is not None:
        usual = scales == filter_scales(weights, None, 1.0)
        stored = np.where(usual.reshape(-1, *(1,) * (stored.ndim - 1)), adapted, stored)
    if means is not None:
        lost = mean_error(layer.head, weights, reals(stored, scales), means)
        bias = lost if bias is None else bias + lost
    return Weights(stored, scales, bias_units(bias, scales, of_x))


def mean_error(node: Node, weights: Array, stored: Array, means: Array) -> Array:
    """The mean of the sums of products that is lost with the weights `stored`, by filter.

    Padding counts like the mean of the image.
    """
    error = weights.astype(np.float64) - stored
    by_channel = error.reshape(len(error), -1, error.shape[-1]).sum(1)
    groups = node.op.groups if isinstance(node.op, Conv2D) else 1
    each = np.repeat(means.reshape(groups, -1), len(error) // groups, axis=0)
    lost: Array = (by_channel * each).sum(1)
    return lost


def reals(stored: Array, scales: Array) -> Array:
    """The numbers that stored weights stand for."""
    factors = scales.reshape(-1, *(1,) * (stored.ndim - 1))
    return np.asarray(stored.astype(np.float32) * factors)


def rounded_weights(weights: Array, scales: Array) -> Array:
    """The nearest stored integers from -127 to 127, with a scale for each filter."""
    each = scales.astype(np.float64).reshape(-1, *(1,) * (weights.ndim - 1))
    return np.clip(np.rint(weights / each), -HIGHEST, HIGHEST).astype(np.int8)


def bias_units(bias: Array | None, scales: Array, of_x: Quantisation) -> Array | None:
    """A bias as int32, in the unit of each filter's sums."""
    if bias is None:
        return None
    unit = (of_x.one_scale * scales).astype(np.float64)
    info = np.iinfo(np.int32)
    return np.clip(np.rint(bias / unit), info.min, info.max).astype(np.int32)


def rewritten(
    graph: Graph,
    layers: Sequence[Layer],
    quantisations: Mapping[str, Quantisation],
    weights: Mapping[str, Weights],
) -> Graph:
    """The graph in which `layers` compute with stored integers.

    `quantisations` has every value that a layer reads or computes, `weights` every layer of kind
    `product`, by its first result. Every result of a layer still exists as a float, with the same
    id; nobody may read it, so `eliminate_dead` should follow.
    """
    writer = _Writer(Editor(graph), quantisations, {})
    for layer in layers:
        last = layer.nodes[-1]
        values = writer.layer(layer, weights.get(layer.results[0]))
        for value, result in zip(values, layer.results, strict=True):
            writer.stored[result] = value
        writer.as_floats(last, values)
    return writer.editor.graph()


@dataclass(frozen=True)
class _Writer:
    """Inserts integer operators; `stored` has the stored integers of a float value."""

    editor: Editor
    quantisations: Mapping[str, Quantisation]
    stored: dict[str, str]

    def layer(self, layer: Layer, weights: Weights | None) -> tuple[str, ...]:
        """Insert the operators of a layer before its last node; returns the stored results."""
        to = self.quantisations[layer.results[0]]
        at = layer.nodes[-1]
        match layer.kind:
            case "product":
                assert weights is not None
                return (self._product(layer, weights),)
            case "sum":
                return (self._sum(layer),)
            case "scaled":
                return (self._scaled(layer),)
            case "mean":
                return (self._mean(layer),)
            case "table":
                return (self._table(layer),)
            case "pooled":
                op = layer.head.op
                assert isinstance(op, AvgPool2D)
                pool = IntAvgPool2D(op.window, op.stride, op.padding, LOWEST, HIGHEST)
                return (self._insert(at, pool, self._operand(at, layer.operands[0])),)
        return self._moved(layer, to)

    def as_floats(self, node: Node, values: Sequence[str]) -> None:
        """Let the results of a node be the dequantised `values`."""
        if len(node.outputs) == 1:
            by = self.quantisations[node.output]
            self.editor.replace(node, Dequantize(), values[0], *self._parameters(by, node.output))
            return
        reals = []
        for value, result in zip(values, node.outputs, strict=True):
            by = self.quantisations[result]
            reals.append(self._insert(node, Dequantize(), value, *self._parameters(by, result)))
        self.editor.forward(node, *reals)

    def _insert(self, at: Node, op: Op, *operands: str) -> str:
        return self.editor.insert(at, op, *operands, source=at.source)

    def _parameters(self, by: Quantisation, value: str) -> tuple[str, str]:
        """The scale and zero point as constants."""
        shape = (1,) if self.editor.type(value).rank else ()
        scale, zero = by.scale.reshape(shape), by.zero.astype(np.int32).reshape(shape)
        return self.editor.constant(scale), self.editor.constant(zero)

    def _operand(self, at: Node, value: str) -> str:
        """The stored integers of a value; a value that no layer computes is quantised here."""
        if value not in self.stored:
            by = self.quantisations[value]
            array = self.editor.array(value)
            op = Quantize("half_even", by.stored, by.quant())
            parameters = self._parameters(by, value)
            if array is None:
                self.stored[value] = self._insert(at, op, value, *parameters)
            else:
                known = [p for p in map(self.editor.array, parameters) if p is not None]
                self.stored[value] = self.editor.constant(op.reference(array, *known)[0])
        return self.stored[value]

    def _product(self, layer: Layer, weights: Weights) -> str:
        at, of_x = layer.nodes[-1], self.quantisations[layer.operands[0]]
        match layer.head.op:
            case Conv2D(stride, padding, dilation, groups):
                op: Op = IntConv2D(stride, padding, dilation, groups, of_x.one_zero)
            case Dense():
                op = IntDense(of_x.one_zero)
        bias = () if weights.bias is None else (self.editor.constant(weights.bias),)
        w = self.editor.constant(weights.stored)
        total = self._insert(at, op, self._operand(at, layer.operands[0]), w, *bias)
        to = self.quantisations[layer.results[0]]
        return self._requantised(layer, total, of_x.one_scale * weights.scales / to.one_scale)

    def _requantised(self, layer: Layer, total: str, factor: Array | np.float32) -> str:
        """Convert sums to stored integers, within the bounds of the activation."""
        to = self.quantisations[layer.results[0]]
        low, high = stored_bounds(to, Bounds(*limits(layer)))
        op = Requantize("half_even", to.one_zero, low, high, to.stored, to.quant())
        shape = (-1,) if self.editor.type(total).rank else ()
        factors = self.editor.constant(np.asarray(factor, np.float32).reshape(shape))
        return self._insert(layer.nodes[-1], op, total, factors)

    def _sum(self, layer: Layer) -> str:
        at, to = layer.nodes[-1], one_quant(self.quantisations[layer.results[0]])
        x, y = layer.operands
        of_x, of_y = (one_quant(self.quantisations[v]) for v in (x, y))
        op = ScaledAdd.of(of_x, of_y, to, DType.I8, to)
        total = self._insert(at, op, self._operand(at, x), self._operand(at, y))
        return self._clamped(layer, total)

    def _clamped(self, layer: Layer, value: str) -> str:
        low, high = stored_bounds(self.quantisations[layer.results[0]], Bounds(*limits(layer)))
        if (low, high) == (LOWEST, HIGHEST):
            return value
        return self._insert(layer.nodes[-1], Clip(float(low), float(high)), value)

    def _scaled(self, layer: Layer) -> str:
        at = layer.nodes[-1]
        x, y = (self._difference(at, v) for v in layer.operands)
        of_x, of_y = (self.quantisations[v].one_scale for v in layer.operands)
        to = self.quantisations[layer.results[0]].one_scale
        return self._requantised(layer, self._insert(at, Mul(), x, y), of_x * of_y / to)

    def _difference(self, at: Node, value: str) -> str:
        wide = self._insert(at, Cast(DType.I32), self._operand(at, value))
        zero = self.quantisations[value].one_zero
        if not zero:
            return wide
        return self._insert(at, Sub(), wide, self.editor.constant(np.asarray(zero, np.int32)))

    def _mean(self, layer: Layer) -> str:
        at, (x,), op = layer.nodes[-1], layer.operands, layer.head.op
        match op:
            case Reduce(axes=axes, keep_dims=keep_dims):
                pass
            case _:
                axes, keep_dims = (1, 2), True
        shape = self.editor.type(x).shape
        total = self._insert(at, Reduce("sum", axes, keep_dims), self._difference(at, x))
        count = np.float32(prod(shape[a] for a in axes))
        scale, to = (self.quantisations[v].one_scale for v in (x, layer.results[0]))
        return self._requantised(layer, total, scale / (to * count))

    def _table(self, layer: Layer) -> str:
        at, (x,) = layer.nodes[-1], layer.operands
        of_x, to = self.quantisations[x], self.quantisations[layer.results[0]]
        codes = np.arange(LOWEST, HIGHEST + 1).astype(np.int8)
        real = Dequantize().reference(codes, of_x.scale, of_x.zero.astype(np.int32))[0]
        others = [
            a.reshape(-1) for v in layer.head.inputs[1:] if (a := self.editor.array(v)) is not None
        ]
        with np.errstate(all="ignore"):
            function = layer.head.op.reference(real, *others)[0]
        op = Quantize("half_even", DType.I8)
        table = op.reference(function, to.scale, to.zero.astype(np.int32))[0]
        lookup = Lookup(DType.I8, to.quant())
        return self._insert(at, lookup, self._operand(at, x), self.editor.constant(table))

    def _moved(self, layer: Layer, by: Quantisation) -> tuple[str, ...]:
        node, op = layer.head, layer.head.op
        if isinstance(op, Pad):
            op = replace(op, value=float(by.one_zero))
        operands = [self._operand(node, v) if v in layer.operands else v for v in node.inputs]
        return self.editor.insert_multi(node, op, *operands, source=node.source)
