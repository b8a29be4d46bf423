"""How far rounding alone moves the results of recurrent networks.

In a network without recurrence an error of rounding passes a few layers and stays far below the
usual tolerance. Through a recurrence it comes back to where it was made, trip by trip and call by
call, and may grow each time. How much depends on weights and inputs, so it is measured: by random
rounding (Parker, Monte Carlo Arithmetic, 1997). The reference runs in float64; in each of a few
seeded trials every float a node makes is moved at random within the error bound of that node alone
(`ellc.ir.rounding`). The furthest of the trials is what rounding may make of each result. It
needs no factor: the bounds are those of the worst case, n * eps for n terms where rounding makes
about sqrt(n) * eps.

Signs and other steps are those of the run that is not moved: a step that rounding flips is the
business of `ellc.check.following`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import constants, evaluate, run_double
from ellc.ir.op import Arrays
from ellc.ir.ops.loop import Loop, RunNode
from ellc.ir.rounding import DOUBLE, SINGLE, interval, takes_steps
from ellc.ir.types import Array, DType

TRIALS = 8
"""Runs with random rounding: that all of them move a result by next to nothing is unlikely."""


def recurrent_values(graph: Graph) -> frozenset[str]:
    """Values that depend on a recurrence.

    That is a loop with carried values, a recurrent cell, or a state whose next value depends on the
    state itself, if need be by way of others. A delay line is none.
    """
    cyclic = _cyclic_states(graph)
    found = {s.current for s in graph.states if s.name in cyclic}
    for node in graph.nodes:
        if node.op.recurrent or found.intersection(node.inputs):
            found.update(node.outputs)
    return frozenset(found)


def movement(graph: Graph, calls: Sequence[Arrays]) -> list[Arrays]:
    """How far rounding moved every output of every call: float64, at least 0, as large as it.

    `calls` are made in a row from a reset. The graph is one that has been through the passes: its
    cells are taken apart, so that rounding inside them takes part.
    """
    return _spread(lambda run_in: _outputs(graph, calls, run_in(graph)))


def node_movement(graph: Graph, node: Node, operands: Mapping[str, Array]) -> Arrays:
    """The same for one node of a graph, on operands that are taken as exact (floats in float64)."""
    return _spread(lambda run_in: [run_in(graph)(node, operands)])[0]


def _spread(run: Callable[[Callable[[Graph], RunNode]], list[Arrays]]) -> list[Arrays]:
    steps: list[Arrays] = []
    exact = run(lambda graph: _recording(graph, steps))
    spread = [tuple(np.zeros(x.shape) for x in call) for call in exact]
    for trial in range(TRIALS):
        rng, taken = np.random.default_rng(trial), iter(steps)
        moved = run(lambda graph, rng=rng, taken=taken: _moving(graph, rng, taken))  # type: ignore[misc]
        spread = [
            tuple(_further(s, a, b) for s, a, b in zip(*together, strict=True))
            for together in zip(spread, moved, exact, strict=True)
        ]
    return spread


def _further(spread: Array, moved: Array, exact: Array) -> Array:
    if exact.dtype.kind != "f":
        return spread
    with np.errstate(all="ignore"):
        distance = np.abs(moved - exact)
    return np.maximum(spread, np.where(np.isfinite(distance), distance, 0.0))


def _outputs(graph: Graph, calls: Sequence[Arrays], run: RunNode) -> list[Arrays]:
    found = []
    states: Mapping[str, Array] | None = None
    for inputs in calls:
        result = evaluate(graph, inputs, states=states, double=True, run=run)
        states = result.states
        found.append(result.outputs)
    return found


def _recording(graph: Graph, steps: list[Arrays]) -> RunNode:
    """Evaluates nodes of a graph in float64, and keeps the steps in the order they are taken."""

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _recording(node.op.body, steps))
        results = run_double(node, env)
        if takes_steps(node.op):
            steps.append(results)
        return results

    return run


def _moving(graph: Graph, rng: np.random.Generator, steps: Iterator[Arrays]) -> RunNode:
    """The same with every float moved within its node's error bound, and the steps given."""

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _moving(node.op.body, rng, steps))
        if takes_steps(node.op):
            return next(steps)
        if len(node.outputs) != 1:
            return run_double(node, env)  # it only moves values, all that round have one result
        epsilon = DOUBLE if graph.types[node.output].dtype is DType.F64 else SINGLE
        operands = [env[v] for v in node.inputs]
        low, middle, high = interval(node.op, operands, (0.0,) * len(operands), epsilon)
        if middle.dtype.kind != "f":
            return (middle,)
        with np.errstate(all="ignore"):
            slack = np.maximum(high - middle, middle - low)
        slack = np.where(np.isfinite(slack), slack, 0.0)
        return (middle + slack * rng.uniform(-1.0, 1.0, slack.shape),)

    return run


def _loop(op: Loop, node: Node, env: Mapping[str, Array], run: RunNode) -> Arrays:
    return op.run(tuple(env[v] for v in node.inputs), constants(op.body, True), run)


def _cyclic_states(graph: Graph) -> set[str]:
    """Names of the states that depend on themselves."""
    needs: dict[str, frozenset[str]] = {s.current: frozenset({s.name}) for s in graph.states}
    for node in graph.nodes:
        union = frozenset().union(*(needs.get(v, frozenset()) for v in node.inputs))
        needs.update(dict.fromkeys(node.outputs, union))
    direct = {s.name: needs.get(s.next, frozenset()) for s in graph.states}
    return {name for name in direct if name in _reached(name, direct)}


def _reached(start: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = edges[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found
