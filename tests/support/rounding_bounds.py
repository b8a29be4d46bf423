"""Bounds on the results of a network that hold for any rounding of floats.

The imported graph is evaluated in float64, with an interval around every value
(`ellc.ir.rounding`). If an interval contains a boundary between two quantised integers, both
integers are correct, and later intervals contain the results for both. Other intervals only contain
the errors of float32 rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.check.agreement import allowed_error, wrong_elements
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.ops.loop import Loop
from ellc.ir.rounding import SINGLE, interval, takes_steps
from ellc.ir.types import Array

LOOSE = 0.1
"""Intervals wider than this fraction of the largest result are too wide for a test."""
_OWN_ROUNDINGS = 4.0  # the error of a value before it is quantised, in units of eps
_TRIALS = 8  # evaluations of a loop with perturbed operands

Ends = tuple[Array, Array]


@dataclass(frozen=True)
class Bounds:
    """A result in float64, with the smallest and largest values that are possible with rounding."""

    middle: Array
    low: Array
    high: Array

    def disagreement(self, got: Array) -> str:
        """A description of elements outside the bounds; empty if there are none."""
        if got.shape != self.middle.shape:
            return f"shape {got.shape} instead of {self.middle.shape}"
        if got.dtype.kind != "f":
            wrong = ~((self.low <= got) & (got <= self.high))
        else:
            slack = allowed_error(self.middle)
            inside = (self.low - slack <= got) & (got <= self.high + slack)
            wrong = wrong_elements(got, self.middle) & ~inside
        if not wrong.any():
            return ""
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        ends = f"{self.low[place].item()!r} to {self.high[place].item()!r}"
        return f"{wrong.sum()} of {got.size}, at {place}: {got[place].item()!r}, not {ends}"

    def is_undecided(self, got: Array) -> bool:
        """Whether an element is within the bounds, but not within the usual tolerance."""
        return bool(wrong_elements(got, self.middle).any())

    @property
    def is_loose(self) -> bool:
        """Whether the interval of an element is too wide for a test."""
        if self.middle.dtype.kind != "f":
            return bool((self.high - self.low > 1).any())
        largest = np.abs(self.middle).max(initial=0.0)
        return bool((self.high - self.low > LOOSE * largest).any())


def bounds(graph: Graph, inputs: Sequence[Array]) -> list[Bounds]:
    """The bounds of every output for exact `inputs`."""
    ends: dict[str, Ends] = {}

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        results = run_double(node, env)
        operands = [env[v] for v in node.inputs]
        of_operands = [ends.get(v, (env[v], env[v])) for v in node.inputs]
        found = _ends(node, operands, of_operands, results)
        ends.update(zip(node.outputs, found, strict=True))
        return results

    made = evaluate(graph, tuple(inputs), double=True, run=run).outputs
    pairs = [ends.get(port.value, (x, x)) for port, x in zip(graph.outputs, made, strict=True)]
    return [Bounds(x, low, high) for x, (low, high) in zip(made, pairs, strict=True)]


def _ends(node: Node, operands: list[Array], of: list[Ends], results: Arrays) -> list[Ends]:
    if isinstance(node.op, Loop) or len(results) != 1:
        return _tried(node, operands, of, results)
    known = zip(operands, of, strict=True)
    if any(x.dtype.kind in "iub" and np.any(a != b) for x, (a, b) in known):
        return [_of_integers(node, operands, of, results[0])]
    errors = [_error(x, e) for x, e in zip(operands, of, strict=True)]
    if takes_steps(node.op):
        errors[0] = errors[0] + _OWN_ROUNDINGS * SINGLE * np.abs(operands[0])
    low, _, high = interval(node.op, operands, errors, SINGLE)
    return [(low, high)]


def _error(x: Array, ends: Ends) -> Array | float:
    if x.dtype.kind != "f":
        return 0.0
    low, high = ends
    return np.asarray(np.maximum(high - x, x - low))


def _of_integers(node: Node, operands: list[Array], of: list[Ends], middle: Array) -> Ends:
    """The interval of the result of an operator on integers or booleans.

    It follows from the ends of the operands' intervals, since these operators are monotonic. A
    float result is also rounded.
    """
    names = node.inputs
    tried = [run_double(node, dict(zip(names, (e[i] for e in of), strict=True)))[0] for i in (0, 1)]
    low = np.minimum.reduce([*tried, middle])
    high = np.maximum.reduce([*tried, middle])
    slack = _OWN_ROUNDINGS * SINGLE * np.abs(high) if high.dtype.kind == "f" else 0
    return low - slack, high + slack


def _tried(node: Node, operands: list[Array], of: list[Ends], results: Arrays) -> list[Ends]:
    """Twice the change for perturbed operands, plus the usual tolerance for the node's rounding."""
    rng = np.random.default_rng(0)
    worst = [np.zeros(x.shape) for x in results]
    errors = [_error(x, e) for x, e in zip(operands, of, strict=True)]
    if any(np.any(e) for e in errors):
        for _ in range(_TRIALS):
            moved = [
                x + e * rng.choice((-1.0, 1.0), x.shape) if x.dtype.kind == "f" else x
                for x, e in zip(operands, errors, strict=True)
            ]
            found = run_double(node, dict(zip(node.inputs, moved, strict=True)))
            worst = [
                np.maximum(w, np.abs(a - b)) for w, a, b in zip(worst, found, results, strict=True)
            ]
    slack = [2.0 * w + allowed_error(x) for w, x in zip(worst, results, strict=True)]
    return [(x - s, x + s) for x, s in zip(results, slack, strict=True)]
