"""How long the innermost loop of a register tile takes on a core whose loops ellc schedules."""

from __future__ import annotations

from functools import cache

from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.kir.in_order.modulo import NoSchedule
from ellc.codegen.kir.in_order.modulo import schedule as modulo_schedule
from ellc.codegen.machine.target import Target


def step_cycles(target: Target, tile: GemmSchedule) -> int | None:
    """The cycles in which a scheduled loop adds the products of `k_step` channels to a tile.

    None if the core has no scheduler, or if the scheduler finds no place for the tile's loads.
    """
    if not target.core.scheduler or not (tile.by_lane and tile.weights_first):
        return None
    return _cycles(tile.pixels, tile.vectors, tile.k_step, target.vector_registers)


@cache
def _cycles(pixels: int, vectors: int, steps: int, registers: int) -> int | None:
    """The length of the schedule; products are in the order in which tiles write them."""
    uses: list[list[int]] = [[] for _ in range(pixels + steps * vectors)]
    products = 0
    for step in range(steps):
        for pixel in range(pixels):
            for vector in range(vectors):
                uses[pixel].append(products)
                uses[pixels + step * vectors + vector].append(products)
                products += 1
    spare = registers - pixels * vectors
    try:
        return modulo_schedule(tuple(map(tuple, uses)), products, spare).cycles
    except NoSchedule:
        return None
