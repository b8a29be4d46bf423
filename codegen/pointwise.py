"""How each pointwise operator becomes kernel IR: one small rule per operator.

A rule gets the operator, the builder and its operands as vectors of equal lanes, and returns the
result vector. Booleans are masks. Kernels never look at operators themselves: they call
`emit_pointwise`, so every operator works in loops of its own and in every epilogue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from codegen.kir import vmath, wide
from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand
from codegen.kir.types import Elem
from ir.errors import EllcError
from ir.op import Op, Pointwise
from ir.ops import binary, pointwise
from ir.types import DType

Rule = Callable[..., Operand]
RuleT = TypeVar("RuleT", bound=Rule)
_RULES: dict[type[Op], Rule] = {}
_COSTLY: set[type[Op]] = set()


def emits(*ops: type[Pointwise], costly: bool = False) -> Callable[[RuleT], RuleT]:
    """Decorator: the rule for these operators; a costly one needs many registers."""

    def add(rule: RuleT) -> RuleT:
        for op in ops:
            _RULES[op] = rule
            if costly:
                _COSTLY.add(op)
        return rule

    return add


def has_rule(op: type[Pointwise]) -> bool:
    """Whether the operator can be emitted."""
    return op in _RULES


def is_costly(op: Pointwise) -> bool:
    """Whether the rule is long: an elementary function, a division of integers."""
    return type(op) in _COSTLY


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result of one operator on vectors."""
    rule = _RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)


# --- activations ---------------------------------------------------------------------------------


