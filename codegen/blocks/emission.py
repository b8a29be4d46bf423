"""Emits pointwise operators as kernel IR, by the rules that are registered for them.

Kernels call `emit_pointwise` for any pointwise operator. Therefore every pointwise operator works
both as an anchor and as a stage of any other kernel.
"""

from __future__ import annotations

import ellc.codegen.blocks.rules  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.pointwise import COSTLY, IN_DOUBLE, RULES
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise


def is_costly(op: Pointwise) -> bool:
    """Whether the operator's rule emits much code, such as an elementary function."""
    return type(op) in COSTLY


def computes_in_double(op: Op) -> bool:
    """Whether the operator's rule computes in float64, whatever the element types of operands."""
    return type(op) in IN_DOUBLE


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result vector of an operator whose operands are the vectors `x` and `extras`.

    Raises `EllcError` (E301) if no rule is registered for the operator.
    """
    rule = RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    return rule(op, b, x, *extras)
