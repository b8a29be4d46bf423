"""A kernel adds the products of every window in the same order, wherever the window lies.

Otherwise the bits of a result would depend on where bands of rows and columns begin, on the number
of threads, or on whether zeros around an image lie in memory.
"""

from __future__ import annotations

import numpy as np
import pytest
from interpreted_plan import run_plan
from parts import quick_part
from small_networks import ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import Array, DType, Padding, TensorType

TARGETS = (
    "host",
    "pi0",
    "imxrt1050",
    "wasm",
    pytest.param("pi3", marks=pytest.mark.slow),
    pytest.param("pi3_64", marks=pytest.mark.slow),
)
ROWS, COLUMNS = 6, 17
LAYERS = (
    (3, 1, 8, 8),
    (3, 2, 8, 8),
    (5, 1, 8, 8),
    (5, 2, 8, 8),
    (3, 1, 1, 8),
    (3, 2, 1, 8),
    (3, 2, 1, 33),
    (5, 1, 1, 16),
    (5, 1, 1, 120),
)
"""Taps, stride, groups and channels. The last three have long sums, which are added in parts.

Each is tested for one of the six targets, at least; each target has layers of both kinds."""


def layers_for(target: int) -> list[tuple[int, int, int, int]]:
    """The layers for a target."""
    return quick_part(LAYERS, target, len(TARGETS), covers=lambda layer: (layer[2] > 1,))


def layer(taps: int, stride: int, groups: int, channels: int, *, padded: bool) -> Graph:
    """A convolution whose zeros are padding, or pixels of its input."""
    rng = np.random.default_rng(taps)
    b = GraphBuilder("net")
    edge = 0 if padded else 2 * (taps // 2)
    x = b.input("x", TensorType(DType.F32, (1, ROWS + edge, COLUMNS + edge, channels)))
    shape = (8, taps, taps, channels // groups)
    operands = [b.constant(rng.normal(size=shape).astype(np.float32))]
    if taps == 3:
        operands.append(b.constant(rng.normal(size=8).astype(np.float32)))
    conv = Conv2D((stride, stride), Padding.same(taps // 2 if padded else 0), groups=groups)
    b.output("y", b.add(conv, x, *operands, source="layer"))
    return ready(b.build())


def result(graph: Graph, target: str, kernel: str, image: Array) -> Array:
    options = Options(kernels=(("layer", kernel),))
    (y,) = run_plan(make_plan(graph, resolve(target), options, "net"), (image,))
    return y


def kernels_of(graph: Graph, target: str) -> list[str]:
    """One candidate of every family that adds the products themselves."""
    plan = make_plan(graph, resolve(target), Options(listed=64), "net")
    (predictions,) = (s.predictions for s in plan.steps if s.predictions)
    named = {p.kernel: p.name for p in reversed(predictions) if not p.sums.algorithm}
    return list(named.values())


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_equal_windows_have_equal_sums(target: str) -> None:
    tried = set()
    names = [str(getattr(t, "values", (t,))[0]) for t in TARGETS]
    for taps, stride, groups, channels in layers_for(names.index(target)):
        pixel = np.random.default_rng(1).normal(size=channels).astype(np.float32)
        image = np.broadcast_to(pixel, (1, ROWS, COLUMNS, channels)).copy()
        padded, whole = (layer(taps, stride, groups, channels, padded=p) for p in (True, False))
        around = ((0, 0), (taps // 2,) * 2, (taps // 2,) * 2, (0, 0))
        for kernel in kernels_of(padded, target):
            y = result(padded, target, kernel, image)
            edge = 1 if stride == 2 or taps == 3 else 2
            inner = y[:, edge:-edge, edge:-edge]
            assert (inner == inner[:, :1, :1]).all(), kernel
            family = kernel.partition(":")[0]
            for same in kernels_of(whole, target):
                if same == kernel or same.partition(":")[0] == family == "gemm":
                    zeros = result(whole, target, same, np.pad(image, around))
                    np.testing.assert_array_equal(y, zeros, kernel)
            tried.add(family)
    assert tried >= {"gemm", "depthwise"}
