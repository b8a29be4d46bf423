"""The model of how cores issue instructions gives the cycles that hardware was measured to take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ellc.codegen.blocks.schedule import gemm_tile
from ellc.codegen.kernels.tile_cycles import step_slots
from ellc.codegen.kir.in_order import beside, loop_schedule
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.core import Arch, core_named, core_names
from ellc.codegen.machine.pipeline import (
    PIPELINES,
    cycles_of,
    loads_beside_products,
    loop_cycles,
)
from ellc.codegen.machine.resolve import resolve

ROWS = PIPELINES["cortex-a53", "aarch64"]
A55 = PIPELINES["cortex-a55", "aarch64"]


@dataclass(frozen=True)
class Instruction:
    kind: str
    reads: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


BRANCH = Instruction("branch")


def products(count: int, first: int = 0, kind: str = "multiply_add") -> list[Instruction]:
    """Independent multiply-adds."""
    return [Instruction(kind, ("a", "b"), (), (f"s{first + i}",)) for i in range(count)]


def load(kind: str, to: str) -> Instruction:
    return Instruction(kind, ("pointer",), (), (), (to,))


INSERT = Instruction("insert", ("high",), (), ("low",))
KNOWN = {
    "independent products": (products(16), 16),
    "chained products": ([Instruction("multiply_add", ("a", "b"), (), ("s",))] * 4, 16),
    "halves of products pair": (products(16, kind="half_multiply_add"), 8),
    "loads wait for the add stage": (
        [op for i in range(2) for op in (*products(4, 4 * i), load("vector_load", f"q{i}"))],
        20,
    ),
    "a load for three products": (
        [op for i in range(4) for op in (*products(3, 3 * i), load("half_load", f"d{i}"))],
        16,
    ),
    "loads behind products": ([*products(4), load("load", "x1"), load("load", "x2")], 5),
    "a load in parts": (
        [
            Instruction("insert", ("h1",), (), ("l1",)),
            load("half_load", "l2"),
            *products(1),
            load("load", "h2"),
            *products(2, 1),
            Instruction("insert", ("h2",), (), ("l2",)),
            load("half_load", "l1"),
            *products(1, 3),
            load("load", "h1"),
            *products(2, 4),
        ],
        8,
    ),
}
"""Loops that were timed on hardware, or that follow from such timings, and their cycles."""


KNOWN_A55 = {
    "independent products": (products(16), 16),
    "chained products": ([Instruction("multiply_add", ("a", "b"), (), ("s",))] * 4, 16),
    "loads of halves beside products": (
        [op for i in range(4) for op in (*products(1, i), load("half_load", f"d{i}"))],
        4,
    ),
    "whole loads between products": (
        [op for i in range(4) for op in (*products(1, i), load("vector_load", f"q{i}"))],
        12,
    ),
    "a load in parts": (
        [
            *products(1),
            load("half_load", "l2"),
            *products(1, 1),
            load("load", "h2"),
            *products(1, 2),
            Instruction("insert", ("h1",), (), ("l1",)),
            *products(1, 3),
        ],
        4,
    ),
}
"""The same for the Cortex-A55, from what the authors of ncnn's kernels measured."""


@pytest.mark.parametrize("name", KNOWN_A55)
def test_loops_on_a_cortex_a55_take_the_known_cycles(name: str) -> None:
    body, cycles = KNOWN_A55[name]
    assert loop_cycles(body, A55) == cycles


@pytest.mark.parametrize(("core", "arch"), PIPELINES)
def test_every_core_has_all_rows_and_its_schedules_wait_for_its_latencies(
    core: str, arch: Arch
) -> None:
    rows = PIPELINES[core, arch]
    own = {"whole_store"} if arch == "arm" else set[str]()
    assert core in core_names() and set(rows) == set(ROWS) | own
    placing = beside if loads_beside_products(rows) else loop_schedule
    assert rows["load"].latency <= placing.CORE_LATENCY + rows["insert"].need
    assert rows["half_load"].latency - rows["insert"].update_need <= placing.LOAD_LATENCY
    assert rows["insert"].latency <= placing.INSERT_LATENCY + rows["multiply_add"].need


@pytest.mark.parametrize("name", KNOWN)
def test_loops_take_the_known_cycles(name: str) -> None:
    body, cycles = KNOWN[name]
    assert loop_cycles(body, ROWS) == cycles


def test_straight_code_waits_for_results() -> None:
    chain = [
        load("load", "address"),
        Instruction("half_load", ("address",), (), (), ("low",)),
        INSERT,
        Instruction("multiply_add", ("low", "b"), (), ("sum",)),
        Instruction("vector_add", ("sum", "zero"), (), (), ("result",)),
        Instruction("vector_store", ("pointer",), ("result",)),
    ]
    # The results come after 4 - 1 (an address), 3 - 2 (updated late), 2, 8 and 4 - 1 cycles.
    assert cycles_of(chain, ROWS) == 1 + 3 + 1 + 2 + 8 + 3


def test_a_division_blocks_its_unit_only() -> None:
    divide = Instruction("divide", ("a", "b"), (), (), ("q",))
    assert cycles_of([divide, *products(5)], ROWS) == 6
    assert cycles_of([divide, Instruction("divide", ("a", "b"), (), (), ("r",))], ROWS) == 13


# --- cores that execute out of order -------------------------------------------------------------

UNITS = {"cortex-a72": "pi4", "cortex-a76": "pi5"}


@pytest.mark.parametrize("name", UNITS)
def test_units_bound_loops_of_tiles(name: str) -> None:
    core = core_named(name, "aarch64")
    units = core.units
    assert units is not None and core.slot_cycles == 1 / units.products
    # Large tiles are bound by multiply-adds, small ones by latency, and copies by loads.
    assert units.cycles(64, 16, 16) == 64 / units.products
    assert units.cycles(8, 2, 1) == 8 * units.latency
    assert units.cycles(4, 400, 4) == 400 / units.loads
    assert units.cycles(0, 0, 1) == 2 / units.instructions


@pytest.mark.parametrize("name", UNITS)
def test_a_step_of_a_tile_takes_as_many_slots_as_multiply_adds(name: str) -> None:
    target = resolve(UNITS[name])
    assert target.core.name == name
    tile = gemm_tile(target, Elem.F32, 56, 64)
    assert tile.note == "8x8" and step_slots(target, tile) == 64
    narrow = replace(tile, pixels=2, vectors=1)
    # Two sums wait for their latency.
    assert target.core.units is not None
    assert step_slots(target, narrow) == 4 * target.core.units.latency * target.core.units.products
    assert step_slots(resolve("aarch64"), tile) is None
