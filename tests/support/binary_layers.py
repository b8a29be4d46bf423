"""The binary part of a network, from its first signs to its last, compared bit by bit.

Compiled code with all passes must give the bits of the reference, which evaluates the graph of the
file in float32 without any pass. The part begins with bits, so that no sign depends on how sums of
floats are rounded: from then on, only constants are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate
from ellc.ir.op import Arrays, Pointwise
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import GreaterEqual
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, TensorType

CALLS = 20


def binary_part(graph: Graph, *, on_thresholds: bool = False) -> Graph | None:
    """From the first signs of a network to the last, which are all outputs; None if there are none.

    `on_thresholds` rounds the constants of functions between binary layers to halves, so that many
    sums are exactly on a threshold: 0 behind all functions, which gives a sign of -1.
    """
    signs = [n for n in graph.nodes if isinstance(n.op, Binarize)]
    read = {n.inputs[0] for n in graph.nodes if isinstance(n.op, BinaryConv2D)}
    first = next((n.output for n in signs if n.output in read), None)
    if first is None:
        return None
    b = GraphBuilder(graph.name)
    values = {first: b.input("bits", graph.types[first])}
    arrays = graph.constant_arrays()
    outputs = 0
    for node in _behind(graph, first):
        for value in node.inputs:
            if value in arrays and value not in values:
                values[value] = _constant(b, graph, value, arrays[value], on_thresholds)
        values[node.output] = b.add(node.op, *(values[v] for v in node.inputs))
        if isinstance(node.op, Binarize):
            b.output(f"signs{outputs}", values[node.output])
            outputs += 1
    return b.build() if outputs else None


def residual_part(graph: Graph) -> Graph | None:
    """Binary layers between shortcuts of floats, as QuickNet has them; None if there are none.

    A value of floats that becomes signs is an input, unless it is computed from such inputs by
    binary layers and pointwise functions. All signs but those of inputs are outputs. Constants are
    rounded to halves. The results are then exact in float32 if inputs are multiples of one half,
    so that sums are often exactly on the threshold, and no sign depends on how products are added.
    """
    b = GraphBuilder(graph.name)
    arrays = graph.constant_arrays()
    values: dict[str, str] = {}
    starts = set[str]()
    outputs = 0
    for node in graph.nodes:
        if isinstance(node.op, Binarize) and node.inputs[0] not in values:
            start = node.inputs[0]
            values[start] = b.input(f"start{len(starts)}", graph.types[start])
            starts.add(start)
        known = len(node.outputs) == 1 and not values.keys().isdisjoint(node.inputs)
        if not known or not isinstance(node.op, Binarize | BinaryConv2D | Pointwise):
            continue
        if any(v not in values and v not in arrays for v in node.inputs):
            continue
        for value in node.inputs:
            if value not in values:
                values[value] = _constant(b, graph, value, arrays[value], True)
        values[node.output] = b.add(node.op, *(values[v] for v in node.inputs))
        if isinstance(node.op, Binarize) and node.inputs[0] not in starts:
            b.output(f"signs{outputs}", values[node.output])
            outputs += 1
    return b.build() if outputs else None


def compared_parts(graph: Graph, *, on_thresholds: bool = False) -> list[Graph]:
    """For each comparison of sums in a graph, as exports from QONNX have them for signs, what
    computes its result from the graph's input. `on_thresholds` is as for `binary_part`."""
    arrays = graph.constant_arrays()
    parts = []
    for last in graph.nodes:
        if not isinstance(last.op, GreaterEqual):
            continue
        b = GraphBuilder(graph.name)
        (port,) = graph.inputs
        values = {port.value: b.input("x", graph.types[port.value])}
        for node in graph.nodes[: graph.nodes.index(last) + 1]:
            for value in node.inputs:
                if value not in values:
                    values[value] = _constant(b, graph, value, arrays[value], on_thresholds)
            values[node.output] = b.add(node.op, *(values[v] for v in node.inputs))
        signs = b.add(Cast(DType.F32), values[last.output])
        b.output("signs", signs)
        parts.append(b.build())
    return parts


def _constant(b: GraphBuilder, graph: Graph, value: str, array: Array, on_thresholds: bool) -> str:
    dtype = graph.types[value].dtype
    if on_thresholds and dtype is DType.F32:
        array = (np.round(2 * array) / 2).astype(np.float32)
    return b.constant(array, dtype)


def _behind(graph: Graph, first: str) -> list[Node]:
    """The nodes that depend on the first signs, up to the last signs."""
    known = {first, *graph.constant_arrays()}
    found = []
    for node in graph.nodes:
        if len(node.outputs) == 1 and node.output != first and known.issuperset(node.inputs):
            known.add(node.output)
            found.append(node)
    needed = {n.output for n in found if isinstance(n.op, Binarize)}
    kept = []
    for node in reversed(found):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def images(graph: Graph, count: int = CALLS) -> list[Arrays]:
    """What the inputs of a graph get, `count` times."""
    rng = np.random.default_rng(5)
    of_inputs = [_images(type_, rng, count) for type_ in graph.input_types()]
    return list(zip(*of_inputs, strict=True))


def _images(type_: TensorType, rng: np.random.Generator, count: int) -> list[Array]:
    """All of one sign, alternating, and random ones, from few to many.

    Floats are 0, plus and minus one half, and random multiples of one half.
    """
    shape = type_.shape
    alternating = np.indices(shape).sum(axis=0) % 2 == 0
    fixed = [np.zeros(shape, np.bool_), np.ones(shape, np.bool_), alternating]
    densities = np.linspace(0.02, 0.98, max(1, count - len(fixed)))
    bits = [*fixed, *(rng.random(shape) < p for p in densities)][:count]
    if type_.dtype is DType.BIT:
        return bits
    floats: list[Array] = [np.zeros(shape, np.float32)]
    for number, signs in enumerate(bits[1:]):
        sizes = rng.integers(1, 2 + min(number, 7), shape) / 2
        floats.append(np.where(signs, sizes, -sizes).astype(np.float32))
    return floats


def wrong_bits(part: Graph, inputs: Sequence[Arrays], target: Target) -> list[str]:
    """For each output whose bits differ from the reference, how many do."""
    optimised, _ = run_pipeline(part)
    (results,) = run_trials([Trial(optimised, tuple(inputs))], target)
    if isinstance(results, Exception):
        raise results
    wrong = np.zeros(len(part.outputs), np.int64)
    for image, got in zip(inputs, results, strict=True):
        wanted = evaluate(part, image).outputs
        wrong += [int((a != b).sum()) for a, b in zip(got, wanted, strict=True)]
    return [
        f"{port.name}: {bits:,} bits differ"
        for port, bits in zip(part.outputs, wrong.tolist(), strict=True)
        if bits
    ]
