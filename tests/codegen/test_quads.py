"""Convolutions by NEON's dot products: which layers take them, and their results."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import trials_agree
from operator_graphs import samples
from parts import quick_part

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels.quads import pack_quads
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import rivals
from ellc.codegen.planning.plan import Step
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


def step_of(target: str, channels: int, zero: int = 0) -> Step:
    """The step of a 3x3 convolution of 5x9 pixels, with extreme weights, and their zero point."""
    b, rng = GraphBuilder("net"), np.random.default_rng(0)
    x = b.input("x", TensorType(DType.I8, (1, 5, 9, channels)))
    weights = b.constant(rng.integers(-128, 128, (8, 3, 3, channels)).astype(np.int8))
    b.output("y", b.add(IntConv2D(padding=Padding.same(1), weight_zero=(zero,)), x, weights))
    graph, _ = run_pipeline(b.build())
    return make_plan(graph, resolve(target), Options(), "net").steps[-1]


@pytest.mark.parametrize(
    ("target", "channels", "zero", "kernel"),
    [
        ("pi5", 4, 0, "quads"),
        ("pi5", 20, 0, "quads"),
        ("imx93", 64, 0, "quads"),
        ("imx93", 64, 1, "gemm"),  # weights minus their zero point need 9 bits
        ("imx93", 6, 0, "gemm"),
        ("pi4", 64, 0, "gemm"),
    ],
)
def test_layers_that_take_dot_products(target: str, channels: int, zero: int, kernel: str) -> None:
    assert step_of(target, channels, zero).call.note.startswith(kernel)


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
@pytest.mark.parametrize(("name", "number"), [("pi5", 0), ("imx93", 1)])
def test_results_are_those_of_the_reference(name: str, number: int) -> None:
    """Half of the samples on each target, by the planner's choice and by every other family."""
    target = resolve(name)
    chosen = [s.trial for op in (IntConv2D, IntDense) for s in samples(op)]
    others = [rival for trial in chosen for rival in rivals(trial, target)]
    plans = [make_plan(trial.graph, target, Options(), "net") for trial in chosen]
    assert sum(p.steps[-1].call.note.startswith("quads") for p in plans) >= 6
    every = quick_part([*chosen, *others], number, 2, covers=lambda trial: trial.kernels)
    trials_agree(every, name, "end")


def test_four_channels_of_a_filter_are_neighbours() -> None:
    weights = np.arange(5 * 8, dtype=np.int8).reshape(5, 1, 1, 8)
    packed = pack_quads(weights, 1, 4)
    assert packed.shape == (1, 2, 1, 1, 2, 4, 4)
    assert packed[0, 0, 0, 0, 0, 1].tolist() == [8, 9, 10, 11]
    assert packed[0, 1, 0, 0, 1].tolist() == [[36, 37, 38, 39], *[[0] * 4] * 3]
