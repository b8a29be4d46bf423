"""Networks that take bytes in planes (NCHW): no pass over the image moves their channels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from agreement import trials_agree
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Cast, Mul, Relu
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 3
TAPS = 3


def network(
    seed: int, dtype: DType = DType.U8, channels: int = 3, taps: int = TAPS, *, twice: bool = False
) -> Graph:
    """Pixels in planes, normalised by a factor and an offset for each colour, and a convolution.

    With `twice`, the normalised pixels are also an output.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder("net")
    rows, columns = (int(n) for n in rng.integers(5, 40, 2))
    x = b.input("x", TensorType(dtype, (1, channels, rows, columns)))
    factors, offsets = (
        b.constant(rng.uniform(0.01, 0.02, (1, channels, 1, 1)).astype(np.float32))
        for _ in range(2)
    )
    y = b.add(Add(), b.add(Mul(), b.add(Cast(DType.F32), x), factors), offsets)
    y = b.add(Transpose((0, 2, 3, 1)), y)
    if twice:
        b.output("pixels", y)
    amounts = (int(n) for n in rng.integers(0, min(2, taps), 4))
    stride = tuple(int(n) for n in rng.integers(1, 3, 2))
    conv = Conv2D(padding=Padding(*amounts), stride=stride)
    filters = rng.normal(size=(int(rng.integers(4, 20)), taps, taps, channels))
    y = b.add(conv, y, b.constant(filters.astype(np.float32)), source="conv")
    b.output("y", b.add(Relu(), y))
    return ready(b.build())


def notes(graph: Graph, target: str) -> list[str]:
    steps = make_plan(graph, resolve(target), Options(), "net").steps
    return [step.call.note.split()[0] for step in steps if step.op != "border"]


@cache
def trials() -> tuple[Trial, ...]:
    types = (DType.U8, DType.I8, DType.U16)
    graphs = [network(seed, types[seed % 3], 2 + seed) for seed in range(LAYERS)]
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
def test_random_layers_agree_with_the_reference(target: str, guard: Guard) -> None:
    trials_agree(trials(), target, guard)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["pi3", "pi3_64"])
@pytest.mark.parametrize("seed", range(2))
def test_channels_stay_in_planes_up_to_the_convolution(seed: int, target: str) -> None:
    assert notes(network(seed), target) == ["elementwise", "direct"]


def test_channels_are_moved_as_bytes_if_the_convolution_reads_no_planes() -> None:
    assert notes(network(1), "host")[0] == "copy"
    assert notes(network(1, taps=1), "pi3_64")[0] == "copy"


@pytest.mark.slow
def test_pixels_that_are_also_an_output_keep_their_order() -> None:
    assert notes(network(1, twice=True), "pi3_64")[:2] == ["copy", "elementwise"]
