"""Imports SVDF, a dense layer of low rank over the operands of the latest calls.

Each filter is the product of a vector over features and a vector over time. Each unit is the sum of
`rank` filters. A call multiplies its operand by the vectors over features immediately, so the state
keeps only these products of the latest calls.

With stored integers, SVDF follows `EvalIntegerSVDF` of TensorFlow Lite's reference kernels. The
products with the features are rounded to the 16 bits of the state. The sum over time and rank is
exact modulo 2^32, and is rounded only when it is scaled to the result. The reference
kernels accept only the activation RELU, but do not compute it: they only clamp to the range of
int8. So results can be negative if the zero point is above -128. ellc does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, extents
from ellc.frontends.tflite.common import (
    activated,
    is_stored,
    operand,
    optional,
    result,
    tensor,
    want_float,
)
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.convolution import float_weights
from ellc.frontends.tflite.operators.recurrent_parts import NO_SUCH_CELL, state_of
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.scales import requantize, scale_of, zero_of
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Concat, Slice
from ellc.ir.types import DType

_STATE = 4  # the index of the operand that is the state


@dataclass(frozen=True, slots=True)
class _Layer:
    """The extents of a layer's operands."""

    batch: int
    filters: int
    memory: int
    """The number of calls whose products are in the state, including the current call."""
    rank: int
    """The number of filters that are summed for one unit."""


@TFLITE.imports(
    "SVDF",
    limits="floats, 8-bit weights with floats, or int8 with an int16 state",
    declines=(NO_SUCH_CELL,),
)
def svdf(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute [batch, units]: for each unit the sum of `rank` filters over the latest operands."""
    x, times = operand(inputs, 0), operand(inputs, 2)
    filters, memory = extents(times, 2, "the filters over time")
    batch, _ = extents(x, 2, "the operand")
    rank = node.options.whole("Rank")
    if rank < 1 or filters % rank:
        raise Unsupported(
            f"a number of filters ({filters}) that is no multiple of the rank ({rank})"
        )
    layer = _Layer(batch, filters, memory, rank)
    return (_stored if is_stored(node) else _floats)(emitter, node, inputs, layer)


def _floats(emitter: Emitter, node: TfliteNode, inputs: Inputs, layer: _Layer) -> Value:
    x = want_float(operand(inputs, 0))
    features = float_weights(emitter, node, operand(inputs, 1), 1)
    times = float_weights(emitter, node, operand(inputs, 2), 2)
    latest = _remembered(emitter, node, emitter.add(Dense(), x, features), layer)
    total = _units(emitter, latest, times, optional(inputs, 3), layer)
    return activated(emitter, total, node.options.activation)


def _stored(emitter: Emitter, node: TfliteNode, inputs: Inputs, layer: _Layer) -> Value:
    source, filters, times, state = (tensor(node, i) for i in (0, 1, 2, _STATE))
    to, activation = result(node), node.options.activation
    kinds = [t.kind for t in (source, filters, times, state, to)]
    if kinds != ["INT8", "INT8", "INT16", "INT16", "INT8"] or zero_of(state):
        raise Unsupported(f"an SVDF of {', '.join(kinds).lower()}")
    if activation is not FusedActivation.RELU:
        raise Unsupported(f"{NO_SUCH_CELL.reason} in any runtime: {activation.name}")
    total = emitter.add(IntDense(zero_of(source)), operand(inputs, 0), operand(inputs, 1))
    factor = _factor(source, filters, state)
    feature = requantize(emitter, total, [factor], state, FusedActivation.NONE)
    latest = _remembered(emitter, node, feature, layer)
    widened = [emitter.add(Cast(DType.I32), v) for v in (latest, operand(inputs, 2))]
    total = _units(emitter, widened[0], widened[1], optional(inputs, 3), layer)
    return requantize(emitter, total, [_factor(state, times, to)], to, FusedActivation.NONE)


def _factor(x: Tensor, weights: Tensor, to: Tensor) -> float:
    """The scale of x * weights divided by the scale of `to`, computed in float32."""
    return float(scale_of(x) * scale_of(weights) / scale_of(to))


def _remembered(emitter: Emitter, node: TfliteNode, feature: Value, layer: _Layer) -> Value:
    """Update the state; return it as [batch, filters, memory] with the newest product last."""
    batch, filters, memory = layer.batch, layer.filters, layer.memory
    flat = (batch, filters * memory)
    before = state_of(emitter, node, _STATE, flat)
    latest = reshaped(emitter, feature, (batch, filters, 1))
    if memory > 1:
        window = reshaped(emitter, before, (batch, filters, memory))
        retained = emitter.add(Slice((0, 0, 1), (batch, filters, memory - 1), (1, 1, 1)), window)
        latest = emitter.add(Concat(2), retained, latest)
    emitter.set_state(tensor(node, _STATE).name, reshaped(emitter, latest, flat))
    return latest


def _units(
    emitter: Emitter, latest: Value, times: Value, bias: Value | None, layer: _Layer
) -> Value:
    """Weight the products over time, and sum over time and each unit's filters: [batch, units]."""
    weighted = emitter.add(Reduce("sum", (2,)), emitter.add(Mul(), latest, times))
    shape = (layer.batch, layer.filters // layer.rank, layer.rank)
    total = emitter.add(Reduce("sum", (2,)), reshaped(emitter, weighted, shape))
    return total if bias is None else emitter.add(Add(), total, bias)
