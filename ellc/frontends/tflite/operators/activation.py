"""Imports functions of one operand: activations, mathematical functions, softmaxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import is_stored, operand, result, tensor, want_float
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.quantised_normalization import stored_log_softmax
from ellc.frontends.tflite.operators.quantised_prelu import stored_prelu
from ellc.frontends.tflite.operators.quantised_softmax import stored_softmax
from ellc.frontends.tflite.operators.quantised_tables import (
    absolute,
    hard_swish,
    leaky,
    on_stored,
    reciprocal_root,
    rescaled,
    result_by_table,
    square_root,
)
from ellc.frontends.tflite.operators.wide_functions import (
    absolute_wide,
    function_of_wide,
    leaky_wide,
    logistic_wide,
    prelu_wide,
    rescaled_wide,
    softmax_wide,
    square_root_wide,
    tanh_wide,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.scales import limits_of, scale_of, zero_of
from ellc.ir.op import Op
from ellc.ir.ops.activations import (
    Clip,
    Elu,
    Gelu,
    HardSwish,
    LeakyRelu,
    PRelu,
    Relu,
    Sigmoid,
    Tanh,
)
from ellc.ir.ops.arithmetic import Mul
from ellc.ir.ops.functions import (
    Abs,
    Ceil,
    Cos,
    Exp,
    Floor,
    Log,
    Neg,
    Round,
    Rsqrt,
    Sign,
    Sin,
    Sqrt,
    Square,
)
from ellc.ir.ops.reduce import LogSoftmax, Softmax
from ellc.ir.types import Array, DType

Transform = Callable[[Array], Array]
Wide = Callable[[Emitter, TfliteNode, Value], Value]
_NO_RUNTIME_16 = "no runtime supports it for 16-bit activations"
_FLOATS = "no runtime supports it for 8-bit operands"


def _each(function: Callable[[float], float]) -> Transform:
    """The function of arrays that applies `function` to each element, and rounds to float32."""
    return np.vectorize(lambda x: np.float32(function(float(x))), otypes=[np.float32])


def _rectifier(
    kind: str, op: Op, low: float, high: float | None, *, has_wide: bool = False
) -> None:
    @TFLITE.imports(kind, limits="" if has_wide else _NO_RUNTIME_16)
    def rectify(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
        x = operand(inputs, 0)
        if is_stored(node) and has_wide and x.dtype is DType.I16:
            return rescaled_wide(emitter, node, x, low, high)
        if is_stored(node):
            return rescaled(emitter, node, x, low, high)
        return emitter.add(op, want_float(x))


_rectifier("RELU", Relu(), 0.0, None, has_wide=True)
_rectifier("RELU6", Clip(0.0, 6.0), 0.0, 6.0, has_wide=True)
_rectifier("RELU_N1_TO_1", Clip(-1.0, 1.0), -1.0, 1.0)
_rectifier("RELU_0_TO_1", Clip(0.0, 1.0), 0.0, 1.0)


def _logistic(x: Array) -> Array:
    one = np.float32(1)
    with np.errstate(over="ignore"):
        result: Array = one / (one + _each(_exponential)(-x))
    return result


def _exponential(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _function(
    kind: str, op: Op, of_real: Transform | None = None, of_wide: Wide | None = None
) -> None:
    """Register the operator `kind`, a function of one operand.

    Float operands use `op`. Stored integers of 8 bits use a table of the function `of_real`, and
    stored integers of 16 bits use `of_wide`. Without `of_real`, stored integers are not supported;
    without `of_wide`, those of 16 bits are not.
    """
    limits = _FLOATS if of_real is None else _NO_RUNTIME_16 if of_wide is None else ""

    @TFLITE.imports(kind, limits=limits)
    def apply(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
        x = operand(inputs, 0)
        if not is_stored(node):
            return emitter.add(op, x)
        if of_real is None:
            raise Unsupported("no runtime supports it for stored integers of 8 or 16 bits")
        if of_wide is not None and x.dtype is DType.I16:
            return of_wide(emitter, node, x)
        return result_by_table(emitter, node, x, on_stored(node, of_real))


_EXP = _each(_exponential)
_function("LOGISTIC", Sigmoid(), _logistic, logistic_wide)
_function("TANH", Tanh(), _each(math.tanh), tanh_wide)
_function("ELU", Elu(), _each(lambda x: math.expm1(x) if x < 0 else x))
_function("EXP", Exp(), _EXP, lambda e, n, x: function_of_wide(e, n, x, _EXP))
_function("SIN", Sin())
_function("COS", Cos())
_function("FLOOR", Floor())
_function("CEIL", Ceil())
_function("ROUND", Round())
_function("SQUARE", Square())
_function("SIGN", Sign())


@TFLITE.imports("NEG", limits="no runtime supports it for uint8 operands")
def negative(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute -x. Stored integers are negated as they are: the kernels ignore zero points."""
    x = operand(inputs, 0)
    if is_stored(node) and x.dtype is DType.U8:
        raise Unsupported("no runtime supports it for stored integers of type uint8")
    return emitter.add(Neg(), x)


