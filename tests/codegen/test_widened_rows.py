"""Convolutions of few channels of bytes: results of random layers, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import trials_agree
from interpreted_plan import run_plan
from requantised_convolutions import LAYER, ZERO_POINT, convolution, image_of
from small_networks import reference_of

from ellc.codegen.blocks.calls import CodeGoal, Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.planner import make_plan
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Padding

LAYERS = 20
TARGET = resolve("imxrt1050")


def random_network(seed: int) -> Graph:
    """Windows of 1x2 to 4x4, 1 to 3 channels, strides of 1 to 3, any padding and height."""
    rng = np.random.default_rng(seed)
    window = (int(rng.integers(1, 5)), int(rng.integers(2, 5)))
    padding = Padding(*(int(n) for n in rng.integers(0, 3, 4)))
    size = [int(n) for n in rng.integers(window, (70, 20))]
    if seed % 3 == 0:  # wide images are computed in bands
        size = [int(rng.integers(window[0], 12)), int(rng.integers(90, 120))]
    image = (int(rng.integers(1, 3)), *size, int(rng.integers(1, 4)))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    zero = -int(rng.integers(1, 129)) if seed % 2 else int(rng.integers(0, 256))
    conv = IntConv2D(stride, padding, input_zero=zero)
    low = ZERO_POINT if seed % 5 else -128
    return convolution(conv, image, (int(rng.integers(1, 13)), *window), low, seed)


@pytest.mark.parametrize("seed", range(LAYERS))
def test_random_layers(seed: int) -> None:
    graph = random_network(seed)
    code: CodeGoal = "size" if seed % 2 else "speed"
    options = Options(kernels=((LAYER, "widened_rows"),), code=code)
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
        Trial(graph, ((image_of(graph, seed),),), kernels=((LAYER, "widened_rows"),))
        for seed, graph in graphs.items()
    ]
    trials_agree(trials, target, "end")


def test_it_is_chosen_for_first_layers() -> None:
    conv = IntConv2D((2, 2), Padding(0, 1, 0, 1), input_zero=-128)
    for target in ("imxrt1050", "mcxn947"):
        graph = convolution(conv, (1, 24, 24, 3), (8, 3, 3), ZERO_POINT, 0)
        plan = make_plan(graph, resolve(target), Options(), "m")
        assert plan.steps[-1].predictions[0].kernel == "widened_rows"
