"""Constants of 8-bit networks: weights are stored as bytes, and tables have no unused entries."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ellc.codegen.blocks.calls import Options, WeightArg
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType

MORE_THAN_WEIGHTS = 1.1
"""The largest ratio of constants to weights; biases and tables for image edges are also needed."""
_ZERO = 124  # the zero point of images
UNEVEN, EVEN = (61, 34, 40, 17), (64, 32, 64, 64)
"""Numbers of filters of the layers. The uneven numbers are not multiples of a vector's length."""


class _Network:
    """A network of uint8 layers, whose weights have zero points other than 128."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._b = GraphBuilder("asymmetric")
        self.weight_bytes = 0

    def graph(self, filters: tuple[int, int, int, int]) -> Graph:
        """1x1 and larger convolutions, then a dense layer."""
        b = self._b
        x = b.input("x", TensorType(DType.U8, (1, 5, 7, 96)))
        x = self._convolution(x, filters[0], 1, 97)
        x = self._convolution(x, filters[1], 3, 119)
        x = self._convolution(x, filters[2], 1, 133)
        x = b.add(Reshape((1, x.type.elements)), x)
        weights = self._weights(filters[3], x.type.elements)
        sums = b.add(IntDense(_ZERO, (139,)), x, b.constant(weights))
        b.output("y", self._stored(sums, weights[0].size))
        return b.build()

    def _convolution(self, x: Ref, filters: int, window: int, zero: int) -> Ref:
        op = IntConv2D(padding=Padding(0, 0, 0, 0), input_zero=_ZERO, weight_zero=(zero,))
        weights = self._weights(filters, window, window, x.type.shape[-1])
        bias = self._b.constant(self._rng.integers(-999, 999, filters, np.int32))
        sums = self._b.add(op, x, self._b.constant(weights), bias)
        return self._stored(sums, weights[0].size)

    def _weights(self, *shape: int) -> Array:
        """Random weights, among them the lowest and highest byte: differences need 9 bits."""
        array = self._rng.integers(0, 256, shape, np.uint8)
        array.flat[0], array.flat[-1] = 0, 255
        self.weight_bytes += array.nbytes
        return array

    def _stored(self, sums: Ref, terms: int) -> Ref:
        scale = self._b.constant(np.float32(1e-2 / np.sqrt(terms)))
        return self._b.add(Requantize("half_even", _ZERO, 0, 255, DType.U8), sums, scale)


@cache
def network(filters: tuple[int, int, int, int]) -> tuple[Trial, Array, int]:
    """A network, its input with the reference's result, and the bytes of its weights."""
    made = _Network()
    graph = made.graph(filters)
    x = np.random.default_rng(1).integers(0, 256, graph.input_types()[0].shape, np.uint8)
    (expected,) = evaluate(graph, (x,)).outputs
    return Trial(run_pipeline(graph)[0], ((x,),)), expected, made.weight_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "guard"),
    [
        ("host", "end"),
        pytest.param("pi3", "end", marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", "start", marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_they_are_exact(target: str, guard: Guard) -> None:
    trial, expected, _ = network(UNEVEN)
    (found,) = run_trials([trial], resolve(target), guard=guard)
    assert not isinstance(found, Exception), found
    np.testing.assert_array_equal(found[0][0], expected)
    assert np.sum((expected > 0) & (expected < 255)) > 5, expected


@pytest.mark.parametrize("target", ["host", "linux", "wasm", "pi0", "pi3", "pi3_64", "mcxn947"])
def test_constants_are_hardly_larger_than_the_weights(target: str) -> None:
    trial, _, weight_bytes = network(EVEN)
    assert _constant_bytes(trial.graph, target) <= MORE_THAN_WEIGHTS * weight_bytes


@pytest.mark.parametrize("target", ["linux", "pi3", "pi3_64"])
def test_tables_of_channels_are_as_long_as_the_channels(target: str) -> None:
    b, channels, classes = GraphBuilder("depthwise"), 32, 9
    x = b.input("x", TensorType(DType.I8, (1, 6, 6, channels)))
    weights = b.constant(np.full((channels, 3, 3, 1), 77, np.int8))
    op = IntConv2D(padding=Padding.same(1), groups=channels, input_zero=5)
    factors = np.arange(1 << 30, (1 << 30) + channels, dtype=np.int32)
    shifts = np.arange(channels, dtype=np.int32) % 3 - 9
    rule = Requantize("tflite", 0, -128, 127, DType.I8)
    b.output("y", b.add(rule, b.add(op, x, weights), b.constant(factors), b.constant(shifts)))
    numbers_of_32_bits = (classes + 2) * channels  # starts of sums, factors, shifts
    graph = run_pipeline(b.build())[0]
    assert _constant_bytes(graph, target) == 9 * channels + 4 * numbers_of_32_bits


def _constant_bytes(graph: Graph, target: str) -> int:
    plan = make_plan(graph, resolve(target), Options(), "net")
    args = [arg for step in plan.steps for arg in step.call.args if isinstance(arg, WeightArg)]
    return sum(weight.bytes for weight in {arg.weight for arg in args})
