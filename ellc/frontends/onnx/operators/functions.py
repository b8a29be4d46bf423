"""Further functions, element by element."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.broadcast import pointwise
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.shapes import reshaped
from ellc.frontends.onnx.registry import ONNX, axis_of, operand
from ir.op import Op
from ir.ops.pointwise import (
    Acos,
    Acosh,
    And,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Cast,
    Celu,
    Cosh,
    Equal,
    Erf,
    IsInf,
    IsNan,
    Mish,
    Not,
    Or,
    ShiftLeft,
    ShiftRight,
    Shrink,
    Sinh,
    Softsign,
    Swish,
    Tan,
    ThresholdedRelu,
    Xor,
)
from ir.ops.reduce import ArgMax

_UNARY: dict[str, Op] = {
    "Acos": Acos(),
    "Acosh": Acosh(),
    "Asin": Asin(),
    "Asinh": Asinh(),
    "Atan": Atan(),
    "Atanh": Atanh(),
    "BitwiseNot": Not(),
    "Cosh": Cosh(),
    "Erf": Erf(),
    "IsNaN": IsNan(),
    "Mish": Mish(),
    "Sinh": Sinh(),
    "Softsign": Softsign(),
    "Tan": Tan(),
}
_BITWISE: dict[str, Op] = {"BitwiseAnd": And(), "BitwiseOr": Or(), "BitwiseXor": Xor()}


@ONNX.imports(*_UNARY)
def plain(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A function without attributes."""
    return emitter.add(_UNARY[node.operator], operand(inputs, 0))


@ONNX.imports("IsInf")
def is_infinite(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Whether an element is an infinity of the signs asked for."""
    op = IsInf(node.flag("detect_positive", True), node.flag("detect_negative", True))
    return emitter.add(op, operand(inputs, 0))


@ONNX.imports("Swish")
def swish(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x * sigmoid(alpha * x)."""
    return emitter.add(Swish(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("ThresholdedRelu")
def thresholded_relu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x above alpha, else 0."""
    return emitter.add(ThresholdedRelu(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("Celu")
def celu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, or alpha * (e^(x / alpha) - 1) below 0."""
    return emitter.add(Celu(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("Shrink")
def shrink(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """0 where |x| <= lambd; elsewhere x drawn toward 0 by bias."""
    op = Shrink(node.number("lambd", 0.5), node.number("bias", 0.0))
    return emitter.add(op, operand(inputs, 0))


@ONNX.imports(*_BITWISE)
def bitwise(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A function of the bits of two whole numbers."""
    x, y = operand(inputs, 0), operand(inputs, 1)
    return pointwise(emitter, _BITWISE[node.operator], x, y, commutes=True)


@ONNX.imports("BitShift")
def bit_shift(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x shifted by y bits to the left or right."""
    direction = node.text("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise Unsupported(f"the direction '{direction}'; LEFT and RIGHT are supported")
    op = ShiftLeft() if direction == "LEFT" else ShiftRight()
    return pointwise(emitter, op, operand(inputs, 0), operand(inputs, 1))


@ONNX.imports("Hardmax")
def hardmax(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """1 where the first of the largest elements along an axis stands, else 0.

    Before version 13 along the axis and all behind it together.
    """
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 1 if node.version < 13 else -1), x.type.rank)
    shape = x.shape if node.version >= 13 else (*x.shape[:axis], int(np.prod(x.shape[axis:])))
    rows = reshaped(emitter, x, shape)
    found = emitter.add(ArgMax(axis, True), rows)
    places = np.arange(shape[axis], dtype=found.dtype.numpy)
    places = places.reshape(-1, *(1,) * (len(shape) - axis - 1))
    marked = pointwise(emitter, Equal(), emitter.constant(places), found)
    return reshaped(emitter, emitter.add(Cast(x.dtype), marked), x.shape)
