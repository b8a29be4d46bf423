"""Prefetches of depthwise convolutions of bytes: which pixels, for which images, and results."""

from __future__ import annotations

import pytest
from agreement import trials_agree
from requantised_convolutions import LAYER, convolution, image_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels import depthwise_fetches
from ellc.codegen.kir.ir import For, Kernel, Load, Prefetch, walk
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Padding


def depthwise(size: tuple[int, int, int], stride: int, seed: int = 0, taps: int = 3) -> Graph:
    conv = IntConv2D(
        padding=Padding.same(taps // 2), stride=(stride, stride), input_zero=-3, groups=size[2]
    )
    return convolution(conv, (1, *size), (size[2], taps, taps), -5, seed)


def kernel_of(graph: Graph, target: str) -> Kernel:
    (step,) = make_plan(graph, resolve(target), Options(), "net").steps
    assert step.call.note.startswith("depthwise ")
    return step.call.kernel


@pytest.mark.parametrize("stride", [1, 2])
def test_a_tile_fetches_once_what_the_next_tile_of_the_row_reads(stride: int) -> None:
    """Every turn of a trip loads the tile's pixels; together they fetch those to the right."""
    channels = 64
    kernel = kernel_of(depthwise((64, 64, channels), stride), "pi3_64")
    trips = [s for s in walk(kernel.body) if isinstance(s, For) and "channel" in s.index.name]
    assert len(trips) == {1: 9, 2: 4}[stride]  # tiles with and without padding
    for trip in trips:
        loads = [s for s in trip.body if isinstance(s, Load) and s.param.name == "x"]
        fetches = [s for s in trip.body if isinstance(s, Prefetch)]
        loaded = {(str(s.index), s.offset // channels) for s in loads}
        fetched = [(str(s.index), s.offset // channels) for s in fetches]
        assert len(loads) == 4 * len(loaded)
        assert len(fetched) == len(set(fetched))
        last = max(column for _, column in loaded)
        assert {row for row, _ in fetched} == {row for row, _ in loaded}
        assert {column for _, column in fetched} == {last + n for n in range(1, 4 * stride + 1)}


def test_only_images_that_leave_the_cache_are_fetched() -> None:
    for size, target, fetches in [
        ((64, 64, 64), "pi3_64", True),
        ((32, 32, 64), "pi3_64", False),
        ((64, 64, 64), "pi3", False),
        ((64, 64, 64), "host", False),
    ]:
        kernel = kernel_of(depthwise(size, 1), target)
        assert any(isinstance(s, Prefetch) for s in walk(kernel.body)) == fetches, (size, target)


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
def test_random_layers_agree_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images as well, which are not fetched by default; part blocks; several threads."""
    monkeypatch.setattr(depthwise_fetches, "_L2_SHARE", 1 << 20)
    sizes = [(9, 13, 64), (5, 4, 40), (16, 18, 27), (2, 30, 16), (7, 7, 104)]
    trials = [
        Trial(layer, ((image_of(layer, seed),),), kernels=((LAYER, "depthwise"),), threads=threads)
        for seed, size in enumerate(sizes)
        for stride, taps, threads in [(1, 3, 1), (2, 3, 3), (1, 5, 1)]
        for layer in [depthwise(size, stride, seed, taps)]
    ]
    trials_agree(trials, "pi3_64", "end")
