"""Runs the guided reference, which takes signs and other steps from the compiled code.

A network that computes signs of sums cannot be compared by its outputs alone: the sign of a sum
close to zero depends on rounding, and all later values depend on the sign. So the guided reference
runs in float64 and compares its signs with those of the compiled code. If a sign differs, the
reference's sum must be so close to zero that float rounding since the last signs can explain the
difference; a layer that has a tolerance of its own may have moved the sum by that as well. In any
case the reference continues with the sign of the compiled code. Therefore its outputs must agree
with the compiled outputs within the usual tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ellc.check.agreement import Agreement, wrong_elements
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.rounding import interval, reachable, roundoff, takes_steps
from ellc.ir.types import Array


@dataclass
class GuidedRun:
    """A run of the guided reference: outputs, next states, and comparisons by the names of values.

    The values compared are results of step functions, mostly signs: they jump where an operand
    crosses a threshold.
    """

    outputs: Arrays = ()
    states: Mapping[str, Array] = field(default_factory=dict)
    steps: dict[str, Agreement] = field(default_factory=dict)


def follow(
    graph: Graph,
    inputs: Sequence[Array],
    states: Mapping[str, Array] | None,
    compiled: Mapping[str, Array],
    of_largest: Mapping[str, float] | None = None,
) -> GuidedRun:
    """Evaluate a graph, but take the results of nodes with step functions from the compiled code.

    `compiled` maps the names of these results to the values that the compiled code computed. The
    returned run has a comparison for each of them: a sign that differs counts as undecided if
    rounding can explain the difference, and as wrong otherwise. `of_largest` has the tolerances of
    values whose kernels do not add products directly, relative to the largest magnitude.
    """
    guided = GuidedRun()
    own = of_largest or {}
    errors: dict[str, Array | float] = {}

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        results = run_double(node, env)
        if len(results) != 1:
            return results
        value = node.output
        ends = interval(
            node.op,
            [env[v] for v in node.inputs],
            [errors.get(v, 0.0) for v in node.inputs],
            roundoff(graph.types[value].dtype),
        )
        if takes_steps(node.op) and value in compiled:
            got = compiled[value]
            differs = wrong_elements(got, results[0].astype(got.dtype))
            allowed = reachable(ends, got)
            guided.steps[value] = Agreement(
                got.size, int((differs & ~allowed).sum()), int((differs & allowed).sum())
            )
            return (got.astype(results[0].dtype),)
        if results[0].dtype.kind == "f":
            largest = np.abs(results[0]).max(initial=0.0)
            rounding = np.maximum(ends[2] - results[0], results[0] - ends[0])
            errors[value] = rounding + own.get(value, 0.0) * largest
        return results

    result = evaluate(graph, tuple(inputs), states=states, double=True, run=run)
    guided.outputs, guided.states = result.outputs, result.states
    return guided
