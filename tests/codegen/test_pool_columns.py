"""Pools by columns and by lines of channels: results of random layers, and when they are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from agreement import trials_agree
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.ir import For, Kernel, Load, Prefetch, Stmt, walk
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 16
LAYER = "layer"


def network(pool: MaxPool2D | AvgPool2D, image: tuple[int, ...]) -> Graph:
    """A pool and a ReLU; the input is read twice, so that it has no border."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, image))
    b.output("y", b.add(Relu(), b.add(pool, x, source=LAYER)))
    return ready(b.build())


def random_network(seed: int) -> Graph:
    """A pool of one or two images of up to two lines of channels, with any padding."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(2, 4, 2))
    stride = int(rng.integers(1, rows + 1)), int(rng.integers(1, columns + 1))
    amounts = [int(rng.integers(0, n)) for n in (rows, columns, rows, columns)]
    image = (int(rng.integers(1, 3)), *(int(n) for n in rng.integers(3, 24, 2)))
    shape = (*image, 4 * int(rng.integers(1, 9)))
    if seed % 2:
        pool = AvgPool2D((rows, columns), stride, Padding(*amounts), seed % 4 == 1)
        return network(pool, shape)
    return network(MaxPool2D((rows, columns), stride, Padding(*amounts, (-np.inf,))), shape)


@cache
def trials() -> tuple[Trial, ...]:
    graphs = [random_network(seed) for seed in range(LAYERS)]
    sizes = ("2x4", "1x7", "2x14")
    by_columns = [
        Trial(g, (inputs_of(g, seed),), ((LAYER, _named(g, sizes[seed % 3])),))
        for seed, g in enumerate(graphs)
    ]
    by_lines = [
        Trial(g, (inputs_of(g, seed),), ((LAYER, "pool"),)) for seed, g in enumerate(lines())
    ]
    return (*by_columns, *by_lines)


def lines() -> list[Graph]:
    """Pools of whole lines of channels, whose windows do not overlap."""
    edged = Padding(1, 0, 0, 1, (-np.inf,))
    return [
        network(MaxPool2D((2, 2), (2, 2)), (1, 8, 8, 16)),
        network(MaxPool2D((2, 2), (2, 3), edged), (2, 7, 9, 48)),
        network(AvgPool2D((1, 3), (2, 3), Padding(0, 1, 0, 1)), (1, 5, 10, 32)),
    ]


def test_windows_that_do_not_overlap_are_computed_by_lines() -> None:
    for graph in lines():
        (step,) = make_plan(graph, resolve("pi3_64"), Options(), "net").steps
        assert step.call.note == "window 1x1x16"


def test_the_lines_of_the_next_tile_are_fetched() -> None:
    """Also at the end of a pixel, where the next tile has the first channels of another window."""
    (step,) = make_plan(lines()[0], resolve("pi3_64"), Options(), "net").steps
    (one,) = tiles(step.call.kernel)
    (step,) = make_plan(wide_lines(), resolve("pi3_64"), Options(), "net").steps
    last, inside = tiles(step.call.kernel)
    assert [one, inside, last] == [{2 * 16}, {16}, {2 * 64 - 3 * 16}]


def wide_lines() -> Graph:
    return network(MaxPool2D((2, 2), (2, 2)), (1, 8, 8, 64))


def tiles(kernel: Kernel) -> list[set[int]]:
    """For each tile with code of its own, how far its prefetches are from its first loads."""
    found = []
    for loop in (s for s in walk(kernel.body) if isinstance(s, For)):
        for tile in _runs(loop.body):
            loads = sorted(s.offset for s in tile if isinstance(s, Load))
            first = [at for at in loads if at % 16 == 0]
            fetched = sorted(s.offset for s in tile if isinstance(s, Prefetch))
            found.append({a - b for a, b in zip(fetched, first, strict=True)})
    return found


def _runs(body: Sequence[Stmt]) -> list[list[Stmt]]:
    """The statements beside each other that are no loops, if they fetch."""
    runs: list[list[Stmt]] = [[]]
    for statement in body:
        if isinstance(statement, For):
            runs.append([])
        else:
            runs[-1].append(statement)
    return [run for run in runs if any(isinstance(s, Prefetch) for s in run)]


def _named(graph: Graph, size: str) -> str:
    """The candidate of this size, or the usual one if the result is too small for it."""
    (step,) = make_plan(graph, resolve("pi3_64"), Options(listed=9), "net").steps
    name = f"pool_columns:{size}"
    return name if name in {p.name for p in step.predictions} else "pool_columns"


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
def test_random_layers_agree_with_the_reference() -> None:
    trials_agree(trials(), "pi3_64", "end")


@pytest.mark.parametrize(("target", "taken"), [("pi3_64", True), ("pi3", False), ("host", False)])
def test_it_is_taken_for_images_that_leave_the_cache(target: str, *, taken: bool) -> None:
    graph = network(MaxPool2D((3, 3), (2, 2)), (1, 55, 55, 128))
    (step,) = make_plan(graph, resolve(target), Options(), "net").steps
    assert (step.predictions[0].kernel == "pool_columns") == taken
