"""Imports reductions along axes, positions of extrema, running sums and normalisations."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import activated, axes_of, is_stored, operand, result, want_float
from ellc.frontends.tflite.model import FusedActivation, TfliteNode
from ellc.frontends.tflite.operators.quantised_normalization import stored_l2_normalization
from ellc.frontends.tflite.operators.quantised_reduce import (
    stored_mean,
    stored_product_along,
    stored_sum,
)
from ellc.frontends.tflite.registry import NOT_ON_INTEGERS, TFLITE
from ellc.ir.ops.arithmetic import Div, Maximum
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.functions import Sqrt
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.reduce import ArgMax, ArgMin, Reduce
from ellc.ir.ops.scan import CumSum
from ellc.ir.types import DType

_AXES = "constant axes"
_LEAST_NORM = np.float32(1e-6)  # replaces smaller L2 norms of floats


def _axes(inputs: Inputs) -> tuple[int, ...]:
    x = operand(inputs, 0)
    return axes_of(operand(inputs, 1), x.type.rank)


def _reduced(emitter: Emitter, node: TfliteNode, x: Value, kind: str, inputs: Inputs) -> Value:
    return emitter.add(Reduce(kind, _axes(inputs), node.options.flag("KeepDims")), x)


@TFLITE.imports("MEAN", limits=_AXES + "; integers of 8 and 16 bits must be quantised")
def mean(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the mean along axes."""
    x = operand(inputs, 0)
    if is_stored(node):
        return stored_mean(emitter, node, x, _axes(inputs))
    return _reduced(emitter, node, x, "mean", inputs)


@TFLITE.imports("SUM", limits=_AXES)
def total(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the sum along axes."""
    x = operand(inputs, 0)
    if is_stored(node):
        return stored_sum(emitter, node, x, _axes(inputs))
    return _reduced(emitter, node, x, "sum", inputs)


@TFLITE.imports("REDUCE_MAX", limits=_AXES)
def largest(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Find the largest element along axes."""
    return _reduced(emitter, node, operand(inputs, 0), "max", inputs)


@TFLITE.imports("REDUCE_MIN", limits=_AXES)
def smallest(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Find the smallest element along axes."""
    return _reduced(emitter, node, operand(inputs, 0), "min", inputs)


@TFLITE.imports("REDUCE_PROD", limits=_AXES + "; no runtime supports it for uint8 operands")
def reduced_product(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the product along axes."""
    if is_stored(node):
        return stored_product_along(emitter, node, operand(inputs, 0), _axes(inputs))
    return _reduced(emitter, node, operand(inputs, 0), "prod", inputs)


@TFLITE.imports("REDUCE_ANY", "REDUCE_ALL", limits=_AXES)
def any_or_all(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute whether any element is true, or whether all elements are true, along axes."""
    bytes_ = emitter.add(Cast(DType.U8), operand(inputs, 0))
    kind = "max" if node.kind == "REDUCE_ANY" else "min"
    return emitter.add(Cast(DType.BOOL), _reduced(emitter, node, bytes_, kind, inputs))


@TFLITE.imports("ARG_MAX", "ARG_MIN", limits="a constant axis")
def arg(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Find the index of the largest or smallest element; ties give the first index."""
    x = operand(inputs, 0)
    axes = known_ints(operand(inputs, 1), "the axis")
    if len(axes) != 1:
        raise Unsupported(f"the number of its axes is {len(axes)}, not 1")
    axis = axis_of(axes[0], x.type.rank)
    index = emitter.add(ArgMax(axis) if node.kind == "ARG_MAX" else ArgMin(axis), x)
    wanted = result(node).dtype
    return index if index.dtype is wanted else emitter.add(Cast(wanted), index)


@TFLITE.imports("CUMSUM", limits="a constant axis; no runtime supports it for 8-bit operands")
def running_sum(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute running sums along an axis."""
    x = operand(inputs, 0)
    axes = known_ints(operand(inputs, 1), "the axis")
    if is_stored(node) or len(axes) != 1:
        raise Unsupported("it has quantised operands or more than one axis")
    options = node.options
    op = CumSum(axis_of(axes[0], x.type.rank), options.flag("Exclusive"), options.flag("Reverse"))
    return emitter.add(op, x)


@TFLITE.imports(
    "L2_NORMALIZATION",
    limits="no runtime supports it for 16-bit activations",
    declines=(NOT_ON_INTEGERS,),
)
def l2_normalization(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Divide x by its L2 norm along the last axis."""
    x = operand(inputs, 0)
    if is_stored(node):
        if node.options.activation is not FusedActivation.NONE:
            raise Unsupported(
                f"{NOT_ON_INTEGERS.reason}: {node.options.activation.name} on {x.dtype.value}"
            )
        return stored_l2_normalization(emitter, node, x)
    squares = emitter.add(Reduce("l2sum", (x.type.rank - 1,), True), want_float(x))
    least = emitter.constant(np.full(1, _LEAST_NORM))
    length = emitter.add(Maximum(), emitter.add(Sqrt(), squares), least)
    return activated(emitter, emitter.add(Div(), x, length), node.options.activation)


@TFLITE.imports("LOCAL_RESPONSE_NORMALIZATION", limits="floats only")
def local_response_normalization(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Divide x by (bias + alpha * the sum of squares over neighbouring channels)^beta."""
    options, size = node.options, 2 * node.options.whole("Radius") + 1
    # TensorFlow Lite multiplies the sum by alpha; the graph's operator multiplies the mean by it.
    alpha = float(np.float32(options.number("Alpha"))) * size
    op = LRN(size, alpha, options.number("Beta"), options.number("Bias"))
    return emitter.add(op, want_float(operand(inputs, 0)))
