"""Pointwise operators as kernel IR, by the rules that are registered for them.

Kernels do not look at pointwise operators: they call `emit_pointwise`. So every pointwise operator
works in a kernel of its own and as a stage of every other kernel.
"""

from __future__ import annotations

import ellc.codegen.blocks.rules  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.pointwise import COSTLY, IN_DOUBLE, RULES
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise


def is_costly(op: Pointwise) -> bool:
    """Whether the rule emits much code, as for an elementary function or an integer division."""
    return type(op) in COSTLY


def computes_in_double(op: Op) -> bool:
    """Whether the rule of an operator computes in float64, whatever the operands' types."""
    return type(op) in IN_DOUBLE


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result of one operator on vectors."""
    rule = RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)
