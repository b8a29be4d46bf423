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
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType

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


def images(graph: Graph, count: int = CALLS) -> list[Array]:
    """Bits: all of one sign, alternating, and random ones, from few to many."""
    (type_,) = graph.input_types()
    rng = np.random.default_rng(5)
    alternating = np.indices(type_.shape).sum(axis=0) % 2 == 0
    fixed = [np.zeros(type_.shape, np.bool_), np.ones(type_.shape, np.bool_), alternating]
    densities = np.linspace(0.02, 0.98, max(1, count - len(fixed)))
    return [*fixed, *(rng.random(type_.shape) < p for p in densities)][:count]


def wrong_bits(part: Graph, inputs: Sequence[Array], target: Target) -> list[str]:
    """For each output whose bits differ from the reference, how many do."""
    optimised, _ = run_pipeline(part)
    (results,) = run_trials([Trial(optimised, tuple((image,) for image in inputs))], target)
    if isinstance(results, Exception):
        raise results
    wrong = np.zeros(len(part.outputs), np.int64)
    for image, got in zip(inputs, results, strict=True):
        wanted = evaluate(part, (image,)).outputs
        wrong += [int((a != b).sum()) for a, b in zip(got, wanted, strict=True)]
    return [
        f"{port.name}: {bits:,} bits differ"
        for port, bits in zip(part.outputs, wrong.tolist(), strict=True)
        if bits
    ]
