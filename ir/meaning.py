"""Check whether two graphs mean the same, by evaluating both in float64 on the same random inputs.

In float64, another order of additions changes a result by about 1e-16 of its size, a wrong rewrite
by far more. If a pass rounded a constant to float32, the unrounded array is used (`Graph.exact`).

Step functions, mostly signs, need special care: for an operand close to the step, rounding decides
the result, and so all values that are computed from it. A result of a step function is undecided if
rounding errors within the tolerance can change it (`ellc.ir.rounding`). If undecided results of the
two graphs differ, evaluation of the later graph continues with the earlier graph's results. Every
other difference is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.rounding import DOUBLE, interval, reachable, takes_steps
from ellc.ir.types import Array, DType, TensorType

TOLERANCE = 1e-9  # relative to the largest magnitude in the tensor
INPUT_SCALES = (255.0, 1.0)  # the range of pixels, and one in which no sigmoid saturates
_INTEGER_SPAN = 10  # integers of more than 8 bits are often indices, so small ones are drawn


@dataclass(frozen=True)
class Difference:
    """How far two graphs differ: `worst` is relative to the tensor's largest magnitude.

    `undecided` counts the undecided results of step functions that differed.
    """

    worst: float = 0.0
    where: str = ""
    undecided: int = 0

    def merged(self, other: Difference) -> Difference:
        """The larger of two differences, with the sum of their counts of undecided results."""
        worse = max(self, other, key=lambda d: d.worst)
        return replace(worse, undecided=self.undecided + other.undecided)


@dataclass(frozen=True)
class _Trace:
    outputs: Arrays
    states: Mapping[str, Array]
    steps: Mapping[str, Array]
    """Results of step functions, by value."""


class MeaningCheck:
    """Compares graphs one after the other, each with the one before.

    >>> check = MeaningCheck(graph)
    >>> check.compare(rewritten).worst < TOLERANCE
    """

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        self._feeds = [_feed(graph, seed, scale) for scale in INPUT_SCALES]
        self._traces = [_trace(graph, *feed, {}, TOLERANCE)[0] for feed in self._feeds]

    def compare(self, graph: Graph, tolerance: float = TOLERANCE) -> Difference:
        """How far this graph differs from the previous one.

        The next call compares with this graph. A result of a step function is undecided if an error
        of `tolerance`, relative to the operand's largest number, can change it.
        """
        total = Difference()
        for index, (feed, before) in enumerate(zip(self._feeds, self._traces, strict=True)):
            after, difference = _trace(graph, *feed, before.steps, tolerance)
            self._traces[index] = after
            total = total.merged(difference)
            for port, a, b in zip(graph.outputs, after.outputs, before.outputs, strict=True):
                total = total.merged(Difference(apart(a, b), f"output '{port.name}'"))
            for name, b in before.states.items():
                total = total.merged(Difference(apart(after.states[name], b), f"state '{name}'"))
        return total


def apart(a: Array, b: Array) -> float:
    """The largest |a - b|, relative to the largest |b|.

    It is infinite if the shapes, the kinds of element types, any elements that are not floats, or
    the positions or values of non-finite elements differ.
    """
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
    """A random input of a type: floats uniform in -scale..scale, integers, or random bits.

    Integers of 8 bits are from the whole range of the type, others from 0..9.
    """
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
    graph: Graph,
    inputs: Arrays,
    states: Mapping[str, Array],
    before: Mapping[str, Array],
    tolerance: float,
) -> tuple[_Trace, Difference]:
    """Evaluate in float64, taking undecided results of step functions from `before`."""
    steps: dict[str, Array] = {}
    total = Difference()

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        nonlocal total
        results = run_double(node, env)
        if not takes_steps(node.op):
            return results
        (new,) = results
        old = before.get(node.output)
        if old is not None:
            operands = [env[v] for v in node.inputs]
            new, difference = _forced(node, operands, new, old, tolerance)
            total = total.merged(difference)
        steps[node.output] = new
        return (new,)

    result = evaluate(graph, inputs, states=states, double=True, run=run)
    return _Trace(result.outputs, result.states, steps), total


def _forced(
    node: Node, operands: Sequence[Array], new: Array, old: Array, tolerance: float
) -> tuple[Array, Difference]:
    """`new` with its undecided elements taken from `old`, and the difference between the two.

    The difference is infinite if the shapes, the types or any decided elements differ.
    """
    where = f"steps %{node.output}"
    if new.shape != old.shape or new.dtype != old.dtype:
        return new, Difference(float("inf"), where)
    differs = _differs(new, old, tolerance)
    if not differs.any():
        return new, Difference()
    errors = [tolerance * _largest(x) for x in operands]
    undecided = differs & reachable(interval(node.op, operands, errors, DOUBLE), old)
    worst = float("inf") if np.any(differs & ~undecided) else 0.0
    return np.where(undecided, old, new), Difference(worst, where, int(undecided.sum()))


def _differs(a: Array, b: Array, tolerance: float) -> Array:
    """A mask of the elements that differ; floats may differ by up to the tolerance."""
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= tolerance * _largest(b)
    return np.asarray(~(near | (a == b) | (np.isnan(a) & np.isnan(b))))


def _largest(x: Array) -> float:
    """The largest finite magnitude of floats; 0 for other element types."""
    if x.dtype.kind != "f":
        return 0.0
    return float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))
