"""Pointwise operators as kernel IR, by the rules that are registered for them.

Kernels never look at operators themselves: they call `emit_pointwise`, so every operator works in
loops of its own and in every epilogue.
"""

from __future__ import annotations

import ellc.codegen.blocks.rules  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.pointwise import COSTLY, IN_DOUBLE, RULES
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise


def is_costly(op: Pointwise) -> bool:
    """Whether the rule is long: an elementary function, a division of integers."""
    return type(op) in COSTLY


def computes_in_double(op: Op) -> bool:
    """Whether the rule of an operator uses float64, also where no operand is."""
    return type(op) in IN_DOUBLE


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result of one operator on vectors."""
    rule = RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)
