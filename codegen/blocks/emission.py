"""Emits pointwise operators as kernel IR, by the rules that are registered for them.

Kernels call `emit_pointwise` for any pointwise operator. Therefore every pointwise operator works
both as an anchor and as a stage of any other kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import ellc.codegen.blocks.rules  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.pointwise import COSTLY, IN_DOUBLE, NARROWING, RULES
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.cast import Cast


def is_costly(op: Pointwise) -> bool:
    """Whether the operator's rule emits much code, such as an elementary function."""
    return type(op) in COSTLY


def computes_in_double(op: Op) -> bool:
    """Whether the operator's rule computes in float64, whatever the element types of operands."""
    return type(op) in IN_DOUBLE


def emit_pointwise(op: Pointwise, b: KernelBuilder, x: Operand, *extras: Operand) -> Operand:
    """The result vector of an operator whose operands are the vectors `x` and `extras`.

    Elementary functions of float16 numbers are computed in float32.
    Raises `EllcError` (E301) if no rule is registered for the operator.
    """
    rule = RULES.get(type(op))
    if rule is None:
        raise EllcError(f"no kernel for operator '{op.name}'", code="E301")
    if x.type.elem is Elem.F16 and is_costly(op) and not isinstance(op, Cast):
        wide = [b.convert(operand, Elem.F32) for operand in (x, *extras)]
        return b.convert(rule(op, b, *wide), Elem.F16)
    return rule(op, b, x, *extras)


def narrows_pairs(op: Pointwise) -> bool:
    """Whether `emit_narrowed` can compute an operator."""
    found = NARROWING.get(type(op))
    return found is not None and found.applies(op)


def emit_narrowed(
    op: Pointwise, b: KernelBuilder, pair: Sequence[Operand], *extras: Sequence[Operand]
) -> Operand:
    """The results of an operator for a pair of vectors as one vector; `extras` are pairs too."""
    return NARROWING[type(op)].rule(op, b, pair, *extras)
