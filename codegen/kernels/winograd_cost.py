"""What a Winograd convolution is predicted to cost, for its choice of bands and among candidates.

The products cost what those of a 1x1 convolution do. A transform of n x n values applies the
one-dimensional transform to n rows, and to as many columns as it then has; it loads and stores
every value once.

V and M are written, read soon after, and then written again by the next band. Meanwhile the filters
pass through the caches. So the height of a band decides what is read from where: in low bands, V
and M stay in the caches, but the filters are read again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from ellc.codegen.blocks.schedule import LINE_BYTES
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.kernels.gemm import OVERHEAD_SLOTS, gemm_cycles
from ellc.codegen.kernels.winograd_stages import Layout
from ellc.codegen.kernels.winograd_transform import TAPS, operations
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_L2_TENTHS = 7
_LEAST_BLOCK = 8
_FLOAT_SLOTS = 0.5
"""What it costs to write a float of V or M and to read it again, beyond loads and stores that hit
the first-level cache, on cores whose waits for cache lines are not known."""
_BYTES_PER_SLOT, _BYTES_PER_SLOT_OUT_OF_ORDER = 2.0, 5.0
"""How many bytes arrive from memory in an issue slot."""
_TRANSFORM_CYCLES = {64: 1.5, 32: 3.1}
"""The cycles of an issue slot of a transform, by the bits of an address: with 16 registers, values
are spilled. This and the numbers below are fitted to the modelled
cycles of 92 layers and bands on pi3_64, with 16 to 512 channels and 4 to 784 tiles. The root mean
square of predicted / modelled - 1 is 0.11. Of the orders and bands that were modelled, the one with
the lowest prediction takes 6 to 8 % more cycles than the best one in two layers of eleven, and up
to 5 % more in the others."""
_NEAR_LINE_CYCLES = 4.0
"""The wait for a line of V or M in the second-level cache."""
_LOST_LINE_CYCLES, _LOST_REREAD_LINE_CYCLES = 50.0, 20.0
"""The wait for a line that has left that cache, and for a line of V that is read for another block
of filters. The products prefetch the latter, the transforms prefetch nothing."""
_BLOCK_OF_SUMS = {64: 2.5, 32: 1.14}
"""How many times as long straight-line code for the sums of one block takes as that for all blocks,
if values do not stay in registers. Thousand modelled cycles on pi3, F(4x4) by blocks and by planes:
16x16, 32 -> 32 channels 598 and 493, 28x28, 64 -> 64 channels 6,528 and 6,028."""
_L1_USED = 1.2
"""V and M of a band cost no waits up to this multiple of the first-level cache."""
_PART_OF_L1 = 0.75
"""The part of that cache that may be filled by what is read again and again."""


def winograd_cycles(target: Target, layout: Layout) -> float:
    """The predicted cycles of a layer; issue slots if the core executes out of order."""
    if target.core.memory is None:
        return _slots(target, layout)
    return (
        _products(target, layout)
        + _TRANSFORM_CYCLES[target.word_bits] * _transforms(target, layout)
        + _waits(target, layout)
    )


def _products(target: Target, layout: Layout) -> float:
    """The products of all tiles. They have no runs of taps, and their results are only stored."""
    shape = layout.product_shape(scratch(Elem.F32, (layout.v_floats,)))
    types = ProductTypes.floats(Elem.F32)
    around = OVERHEAD_SLOTS * shape.tiles(layout.schedule)
    return gemm_cycles(target, shape, layout.schedule, types) - around


def _transforms(target: Target, layout: Layout) -> float:
    """The issue slots of both transforms of all tiles."""
    n, m, lanes = layout.transform.points, layout.transform.results, layout.schedule.lanes
    data, sums = operations(m)
    load = target.core.load_cycles
    between, after = _spilled(target, n * n), _spilled(target, n * m)
    waits = target.core.memory is not None
    if layout.in_memory and waits:
        between, after = n * n, n * m
    per_data = 2 * n * data + (n * n + between) * (load + 1)
    per_sums = (n + m) * sums + n * n * load + m * m + after * (load + 1)
    if waits and layout.panels_first and between and not layout.in_memory:
        per_sums *= _BLOCK_OF_SUMS[target.word_bits]
    in_vectors, out_vectors = -(-layout.channels // lanes), -(-layout.filters // lanes)
    return layout.tiles * (in_vectors * per_data + out_vectors * per_sums)


def _spilled(target: Target, values: int) -> int:
    """How many of the values between two passes of a transform do not stay in registers."""
    return max(0, values - (target.vector_registers - 8))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The bytes of a band's V and M, of the part of M that is in use, and of all filters."""

    v: int
    m: int
    m_in_use: int
    filters: int


