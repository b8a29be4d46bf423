"""Convolutions of bytes in general registers have the reference's bits and stay in their memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from agreement import trials_agree
from interpreted_plan import run_plan

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels.word_tiles import pack_words
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_arithmetic import QuantAdd
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, Quant, TensorType

M7 = resolve("imxrt1050")
QUANT = Quant((0.05,), (3,))


@dataclass(frozen=True)
class Layer:
    """A convolution of bytes: image (images, rows, columns, channels), filters, window, strides."""

    image: tuple[int, int, int, int]
    filters: int
    window: int = 1
    stride: int = 1
    padding: int = 0
    dtype: DType = DType.I8
    shifts: tuple[int, int] = (-9, -6)  # [first, end)
    clamp: tuple[int, int] = (-128, 127)
    residual: bool = False

    @property
    def graph(self) -> Graph:
        """The network: a convolution, its requantization, perhaps a sum with another image."""
        rng = np.random.default_rng(self.filters)
        b = GraphBuilder("layer")
        x = b.input("x", TensorType(self.dtype, self.image, quant=QUANT))
        shape = (self.filters, self.window, self.window, self.image[3])
        weights = b.constant(rng.integers(-128, 128, shape).astype(np.int8))
        bias = b.constant(rng.integers(-5000, 5000, self.filters).astype(np.int32))
        padding = Padding.same(self.padding)
        op = IntConv2D((self.stride,) * 2, padding, input_zero=3)
        total = b.add(op, x, weights, bias)
        mantissas = rng.integers(1 << 30, (1 << 31) - 1, self.filters).astype(np.int32)
        shifts = rng.integers(*self.shifts, self.filters).astype(np.int32)
        rule = Requantize("tflite", -5, *self.clamp, DType.I8, QUANT)
        here = b.add(rule, total, b.constant(mantissas), b.constant(shifts))
        if self.residual:
            side = tuple(-(-n // self.stride) for n in self.image[1:3])
            type_ = TensorType(DType.I8, (self.image[0], *side, self.filters), quant=QUANT)
            add = QuantAdd.of(QUANT, QUANT, DType.I8, QUANT, -128, 127, subtract=False)
            here = b.add(add, here, b.input("other", type_))
        b.output("y", here)
        return run_pipeline(b.build())[0]


LAYERS = {
    "pointwise": Layer((1, 3, 3, 8), 4),
    "many pointwise": Layer((1, 5, 5, 16), 6),
    "of unsigned bytes": Layer((1, 2, 4, 4), 3, dtype=DType.U8, clamp=(-100, 90)),
    "padded": Layer((1, 4, 5, 4), 5, window=3, padding=1),
    "with strides": Layer((1, 5, 7, 8), 2, window=3, stride=2, padding=1, residual=True),
    "pointwise with strides": Layer((1, 4, 6, 4), 2, stride=2, residual=True),
    "without padding": Layer((2, 4, 6, 4), 3, window=3),
    "several images": Layer((2, 3, 2, 4), 2, window=3, padding=1),
    "large factors": Layer((1, 1, 3, 4), 6, shifts=(-1, 2)),
    "small factors": Layer((1, 2, 2, 12), 6, shifts=(-31, -20)),
}


def convolution(graph: Graph) -> str:
    """The name of the value that the first node computes."""
    return graph.nodes[0].outputs[0]


def planned(graph: Graph, kernel: str, threads: int = 1) -> Plan:
    """The plan in which the kernel computes the convolution."""
    options = Options(kernels=((convolution(graph), kernel),), threads=threads, listed=16)
    return make_plan(graph, M7, options, "layer")


def inputs_of(graph: Graph) -> tuple[Array, ...]:
    rng = np.random.default_rng(1)
    arrays = []
    for type_ in graph.input_types():
        info = np.iinfo(type_.dtype.numpy)
        arrays.append(rng.integers(info.min, info.max + 1, type_.shape).astype(type_.dtype.numpy))
    return tuple(arrays)


@pytest.mark.parametrize("name", LAYERS)
def test_every_tile_has_the_bits_of_the_reference(name: str) -> None:
    graph = LAYERS[name].graph
    inputs = inputs_of(graph)
    (expected,) = evaluate(graph, inputs).outputs
    plan = planned(graph, "words")
    tiles = {p.name for p in plan.steps[0].predictions if p.kernel == "words"}
    assert len(tiles) >= 2
    for tile in sorted(tiles):
        (found,) = run_plan(planned(graph, tile), inputs)
        np.testing.assert_array_equal(found, expected, err_msg=tile)


@pytest.mark.emulated("qemu-system-arm")
@pytest.mark.slow
@pytest.mark.parametrize("target", ["imxrt1050", "mcxn947"])
def test_layers_on_a_board(target: str) -> None:
    """The same layers, in the tile that the planner chooses, and the shared kernels."""
    chosen = [(layer.graph, "words") for layer in LAYERS.values()]
    chosen += [(layer.graph, f"words:{schedule}") for layer, schedule in SHARED.values()]
    trials = [
        Trial(graph, (inputs_of(graph),), kernels=((convolution(graph), kernel),))
        for graph, kernel in chosen
    ]
    trials_agree(trials, target, "end")


SHARED = {
    "of pixels": (Layer((1, 3, 3, 32), 4), "any4x2"),
    "of a few pixels": (Layer((1, 1, 4, 160), 2, dtype=DType.U8), "any4x2"),
    "dense": (Layer((1, 1, 1, 64), 16, shifts=(-10, -7)), "any1x8"),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_kernels_have_the_bits_of_the_reference(name: str) -> None:
    layer, schedule = SHARED[name]
    graph = layer.graph
    inputs = inputs_of(graph)
    (expected,) = evaluate(graph, inputs).outputs
    (found,) = run_plan(planned(graph, f"words:{schedule}"), inputs)
    np.testing.assert_array_equal(found, expected)


def test_pointwise_layers_of_different_sizes_share_a_kernel() -> None:
    layers = [Layer((1, 4, 4, 128), 8), Layer((1, 3, 5, 256), 4)]
    plans = [make_plan(layer.graph, M7, Options(), "net") for layer in layers]
    kernels = {replace(plan.steps[0].call.kernel, name="") for plan in plans}
    assert len(kernels) == 1
    fast = make_plan(layers[0].graph, M7, Options(code="speed"), "net").steps[0]
    assert fast.predictions[0].name == "words:4x2"


def test_threads_have_their_own_columns() -> None:
    graph = LAYERS["padded"].graph
    plan = planned(graph, "words", threads=3)
    (expected,) = evaluate(graph, inputs_of(graph)).outputs
    (found,) = run_plan(plan, inputs_of(graph))
    np.testing.assert_array_equal(found, expected)
    assert plan.steps[0].call.extent == 3


def test_the_largest_sums_are_requantized_exactly() -> None:
    layer = replace(LAYERS["pointwise"], image=(1, 1, 4, 64), filters=2)
    graph = layer.graph
    for value in (-128, 127):
        inputs = (np.full((1, 1, 4, 64), value, np.int8),)
        (expected,) = evaluate(graph, inputs).outputs
        (found,) = run_plan(planned(graph, "words"), inputs)
        np.testing.assert_array_equal(found, expected)


def test_a_word_has_pairs_of_two_filters() -> None:
    weights = np.arange(5 * 2 * 3 * 8).reshape(5, 2, 3, 8)
    packed = pack_words(weights, 4)
    flat = packed.reshape(2, 3, 2, 2, 2, 2, 4)  # block, column, row, word, pair, two filters, bytes
    for block, column, row, word, pair, two, byte in np.ndindex(flat.shape):
        filter_, channel = 4 * block + 2 * two + byte % 2, 4 * word + pair + byte // 2 * 2
        want = weights[filter_, row, column, channel] if filter_ < 5 else 0
        assert flat[block, column, row, word, pair, two, byte] == want


@pytest.mark.parametrize("board", ["imxrt1050", "mcxn947", "pi0"])
def test_boards_with_these_instructions_prefer_them(board: str) -> None:
    plan = make_plan(Layer((1, 8, 8, 16), 8, 3, padding=1).graph, resolve(board), Options(), "net")
    assert plan.steps[0].predictions[0].kernel == "words"
