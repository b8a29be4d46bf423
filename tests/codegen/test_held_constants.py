"""Constants with a value per channel that kernels of pointwise operators keep in registers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from agreement import trials_agree
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.ir import For, Kernel, Load, walk
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Add, Cast, Mul
from ellc.ir.types import DType, TensorType

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 12, 16, 20, 64)
TYPES = (DType.U8, DType.I8, DType.I16, DType.F32)


def network(channels: int, dtype: DType, pixels: int) -> Graph:
    """Pixels of a type, normalised: a factor and an offset for each channel."""
    rng = np.random.default_rng(channels)
    b = GraphBuilder("net")
    x = b.input("x", TensorType(dtype, (1, 3, pixels, channels)))
    y = x if dtype is DType.F32 else b.add(Cast(DType.F32), x)
    factors, offsets = (b.constant(rng.normal(size=channels).astype(np.float32)) for _ in range(2))
    b.output("y", b.add(Add(), b.add(Mul(), y, factors), offsets))
    return ready(b.build())


@cache
def trials() -> tuple[Trial, ...]:
    graphs = [
        network(channels, TYPES[number % len(TYPES)], 1 + 4 * number)
        for number, channels in enumerate((*CHANNELS, *CHANNELS[::-1], 3, 3))
    ]
    return tuple(Trial(g, (inputs_of(g, seed),)) for seed, g in enumerate(graphs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "guard"),
    [
        ("host", "end"),
        pytest.param("pi3", "end", marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", "start", marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_results_agree_with_the_reference(target: str, guard: Guard) -> None:
    trials_agree(trials(), target, guard)


def kernel(graph: Graph, target: str) -> Kernel:
    (step,) = make_plan(graph, resolve(target), Options(), "net").steps
    return step.call.kernel


def loaded_in_loops(kernel: Kernel) -> set[str]:
    loops = tuple(s for s in kernel.body if isinstance(s, For))
    return {s.param.name for s in walk(loops) if isinstance(s, Load)}


@pytest.mark.parametrize("target", ["linux", "pi3", "pi3_64", "imxrt1050"])
def test_pixels_are_normalised_by_constants_in_registers(target: str) -> None:
    assert loaded_in_loops(kernel(network(3, DType.U8, 96), target)) == {"x0"}


def test_constants_that_need_too_many_registers_are_loaded_where_they_are_used() -> None:
    assert loaded_in_loops(kernel(network(64, DType.U8, 96), "pi3")) == {"x0", "e0", "e1"}
