"""Depthwise convolutions of bytes in planes: results of random layers, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import trials_agree
from interpreted_plan import run_plan
from requantised_convolutions import LAYER, convolution, image_of
from small_networks import ready, reference_of

from ellc.codegen.blocks.calls import CodeGoal, Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 24
TARGET = resolve("imxrt1050")


def random_network(seed: int) -> Graph:
    """Windows of 1 to 5, strides of 1 to 3, any padding, one or two images of many heights."""
    rng = np.random.default_rng(seed)
    window = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    padding = Padding(*(int(n) for n in rng.integers(0, 3, 4)))
    size = [int(n) for n in rng.integers(window, (90, 30))]
    if seed % 3:  # wide images are computed in bands
        size = [int(rng.integers(window[0], 20)), int(rng.integers(60, 90))]
    image = (int(rng.integers(1, 3)), *size, 4 * int(rng.integers(1, 3)))
    stride = tuple(int(n) for n in rng.integers(1, 4, 2))
    zero = -int(rng.integers(1, 129)) if seed % 2 else int(rng.integers(0, 256))
    conv = IntConv2D((stride[0], stride[1]), padding, groups=image[3], input_zero=zero)
    low = -5 if seed % 5 else -128
    # In some layers factors differ so much that sums are shifted instead of weights.
    shifts = (5, 14) if seed % 4 == 3 else (6, 10)
    return convolution(conv, image, (image[3], *window), low, seed, shifts)


@pytest.mark.parametrize("seed", range(LAYERS))
def test_random_layers(seed: int) -> None:
    graph = random_network(seed)
    code: CodeGoal = "size" if seed % 2 else "speed"
    options = Options(kernels=((LAYER, "depthwise_planes"),), code=code)
    plan = make_plan(graph, TARGET, options, "m")
    image = image_of(graph, seed)
    (found,) = run_plan(plan, (image,))
    np.testing.assert_array_equal(found, reference_of(graph, (image,))[0])


def two_layers(seed: int, zero: int) -> Graph:
    """Two depthwise layers, so that the second one reads and writes memory of the network.

    If `zero` is positive, weights are unsigned bytes with this zero point.
    """
    rng = np.random.default_rng(seed)
    channels, window = 4 * int(rng.integers(1, 4)), int(rng.choice([3, 5]))
    b = GraphBuilder("net")
    y = b.input("x", TensorType(DType.I8, (1, *(int(n) for n in rng.integers(6, 20, 2)), channels)))
    kind, low = (np.uint8, 0) if zero else (np.int8, -128)
    for source in ("first", LAYER):
        weights = rng.integers(low, low + 256, (channels, window, window, 1)).astype(kind)
        bias = rng.integers(-3000, 3000, channels).astype(np.int32)
        conv = IntConv2D(
            (1, 1) if source == "first" else (1 + seed % 2,) * 2,
            Padding(*(int(n) for n in rng.integers(0, window, 4))),
            groups=channels,
            input_zero=-7,
            weight_zero=(zero,),
        )
        sums = b.add(conv, y, b.constant(weights), b.constant(bias), source=source)
        mantissas = rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32)
        shifts = np.full(channels, -9, np.int32)
        rule = Requantize("tflite", -7, -128, 127, DType.I8)
        y = b.add(rule, sums, b.constant(mantissas), b.constant(shifts))
    b.output("y", y)
    return ready(b.build())


@pytest.mark.parametrize("zero", [0, 1, 122, 255])
def test_layers_share_kernels_where_code_should_be_small(zero: int) -> None:
    for seed in range(4):
        graph = two_layers(seed, zero)
        options = Options(kernels=((LAYER, "depthwise_planes:any"),), code="size")
        plan = make_plan(graph, TARGET, options, "m")
        image = image_of(graph, seed)
        (found,) = run_plan(plan, (image,))
        np.testing.assert_array_equal(found, reference_of(graph, (image,))[0])


@pytest.mark.emulated("qemu-system-arm")
@pytest.mark.slow
@pytest.mark.parametrize("target", ["imxrt1050", "mcxn947"])
def test_random_layers_on_a_board(target: str) -> None:
    graphs = {seed: random_network(seed) for seed in range(6)}
    trials = [
        Trial(graph, ((image_of(graph, seed),),), kernels=((LAYER, "depthwise_planes"),))
        for seed, graph in graphs.items()
    ]
    trials_agree(trials, target, "end")


def test_it_is_chosen_for_whole_words_of_channels() -> None:
    conv = IntConv2D(padding=Padding(1, 1, 1, 1), groups=8, input_zero=-128)
    for target, family in (("imxrt1050", "depthwise_planes"), ("mcxn947", "depthwise_planes")):
        plan = make_plan(
            convolution(conv, (1, 9, 9, 8), (8, 3, 3), -5, 0), resolve(target), Options(), "m"
        )
        assert plan.steps[-1].predictions[0].kernel == family
    odd = IntConv2D(padding=Padding(1, 1, 1, 1), groups=6, input_zero=-128)
    plan = make_plan(convolution(odd, (1, 9, 9, 6), (6, 3, 3), -5, 0), TARGET, Options(), "m")
    assert plan.steps[-1].predictions[0].kernel == "depthwise"
