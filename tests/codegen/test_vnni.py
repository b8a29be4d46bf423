"""Products of four bytes by VNNI: the kernels' C code gives the reference's sums on any machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import DType, Padding, TensorType

# Portable C code of this target runs on every x86-64: it has no instruction of VNNI.
VNNI = replace(
    resolve("custom", Overrides(triple="x86_64-unknown-linux-gnu", cpu="znver4")), emulator=()
)
RNG = np.random.default_rng(11)
SAME = Padding.same(1)
Layer = tuple[IntConv2D | IntDense, tuple[int, ...], tuple[int, ...], DType]
LAYERS: tuple[Layer, ...] = (
    (IntConv2D(padding=SAME, input_zero=-7), (1, 6, 9, 4), (5, 3, 3, 4), DType.I8),
    (IntConv2D((2, 2), SAME, input_zero=131), (1, 9, 8, 12), (33, 3, 3, 12), DType.U8),
    (IntConv2D(padding=SAME, dilation=(2, 1)), (2, 7, 5, 8), (16, 3, 3, 8), DType.I8),
    (IntConv2D(padding=SAME, groups=2, input_zero=3), (1, 4, 6, 16), (10, 3, 3, 8), DType.I8),
    (IntConv2D(input_zero=-128), (1, 5, 7, 20), (18, 1, 1, 20), DType.I8),
    (IntDense(input_zero=9), (3, 44), (7, 44), DType.U8),
)


def network(layer: Layer) -> Graph:
    """A layer whose weights have the extremes of a signed byte."""
    op, shape, of_weights, dtype = layer
    b = GraphBuilder("layer")
    weights = RNG.choice(np.array([-128, 127, 3, -60], np.int8), of_weights)
    bias = RNG.integers(-(2**20), 2**20, of_weights[0]).astype(np.int32)
    x = b.input("x", TensorType(dtype, shape))
    b.output("y", b.add(op, x, b.constant(weights), b.constant(bias)))
    return b.build()


def test_vnni_is_chosen_and_exact() -> None:
    trials, wanted = [], []
    for graph in map(network, LAYERS):
        (step,) = make_plan(graph, VNNI, Options(), "layer").steps
        assert step.predictions[0].name.startswith("vnni:")
        assert "vpdpbusd" in llvm_module([step.call.kernel], VNNI)
        (type_,) = graph.input_types()
        info = np.iinfo(type_.dtype.numpy)
        feeds = [
            RNG.choice(np.array([info.min, info.max, 5]), type_.shape).astype(type_.dtype.numpy),
            np.full(type_.shape, info.min, type_.dtype.numpy),
        ]
        trials.append(Trial(graph, tuple((feed,) for feed in feeds)))
        wanted.append([evaluate(graph, (feed,)).outputs[0] for feed in feeds])
    results = run_trials(trials, VNNI, "c", cc=("gcc", "-O1", "-w"))
    for want, result in zip(wanted, results, strict=True):
        assert not isinstance(result, Exception), result
        for expected, (got,) in zip(want, result, strict=True):
            assert np.array_equal(got, expected)


def test_only_layers_of_signed_weights_take_vnni() -> None:
    b = GraphBuilder("layer")
    x = b.input("x", TensorType(DType.U8, (1, 4, 4, 8)))
    weights = np.array([0, 255], np.uint8)[RNG.integers(0, 2, (4, 1, 1, 8))]
    b.output("y", b.add(IntConv2D(weight_zero=(120,)), x, b.constant(weights)))
    graph = b.build()
    (step,) = make_plan(graph, VNNI, Options(), "layer").steps
    assert not any(p.name.startswith("vnni") for p in step.predictions)
    other = resolve("custom", Overrides(triple="x86_64-unknown-linux-gnu", cpu="haswell"))
    (step,) = make_plan(network(LAYERS[0]), other, Options(), "layer").steps
    assert not any(p.name.startswith("vnni") for p in step.predictions)
