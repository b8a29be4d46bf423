"""Rules of `simplify` on elementwise operators; `view_rules` explains what a rule returns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Pointwise
from ellc.ir.ops.pointwise import (
    Abs,
    Add,
    Cast,
    Clip,
    Div,
    LeakyRelu,
    Maximum,
    Minimum,
    Mul,
    MulAdd,
    Neg,
    Not,
    Pow,
    PRelu,
    Reciprocal,
    Relu,
    Sqrt,
    Square,
    Sub,
)
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Expand
from ellc.ir.passes.canonicalise.view_rules import Change
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType

_MANTISSA_BITS = {DType.F32: 24, DType.F64: 53}


def order_of_operands(editor: Editor, node: Node) -> Change | None:
    """Exchange two operands if the first is a constant or the result of an `Expand`.

    The second must have the shape of the result and must not be a constant. If both are results of
    `Expand`s, they stay.
    """
    swapped = node.op.swapped() if isinstance(node.op, Pointwise) else None
    if swapped is None or len(node.inputs) != 2:
        return None
    x, y = node.inputs
    if editor.type(y).shape != editor.type(node.output).shape or editor.array(y) is not None:
        return None
    producer, other_producer = editor.producer(x), editor.producer(y)
    repeated = producer is not None and isinstance(producer.op, Expand)
    if repeated and other_producer is not None and isinstance(other_producer.op, Expand):
        return None
    return (swapped, (y, x)) if repeated or editor.array(x) is not None else None


def conversion(editor: Editor, node: Node) -> Change | None:
    """Drop a lossless conversion before another conversion.

    A conversion to wider integers before a reduction becomes the attribute `wide` of the reduction.
    """
    producer = editor.producer(node.inputs[0]) if node.inputs else None
    match node.op, None if producer is None else producer.op:
        case Cast(dtype=after), Cast(dtype=between):
            assert producer is not None
            first = editor.type(producer.inputs[0]).dtype
            # Conversions from floats to integers saturate; conversions between integers do not.
            same = _holds(after, first) or not (between.is_float and first.is_integer)
            return (Cast(after), producer.inputs) if same and _holds(between, first) else None
        case Reduce(wide=None) as op, Cast(dtype=wide) if wide.is_integer:
            assert producer is not None
            first = editor.type(producer.inputs[0]).dtype
            wider = first.is_integer and wide.item_bytes > first.item_bytes
            return (replace(op, wide=wide), producer.inputs) if wider else None
    return None


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether `wide` can represent every value of `narrow`."""
    if narrow is wide or narrow is DType.BOOL:
        return True
    if wide is DType.BOOL or narrow.is_float:
        return wide is DType.F64 and narrow is DType.F32
    info = np.iinfo(narrow.numpy)
    if wide.is_float:
        return info.bits <= _MANTISSA_BITS[wide]
    outer = np.iinfo(wide.numpy)
    return outer.min <= info.min and info.max <= outer.max


def arithmetic(editor: Editor, node: Node) -> Change | None:
    """Simplify arithmetic with constants, with negated operands, and products x * x."""
    is_float = editor.type(node.outputs[0]).dtype.is_float
    constants = [editor.array(v) for v in node.inputs[1:]]
    match node.op, node.inputs, constants:
        case ((Add() | Sub()), (x, _), [np.ndarray() as c]) if np.all(c == 0):
            return x
        case ((Mul() | Div() | Pow()), (x, _), [np.ndarray() as c]) if np.all(c == 1):
            return x
        case Mul(), (x, _), [np.ndarray() as c] if np.all(c == -1):
            return Neg(), (x,)
        case Sub(), (x, y), [np.ndarray()] if is_float:
            return Add(), (x, _float(editor, y, -_exact(editor, y)))
        case Div(), (x, y), [np.ndarray()] if is_float and _is_power_of_two(_exact(editor, y)):
            return Mul(), (x, _float(editor, y, 1 / _exact(editor, y)))
        case Pow(), (x, _), [np.ndarray() as c]:
            return _power(x, c)
        case (Maximum() | Minimum()) as op, (x, _), [np.ndarray() as c] if is_float:
            return _bound(op, x, c)
        case Mul(), (x, y), _ if x == y:
            return Square(), (x,)
        case MulAdd(), (x, scale, _), [_, np.ndarray() as t] if np.all(t == 0):
            return Mul(), (x, scale)
        case MulAdd(), (x, _, shift), [np.ndarray() as s, _] if np.all(s == 1):
            return Add(), (x, shift)
        case Div(), (x, y), [None] if is_float:
            return _quotient(editor, node, x, y)
        case ((Add() | Sub()), (x, y), [None]):
            return _negated(editor, node, x, y)
    return None


