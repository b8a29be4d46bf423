"""Do two graphs mean the same? Both are evaluated in float64 on the same seeded inputs.

In float64 a reordered sum moves a result by about 1e-16, a wrong rewrite by far more; constants
that a pass rounded to float32 take part unrounded (`Graph.exact`). What is left is the sign of a
number that is zero but for such errors: it may fall either way and then flips everything after
it. So the bits of the graph before are forced on the graph after wherever a sign differs and
both numbers are below the bound; every other difference is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array, DType, TensorType

TOLERANCE = 1e-9  # of the largest magnitude in the tensor
INPUT_SCALES = (255.0, 1.0)  # pictures; and signals at which no sigmoid is saturated
_INTEGER_SPAN = 10  # wide integers may be indices


@dataclass(frozen=True)
class Difference:
    """How far two graphs are apart: `worst` is relative to the tensor's largest magnitude."""

    worst: float = 0.0
    where: str = ""
    flipped_signs: int = 0

    def merged(self, other: Difference) -> Difference:
        """The worse of two, with the signs of both."""
        worse = max(self, other, key=lambda d: d.worst)
        return replace(worse, flipped_signs=self.flipped_signs + other.flipped_signs)


@dataclass
class _Signs:
    """Numbers whose signs a graph takes, with the bits it got, by the id of the bits."""

    numbers: dict[str, Array] = field(default_factory=dict)
    bits: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class _Trace:
    outputs: Arrays
    states: Mapping[str, Array]
    signs: _Signs


class MeaningCheck:
    """Compares every graph it is shown with the one before.

    >>> check = MeaningCheck(graph)
    >>> check.compare(rewritten).worst < TOLERANCE
    """

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        self._feeds = [_feed(graph, seed, scale) for scale in INPUT_SCALES]
        self._traces = [_trace(graph, *feed, _Signs())[0] for feed in self._feeds]

    def compare(self, graph: Graph) -> Difference:
        """How far this graph is from the previous one, which it then replaces."""
        total = Difference()
        for index, (feed, before) in enumerate(zip(self._feeds, self._traces, strict=True)):
            after, found = _trace(graph, *feed, before.signs)
            self._traces[index] = after
            total = total.merged(found)
            for port, a, b in zip(graph.outputs, after.outputs, before.outputs, strict=True):
                total = total.merged(Difference(apart(a, b), f"output '{port.name}'"))
            for name, b in before.states.items():
                total = total.merged(Difference(apart(after.states[name], b), f"state '{name}'"))
        return total


def apart(a: Array, b: Array) -> float:
    """Largest |a - b| relative to the largest |b|; infinite where only one is a number."""
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    difference = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    if not np.isfinite(difference):
        return float("inf")
    return difference / float(np.max(np.abs(b[finite]), initial=0.0) or 1.0)


def sample_array(type_: TensorType, rng: np.random.Generator, scale: float) -> Array:
    """A seeded input of a type: floats uniform in -scale..scale, small integers, any bits."""
    if type_.dtype in (DType.BOOL, DType.BIT):
        return rng.integers(0, 2, type_.shape).astype(np.bool_)
    if type_.dtype.is_float:
        return rng.uniform(-scale, scale, type_.shape).astype(type_.dtype.numpy)
    info = np.iinfo(type_.dtype.numpy)
    narrow = info.bits == 8
    high = info.max + 1 if narrow else _INTEGER_SPAN
    return rng.integers(info.min if narrow else 0, high, type_.shape).astype(type_.dtype.numpy)


def _feed(graph: Graph, seed: int, scale: float) -> tuple[Arrays, dict[str, Array]]:
    rng = np.random.default_rng([seed, int(scale)])
    inputs = tuple(sample_array(t, rng, scale) for t in graph.input_types())
    states = {s.name: sample_array(graph.types[s.current], rng, 1.0) for s in graph.states}
    return inputs, states


def _trace(
    graph: Graph, inputs: Arrays, states: Mapping[str, Array], before: _Signs
) -> tuple[_Trace, Difference]:
    """Evaluate in float64, with the signs of `before` where a sign is undecided."""
    signs = _Signs()
    found = Difference()

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        nonlocal found
        numbers = _signed_numbers(node, env)
        if numbers is None:
            return run_double(node, env)
        (bits,) = Binarize().reference(numbers)
        if node.output in before.bits:
            bits, difference = _forced(node.output, numbers, bits, before)
            found = found.merged(difference)
        signs.numbers[node.output], signs.bits[node.output] = numbers, bits
        return (bits,)

    result = evaluate(graph, inputs, states=states, double=True, run=run)
    return _Trace(result.outputs, result.states, signs), found


def _forced(value: str, numbers: Array, bits: Array, before: _Signs) -> tuple[Array, Difference]:
    """The bits with the undecided ones as they were, and how far a decided one is off."""
    wanted, old = before.bits[value], before.numbers[value]
    if wanted.shape != bits.shape:
        return bits, Difference(float("inf"), f"signs %{value}")
    flipped = wanted != bits
    largest = max(float(np.max(np.abs(x), initial=0.0)) for x in (old, numbers))
    size = np.maximum(np.abs(old), np.abs(numbers))[flipped] / (largest or 1.0)
    worst = float(np.max(size, initial=0.0))
    return wanted, Difference(worst, f"signs %{value}", int(flipped.sum()))


def _signed_numbers(node: Node, env: Mapping[str, Array]) -> Array | None:
    """The numbers whose signs a node takes last, None if it takes none."""
    op = node.op
    if isinstance(op, Binarize):
        return env[node.inputs[0]]
    if isinstance(op, Fused) and op.stages and isinstance(op.stages[-1].op, Binarize):
        head = replace(op, stages=op.stages[:-1])
        return run_double(replace(node, op=head), env)[0]
    return None
