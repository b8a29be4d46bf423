"""Convolutions of bytes by VNNI, instructions of x86-64 that add four products to each sum.

They multiply four unsigned bytes of the image by four signed weights. To signed bytes of the image,
128 is first added, in a register; the start values of sums make up for this. Weights are packed
`[group][block][kernel row][kernel column][four channels][filter][channel]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.terms import ProductTypes, Terms
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    folded,
    has_constant_operands,
    problem_of,
)
from ellc.codegen.kernels.gemm import OVERHEAD_SLOTS
from ellc.codegen.kernels.implicit_gemm import ConvShape
from ellc.codegen.kernels.pairs import PairProducts, most_tile_pixels, pair_tile, pair_tiles
from ellc.codegen.kernels.quads import pack_quads
from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense

_QUAD = 4
_SIGN = 128  # added to signed bytes that are read as unsigned ones


@kernel(IntConv2D, IntDense, name="vnni")
def vnni(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for layers of bytes with a multiple of four channels, if the target has VNNI.

    The weights minus their zero points must be signed bytes.
    """
    target = node.target
    if not has_constant_operands(node) or node.inputs[1].type.shape[-1] % _QUAD:
        return
    if not _dots(target).available(target):
        return
    problem = problem_of(node)
    types = problem.terms.types
    if types.weight is not Elem.I8 or types.image.bytes > 1:
        return
    terms = as_unsigned(problem.terms)
    shape = folded(node, problem.shape, most_tile_pixels(target, types, 2))
    usual = replace(pair_tile(target, types, shape.columns.outputs, shape.filters), k_step=_QUAD)
    others = pair_tiles(target, types, usual, shape)
    product = Product("vnni", Problem(shape, terms), VnniProducts, pack_quads)
    yield from product.candidates(node, vnni_cycles, usual, others)


def _dots(target: Target) -> Instruction:
    """The row of the instruction that fills a register of the target with sums."""
    return INSTRUCTIONS[f"x86_vpdpbusd_{32 * min(16, max(4, target.lanes(4)))}"]


def as_unsigned(terms: Terms) -> Terms:
    """The terms if 128 is added to signed bytes of the image; unsigned bytes stay as they are."""
    if terms.types.image is not Elem.I8:
        return terms
    share = _SIGN * terms.weights.sum(axis=(1, 2, 3), dtype=np.int64)
    exact = -share if terms.exact is None else terms.exact - share
    (zero,) = terms.padding.values
    return replace(terms, exact=exact, padding=replace(terms.padding, values=(zero + _SIGN,)))


def vnni_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Issue slots of a kernel, counted as in `pair_cycles`, but for four channels at a time.

    Each sum takes one instruction. Each pixel's values are loaded and repeated at once, and signed
    ones are made unsigned.
    """
    load = target.core.load_cycles
    sums = schedule.pixels * schedule.vectors
    value = load + (1.0 if types.image is Elem.I8 else 0.0)
    once = sums + schedule.vectors * load + schedule.pixels * value
    taps = shape.rows.taps * shape.columns.taps
    runs = shape.rows.taps if shape.consecutive_taps else taps
    around = 2 * sums + OVERHEAD_SLOTS * (runs + 1)
    return shape.tiles(schedule) * (once * taps * shape.channels / _QUAD + around)


class VnniProducts(PairProducts):
    """Adds the products of four channels at a time: bytes of the image without a sign."""

    together = _QUAD

    def image_factor(self, value: Operand) -> Operand:
        """Image values as unsigned bytes."""
        b = self._b
        if value.type.elem is Elem.U8:
            return value
        return b.bitcast(b.op("xor", value, b.const(-_SIGN, value)), Elem.U8)

    def weight_factor(self, weight: Operand) -> Operand:
        """Weights stay bytes."""
        return weight

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """The total plus the products of four channels."""
        row = f"x86_vpdpbusd_{32 * total.type.lanes}"
        return self._b.op(row, total, value, weight)
