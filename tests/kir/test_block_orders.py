"""Orders of blocks: they keep dependences, and fit into the registers of the given order."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from layer_list import Layer
from order_constants import AS_THEY_ARE, changes, measured, rows_of

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg
from ellc.codegen.kir.in_order.list_schedule import Order, Orders, StraightLine
from ellc.codegen.kir.in_order.pressure import enough
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.machine.pipeline import pipeline_of
from ellc.codegen.machine.resolve import resolve

SEEDS = range(12)
SUM = Reg("v", 0)
BASE = Reg("x", 0)


def block(seed: int) -> list[Op]:
    """Loads, arithmetic and stores, of which some are two instructions that stay together."""
    draw = random.Random(seed)
    values = [Reg("v", 1)]
    ops = [Op("vector_load", "load {0}, {1}", (values[0],), (), (BASE,))]
    for number in range(2, 40):
        new, (a, b) = Reg("v", number), draw.choices(values, k=2)
        together = draw.choice(("", "\n"))
        match draw.randrange(4):
            case 0:
                access = Access("in", "in", 16 * number, 16, stores=False)
                ops.append(Op("vector_load", f"load{together}", (new,), (), (BASE,), access=access))
            case 1:
                ops.append(Op("vector_add", f"add{together}", (new,), (), (a, b)))
            case 2:
                ops.append(Op("multiply_add", "fma", (), (SUM,), (a, b)))
                continue
            case _:
                access = Access("out", "out", 16 * number, 16, stores=True)
                ops.append(Op("vector_store", "store", (), (), (BASE,), (a,), access=access))
                continue
        values = [*values[-5:], new]
    return ops


def most(ops: Sequence[Op], out: frozenset[Reg], *, tight: bool) -> Mapping[Bank, int]:
    """As few registers as the given order needs."""
    for count in range(len(ops)):
        free: Mapping[Bank, int] = {"x": 1, "v": count, "p": 0}
        if enough(free, ops, out, tight=tight):
            return free
    raise AssertionError


def values_read(ops: Sequence[Op]) -> dict[int, list[tuple[int, ...]]]:
    """By instruction the instructions that have written what it reads."""
    last: dict[Reg, int] = {}
    found: dict[int, list[tuple[int, ...]]] = {}
    for op in ops:
        found[id(op)] = [tuple(last.get(reg, 0) for reg in op.used)]
        last.update(dict.fromkeys(op.defined, id(op)))
    return found


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("name", ["pi3", "pi3_64"])
def test_careful_orders_need_no_more_registers_than_the_given_one(name: str, tight: bool) -> None:
    target = resolve(name)
    encoding, rows = encoding_of(target), pipeline_of(target)
    assert encoding is not None and rows is not None
    faster = 0
    for seed in SEEDS:
        ops, out = block(seed), frozenset({SUM, BASE})
        free = most(ops, out, tight=tight)
        orders = Orders(StraightLine(ops, encoding, rows, out, free))
        order = orders.careful(tight=tight)
        assert enough(free, order.ops, out, tight=tight), seed
        assert_same_values(orders.early(), ops)
        assert_same_values(orders.in_turn(), ops)
        assert_same_values(order, ops)
        faster += order.cycles() < orders.given().cycles()
    assert faster > len(SEEDS) // 2


def test_constants_of_the_scheduler_are_measured() -> None:
    wanted = {name: changes()[name] for name in (AS_THEY_ARE, "slack 0", "careful window 32")}
    layer = Layer(3, 8, 8, 6, groups=8)
    sums = measured(layer.graph(), resolve("pi3"), wanted)
    lines = list(rows_of(sums))
    assert len(lines) == len(wanted) and "+0.00 %" in lines[0]
    assert measured(layer.graph(), resolve("pi3"), {AS_THEY_ARE: {}}).cycles.items() <= (
        sums.cycles.items()
    )


def assert_same_values(order: Order, ops: Sequence[Op]) -> None:
    assert values_read(order.ops) == values_read(ops)
