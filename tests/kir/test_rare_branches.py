"""Rare parts of interleaved code share one branch, and each part has its effect."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.interp import run
from ellc.codegen.kir.ir import For, Imm, Kernel, Operand, Param, walk
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.kir.verify import verify

LANES = 4


def piece(b: KernelBuilder, p: Param, limit: int, start: int, before: int) -> Operand:
    """p plus `before`, added in ones, and then halved if it is above the limit, which is rare."""
    value: Operand = b.load(p, start, LANES)
    for _ in range(before):
        value = b.add(value, b.const(1, value))
    largest = b.largest(value)
    with b.rarely(largest, Imm(limit, VType(Elem.I32)), (value,)) as loop:
        (carried,) = loop.carried
        above = b.compare("gt", carried, b.const(limit, carried))
        loop.carry((b.select(above, b.shift_right(carried, 1), carried),))
    return b.add(loop.results[0], b.const(0, value))


def kernel(pieces: int, limits: tuple[int, ...], before: tuple[int, ...]) -> Kernel:
    b = KernelBuilder("k")
    p, q = b.param("x", Elem.I32), b.param("y", Elem.I32, writable=True)
    chains = [partial(piece, b, p, limits[i], i * LANES, before[i]) for i in range(pieces)]
    for i, value in enumerate(b.interleaved(chains)):
        b.store(value, q, i * LANES)
    made = b.finish()
    verify(made)
    return made


@pytest.mark.parametrize(
    "limits, before, branches",
    [((50,), (0,), 1), ((50,) * 3, (1,) * 3, 1), ((50, 60), (0, 0), 2), ((50, 50), (0, 1), 2)],
)
def test_equal_branches_at_the_same_place_are_one(
    limits: tuple[int, ...], before: tuple[int, ...], branches: int
) -> None:
    made = kernel(len(limits), limits, before)
    assert sum(isinstance(s, For) for s in walk(made.body)) == branches
    for peak in range(len(limits) * LANES):
        x = np.arange(len(limits) * LANES, dtype=np.int32)
        x[peak] = 100
        y = np.zeros_like(x)
        run(made, {"x": x, "y": y}, 0, 1)
        want = x + np.repeat(before, LANES)
        want = np.where(want > np.repeat(limits, LANES), want >> 1, want)
        np.testing.assert_array_equal(y, want)
