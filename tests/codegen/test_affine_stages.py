"""Layers of bytes that are requantised in floats: which ones, and that no result changes."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.planning.affine_stages import with_affine_stages
from ellc.ir.builder import GraphBuilder
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType

X86 = resolve("custom", Overrides(triple="x86_64-unknown-linux-gnu", cpu="haswell"))
RNG = np.random.default_rng(5)
RELU = Requantize("tflite", -128, -128, 127, DType.I8)
LINEAR = Requantize("tflite", 4, -128, 127, DType.I8)


def layer(op: Requantize, scales: tuple[float, ...], *, bias: bool = True) -> Graph:
    """A convolution of 8 filters and its requantisation, with one scale or eight."""
    b = GraphBuilder("layer")
    x = b.input("x", TensorType(DType.I8, (1, 9, 8, 5)))
    weights = RNG.integers(-127, 128, (8, 3, 3, 5)).astype(np.int8)
    operands = [b.constant(weights)]
    if bias:
        operands.append(b.constant(RNG.integers(-9000, 9000, 8).astype(np.int32)))
    total = b.add(IntConv2D(padding=Padding.same(1), input_zero=-3), x, *operands)
    pairs = np.array([quantize_multiplier(s) for s in scales], np.int32)
    b.output("y", b.add(op, total, *(b.constant(c.copy()) for c in pairs.T)))
    return run_pipeline(b.build())[0]


def rules(graph: Graph) -> list[str]:
    return [
        stage.op.rule
        for node in graph.nodes
        if isinstance(node.op, Fused)
        for stage in node.op.stages
        if isinstance(stage.op, Requantize)
    ]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize(("op", "rule"), [(RELU, "affine"), (LINEAR, "affine_apart")])
def test_a_layer_gives_the_same_bytes(op: Requantize, rule: str, count: int, bias: bool) -> None:
    graph = layer(op, tuple(0.004 + 0.0011 * i for i in range(count)), bias=bias)
    affine = with_affine_stages(graph, X86)
    assert rules(graph) == ["tflite"] and rules(affine) == [rule]
    assert len(affine.constants) == len(graph.constants)
    for _ in range(5):
        x = RNG.integers(-128, 128, (1, 9, 8, 5)).astype(np.int8)
        (want,), (got,) = (evaluate(g, (x,)).outputs for g in (graph, affine))
        assert len(np.unique(want)) > 40
        assert np.array_equal(got, want)


def test_other_targets_and_other_layers_keep_the_rule() -> None:
    graph = layer(RELU, (0.004,))
    assert with_affine_stages(graph, resolve("pi3_64")) is graph
    assert with_affine_stages(graph, resolve("imxrt1050")) is graph
    large = layer(LINEAR, (3.5,))  # a factor that shifts to the left
    assert with_affine_stages(large, X86) is large