def _power(x: str, exponent: Array) -> Change | None:
    if np.all(exponent == 2):
        return Square(), (x,)
    return (Reciprocal(), (x,)) if np.all(exponent == -1) else None


def _bound(op: Maximum | Minimum, x: str, bound: Array) -> Change | None:
    """Turn a maximum or minimum with a single number other than NaN into a `Clip`."""
    if not bound.size or not np.all(bound == bound.flat[0]):
        return None
    value = float(bound.flat[0])
    return (Clip(value, math.inf) if isinstance(op, Maximum) else Clip(-math.inf, value)), (x,)


def _quotient(editor: Editor, node: Node, x: str, y: str) -> Change | None:
    """Turn 1 / y into a reciprocal."""
    producer = editor.producer(x)
    repeated = producer is not None and isinstance(producer.op, Expand)
    ones = editor.array(producer.inputs[0] if producer is not None and repeated else x)
    if ones is None or not np.all(ones == 1):
        return None
    same = editor.type(y).shape == editor.type(node.output).shape
    return (Reciprocal(), (y,)) if same else None


def _negated(editor: Editor, node: Node, x: str, y: str) -> Change | None:
    """Turn x + -y into x - y, x - -y into x + y, and -x + y into y - x.

    The last change is made only if y has the shape of the result.
    """
    left, right = editor.producer(x), editor.producer(y)
    is_sum = isinstance(node.op, Add)
    if right is not None and isinstance(right.op, Neg):
        return (Sub() if is_sum else Add()), (x, right.inputs[0])
    same = editor.type(y).shape == editor.type(node.output).shape
    if is_sum and same and left is not None and isinstance(left.op, Neg):
        return Sub(), (y, left.inputs[0])
    return None


def activation(editor: Editor, node: Node) -> Change | None:
    """Merge an activation with the activation that computes its operand.

    A `PRelu` with a single slope becomes a `LeakyRelu`.
    """
    producer = editor.producer(node.inputs[0]) if node.inputs else None
    match node.op, None if producer is None else producer.op:
        case (Neg(), Neg()) | (Not(), Not()):
            assert producer is not None
            return producer.inputs[0]
        case (Abs(), Neg()) | (Square(), (Neg() | Abs())):
            assert producer is not None
            return node.op, producer.inputs
        case (Relu() | Abs()) as outer, inner if outer == inner:
            return node.inputs[0]
        case Abs(), Sqrt() | Square() | Relu() if editor.type(node.output).dtype.is_float:
            return node.inputs[0]
        case Clip() as outer, Clip() as inner if editor.type(node.output).dtype.is_float:
            assert producer is not None
            low, high = (min(max(v, outer.low), outer.high) for v in (inner.low, inner.high))
            return Clip(low, high), producer.inputs
        case PRelu(), _:
            alpha = editor.exact(node.inputs[1])
            if alpha is not None and alpha.size and np.all(alpha == alpha.flat[0]):
                return LeakyRelu(float(alpha.flat[0])), node.inputs[:1]
    return None


def _exact(editor: Editor, value: str) -> Array:
    exact = editor.exact(value)
    assert exact is not None
    return exact


def _float(editor: Editor, like: str, exact: Array) -> str:
    return editor.rounded(exact, editor.type(like).dtype)


def _is_power_of_two(values: Array) -> bool:
    """Whether division by `values` equals multiplication by 1 / `values`, also in float32."""
    mantissa, exponent = np.frexp(values)
    return bool(np.all((np.abs(mantissa) == 0.5) & (np.abs(exponent) < 120)))
