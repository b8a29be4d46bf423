"""The loop orders of matrix products on in-order cores: bands, prefetches, predicted costs."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.ir import Load, Prefetch, walk
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


def pointwise(size: int, channels: int, filters: int) -> Graph:
    """A 1x1 convolution of an image of `size` x `size` pixels."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, size, size, channels)))
    weights = b.constant(np.ones((filters, 1, 1, channels), np.float32))
    b.output("y", b.add(Conv2D(), x, weights, source="layer"))
    return b.build()


def planned(graph: Graph, target: str, kernel: str = "") -> Plan:
    """The plan; `kernel` names the candidate for the layer."""
    asked = (("layer", kernel),) if kernel else ()
    return make_plan(graph, resolve(target), Options(kernels=asked), "net")


def bands(plan: Plan, filters: int) -> float:
    """The number of bands in which the only kernel computes each block of filters."""
    (step,) = plan.steps
    block = int(step.call.note.split()[1].split("x")[1])
    return step.call.extent / -(-filters // block)


def test_large_weights_are_read_in_few_bands_and_small_ones_in_many() -> None:
    assert bands(planned(pointwise(7, 1024, 1024), "pi3_64"), 1024) <= 2
    assert bands(planned(pointwise(56, 64, 128), "pi3_64"), 128) >= 28


@pytest.mark.parametrize(("target", "prefetches"), [("pi3_64", True), ("linux", False)])
def test_only_cores_that_execute_in_order_prefetch(target: str, prefetches: bool) -> None:
    (step,) = planned(pointwise(14, 256, 64), target).steps
    found = {s.param.name for s in walk(step.call.kernel.body) if isinstance(s, Prefetch)}
    assert found == ({"x", "w"} if prefetches else set())


@pytest.mark.parametrize(("side", "ahead"), [(1, 8 * 24), (3, 16)])
def test_the_residual_of_the_next_tile_or_line_is_prefetched(side: int, ahead: int) -> None:
    b = GraphBuilder("net")
    x, e = (b.input(name, TensorType(DType.F32, (1, 16, 16, 24))) for name in "xe")
    weights = np.random.default_rng(1).normal(size=(24, side, side, 24)).astype(np.float32)
    y = b.add(Conv2D(padding=Padding.same(side // 2)), x, b.constant(weights), source="layer")
    b.output("y", b.add(Add(), y, e))
    graph = run_pipeline(b.build())[0]
    kernel = "gemm:8x8" if side == 1 else "winograd:4x4_planes"
    (step,) = planned(graph, "pi3_64", kernel).steps
    statements = list(walk(step.call.kernel.body))
    loads = {s.offset for s in statements if isinstance(s, Load) and s.param.name == "e0"}
    fetched = {s.offset for s in statements if isinstance(s, Prefetch) and s.param.name == "e0"}
    assert fetched and fetched <= {offset + ahead for offset in loads}


@pytest.mark.parametrize("filters", [16, 32, 40])
def test_a_single_pixel_asks_for_no_more_lines_than_can_be_on_their_way(filters: int) -> None:
    """Modelled, 1280 -> 1001 in blocks of 56: 8 lines ahead 3.96 million cycles, 6 lines 2.69."""
    graph = pointwise(1, 256, 2 * filters)
    (step,) = planned(graph, "pi3_64", f"gemm:1x{filters}").steps
    statements = list(walk(step.call.kernel.body))
    furthest = max(s.offset for s in statements if isinstance(s, Prefetch) and s.param.name == "w")
    assert 4 * furthest < 13 * 64
    assert 4 * furthest >= 8 * 64, "lines would arrive late"


def test_an_order_that_fetches_all_weights_for_every_tile_is_predicted_to_be_slow() -> None:
    """Modelled: 25.6 million cycles for the chosen order, and 29.0 million for this one."""
    graph = pointwise(7, 1024, 1024)
    (chosen,), (slow,) = (
        planned(graph, "pi3_64").steps,
        planned(graph, "pi3_64", "gemm:7x8b1").steps,
    )
    costs = [step.predictions[0].cycles or 0.0 for step in (chosen, slow)]
    assert costs[1] > 1.05 * costs[0]


def test_weights_that_leave_the_second_cache_between_tiles_come_again() -> None:
    """Modelled in a network, million cycles: 3x20 31.0, 3x16 25.4, 3x12 24.3."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 5, 5, 512)))
    weights = b.constant(np.ones((1024, 3, 3, 512), np.float32))
    b.output("y", b.add(Conv2D(), x, weights, source="layer"))
    (step,) = planned(b.build(), "pi3_64").steps
    costs = {p.name: p.cycles or 0.0 for p in step.predictions}
    assert costs["gemm:3x12"] < costs["gemm:3x20"] and costs["gemm:3x16"] < costs["gemm:3x20"]
    assert costs["gemm:3x12"] == pytest.approx(24_300_000, rel=0.05)


def test_taps_outside_of_the_image_are_no_work() -> None:
    """Modelled: 14x14, 8 -> 16, 5x5, without a border in memory 187 thousand cycles."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 14, 14, 8)))
    weights = b.constant(np.ones((16, 5, 5, 8), np.float32))
    b.output("y", b.add(Conv2D(padding=Padding(2, 2, 2, 2)), x, weights, source="layer"))
    (step,) = planned(b.build(), "pi3_64").steps
    chosen = step.predictions[0]
    assert chosen.name in ("gemm:7x8", "gemm:8x8")  # 4x16, which needs 211, was chosen before
    assert chosen.cycles == pytest.approx(187_000, rel=0.15)


@pytest.mark.slow
def test_rows_are_predicted_by_the_tiles_into_which_they_are_cut() -> None:
    """Rows of 13 pixels become tiles of 7 and 6 pixels, whether at most 7 or 8 are allowed."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 13, 13, 64)))
    weights = b.constant(np.ones((64, 3, 3, 64), np.float32))
    b.output("y", b.add(Conv2D(padding=Padding(1, 1, 1, 1)), x, weights, source="layer"))
    graph = b.build()
    names = ("gemm:7x8", "gemm:8x8")
    (seven,), (eight,) = (planned(graph, "pi3_64", name).steps for name in names)
    costs = [step.predictions[0].cycles or 0.0 for step in (seven, eight)]
    assert costs[0] == pytest.approx(costs[1], rel=0.01)
