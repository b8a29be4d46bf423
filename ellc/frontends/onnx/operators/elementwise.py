"""Imports pointwise arithmetic, logic, comparisons, bitwise operators, selection and functions."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.registry import ONNX, no_integers, operand
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import (
    Abs,
    Acos,
    Acosh,
    Add,
    And,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Div,
    Equal,
    Erf,
    Exp,
    Floor,
    FloorMod,
    Greater,
    GreaterEqual,
    IsInf,
    IsNan,
    Less,
    LessEqual,
    Log,
    Maximum,
    Minimum,
    Mod,
    Mul,
    Neg,
    Not,
    Or,
    Pow,
    Round,
    Select,
    ShiftLeft,
    ShiftRight,
    Sign,
    Sin,
    Sinh,
    Sqrt,
    Sub,
    Tan,
    Xor,
)

_UNARY: dict[str, Op] = {
    "Abs": Abs(),
    "Acos": Acos(),
    "Acosh": Acosh(),
    "Asin": Asin(),
    "Asinh": Asinh(),
    "Atan": Atan(),
    "Atanh": Atanh(),
    "BitwiseNot": Not(),
    "Ceil": Ceil(),
    "Cos": Cos(),
    "Cosh": Cosh(),
    "Exp": Exp(),
    "Floor": Floor(),
    "IsNaN": IsNan(),
    "Log": Log(),
    "Neg": Neg(),
    "Not": Not(),
    "Round": Round(),
    "Sign": Sign(),
    "Sin": Sin(),
    "Sinh": Sinh(),
    "Sqrt": Sqrt(),
    "Tan": Tan(),
}
_BINARY: dict[str, Op] = {
    "Add": Add(),
    "And": And(),
    "BitwiseAnd": And(),
    "BitwiseOr": Or(),
    "BitwiseXor": Xor(),
    "Div": Div(),
    "Equal": Equal(),
    "Greater": Greater(),
    "GreaterOrEqual": GreaterEqual(),
    "Less": Less(),
    "LessOrEqual": LessEqual(),
    "Mul": Mul(),
    "Or": Or(),
    "Xor": Xor(),
}
_FOLDED: dict[str, Op] = {"Max": Maximum(), "Min": Minimum(), "Sum": Add()}


@ONNX.imports(*_UNARY)
def unary(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A function of one operand."""
    return emitter.add(_UNARY[node.operator], operand(inputs, 0))


@ONNX.imports("Erf", declines=(no_integers("the error function of integers"),))
def error_function(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The error function."""
    return emitter.add(Erf(), operand(inputs, 0))


@ONNX.imports(*_BINARY)
def binary(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A function of two operands whose shapes broadcast."""
    return pointwise(emitter, _BINARY[node.operator], operand(inputs, 0), operand(inputs, 1))


@ONNX.imports(*_FOLDED)
def folded(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The sum, minimum or maximum of any number of operands."""
    result = operand(inputs, 0)
    for index in range(1, len(inputs)):
        op = _FOLDED[node.operator]
        result = pointwise(emitter, op, result, operand(inputs, index))
    return result


@ONNX.imports("Mean")
def mean(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean of any number of operands."""
    total = operand(inputs, 0)
    for index in range(1, len(inputs)):
        total = pointwise(emitter, Add(), total, operand(inputs, index))
    count = emitter.constant(np.array(len(inputs), total.dtype.numpy))
    return emitter.add(Div(), total, count)


@ONNX.imports("Pow")
def power(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x to the power y, in the element type of x."""
    x, y = operand(inputs, 0), operand(inputs, 1)
    if y.dtype.is_float and not x.dtype.is_float:
        # The power of integers is computed in floating point and then truncated.
        return to_dtype(
            emitter, pointwise(emitter, Pow(), to_dtype(emitter, x, y.dtype), y), x.dtype
        )
    return pointwise(emitter, Pow(), x, to_dtype(emitter, y, x.dtype))


@ONNX.imports("Mod")
def modulo(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The remainder of x / y, with the sign of x if `fmod` is set, otherwise with the sign of y."""
    op = Mod() if node.flag("fmod") else FloorMod()
    return pointwise(emitter, op, operand(inputs, 0), operand(inputs, 1))


@ONNX.imports("Where")
def where(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """condition ? x : y; all three operands broadcast."""
    condition, x, y = (operand(inputs, i) for i in range(3))
    return pointwise(emitter, Select(), x, y, condition)


@ONNX.imports("Reciprocal")
def reciprocal(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """1 / x."""
    x = operand(inputs, 0)
    return pointwise(emitter, Div(), emitter.constant(np.ones((), x.dtype.numpy)), x)


@ONNX.imports("Sub")
def difference(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Compute x - y. If only y has the result's shape, add -y and x, so that x is not expanded."""
    x, y = operand(inputs, 0), operand(inputs, 1)
    if x.shape != y.shape == common_shape(x, y):
        return emitter.add(Add(), emitter.add(Neg(), y), x)
    return pointwise(emitter, Sub(), x, y)


@ONNX.imports("IsInf")
def is_infinite(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Whether an element is an infinity; attributes say which signs count."""
    op = IsInf(node.flag("detect_positive", True), node.flag("detect_negative", True))
    return emitter.add(op, operand(inputs, 0))


@ONNX.imports("ai.onnx.ml.Binarizer")
def binarizer(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """1 if x is above the threshold, else 0."""
    x = operand(inputs, 0)
    threshold = emitter.constant(np.array(node.number("threshold", 0.0), x.dtype.numpy))
    return to_dtype(emitter, pointwise(emitter, Greater(), x, threshold), x.dtype)


@ONNX.imports("BitShift")
def bit_shift(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x shifted by y bits to the left or right."""
    direction = node.text("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise Unsupported(f"the direction '{direction}'; LEFT and RIGHT are supported")
    op = ShiftLeft() if direction == "LEFT" else ShiftRight()
    return pointwise(emitter, op, operand(inputs, 0), operand(inputs, 1))