def _sizes(layout: Layout) -> _Sizes:
    row = 4 * layout.transform.products * layout.rows
    m = row * layout.filters
    in_use = row * layout.schedule.block if layout.panels_first else m
    filters = 4 * layout.transform.products * layout.channels * layout.filters
    return _Sizes(row * layout.channels, m, in_use, filters)


def _waits(target: Target, layout: Layout) -> float:
    """The waits for V, M and filters on a core that executes in order.

    Lines of the caches are replaced at random: a line is still in a cache of so many bytes with the
    probability exp(-passed / bytes), where `passed` bytes have come since.
    """
    memory, s = target.core.memory, _sizes(layout)
    assert memory is not None
    l1_bytes, l2_bytes = target.l1_bytes * _PART_OF_L1, max(target.l2_bytes, 1)
    in_use = s.v + s.m_in_use
    passed = (s.filters + in_use) / 2
    if layout.panels_first:
        passed = (s.filters + s.v) / layout.blocks + s.m_in_use
    line = _wait(passed / l2_bytes, _LOST_LINE_CYCLES)
    reread = _wait((s.filters / layout.blocks + in_use) / l2_bytes, _LOST_REREAD_LINE_CYCLES)
    waits = 0.0
    if in_use > _L1_USED * target.l1_bytes:
        moved = s.v if layout.panels_first and s.m_in_use <= l1_bytes else s.v + s.m
        panel = 4 * layout.depth * layout.schedule.block
        stays = not layout.panels_first and s.v / layout.transform.products + panel <= l1_bytes
        others = 0 if stays else layout.blocks - 1
        waits = layout.bands * (2 * moved * line + others * s.v * reread)
    again = (layout.bands - 1) * (1 - exp(-(s.filters + in_use) / l2_bytes))
    return (waits + s.filters * (1 + again) * memory.far_wait) / LINE_BYTES


def _wait(passed: float, lost: float) -> float:
    """The wait for a line if `passed` times the second-level cache has come since its last use."""
    kept = exp(-passed)
    return kept * _NEAR_LINE_CYCLES + (1 - kept) * lost


def _slots(target: Target, layout: Layout) -> float:
    """Issue slots, and what bytes cost that move, in slots."""
    floats = layout.tiles * layout.transform.products * (layout.channels + layout.filters)
    direct = 4 * TAPS**2 * layout.channels * layout.filters
    rate = _BYTES_PER_SLOT if target.core.in_order else _BYTES_PER_SLOT_OUT_OF_ORDER
    shape = layout.product_shape(scratch(Elem.F32, (layout.v_floats,)))
    products = gemm_cycles(target, shape, layout.schedule, ProductTypes.floats(Elem.F32))
    moved = moved_bytes(
        target,
        layout.transform.products,
        layout.tiles,
        layout.bands,
        (layout.channels, layout.filters),
        panels=layout.panels_first,
    )
    return products + _transforms(target, layout) + floats * _FLOAT_SLOTS + (moved - direct) / rate


def moved_bytes(
    target: Target, planes: int, tiles: int, bands: int, depths: tuple[int, int], *, panels: bool
) -> int:
    """The bytes of filters, V and M that move between memory and the second-level cache.

    `depths` has the numbers of channels and filters. Every band reads all filters. V and M cause no
    traffic if those of a band fit in the part of the cache that may be filled. Otherwise they are
    written and read once; but with `panels`, if one block of filters comes after the other, V is
    read once for each `_LEAST_BLOCK` filters.
    """
    channels, filters = depths
    usable = (target.l2_bytes or 64 * 1024) * _L2_TENTHS // 10
    band = -(-tiles // bands)
    v = 4 * planes * band * channels
    m = 4 * planes * band * (_LEAST_BLOCK if panels else filters)
    moved = bands * 4 * planes * channels * filters
    if v + m <= usable:
        return moved
    reads = filters // _LEAST_BLOCK if panels else 1
    return moved + bands * (v * (1 + reads) + (0 if panels else 2 * m))
