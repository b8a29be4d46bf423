"""What kernels of depthwise convolutions in planes know of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import WeightArg
from ellc.codegen.blocks.high_factors import MOST_RAISED, HighFactors
from ellc.codegen.blocks.packed_factors import MOST_RAISED_SUM
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.requantisation import requantisation
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.terms import Terms, in_fewest_bytes
from ellc.codegen.blocks.window import Axis, cut, window_axes
from ellc.codegen.kernels.convolution import has_filter_per_channel, terms_of
from ellc.codegen.kernels.word_products import SAVED, has_word_products
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D

NUMBERS = 4
"""The numbers of a filter: start value, mantissa, offset, and what negative sums subtract, or k."""
GROUP = 4  # channels that are rearranged at once: those of a word
_MOST_TAPS = 25  # of a window, which is straight-line code
PIXELS = 4  # of a tile
_PLANE_BYTES = 4096
"""The most bytes of the planes of a group, unless one row of results needs more."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The planes of a group: `lines` rows of `pitch` words, for `rows` rows of results."""

    rows: int
    lines: int
    pitch: int

    @property
    def words(self) -> int:
        """The number of words of a plane."""
        return self.lines * self.pitch


@dataclass(frozen=True, eq=False, slots=True)
class PlaneProblem:
    """Everything that a kernel needs."""

    x: Access
    y: Access
    walk: tuple[int, int, int, int]
    rows: Axis
    columns: Axis
    terms: Terms
    op: Requantize
    factors: HighFactors

    @property
    def shifts_sums(self) -> bool:
        """Whether sums are shifted, because weights shifted by so many bits would not fit."""
        return int(self.factors.raised.max()) > MOST_RAISED

    def stored_weights(self, node: PlacedNode) -> WeightArg:
        """The bytes of each filter, row after row."""
        terms = self.terms
        packed = np.asarray(terms.stored.reshape(len(terms.weights), -1), order="C")
        what = f"rows:{terms.key}{packed.shape}"
        return node.inputs[1].derived(what, packed.nbytes, partial(np.asarray, packed))

    def layout(self) -> Layout:
        """The layout with the highest bands that `_PLANE_BYTES` allow."""
        pixels = cut(self.columns.outputs, PIXELS).count * PIXELS
        last = (max(pixels, self.columns.outputs) - 1) * self.columns.stride + self.columns.taps
        pitch = -(-max(last, self.columns.before + self.columns.size) // 2)
        lines = _PLANE_BYTES // (GROUP * 4 * pitch)
        most = max(1, (lines - self.rows.taps) // self.rows.stride + 1)
        rows = cut(self.rows.outputs, most).size
        return Layout(rows, (rows - 1) * self.rows.stride + self.rows.taps, pitch)

    def cycles(self) -> float:
        """The predicted instructions, in comparison with kernels that have an epilogue."""
        layout, (images, rows, columns, channels) = self.layout(), self.walk
        bands = -(-rows // layout.rows)
        taps = self.rows.taps * self.columns.taps
        products = self.rows.taps * -(-self.columns.taps // 2)
        words = self.rows.taps * (self.columns.stride * (PIXELS - 1) + self.columns.taps + 4) / 2
        tiles = rows * (-(-columns // PIXELS))
        of_plane = tiles * (words + PIXELS * products + 3) + bands * (20 + 3 * taps)
        moved = bands * layout.lines * self.columns.size * 7 / 4
        return images * channels * (of_plane + moved - SAVED * rows * columns)


def plane_problem(node: PlacedNode) -> PlaneProblem | None:
    """The problem of a node, or None if this family cannot compute it.

    Where code should be small, weights may be unsigned bytes, from which the kernel subtracts a
    number.
    """
    conv = node.anchor
    if not has_filter_per_channel(node) or not has_word_products(node):
        return None
    assert isinstance(conv, IntConv2D)
    terms = in_fewest_bytes(terms_of(node)) if node.code == "size" else terms_of(node)
    filters, *taps, _ = terms.weights.shape
    types, y = terms.types, node.result.access
    if (
        filters != conv.groups
        or filters % GROUP
        or conv.dilation != (1, 1)
        or taps[0] * taps[1] > _MOST_TAPS
        or types.image.bytes > 1
        or types.weight not in (Elem.I8, Elem.U8)
        or y.shape != node.anchor_type().shape
    ):
        return None
    found = _factors(node, terms)
    if found is None:
        return None
    images, rows, columns, _ = node.anchor_type().shape
    x = reshaped(node.inputs[0].access, node.inputs[0].type.shape)
    axes = window_axes(x, (rows, columns), (taps[0], taps[1]), conv.stride, (1, 1), terms.padding)
    return PlaneProblem(x, y, (images, rows, columns, filters), *axes, terms, *found)


def _factors(node: PlacedNode, terms: Terms) -> tuple[Requantize, HighFactors] | None:
    """The requantisation: packed if possible, even if sums must be shifted instead of weights."""
    found = requantisation(node, terms)
    if found is None or found[1].packed or node.code != "size":
        return found
    of_sums = requantisation(node, terms, MOST_RAISED_SUM)
    return of_sums if of_sums and of_sums[1].packed else found
