"""How each pointwise operator becomes kernel IR: one small rule per operator.

A rule gets the operator, the builder and its operands as vectors of equal lanes, and returns the
result vector. Booleans are masks. Kernels never look at operators themselves: they call
`emit_pointwise`, so every operator works in loops of its own and in every epilogue. The rules are
in the modules of `ellc.codegen.rules`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import TypeVar

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise

Rule = Callable[..., Operand]
RuleT = TypeVar("RuleT", bound=Rule)
_RULES: dict[type[Op], Rule] = {}
_COSTLY: set[type[Op]] = set()
_IN_DOUBLE: set[type[Op]] = set()


def emits(
    *ops: type[Pointwise], costly: bool = False, in_double: bool = False
) -> Callable[[RuleT], RuleT]:
    """Decorator: the rule for these operators.

    A costly one needs many registers; one `in_double` computes in float64 whatever its operands.
    """

    def add(rule: RuleT) -> RuleT:
        for op in ops:
            _RULES[op] = rule
            if costly:
                _COSTLY.add(op)
            if in_double:
                _IN_DOUBLE.add(op)
        return rule

    return add


def is_costly(op: Pointwise) -> bool:
    """Whether the rule is long: an elementary function, a division of integers."""
    _load_rules()
    return type(op) in _COSTLY


def computes_in_double(op: Op) -> bool:
    """Whether the rule of an operator uses float64, also where no operand is."""
    _load_rules()
    return type(op) in _IN_DOUBLE


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result of one operator on vectors."""
    _load_rules()
    rule = _RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)


@functools.cache
def _load_rules() -> None:
    """Import every module of rules once; that fills the registry."""
    import ellc.codegen.rules as package

    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