@emits(pointwise.Relu)
def _relu(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    zero = b.const(0, x)
    return b.select(b.compare("gt", x, zero), x, zero)


@emits(pointwise.LeakyRelu)
def _leaky_relu(op: pointwise.LeakyRelu, b: KernelBuilder, x: Operand) -> Operand:
    return _slope(b, x, b.const(op.slope, x))


@emits(pointwise.PRelu)
def _prelu(op: Any, b: KernelBuilder, x: Operand, alpha: Operand) -> Operand:
    return _slope(b, x, alpha)


def _slope(b: KernelBuilder, x: Operand, slope: Operand) -> Operand:
    return b.select(b.compare("gt", x, b.const(0, x)), x, b.mul(x, slope))


@emits(pointwise.Clip)
def _clip(op: pointwise.Clip, b: KernelBuilder, x: Operand) -> Operand:
    elem = x.type.elem
    if elem.is_float:
        return _between(b, x, op.low, op.high)
    info = np.iinfo(elem.numpy)
    low = info.min if op.low <= info.min else math.ceil(op.low)
    high = info.max if op.high >= info.max else math.floor(op.high)
    # In numpy's order: the upper bound wins where no integer lies between.
    return b.min(b.max(x, b.const(low, x)), b.const(high, x))


def _between(b: KernelBuilder, x: Operand, low: float, high: float) -> Operand:
    if low != -math.inf:
        x = b.max(x, b.const(low, x))
    return x if high == math.inf else b.min(x, b.const(high, x))


@emits(pointwise.Sigmoid, costly=True)
def _sigmoid(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.sigmoid(b, x)


@emits(pointwise.HardSigmoid)
def _hard_sigmoid(op: pointwise.HardSigmoid, b: KernelBuilder, x: Operand) -> Operand:
    return _between(b, b.mul_add(x, b.const(op.slope, x), b.const(op.offset, x)), 0.0, 1.0)


@emits(pointwise.Tanh, costly=True)
def _tanh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.tanh(b, x)


@emits(pointwise.Elu, costly=True)
def _elu(op: pointwise.Elu, b: KernelBuilder, x: Operand) -> Operand:
    return _exponential_unit(b, x, 1.0, op.alpha)


@emits(pointwise.Selu, costly=True)
def _selu(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return _exponential_unit(
        b, x, pointwise.SELU_SCALE, pointwise.SELU_SCALE * pointwise.SELU_ALPHA
    )


def _exponential_unit(b: KernelBuilder, x: Operand, above: float, below: float) -> Operand:
    """above * x for x > 0, else below * (e^x - 1)."""
    zero = b.const(0, x)
    negative = b.mul(vmath.expm1_negative(b, b.min(x, zero)), b.const(below, x))
    positive = x if above == 1.0 else b.mul(x, b.const(above, x))
    return b.select(b.compare("gt", x, zero), positive, negative)


@emits(pointwise.HardSwish)
def _hard_swish(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    gate = _between(b, b.add(x, b.const(3.0, x)), 0.0, 6.0)
    return b.mul(x, b.mul(gate, b.const(1 / 6, x)))


@emits(pointwise.Softplus, costly=True)
def _softplus(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.softplus(b, x)


@emits(pointwise.Gelu, costly=True)
def _gelu(op: pointwise.Gelu, b: KernelBuilder, x: Operand) -> Operand:
    if not op.approximate:
        return vmath.gelu(b, x)
    # (1 + tanh(u)) / 2 is the sigmoid of 2u, without the cancellation far below 0.
    factor = 2 * math.sqrt(2 / math.pi)
    square = b.mul(x, x)
    inner = b.mul_add(square, b.const(0.044715 * factor, x), b.const(factor, x))
    return b.mul(x, vmath.sigmoid(b, b.mul(x, inner)))


# --- functions of one operand --------------------------------------------------------------------


@emits(pointwise.Exp, costly=True)
def _exp(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.exp(b, x)


@emits(pointwise.Log, costly=True)
def _log(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.log(b, x)


@emits(pointwise.Log10, costly=True)
def _log10(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.log10(b, x)


@emits(pointwise.Sqrt)
def _sqrt(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.op("sqrt", x)


@emits(pointwise.Square)
def _square(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.mul(x, x)


@emits(pointwise.Abs)
def _abs(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    signed = x.type.elem.is_signed or x.type.elem.is_float
    return b.op("abs", x) if signed else x


@emits(pointwise.Neg)
def _neg(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.op("neg", x)


@emits(pointwise.Sign)
def _sign(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    zero = b.const(0, x)
    result = b.select(b.compare("gt", x, zero), b.const(1, x), x)
    if not (x.type.elem.is_signed or x.type.elem.is_float):
        return result
    return b.select(b.compare("lt", x, zero), b.const(-1, x), result)


@emits(pointwise.Sin, costly=True)
def _sin(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.sin(b, x)


@emits(pointwise.Cos, costly=True)
def _cos(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.cos(b, x)


@emits(pointwise.Floor)
def _floor(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.floor(b, x)


@emits(pointwise.Ceil)
def _ceil(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.ceil(b, x)


@emits(pointwise.Round)
def _round(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.round_even(b, x)


@emits(pointwise.Not)
def _not(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.op("xor", x, Imm(1, x.type))


@emits(pointwise.Cast, costly=True)
def _cast(op: pointwise.Cast, b: KernelBuilder, x: Operand) -> Operand:
    if op.dtype is DType.BOOL:
        is_mask = x.type.elem is Elem.MASK
        return x if is_mask else b.compare("ne", x, b.const(0, x))
    return wide.convert(b, x, Elem.of(op.dtype))


@emits(binary.Binarize)
def _binarize(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.compare("gt", x, b.const(0, x))


# --- arithmetic of two and three operands --------------------------------------------------------


@emits(pointwise.Add)
def _add(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.add(x, y)


@emits(pointwise.Sub)
def _sub(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.sub(x, y)


@emits(pointwise.Mul)
def _mul(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.mul(x, y)


@emits(pointwise.Div)
def _div(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.div(x, y) if x.type.elem.is_float else wide.divide(b, x, y)[0]


@emits(pointwise.Mod, costly=True)
def _mod(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return wide.fmod(b, x, y) if x.type.elem.is_float else wide.divide(b, x, y)[1]


@emits(pointwise.Minimum)
def _minimum(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.min(x, y)


@emits(pointwise.Maximum)
def _maximum(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.max(x, y)


@emits(pointwise.Pow, costly=True)
def _pow(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    if isinstance(y, Imm):
        found = _constant_power(b, x, float(y.value))
        if found is not None:
            return found
    return vmath.pow(b, x, y)


def _constant_power(b: KernelBuilder, x: Operand, exponent: float) -> Operand | None:
    """The few exponents that are a product, a division or a root."""
    one = b.const(1.0, x)
    match exponent:
        case 0.0:
            return one
        case 1.0:
            return x
        case 2.0:
            return b.mul(x, x)
        case 3.0:
            return b.mul(b.mul(x, x), x)
        case -1.0:
            return b.div(one, x)
        case 0.5:  # unlike the root, pow(-0, 1/2) is +0 and pow(-infinity, 1/2) is +infinity
            root = b.add(b.op("sqrt", x), b.const(0.0, x))
            below = b.compare("eq", x, b.const(-math.inf, x))
            return b.select(below, b.const(math.inf, x), root)
    return None


@emits(pointwise.And)
def _and(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("and", x, y)


@emits(pointwise.Or)
def _or(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("or", x, y)


@emits(pointwise.Xor)
def _xor(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("xor", x, y)


_COMPARISONS: dict[type[Op], str] = {
    pointwise.Equal: "eq",
    pointwise.NotEqual: "ne",
    pointwise.Less: "lt",
    pointwise.LessEqual: "le",
    pointwise.Greater: "gt",
    pointwise.GreaterEqual: "ge",
}


@emits(
    pointwise.Equal,
    pointwise.NotEqual,
    pointwise.Less,
    pointwise.LessEqual,
    pointwise.Greater,
    pointwise.GreaterEqual,
)
def _compare(op: Pointwise, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.compare(_COMPARISONS[type(op)], x, y)


@emits(pointwise.MulAdd)
def _mul_add(op: Any, b: KernelBuilder, x: Operand, scale: Operand, offset: Operand) -> Operand:
    return b.mul_add(x, scale, offset)


@emits(pointwise.Select)
def _select(op: Any, b: KernelBuilder, x: Operand, other: Operand, mask: Operand) -> Operand:
    return b.select(mask, x, other)