@TFLITE.imports("ABS", limits="no runtime supports it for uint8 operands")
def magnitude(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute |x|."""
    x = operand(inputs, 0)
    if is_stored(node):
        return (absolute_wide if x.dtype is DType.I16 else absolute)(emitter, node, x)
    return emitter.add(Abs(), x)


@TFLITE.imports("LOG", limits="no runtime supports it for uint8 operands")
def logarithm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the natural logarithm. With stored integers, x <= 0 gives the lowest number."""
    x = operand(inputs, 0)
    if not is_stored(node):
        return emitter.add(Log(), want_float(x))
    to = result(node)
    lowest = np.float32(limits_of(to.dtype)[0] - zero_of(to)) * scale_of(to)
    function = _each(lambda v: math.log(v) if v > 0 else float(lowest))
    if x.dtype is DType.I16:
        return function_of_wide(emitter, node, x, function)
    return result_by_table(emitter, node, x, on_stored(node, function))


@TFLITE.imports("SQRT")
def root(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the square root."""
    x = operand(inputs, 0)
    if is_stored(node):
        return (square_root_wide if x.dtype is DType.I16 else square_root)(emitter, node, x)
    return emitter.add(Sqrt(), want_float(x))


@TFLITE.imports("RSQRT", limits="no runtime supports it for uint8 operands")
def inverse_root(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute 1 / sqrt(x). With stored integers, x <= 0 gives the highest number."""
    x = operand(inputs, 0)
    if not is_stored(node):
        return emitter.add(Rsqrt(), x)
    if x.dtype is not DType.I16:
        return reciprocal_root(emitter, node, x)
    highest, one = np.float32(limits_of(x.dtype)[1]) * scale_of(result(node)), np.float32(1)

    def function(v: Array) -> Array:
        root = np.sqrt(np.where(v > 0, v, one))
        return np.where(v > 0, one / root, highest)

    return function_of_wide(emitter, node, x, function)


@TFLITE.imports("LEAKY_RELU")
def leaky_relu(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x if x >= 0, else x times the slope."""
    x, slope = operand(inputs, 0), node.options.number("Alpha")
    if is_stored(node) and x.dtype is DType.I16:
        return leaky_wide(emitter, node, x, slope)
    if is_stored(node):
        return leaky(emitter, node, x, slope)
    return emitter.add(LeakyRelu(slope), want_float(x))


@TFLITE.imports("PRELU", limits="8-bit slopes if the operand has stored integers")
def prelu(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x if x >= 0, else x times a learnt slope; the slopes broadcast to x."""
    x, slopes = operand(inputs, 0), operand(inputs, 1)
    if is_stored(node):
        return (prelu_wide if x.dtype is DType.I16 else stored_prelu)(emitter, node, x, slopes)
    return pointwise(emitter, PRelu(), want_float(x), slopes)


@TFLITE.imports("HARD_SWISH", limits=_NO_RUNTIME_16)
def hard_swish_of(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x * clip((x + 3) / 6, 0, 1)."""
    x = operand(inputs, 0)
    if is_stored(node):
        return hard_swish(emitter, node, x)
    return emitter.add(HardSwish(), want_float(x))


@TFLITE.imports("GELU")
def gelu(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x times the normal distribution function of x, or its approximation with tanh."""
    x, approximate = operand(inputs, 0), node.options.flag("Approximate")
    if not is_stored(node):
        return emitter.add(Gelu(approximate), want_float(x))

    def exact_or_approximate(v: float) -> float:
        if approximate:
            return 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
        return 0.5 * v * (1 + math.erf(v / math.sqrt(2)))

    if x.dtype is DType.I16:
        return function_of_wide(emitter, node, x, _each(exact_or_approximate))
    return result_by_table(emitter, node, x, on_stored(node, _each(exact_or_approximate)))


@TFLITE.imports("SOFTMAX")
def softmax(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute e^(beta x) divided by its sum along the last axis."""
    x, beta = operand(inputs, 0), node.options.number("Beta")
    if is_stored(node) and x.dtype is DType.I16:
        return softmax_wide(emitter, node, x, beta)
    if is_stored(node):
        return stored_softmax(emitter, tensor(node, 0), result(node), x, beta)
    if beta != 1:
        x = emitter.add(Mul(), want_float(x), emitter.constant(np.full((), beta, np.float32)))
    return emitter.add(Softmax((x.type.rank - 1,)), want_float(x))


@TFLITE.imports("LOG_SOFTMAX", limits="no runtime supports it for 16-bit activations")
def log_softmax(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the logarithm of a softmax along the last axis."""
    x = operand(inputs, 0)
    if is_stored(node):
        return stored_log_softmax(emitter, node, x)
    return emitter.add(LogSoftmax((x.type.rank - 1,)), want_float(x))
