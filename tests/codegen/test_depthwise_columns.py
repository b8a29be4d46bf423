"""Depthwise convolutions by columns: results of random layers, and results in place of images."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import trials_agree
from parts import quick_seeds
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels import depthwise_columns
from ellc.codegen.kir.ir import Let, Load, Param, Prefetch, Var
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.codegen.kir.weaving import woven
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.activations import Clip, Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 18
LAYER = "layer"


def network(
    size: tuple[int, int, int],
    conv: Conv2D,
    *,
    images: int = 1,
    residual: bool = False,
    kept: bool = False,
    alone: bool = False,
    taps: int = 3,
) -> Graph:
    """A 1x1 convolution, a depthwise one and another 1x1.

    With `residual` another value is added to the depthwise result. With `kept` the depthwise image
    is also an output, so that nothing may overwrite it. If the depthwise convolution is `alone`, it
    reads the input, which has no border.
    """
    rows, columns, channels = size
    b = GraphBuilder("net")
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> str:
        return b.constant(rng.normal(size=shape).astype(np.float32))

    depth = channels if alone else 3
    image = x = b.input("x", TensorType(DType.F32, (images, rows, columns, depth)))
    if not alone:
        image = b.add(Relu(), b.add(Conv2D(), x, weights(channels, 1, 1, 3), weights(channels)))
    filters = weights(channels, taps, taps, 1)
    y = b.add(conv, image, filters, weights(channels), source=LAYER)
    if residual:
        y = b.add(Add(), y, b.add(Conv2D(stride=conv.stride), x, weights(channels, 1, 1, 3)))
    y = b.add(Clip(0.0, 6.0), y)
    b.output("y", b.add(Conv2D(), y, weights(5, 1, 1, channels)))
    if kept:
        b.output("image", b.add(Relu(), image))
    return ready(b.build())


def random_network(seed: int) -> Graph:
    """Sizes from one row and column to several bands and segments, of whole and part groups."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers((1, 1), (12, 34)))
    channels = 4 * int(rng.choice((1, 2, 4, 5, 9, 16)))
    stride = (1, 1) if seed % 3 else (2, 2)
    taps = 5 if seed % 3 == 1 or seed % 9 == 3 else 3
    padding = Padding.same(taps // 2) if seed % 4 else Padding(0, 1, 2, 0)
    conv = Conv2D(padding=padding, stride=stride, groups=channels)
    size = (max(rows, taps), max(columns, taps), channels)
    alone = seed % 6 > 3
    residual = seed % 5 == 2 and stride == (1, 1) and seed % 4 > 0 and not alone
    images = 1 + (seed % 5 == 1)
    kept = seed % 7 == 3
    return network(size, conv, images=images, residual=residual, kept=kept, alone=alone, taps=taps)


def trials(number: int) -> tuple[Trial, ...]:
    """Random layers. Two calls show whether the first one left the border as it was."""
    graphs = {seed: random_network(seed) for seed in quick_seeds(LAYERS, number, 3)}
    return tuple(
        Trial(g, (inputs_of(g, seed), inputs_of(g, seed + 99)), threads=1 + 2 * (seed % 2))
        for seed, g in graphs.items()
    )


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64", "qemu-arm")
@pytest.mark.parametrize(
    ("target", "guard", "few", "number"),
    [("pi3_64", "end", 32768, 0), ("pi3_64", "start", 0, 1), ("pi3", "end", 0, 2)],
)
def test_random_layers_agree_with_the_reference(
    target: str, guard: Guard, few: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers with more results than `few` have code for each vector of a group."""
    monkeypatch.setattr(depthwise_columns, "_FEW_RESULTS", few)
    trials_agree(trials(number), target, guard)


def planned(graph: Graph, target: str = "pi3_64", threads: int = 1) -> Plan:
    return make_plan(graph, resolve(target), Options(threads=threads), "net")


def overwrites(plan: Plan) -> bool:
    """Whether the depthwise result is in the buffer of its image."""
    assert plan.graph is not None
    (node,) = (n for n in plan.graph.nodes if LAYER in n.source)
    return plan.accesses[node.output].buffer == plan.accesses[node.inputs[0]].buffer


SAME = Conv2D(padding=Padding.same(1), groups=32)
SIZE = (12, 12, 32)


def test_the_result_takes_the_place_of_an_image_that_is_not_needed_later() -> None:
    plan = planned(network(SIZE, SAME))
    assert overwrites(plan)
    assert [p.kernel for p in plan.steps[2].predictions if p.kernel != "depthwise_columns"] == []
    # The border is overwritten too, and therefore filled in every call.
    assert not plan.once and [s.op for s in plan.steps].count("border") == 1
    assert not overwrites(planned(network(SIZE, SAME, kept=True)))
    assert not overwrites(planned(network(SIZE, Conv2D((2, 2), Padding.same(1), groups=32))))
    assert not overwrites(planned(network(SIZE, SAME), "host"))


def costs_of(size: tuple[int, int, int], conv: Conv2D, target: str = "pi3_64") -> dict[str, float]:
    """The predicted cycles of the depthwise layer's candidates."""
    plan = make_plan(network(size, conv), resolve(target), Options(listed=64), "net")
    (predictions,) = (s.predictions for s in plan.steps if LAYER in s.source and s.predictions)
    return {p.name: p.cycles or 0.0 for p in predictions}


def test_predictions_know_spilled_registers_and_lines_from_memory() -> None:
    """The comments give modelled thousands of cycles of MobileNet V1 .25 128 and V2."""
    small = costs_of((64, 64, 8), Conv2D(padding=Padding.same(1), groups=8))
    assert small["depthwise_columns:2x32"] < small["depthwise_columns:3x32"]  # 204, 231
    assert small["depthwise_columns:2x22"] < small["depthwise_columns:3x7"]  # 207, 224
    halved = Conv2D((2, 2), Padding(0, 0, 1, 1), groups=96)
    large = costs_of((112, 112, 96), halved)
    assert large["depthwise_columns:2x7"] == pytest.approx(4_928_000, rel=0.1)
    assert large["depthwise_columns:2x7"] < large["depthwise_columns:2x28"]  # 4,928, 5,501
    assert large["depthwise:4x4x4"] == pytest.approx(13_984_000, rel=0.25)


@pytest.mark.parametrize("target", ["pi3_64", "imx93"])
@pytest.mark.parametrize("stride", [1, 2])
def test_columns_are_chosen_on_cores_that_execute_in_order(target: str, stride: int) -> None:
    conv = Conv2D((stride, stride), Padding.same(1), groups=32)
    assert next(iter(costs_of((28, 28, 32), conv, target))).startswith("depthwise_columns:")


def test_a_kernel_that_a_user_names_may_keep_the_image() -> None:
    for name, wanted in (("gemm", False), ("depthwise_columns:2x12", True)):
        options = Options(kernels=((LAYER, name),))
        plan = make_plan(network(SIZE, SAME), resolve("pi3_64"), options, "net")
        assert overwrites(plan) == wanted
        assert any(s.predictions[:1] and s.predictions[0].is_named(name) for s in plan.steps)


def test_threads_share_the_channels_of_a_result_in_place_of_its_image() -> None:
    graph = network((12, 12, 64), Conv2D(padding=Padding.same(1), groups=64))
    (alone,) = (s for s in planned(graph).steps if "columns" in s.call.note)
    (shared,) = (s for s in planned(graph, threads=3).steps if "columns" in s.call.note)
    assert alone.call.extent == 1 and 1 < shared.call.extent <= 4


def test_woven_chains() -> None:
    """Two statements of the main chain, then two cycles of the other; results before their use."""
    x, vector, index = Param("x", Elem.F32, 4), VType(Elem.F32, 4), Var("i", INDEX)
    values = [Var(f"v{n}", vector) for n in range(4)]
    sums = [Var(f"s{n}", vector) for n in range(6)]
    start = Var("start", vector)
    side = [
        Prefetch(x, index, 16),
        Load(values[0], x, index, 0, 4),
        Let(values[1], "add", (start, start)),
        Let(values[2], "add", (start, start)),
        Let(values[3], "add", (start, start)),
    ]
    main = [Let(s, "mul", (start, start)) for s in sums[:5]]
    main.append(Let(sums[5], "mul", (values[3], start)))
    order = [*main[:2], *side[:2], *main[2:4], *side[2:4], main[4], side[4], main[5]]
    assert list(woven(main, side)) == order
    assert list(woven([], side)) == side
    # What is needed late waits, but what stands before a statement that is needed does not.
    late = [Let(s, "mul", (start, start)) for s in sums[:4]]
    late.append(Let(sums[4], "mul", (values[0], start)))
    assert list(woven(late, side[:2], ahead=3)) == [*late[:2], *side[:2], *late[2:]]
    assert list(woven(late, side[:2], ahead=1)) == [*late[:4], *side[:2], late[4]]
