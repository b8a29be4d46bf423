"""Imports QONNX's `FloatQuant`, which rounds numbers to a float format with few bits."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.qonnx_parts import constant_operand, names, rounded
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import And, BitCast, Clip, Div, Greater, Less, Maximum, Mul, Not, Select
from ellc.ir.types import DType

_EXPONENT_BITS = 0x7F800000  # the exponent in the bits of a float32
# Exponents of normal float32 numbers. Denormals are not used, because some units flush them to 0.
_LEAST_EXPONENT, _MOST_EXPONENT = -126, 127
_MOST_MANTISSA_BITS = 23
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@ONNX.imports(
    *names("FloatQuant"),
    limits="constant scale, bit widths, bias and largest value; steps that float32 holds",
    ignores={"has_subnormal": "every format has numbers below its smallest exponent"},
)
def float_quantised(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, exponent bits, mantissa bits, exponent bias, largest value): x rounded.

    Let 2^e be the largest power of two that is not above |x / scale|. Then x / scale is rounded to
    a multiple of 2^(e - mantissa bits), but not finer than 2^(1 - bias - mantissa bits). QONNX's
    own executor computes e with a logarithm in float32, which for a number just below a power of
    two rounds up to that power. In the modes that round to nearest, this makes no difference to the
    result. At the end, the quotient is clamped to the largest number (without `saturation`, a
    quotient beyond it becomes infinity or NaN), and multiplied by scale.
    """
    scale = constant_operand(inputs, 1, "scale")
    mantissa = _integer(inputs, 3, "mantissa bit width")
    smallest, largest = _limits(inputs, mantissa)
    mode = node.text("rounding_mode", "ROUND").upper()
    x = pointwise(emitter, Div(), operand(inputs, 0), emitter.constant(scale))
    step = _with(emitter, Mul(), _power_below(emitter, x), 2.0**-mantissa)
    step = _with(emitter, Maximum(), step, smallest)
    near = emitter.add(Mul(), rounded(emitter, mode, emitter.add(Div(), x, step)), step)
    clipped = emitter.add(Clip(-largest, largest), near)
    number = _with_overflow(emitter, node, clipped, near, largest)
    return pointwise(emitter, Mul(), number, emitter.constant(scale))


def _power_below(emitter: Emitter, x: Value) -> Value:
    """The largest power of two that is not above |x|; 0 if x is 0 or a denormal."""
    mask = emitter.constant(np.full(1, _EXPONENT_BITS, np.int32))
    bits = emitter.add(BitCast(DType.I32), x)
    return emitter.add(BitCast(DType.F32), pointwise(emitter, And(), bits, mask))


def _with_overflow(
    emitter: Emitter, node: OnnxNode, clipped: Value, near: Value, largest: float
) -> Value:
    """The clipped numbers; without saturation, numbers beyond `largest` become infinity or NaN."""
    infinite, undefined = node.flag("has_inf"), node.flag("has_nan")
    if node.flag("saturation", True):
        return clipped
    if not infinite and not undefined:
        raise Unsupported("saturation=0, but the format has neither infinities nor NaN")
    for op, bound, beyond in ((Greater(), largest, np.inf), (Less(), -largest, -np.inf)):
        special = emitter.constant(np.full(1, beyond if infinite else np.nan, np.float32))
        inside = emitter.add(Not(), _with(emitter, op, near, bound))
        clipped = pointwise(emitter, Select(), clipped, special, inside)
    return clipped


def _with(emitter: Emitter, op: Op, x: Value, number: float) -> Value:
    return pointwise(emitter, op, x, emitter.constant(np.full(1, number, np.float32)))


def _limits(inputs: Inputs, mantissa: int) -> tuple[float, float]:
    """The format's smallest step between numbers, and its largest number (at most operand 5)."""
    exponent = _integer(inputs, 2, "exponent bit width")
    bias = 2 ** (exponent - 1) - 1
    if optional(inputs, 4) is not None:
        bias = _integer(inputs, 4, "exponent bias")
    lowest, highest = 1 - bias - mantissa, 2**exponent - 1 - bias
    if not (exponent >= 1 and 0 <= mantissa <= _MOST_MANTISSA_BITS):
        raise Unsupported(f"a format with {exponent} exponent bits and {mantissa} mantissa bits")
    if lowest < _LEAST_EXPONENT or lowest > _MOST_EXPONENT:
        raise Unsupported(f"a format with steps of 2^{lowest}, which float32 does not hold")
    largest = (2 - 2.0**-mantissa) * 2.0 ** min(highest, 1000)
    if optional(inputs, 5) is not None:
        given = np.unique(constant_operand(inputs, 5, "largest value"))
        if len(given) != 1 or not given[0] > 0:
            raise Unsupported(f"largest value {given.tolist()}; one number above 0 is supported")
        largest = min(largest, float(given[0]))
    # No float32 number exceeds a limit above the largest float32, so infinity replaces this limit.
    return 2.0**lowest, largest if largest <= _LARGEST_FLOAT else np.inf


def _integer(inputs: Inputs, index: int, what: str) -> int:
    numbers = np.unique(constant_operand(inputs, index, what))
    if len(numbers) != 1 or not abs(numbers[0]) < 256 or numbers[0] != int(numbers[0]):
        raise Unsupported(f"{what} {numbers.tolist()}; only one integer is supported")
    return int(numbers[0])
