"""How each pointwise operator becomes kernel IR: one small rule per operator.

A rule gets the operator, the builder and its operands as vectors of equal lanes, and returns the
result vector. Booleans are masks. The rules are in the modules of `blocks/rules`, which register
them here; `blocks/emission.py` applies them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ellc.codegen.kir.ir import Operand
from ellc.ir.op import Op, Pointwise

Rule = Callable[..., Operand]
RuleT = TypeVar("RuleT", bound=Rule)
RULES: dict[type[Op], Rule] = {}
COSTLY: set[type[Op]] = set()
IN_DOUBLE: set[type[Op]] = set()


def emits(
    *ops: type[Pointwise], costly: bool = False, in_double: bool = False
) -> Callable[[RuleT], RuleT]:
    """Decorator: the rule for these operators.

    A `costly` rule emits much code, which needs many registers. A rule `in_double` computes in
    float64, whatever the operands' types.
    """

    def add(rule: RuleT) -> RuleT:
        for op in ops:
            RULES[op] = rule
            if costly:
                COSTLY.add(op)
            if in_double:
                IN_DOUBLE.add(op)
        return rule

    return add
