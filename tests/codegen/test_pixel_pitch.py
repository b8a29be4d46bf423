"""Gaps between the pixels of images, on cores where pixels would compete for sets of a cache."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import disagreement
from interpreted_plan import run_plan
from small_networks import inputs_of, reference_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.storage import Storage
from ellc.ir.branches import needs
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Concat, Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType

CHANNELS = 256
LINE_FLOATS = 16


def network() -> Graph:
    """Pointwise and depthwise convolutions of 256 channels, a concatenation, and a dense layer.

    The images have a border, are joined along channels, and at last are read as a vector.
    """
    b, numbers = GraphBuilder("net"), np.random.default_rng(1)

    def weights(*shape: int) -> str:
        return b.constant(numbers.integers(-2, 3, shape).astype(np.float32))

    x = b.input("x", TensorType(DType.F32, (1, 3, 4, 8)))
    one = b.add(Conv2D(), x, weights(CHANNELS, 1, 1, 8), source="wide")
    depthwise = Conv2D(padding=Padding(1, 1, 1, 1), groups=CHANNELS)
    two = b.add(depthwise, one, weights(CHANNELS, 3, 3, 1), source="depthwise")
    joined = b.add(Concat(3), b.add(Conv2D(), two, weights(CHANNELS, 1, 1, CHANNELS)), two)
    last = b.add(Conv2D(), joined, weights(CHANNELS, 1, 1, 2 * CHANNELS), source="last")
    flat = b.add(Reshape((1, 12 * CHANNELS)), last)
    b.output("y", b.add(Dense(), flat, weights(2, 12 * CHANNELS)))
    return run_pipeline(b.build())[0]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["pi3_64", "pi3"])
def test_networks_with_gaps_compute_the_same(target: str) -> None:
    graph = network()
    inputs = inputs_of(graph)
    (made,) = run_plan(make_plan(graph, resolve(target), Options(), "net"), inputs)
    assert not disagreement(made, reference_of(graph, inputs)[0])


def test_only_images_that_convolutions_read_have_gaps_of_one_line() -> None:
    graph = network()
    dense, spread = (Storage(graph, needs(graph), resolve(t)) for t in ("linux", "pi3_64"))
    pitches = {
        access.strides[2] - dense.accesses[value].strides[2]
        for value, access in spread.accesses.items()
        if len(access.shape) == 4
    }
    assert pitches == {0, LINE_FLOATS}
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            assert spread.accesses[node.inputs[0]].is_dense
    before, after = (sum(b.bytes for b in s.buffers) for s in (dense, spread))
    assert before < after <= before * 17 / 16


def test_other_cores_have_no_gaps() -> None:
    graph = network()
    plans = [make_plan(graph, resolve(name), Options(), "net") for name in ("linux", "pi3_64")]
    sizes = [max(b.bytes for b in plan.buffers.values() if b.kind == "arena") for plan in plans]
    assert sizes[0] < sizes[1]
