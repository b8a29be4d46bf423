"""Layers with the same shape share a function; constants are shared only if they are equal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_networks import inputs_of, reference_of

from ellc.codegen.blocks.calls import KernelCall, Options, WeightArg
from ellc.codegen.blocks.placed_node import NodeOperand
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, Trial, run_trials
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.sharing import SharedKernels
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Mul, Relu, Tanh
from ellc.ir.ops.shape import Transpose
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


def chain(layers: int) -> Graph:
    rng = np.random.default_rng(0)
    b = GraphBuilder("chain")
    value = b.input("x", TensorType(DType.F32, (1, 3, 4, 8)))
    for index in range(layers):
        weights = b.constant(rng.normal(size=(8, 1, 1, 8)).astype(np.float32) / 4)
        bias = b.constant(rng.normal(size=8).astype(np.float32))
        value = b.add(Add(), b.add(Conv2D(), value, weights), bias)
        value = b.add(Relu(), value, source=f"layer{index}")
    b.output("y", value)
    return run_pipeline(b.build())[0]


@pytest.mark.parametrize("emitter", ["llvm", "c"])
def test_layers_of_one_shape_share_a_function(emitter: Emitter) -> None:
    graph, target = chain(6), resolve("host")
    plan = make_plan(graph, target, Options(), "m")
    names = {kernel.name for kernel in plan_kernels(plan)}
    # Inner layers have operand and result in the arena; only the first and the last layer differ.
    assert len(plan.steps) == 6 and len(names) == len(plan_kernels(plan)) <= 3
    assert len({step.name for step in plan.steps}) == 6
    inputs = inputs_of(graph)
    (result,) = run_trials([Trial(graph, (inputs,))], target, emitter)
    assert not isinstance(result, Exception)
    np.testing.assert_allclose(result[0][0], reference_of(graph, inputs)[0], rtol=1e-4, atol=1e-5)


def test_layers_that_read_one_constant_share_its_memory() -> None:
    """The packed copy is shared, too: a small file may have a thousand such layers."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("shared")
    value = b.input("x", TensorType(DType.F32, (1, 6, 6, 8)))
    factor, turned = (b.constant(rng.normal(size=8).astype(np.float32)) for _ in range(2))
    weights = b.constant(rng.normal(size=(8, 3, 3, 8)).astype(np.float32))
    for _ in range(3):
        value = b.add(Tanh(), b.add(Add(), value, factor))
        value = b.add(Conv2D(padding=Padding.same(1)), value, weights)
        value = b.add(Transpose((0, 2, 1, 3)), b.add(Tanh(), b.add(Mul(), value, turned)))
    b.output("y", value)
    plan = make_plan(run_pipeline(b.build())[0], resolve("host"), Options(), "m")
    read = [a.weight for s in plan.steps for a in s.call.args if isinstance(a, WeightArg)]
    assert len({w.key for w in read}) == len({id(w) for w in read}) < len(read)


def test_what_is_made_of_a_constant_is_made_once() -> None:
    operand = NodeOperand(TensorType(DType.F32, (8,)), None, np.ones(8, np.float32), "key")
    other = replace(operand)
    assert operand.access is other.access
    assert operand.once("turned", object) is other.once("turned", object)


def _stores(name: str, value: float) -> Kernel:
    b = KernelBuilder(name)
    y = b.param("y", Elem.F32, writable=True)
    with b.loop("i", b.begin, b.end) as loop:
        b.store(b.const(value, VType(Elem.F32, 1)), y, loop.index)
    return b.finish()


def test_constants_that_compare_equal_keep_kernels_apart() -> None:
    kernels = SharedKernels(resolve("pi3_64"))
    calls = [
        kernels.call(KernelCall(_stores(f"k{i}", value), (), 1))
        for i, value in enumerate((0.0, -0.0, 0.0))
    ]
    assert [call.kernel.name for call in calls] == ["k0", "k1", "k0"]
    assert replace(calls[2].kernel, name="") == replace(calls[0].kernel, name="")
