"""Recognise activations that exporters write as a sequence of simpler operators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import (
    Abs,
    Add,
    Clip,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Log1p,
    Maximum,
    Mish,
    Mul,
    Pow,
    PRelu,
    Reciprocal,
    Relu,
    Sigmoid,
    Softplus,
    Softsign,
    Square,
    Swish,
    Tanh,
)
from ellc.ir.passes.affine import affine_of
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor

_CLOSE = 1e-6  # relative tolerance: files store constants in float32
_STEPS = 6  # the maximum number of consecutive multiplications and additions in a formula
_CUBE = 0.044715  # the coefficient of the cube in the approximation of gelu

Operation = tuple[Op, tuple[str, ...]]
"""An operator and its operands."""


@register_pass("recognise_activations")
@dataclass(frozen=True)
class RecogniseActivations(Pass):
    """Recognise sigmoid, softplus, softsign, swish, hard swish, gelu, mish, leaky ReLU and PReLU.

    A single operator can run in the kernel that computes its operand x, whereas a product of x and
    a function of x needs x twice. Factors may be in any order. Constants such as the square root of
    2 are rounded to float32 in model files, so results may change by such a rounding error.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
    )

    tolerance: ClassVar[float] = 1e-6

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            operation = _recognised(editor, node)
            if operation is not None:
                editor.replace(node, operation[0], *operation[1])
        return editor.graph() if editor.changed else graph


def _recognised(editor: Editor, node: Node) -> Operation | None:
    if len(node.outputs) != 1 or not editor.type(node.output).dtype.is_float:
        return None
    for rule in (_gated, _function, _slope):
        operation = rule(editor, node)
        if operation is not None:
            return operation
    return None


@dataclass(frozen=True)
class _Line:
    """base * scale + offset, where `base` is a value, `scale` and `offset` are numbers."""

    base: str
    scale: float = 1.0
    offset: float = 0.0

    def is_close(self, scale: float, offset: float) -> bool:
        """Whether scale and offset equal these numbers up to rounding to float32."""
        return _close(self.scale, scale) and _close(self.offset, offset)


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE * _CLOSE)


def _line_of(editor: Editor, value: str) -> _Line:
    """A value as a `_Line`, whose base is not a product or sum of a value and a single number.

    An exception is a chain of more than `_STEPS` such products and sums: its base is one of them.
    """
    line = _Line(editor.current(value))
    for _ in range(_STEPS):
        producer = editor.producer(line.base)
        affine = None if producer is None else affine_of(editor, producer)
        if affine is None or affine.scale.size != 1 or affine.shift.size != 1:
            break
        scale, shift = float(affine.scale.flat[0]), float(affine.shift.flat[0])
        base = editor.current(affine.value)
        line = _Line(base, line.scale * scale, line.offset + line.scale * shift)
    return line


def _op(editor: Editor, value: str) -> tuple[Op | None, tuple[str, ...]]:
    """The operator that computes a value, and its operands; (None, ()) if no node computes it."""
    producer = editor.producer(value)
    return (None, ()) if producer is None else (producer.op, producer.inputs)


def _gated(editor: Editor, node: Node) -> Operation | None:
    """Recognise number * x * (function of x)."""
    factors = _factors(editor, node)
    if factors is None:
        return None
    number, (a, b) = factors
    for x, gate in ((a, b), (b, a)):
        if x.offset == 0:
            gated = _Line(gate.base, number * x.scale * gate.scale, number * x.scale * gate.offset)
            op = _gated_operator(editor, x.base, gated)
            if op is not None:
                return op, (x.base,)
    return None


def _factors(editor: Editor, node: Node) -> tuple[float, tuple[_Line, _Line]] | None:
    """(number, two lines), the factors of the product that a node computes, or None."""
    outer = _line_of(editor, node.output)
    op, operands = _op(editor, outer.base)
    if outer.offset != 0:
        return None
    if isinstance(op, Mul):
        left, right = (_line_of(editor, v) for v in operands)
    elif isinstance(op, Square):
        left = right = _line_of(editor, operands[0])
    else:
        return None
    if any(editor.type(v.base).shape != editor.type(node.output).shape for v in (left, right)):
        return None
    return outer.scale, (left, right)


