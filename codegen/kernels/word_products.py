"""What kernels share that multiply pairs of 16-bit integers in general registers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem, VType

SAVED = 6
"""The instructions by which a requantisation with `high_factors` is shorter than that of an
epilogue, which predictions leave out."""
_UNROLLED = 3
"""Inner loops of at most so many trips are straight-line code: a Cortex-M7 predicts the end of such
a loop wrongly nearly every time, and then loses 8 cycles."""


def has_word_products(node: PlacedNode) -> bool:
    """Whether the target has the instructions of this file, and their costs are known."""
    row = INSTRUCTIONS["dsp_smlad"]
    return row.available(node.target) and row.cost(node.target) is not None


def repeat(b: KernelBuilder, trips: int, body: Callable[[Operand], None]) -> None:
    """Write a loop over 0..trips, or its trips one after the other if they are few."""
    if trips <= _UNROLLED:
        for trip in range(trips):
            body(Imm(trip))
        return
    with b.loop("trip", 0, trips) as loop:
        body(loop.index)


def padding_word(terms: Terms) -> Imm:
    """A word of two pixels outside of the image."""
    (zero,) = terms.padding.values
    both = (int(zero) & 0xFFFF) * 0x10001
    return Imm(int(np.uint32(both).view(np.int32)), VType(Elem.I32))
