"""QONNX, the dialect of Brevitas: floating-point numbers that take few values only.

What a node means is written out in ordinary operators. The pass `binary_products` finds products of
two bipolar operands and computes them on bits.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.broadcast import common_shape, pointwise
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand
from ir.op import Op
from ir.ops.pointwise import (
    Abs,
    Add,
    Cast,
    Ceil,
    Clip,
    Div,
    Floor,
    GreaterEqual,
    Mul,
    MulAdd,
    Round,
    Sign,
    Sub,
)
from ir.types import Array

_DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
_MOST_BITS = 24  # float32 holds no larger whole numbers
_ROUNDING: dict[str, Op] = {
    "ROUND": Round(),
    "HALF_EVEN": Round(),
    "CEIL": Ceil(),
    "FLOOR": Floor(),
}
# Modes that are the same on both sides of 0: what to add to the magnitude, and how to round it.
_MIRRORED: dict[str, tuple[float, Op]] = {
    "UP": (0.0, Ceil()),
    "DOWN": (0.0, Floor()),
    "ROUND_TO_ZERO": (0.0, Floor()),
    "HALF_UP": (0.5, Floor()),
    "HALF_DOWN": (-0.5, Ceil()),
}


def _names(operator: str) -> list[str]:
    return [f"{domain}.{operator}" for domain in _DOMAINS]


@ONNX.imports(*_names("BipolarQuant"), limits="constant scale")
def bipolar(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale): x >= 0 ? scale : -scale."""
    x, scale = operand(inputs, 0), _constant(inputs, 1, "scale")
    above = emitter.add(
        GreaterEqual(), x, emitter.constant(np.zeros((1,) * len(x.shape), x.dtype.numpy))
    )
    ones = emitter.add(Cast(x.dtype), above)
    if common_shape(x, emitter.constant(scale)) != x.shape:
        raise Unsupported(f"a scale of shape {scale.shape} on {x.shape}")
    return emitter.add(MulAdd(), ones, emitter.constant(2 * scale), emitter.constant(-scale))


@ONNX.imports(
    *_names("Quant"),
    *_names("IntQuant"),
    limits=f"constant scale, zero point and bit width (2 to {_MOST_BITS})",
)
def quantised(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, zero point, bits): x rounded to whole numbers of scale, as floats."""
    x = operand(inputs, 0)
    scale, zero = (_constant(inputs, i, n) for i, n in ((1, "scale"), (2, "zero point")))
    low, high = _range(_bits(inputs), node.flag("signed", True), node.flag("narrow"))
    mode = node.text("rounding_mode", "ROUND").upper()
    number = pointwise(emitter, Div(), x, emitter.constant(scale))
    if np.any(zero != 0):
        number = pointwise(emitter, Add(), number, emitter.constant(zero))
    number = _rounded(emitter, mode, emitter.add(Clip(low, high), number))
    if np.any(zero != 0):
        number = pointwise(emitter, Sub(), number, emitter.constant(zero))
    return pointwise(emitter, Mul(), number, emitter.constant(scale))


def _rounded(emitter: Emitter, mode: str, number: Value) -> Value:
    if mode in _ROUNDING:
        return emitter.add(_ROUNDING[mode], number)
    if mode not in _MIRRORED:
        known_modes = ", ".join([*_ROUNDING, *_MIRRORED])
        raise Unsupported(f"rounding_mode '{mode}'; there are {known_modes}")
    offset, op = _MIRRORED[mode]
    size = emitter.add(Abs(), number)
    if offset:
        size = pointwise(emitter, Add(), size, emitter.constant(np.full(1, offset, np.float32)))
    return emitter.add(Mul(), emitter.add(op, size), emitter.add(Sign(), number))


def _range(bits: int, signed: bool, narrow: bool) -> tuple[float, float]:
    """The least and the largest whole number."""
    if signed:
        return -(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1 - narrow


def _bits(inputs: Inputs) -> int:
    widths = np.unique(_constant(inputs, 3, "bit width"))
    if len(widths) != 1 or widths[0] != int(widths[0]) or not 2 <= widths[0] <= _MOST_BITS:
        raise Unsupported(f"a bit width of {widths.tolist()}; there are 2 to {_MOST_BITS}")
    return int(widths[0])


def _constant(inputs: Inputs, index: int, what: str) -> Array:
    """A constant float operand, with one axis at least."""
    return np.atleast_1d(known(operand(inputs, index), f"its {what}")).astype(np.float32)
