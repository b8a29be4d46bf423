"""Depthwise convolutions of bytes in planes: results of random layers, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from interpreted_plan import run_plan
from small_networks import ready, reference_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Array, DType, Padding, TensorType

LAYERS = 24
TARGET = resolve("imxrt1050")


def network(
    conv: IntConv2D, image: tuple[int, ...], window: tuple[int, int], low: int, seed: int
) -> Graph:
    """A depthwise convolution of signed or unsigned bytes, with a bias, and its requantisation."""
    rng = np.random.default_rng(seed)
    channels = image[3]
    kind = DType.I8 if conv.input_zero < 0 else DType.U8
    b = GraphBuilder("net")
    x = b.input("x", TensorType(kind, image))
    weights = rng.integers(-127, 128, (channels, *window, 1)).astype(np.int8)
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    sums = b.add(conv, x, b.constant(weights), b.constant(bias), source="layer")
    mantissas = rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32)
    shifts = -rng.integers(6, 10, channels).astype(np.int32)
    scale = Requantize("tflite", -5, low, 127, DType.I8)
    b.output("y", b.add(scale, sums, b.constant(mantissas), b.constant(shifts)))
    return ready(b.build())


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
    conv = IntConv2D(stride, padding, groups=image[3], input_zero=zero)  # type: ignore[arg-type]
    return network(conv, image, window, low=-5 if seed % 5 else -128, seed=seed)


def image_of(graph: Graph, seed: int) -> Array:
    (type_,) = graph.input_types()
    info = np.iinfo(type_.dtype.numpy)
    rng = np.random.default_rng(seed)
    return rng.integers(info.min, info.max, type_.shape, info.dtype, endpoint=True)


@pytest.mark.parametrize("seed", range(LAYERS))
def test_random_layers(seed: int) -> None:
    graph = random_network(seed)
    options = Options(kernels=(("layer", "depthwise_planes"),))
    plan = make_plan(graph, TARGET, options, "m")
    image = image_of(graph, seed)
    (found,) = run_plan(plan, (image,))
    np.testing.assert_array_equal(found, reference_of(graph, (image,))[0])


def test_it_is_chosen_for_whole_words_of_channels() -> None:
    conv = IntConv2D(padding=Padding(1, 1, 1, 1), groups=8, input_zero=-128)
    for target, family in (("imxrt1050", "depthwise_planes"), ("mcxn947", "depthwise_planes")):
        plan = make_plan(
            network(conv, (1, 9, 9, 8), (3, 3), -5, 0), resolve(target), Options(), "m"
        )
        assert plan.steps[-1].predictions[0].kernel == family
    odd = IntConv2D(padding=Padding(1, 1, 1, 1), groups=6, input_zero=-128)
    plan = make_plan(network(odd, (1, 9, 9, 6), (3, 3), -5, 0), TARGET, Options(), "m")
    assert plan.steps[-1].predictions[0].kernel == "depthwise"
