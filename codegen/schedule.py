"""Schedules: how a kernel is tiled on a target. Small frozen dataclasses chosen by rules."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.targets import Target


@dataclass(frozen=True, slots=True)
class GemmSchedule:
    """Register tile of an implicit matrix product: `pixels` x (`vectors` * `lanes`) accumulators.

    With `by_lane` the image is read as vectors of `k_step` channels whose lanes multiply (fmla by
    element); otherwise each value is loaded and broadcast. `band_rows` output rows are finished
    for all filters before the next band starts.
    """

    pixels: int
    vectors: int
    lanes: int
    k_step: int
    by_lane: bool
    band_rows: int

    @property
    def block(self) -> int:
        """Filters in one tile."""
        return self.vectors * self.lanes

    @property
    def note(self) -> str:
        """Short name for reports: `8x8`."""
        return f"{self.pixels}x{self.block}"


def gemm_schedule(
    target: Target,
    *,
    element_bytes: int,
    pixels: int,
    filters: int,
    rows: int,
    row_bytes: int,
    multiple: int = 1,
) -> GemmSchedule:
    """The tile for `pixels` output pixels a row (or in all) and `filters` filters.

    `row_bytes` is what one output row needs of the input; a band keeps within half of the second
    level cache. `multiple` is what the block must be a multiple of (8 where signs are packed).
    """
    lanes = target.lanes(element_bytes)
    if element_bytes == 8 and not target.vector_f64:
        lanes = 1
    budget = max(4, target.vector_registers)
    vectors = _vectors(lanes, budget, pixels, filters)
    while vectors * lanes % multiple:
        vectors += 1
    by_lane = target.lane_fma and lanes == 4 and pixels > 1
    tile = _pixels(budget, vectors, by_lane)
    cache = target.l2_bytes or 256 * 1024
    band = max(1, min(rows, cache // 2 // max(1, row_bytes)))
    return GemmSchedule(
        min(tile, max(1, pixels)), vectors, lanes, lanes if by_lane else 2, by_lane, band
    )


def _vectors(lanes: int, registers: int, pixels: int, filters: int) -> int:
    """Vectors of filters in a tile: two where there are enough filters, many for one pixel."""
    needed = -(-filters // lanes)
    if pixels == 1:
        return min(needed, 8 if registers >= 32 else 4)
    wanted = 4 if lanes == 1 else 2
    if needed <= wanted:
        return needed
    # One vector less work in the last block is worth more than a wider tile.
    return wanted


def _pixels(registers: int, vectors: int, by_lane: bool) -> int:
    """Pixels in a tile: accumulators, one row of weights and the image's values must fit."""
    if by_lane:
        return max(1, min(16, (registers - vectors - 2) // (vectors + 1) - (vectors == 1) * 2))
    spare = vectors + (2 if registers >= 32 else 1)
    return max(1, min(14, (registers - spare) // vectors))
