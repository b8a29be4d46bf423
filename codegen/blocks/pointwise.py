"""The registry of rules that turn pointwise operators into kernel IR, one rule per operator.

A rule gets the operator, the builder, and the operands as vectors with equal numbers of lanes; it
returns the result vector. Booleans are masks. The modules of `blocks/rules` define the rules and
register them here; `blocks/emission.py` applies them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """Decorator: registers the rule for these operators.

    A `costly` rule emits much code and needs many registers. A rule that is `in_double` computes in
    float64, whatever the element types of the operands.
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


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A rule that applies to two vectors at once, and returns their results as one vector.

    It gets a pair for each operand. It is for operators whose results have narrower lanes than the
    operands, so that one instruction can work on the results of both. `applies` says whether the
    rule can compute an operator.
    """

    rule: Rule
    applies: Callable[..., bool]


NARROWING: dict[type[Op], Narrowing] = {}


def narrows(op: type[Pointwise], when: Callable[..., bool]) -> Callable[[RuleT], RuleT]:
    """Decorator: registers a rule for two vectors at once, which applies if `when(operator)`."""

    def add(rule: RuleT) -> RuleT:
        NARROWING[op] = Narrowing(rule, when)
        return rule

    return add
