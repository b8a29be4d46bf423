"""Imports reductions along axes, ArgMax and ArgMin, Softmax, LogSoftmax and Hardmax."""

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
_NO_INTEGERS = no_integers("its result is a fraction; cast the operand to float32")


@ONNX.imports(*_FUNCTION_AFTER, limits="axes known at import", declines=(_NO_INTEGERS,))
@ONNX.imports(*(k for k in _KINDS if k not in _FUNCTION_AFTER), limits="axes known at import")
def reduce(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import sums, means, extrema, products and norms along axes."""
    x = operand(inputs, 0)
    axes, keep = _axes(node, inputs, x.type.rank)
    if axes is None:
        return x
    if node.operator == "ReduceL1":
        x = emitter.add(Abs(), x)
    result = emitter.add(Reduce(_KINDS[node.operator], axes, keep), x)
    function = _FUNCTION_AFTER.get(node.operator)
    return emitter.add(function, result) if function else result


@ONNX.imports("ReduceLogSumExp", limits="axes known at import", declines=(_NO_INTEGERS,))
def log_sum_exp(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Compute log(sum of e^x) from x - max(x), so that the exponentials cannot overflow."""
    x = operand(inputs, 0)
    axes, keep = _axes(node, inputs, x.type.rank)
    if axes is None:
        return x
    largest = emitter.add(Reduce("max", axes, True), x)
    finite = float(np.finfo(x.type.dtype.numpy).max)  # infinity minus infinity would be NaN
    largest = emitter.add(Clip(-finite, finite), largest)
    raised = emitter.add(Exp(), pointwise(emitter, Sub(), x, largest))
    total = emitter.add(Log(), emitter.add(Reduce("sum", axes, True), raised))
    result = emitter.add(Add(), total, largest)
    if keep:
        return result
    return reshaped(emitter, result, tuple(e for a, e in enumerate(x.shape) if a not in axes))


def _axes(node: OnnxNode, inputs: Inputs, rank: int) -> tuple[tuple[int, ...] | None, bool]:
    """Return (the axes to reduce, whether to keep them with extent 1).

    If the node names no axes, all axes are reduced. If it also sets `noop_with_empty_axes`, no axis
    is reduced, and the first result is None.
    """
    since = 13 if node.operator == "ReduceSum" else 18
    given = integers_at(node, inputs, "axes", 1, since)
    nothing = node.flag("noop_with_empty_axes")
    keep = node.flag("keepdims", True)
    if not given:
        return (None if nothing else tuple(range(rank))), keep
    return tuple(sorted(axes_of(given, rank))), keep


@ONNX.imports("ArgMax", "ArgMin")
def arg(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The int64 index of the largest or smallest element; ties go to the first or the last."""
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 0), x.type.rank)
    kind = ArgMax if node.operator == "ArgMax" else ArgMin
    op = kind(axis, node.flag("keepdims", True), node.flag("select_last_index"))
    return emitter.add(Cast(DType.I64), emitter.add(op, x))


@ONNX.imports("Softmax", "LogSoftmax")
def softmax(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import a softmax along one axis; before version 13 along `axis` and all later axes."""
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
    """Return 1 for the first of the largest elements along an axis, and 0 for the others.

    Before version 13, `axis` and all later axes count as one axis.
    """
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 1 if node.version < 13 else -1), x.type.rank)
    shape = x.shape if node.version >= 13 else (*x.shape[:axis], int(np.prod(x.shape[axis:])))
    rows = reshaped(emitter, x, shape)
    largest = emitter.add(ArgMax(axis, True), rows)
    positions = emitter.counted(shape[axis], dtype=largest.dtype.numpy)
    positions = positions.reshape(-1, *(1,) * (len(shape) - axis - 1))
    marked = pointwise(emitter, Equal(), emitter.constant(positions), largest)
    return reshaped(emitter, emitter.add(Cast(x.dtype), marked), x.shape)
