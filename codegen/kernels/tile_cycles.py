"""How long the innermost loop of a register tile takes on a core whose loops ellc schedules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.loop_schedule import NoSchedule
from ellc.codegen.kir.in_order.placing import placed
from ellc.codegen.kir.in_order.product_loop import Product, by_vector
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.machine.target import Target

_VECTOR_BYTES, _LANES = 16, 4
"""The scheduler orders products of vectors of so many floats."""


def step_slots(target: Target, tile: GemmSchedule) -> float | None:
    """The issue slots in which a loop adds the products of `k_step` channels to a tile.

    On a core that executes out of order, they follow from its units; for loops that ellc schedules,
    they are their cycles. None if nothing is known.
    """
    units = target.core.units
    if units is None:
        return step_cycles(target, tile)
    if not tile.by_lane or tile.k_step != tile.lanes:
        return None
    sums = tile.pixels * tile.vectors
    loads = tile.pixels + tile.k_step * tile.vectors
    return units.products * units.cycles(sums * tile.k_step, loads, sums)


def step_cycles(target: Target, tile: GemmSchedule) -> int | None:
    """The cycles in which a scheduled loop adds the products of `k_step` channels to a tile.

    None if the core has no scheduler, or if the scheduler finds no place for the tile's loads.
    """
    encoding = encoding_of(target)
    if not target.core.scheduler or encoding is None:
        return None
    if not tile.by_lane or tile.k_step != tile.lanes or tile.lanes != _LANES:
        return None
    return _cycles(tile.pixels, tile.vectors, tile.k_step, encoding)


def run_cycles(
    target: Target, products: Sequence[Product], loads: int, sums: int, row_bytes: int
) -> int | None:
    """The cycles of a trip of a scheduled loop that adds these products to `sums` vectors.

    A trip reads `row_bytes` bytes of weights. None if the core has no scheduler, or if the
    scheduler finds no place for the loads.
    """
    encoding = encoding_of(target)
    if not target.core.scheduler or encoding is None or not products:
        return None
    if encoding.stream_reach and row_bytes > encoding.stream_reach:
        return None
    return _run_cycles(tuple(products), loads, sums, encoding)


@cache
def _run_cycles(
    products: Sequence[Product], loads: int, sums: int, encoding: Encoding
) -> int | None:
    ordered = by_vector(products) if encoding.loads_halves_apart else products
    try:
        return placed(ordered, loads, len(encoding.registers["v"]) - sums, encoding).cycles
    except NoSchedule:
        return None


@cache
def _cycles(pixels: int, vectors: int, steps: int, encoding: Encoding) -> int | None:
    """The length of the schedule of a loop that loads image values, then weights."""
    products = [
        Product(pixel * vectors + vector, pixels + step * vectors + vector, pixel, step)
        for step in range(steps)
        for pixel in range(pixels)
        for vector in range(vectors)
    ]
    if encoding.loads_halves_apart:
        products = by_vector(products)
    row_bytes = steps * vectors * _VECTOR_BYTES
    if encoding.stream_reach and row_bytes > encoding.stream_reach:
        # The loads of weights would need more pointers than there are registers for them.
        return None
    spare = len(encoding.registers["v"]) - pixels * vectors
    try:
        return placed(products, pixels + steps * vectors, spare, encoding).cycles
    except NoSchedule:
        return None
