"""A reference that takes signs from the compiled code where rounding leaves them undecided.

A network that computes signs of sums cannot be compared by its outputs alone: the sign of a sum
close to zero depends on rounding, and all later values depend on the sign. Here the reference runs
in float64 and compares its signs with those of the compiled code. Where a sign differs, the
reference's sum must be within the error bound of the float arithmetic since the last signs. The
reference then continues with the compiled sign, so its outputs must agree within the usual
tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ellc.check.agreement import Agreement, wrong_elements
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.rounding import DOUBLE, SINGLE, interval, reachable, takes_steps
from ellc.ir.types import Array, DType


@dataclass
class GuidedRun:
    """A run of the guided reference: outputs, next states, and how each node's steps compare.

    Steps are mostly signs: results that jump where an operand crosses a threshold.
    """

    outputs: Arrays = ()
    states: Mapping[str, Array] = field(default_factory=dict)
    steps: dict[str, Agreement] = field(default_factory=dict)


def follow(
    graph: Graph,
    inputs: Sequence[Array],
    states: Mapping[str, Array] | None,
    compiled: Mapping[str, Array],
) -> GuidedRun:
    """Evaluate a graph, with the compiled code's results for nodes that take steps.

    `compiled` holds the results of all these nodes by the value's name; so does `steps` of the
    returned run. A sign that differs and is not undecided is wrong.
    """
    guided = GuidedRun()
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
            DOUBLE if graph.types[value].dtype is DType.F64 else SINGLE,
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
            errors[value] = np.maximum(ends[2] - results[0], results[0] - ends[0])
        return results

    result = evaluate(graph, tuple(inputs), states=states, double=True, run=run)
    guided.outputs, guided.states = result.outputs, result.states
    return guided
