"""Combining elements along axes."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.axes import axes_of, axis_of
from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, integers_at, no_integers, operand
from ellc.ir.ops.pointwise import Abs, Add, Cast, Clip, Equal, Exp, Log, Sqrt, Sub
from ellc.ir.ops.reduce import ArgMax, ArgMin, LogSoftmax, Reduce, Softmax
from ellc.ir.types import DType

_KINDS = {
    "ReduceL1": "sum",
    "ReduceL2": "l2sum",
    "ReduceLogSum": "sum",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "ReduceSumSquare": "l2sum",
}
_FUNCTION_AFTER = {"ReduceL2": Sqrt(), "ReduceLogSum": Log()}
_OF_FRACTIONS = no_integers("its result is a fraction; cast the operand to float32")


@ONNX.imports(*_FUNCTION_AFTER, limits="axes known at import", declines=(_OF_FRACTIONS,))
@ONNX.imports(*(k for k in _KINDS if k not in _FUNCTION_AFTER), limits="axes known at import")
def reduce(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Sums, means, extremes, products and norms along axes."""
    x = operand(inputs, 0)
    axes, keep = _axes(node, inputs, x.type.rank)
    if axes is None:
        return x
    if node.operator == "ReduceL1":
        x = emitter.add(Abs(), x)
    made = emitter.add(Reduce(_KINDS[node.operator], axes, keep), x)
    function = _FUNCTION_AFTER.get(node.operator)
    return emitter.add(function, made) if function else made


@ONNX.imports("ReduceLogSumExp", limits="axes known at import", declines=(_OF_FRACTIONS,))
def log_sum_exp(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """log(sum of e^x), computed so that no exponential of a finite x is larger than 1."""
    x = operand(inputs, 0)
    axes, keep = _axes(node, inputs, x.type.rank)
    if axes is None:
        return x
    largest = emitter.add(Reduce("max", axes, True), x)
    finite = float(np.finfo(x.type.dtype.numpy).max)  # infinity minus infinity would be NaN
    largest = emitter.add(Clip(-finite, finite), largest)
    raised = emitter.add(Exp(), pointwise(emitter, Sub(), x, largest))
    total = emitter.add(Log(), emitter.add(Reduce("sum", axes, True), raised))
    made = emitter.add(Add(), total, largest)
    if keep:
        return made
    return reshaped(emitter, made, tuple(e for a, e in enumerate(x.shape) if a not in axes))


def _axes(node: OnnxNode, inputs: Inputs, rank: int) -> tuple[tuple[int, ...] | None, bool]:
    """The axes, all of them if none are named, or None if then nothing happens; keepdims."""
    since = 13 if node.operator == "ReduceSum" else 18
    given = integers_at(node, inputs, "axes", 1, since)
    nothing = node.flag("noop_with_empty_axes")
    keep = node.flag("keepdims", True)
    if not given:
        return (None if nothing else tuple(range(rank))), keep
    return tuple(sorted(axes_of(given, rank))), keep


@ONNX.imports("ArgMax", "ArgMin")
def arg(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The position of the largest or smallest element, the first or the last of equal ones."""
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 0), x.type.rank)
    kind = ArgMax if node.operator == "ArgMax" else ArgMin
    op = kind(axis, node.flag("keepdims", True), node.flag("select_last_index"))
    return emitter.add(Cast(DType.I64), emitter.add(op, x))


@ONNX.imports("Softmax", "LogSoftmax")
def softmax(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Along one axis; before version 13 along that and all axes after it together."""
    x = operand(inputs, 0)
    rank = x.type.rank
    if rank == 0:
        raise Unsupported("a softmax of a scalar")
    if node.version < 13:
        axes = tuple(range(axis_of(node.integer("axis", 1), rank), rank))
    else:
        axes = (axis_of(node.integer("axis", -1), rank),)
    return emitter.add((Softmax if node.operator == "Softmax" else LogSoftmax)(axes), x)


@ONNX.imports("Hardmax")
def hardmax(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """1 at the position of the first of the largest elements along an axis, else 0.

    Before version 13 along the axis and all after it together.
    """
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 1 if node.version < 13 else -1), x.type.rank)
    shape = x.shape if node.version >= 13 else (*x.shape[:axis], int(np.prod(x.shape[axis:])))
    rows = reshaped(emitter, x, shape)
    found = emitter.add(ArgMax(axis, True), rows)
    places = emitter.counted(shape[axis], dtype=found.dtype.numpy)
    places = places.reshape(-1, *(1,) * (len(shape) - axis - 1))
    marked = pointwise(emitter, Equal(), emitter.constant(places), found)
    return reshaped(emitter, emitter.add(Cast(x.dtype), marked), x.shape)