def _gated_operator(editor: Editor, x: str, gate: _Line) -> Op | None:
    """The operator that computes x * gate for this function of x; None if there is none."""
    op, operands = _op(editor, gate.base)
    inner = _line_of(editor, operands[0]) if len(operands) == 1 else None
    same = inner is not None and inner.base == x
    match op:
        case Sigmoid() if same and inner and gate.is_close(1, 0) and inner.offset == 0:
            return Swish(_rounded(inner.scale))
        case Clip(low=0.0, high=6.0) if same and inner and gate.is_close(1 / 6, 0):
            return HardSwish() if inner.is_close(1, 3) else None
        case HardSigmoid(slope=slope, offset=offset) if same and inner and gate.is_close(1, 0):
            line = inner.scale * slope, inner.offset * slope + offset
            return HardSwish() if _close(line[0], 1 / 6) and _close(line[1], 0.5) else None
        case Erf() if same and inner and gate.is_close(0.5, 0.5):
            return Gelu() if inner.is_close(math.sqrt(0.5), 0) else None
        case Tanh() if gate.is_close(0.5, 0.5) and _is_gelu_argument(editor, operands[0], x):
            return Gelu(approximate=True)
        case Tanh() if gate.is_close(1, 0) and _op(editor, operands[0]) == (Softplus(), (x,)):
            return Mish()
    return None


def _is_gelu_argument(editor: Editor, value: str, x: str) -> bool:
    """Whether a value is sqrt(2/pi) * (x + 0.044715 * x^3), the argument of tanh in gelu."""
    total = _line_of(editor, value)
    op, operands = _op(editor, total.base)
    if not total.is_close(math.sqrt(2 / math.pi), 0) or not isinstance(op, Add):
        return False
    parts = [_line_of(editor, v) for v in operands]
    for straight, cubic in (parts, parts[::-1]):
        if straight == _Line(x) and cubic.is_close(_CUBE, 0):
            return _is_cube(editor, cubic.base, x)
    return False


def _is_cube(editor: Editor, value: str, x: str) -> bool:
    op, operands = _op(editor, value)
    if isinstance(op, Pow):
        exponent = editor.array(operands[1])
        return operands[0] == x and exponent is not None and bool(np.all(exponent == 3))
    if not isinstance(op, Mul):
        return False
    return any(a == x and _op(editor, b) == (Square(), (x,)) for a, b in (operands, operands[::-1]))


def _function(editor: Editor, node: Node) -> Operation | None:
    """Recognise functions of one operand that end in a logarithm or a quotient."""
    match node.op, node.inputs:
        case Log1p(), (y,):
            return _softplus(editor, _Line(y, 1.0, 1.0))
        case Log(), (y,):
            return _softplus(editor, _line_of(editor, y))
        case Reciprocal(), (y,):
            line = _line_of(editor, y)
            op, operands = _op(editor, line.base)
            if isinstance(op, Exp) and line.is_close(1, 1):
                minus = _line_of(editor, operands[0])
                return (Sigmoid(), (minus.base,)) if minus.is_close(-1, 0) else None
        case Div(), (x, y):
            line = _line_of(editor, y)
            if _op(editor, line.base) == (Abs(), (x,)) and line.is_close(1, 1):
                return Softsign(), (x,)
    return None


def _softplus(editor: Editor, line: _Line) -> Operation | None:
    """The operator log(line) if the line is 1 + e^x; None otherwise."""
    op, operands = _op(editor, line.base)
    return (Softplus(), operands) if isinstance(op, Exp) and line.is_close(1, 1) else None


def _slope(editor: Editor, node: Node) -> Operation | None:
    """Recognise leaky ReLU, max(x, slope * x), and PReLU, relu(x) - slope * relu(-x)."""
    match node.op, node.inputs:
        case Maximum(), (a, b):
            for x, other in ((a, b), (b, a)):
                line = _line_of(editor, other)
                if line.base == x and line.offset == 0 and 0 < line.scale <= 1:
                    return LeakyRelu(_rounded(line.scale)), (x,)
        case Add(), (a, b):
            return _two_sides(editor, a, b) or _two_sides(editor, b, a)
    return None


def _two_sides(editor: Editor, above: str, below: str) -> Operation | None:
    op, operands = _op(editor, above)
    if not isinstance(op, Relu):
        return None
    (x,) = operands
    producer = editor.producer(below)
    affine = None if producer is None else affine_of(editor, producer)
    if affine is None or not affine.only_scales:
        return None
    inner, operands_of_relu = _op(editor, affine.value)
    if not isinstance(inner, Relu) or _line_of(editor, operands_of_relu[0]) != _Line(x, -1.0):
        return None
    return PRelu(), (x, editor.rounded(-affine.scale, editor.type(x).dtype))


def _rounded(number: float) -> float:
    """The nearest float32 if the number is close to it: the difference is rounding error."""
    return float(np.float32(number)) if _close(number, float(np.float32(number))) else number
