"""Sums of stored integers in floating point as kernel IR."""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.pointwise import emits
from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.scaled_add import ScaledAdd


@emits(ScaledAdd, costly=True, in_double=True)
def _scaled_add(op: ScaledAdd, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    first = _product(b, x, op.x_factor)
    first = b.convert(b.add(first, b.const(op.offset, first)), Elem.F32)
    both = b.add(_product(b, y, op.y_factor), b.convert(first, Elem.F64))
    real = b.convert(both, Elem.F32)
    info = np.iinfo(op.dtype.numpy)
    real = b.min(b.max(real, b.const(float(info.min), real)), b.const(float(info.max), real))
    return b.convert(b.convert(vmath.round_even(b, real), Elem.I32), Elem.of(op.dtype))


def _product(b: KernelBuilder, x: Operand, factor: float) -> Operand:
    """`x * factor` in float64, which holds it exactly.

    A fused multiply-add in float32 would do, but not all targets have one.
    """
    widened = b.convert(b.convert(x, Elem.I32), Elem.F64)
    return b.mul(widened, b.const(factor, widened))
