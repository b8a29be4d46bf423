"""How each pointwise operator becomes kernel IR: one small rule per operator.

A rule gets the operator, the builder and its operands as vectors of equal lanes, and returns the
result vector. Booleans are masks. Kernels never look at operators themselves: they call
`emit_pointwise`, so every operator works in loops of its own and in every epilogue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Operand
from ir.errors import EllcError
from ir.op import Pointwise
from ir.ops import binary, pointwise

Rule = Callable[..., Operand]
RuleT = TypeVar("RuleT", bound=Rule)
_RULES: dict[type[Pointwise], Rule] = {}


def emits(*ops: type[Pointwise]) -> Callable[[RuleT], RuleT]:
    """Decorator: the rule for these operators."""

    def add(rule: RuleT) -> RuleT:
        for op in ops:
            _RULES[op] = rule
        return rule

    return add


def has_rule(op: type[Pointwise]) -> bool:
    """Whether the operator can be emitted."""
    return op in _RULES


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result of one operator on vectors."""
    rule = _RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)


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
    return b.min(b.max(x, b.const(op.low, x)), b.const(op.high, x))


@emits(pointwise.Add)
def _add(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.add(x, y)


@emits(pointwise.Sub)
def _sub(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.sub(x, y)


@emits(pointwise.Mul)
def _mul(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.mul(x, y)


@emits(pointwise.MulAdd)
def _mul_add(op: Any, b: KernelBuilder, x: Operand, scale: Operand, offset: Operand) -> Operand:
    return b.mul_add(x, scale, offset)


@emits(binary.Binarize)
def _binarize(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.compare("gt", x, b.const(0, x))
