"""Measures how far rounding alone moves the results of networks.

Networks with a recurrence: a rounding error can feed back into the computation that produced it, on
every trip of a loop and in every call, and may grow each time. How much it grows depends on weights
and inputs, so the growth is measured with random rounding (Parker, Monte Carlo Arithmetic, 1997).
The reference runs in float64. In each of a few seeded trials, every float result of a node is moved
by a random amount within the error bound of that node alone (`ellc.ir.rounding`). The largest
distance among the trials is how far rounding may move a result. No safety factor is needed, because
the bounds are worst cases: a sum of n terms has the bound n * eps, but its actual error is about
sqrt(n) * eps.

Networks without a recurrence: a rounding error usually passes through a few layers only and stays
far below the usual tolerance. Worst-case bounds, added up layer after layer, would hide mistakes.
But cancellation, steep functions and unrolled recurrences can enlarge errors in such networks, too.
So their movement is sampled. The trials compute in float32, in numpy's order of additions, and
change every float that passes from one node to the next by a random amount, of at most one to two
times the distance to its neighbour. Before a node that is not pointwise, its float operands are
changed once more, to represent the rounding inside the node. Another order of additions may move
results further; the constant `_OTHER_ORDERS` allows for this.

Signs and other results of step functions are taken from the run without random rounding.
`ellc.check.following` handles those that rounding changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import constants, evaluate, run_double, run_node
from ellc.ir.op import Arrays, Pointwise
from ellc.ir.ops.loop import Loop, RunNode
from ellc.ir.rounding import interval, roundoff, takes_steps
from ellc.ir.types import Array, DType

TRIALS = 8
"""The number of runs with random rounding. With so many, at least one very probably moves a result
about as far as rounding can."""
_OTHER_ORDERS = 8.0
"""The factor by which another order of additions may move a result further than the samples."""

Moving = Callable[[Graph, np.random.Generator, Iterator[Arrays]], RunNode]
"""A function that makes an evaluator of a graph's nodes. The evaluator rounds at random, and takes
the results of step functions from the iterator."""


def recurrent_values(graph: Graph) -> frozenset[str]:
    """The values that depend on a recurrence.

    A recurrence is a loop with carried values, a recurrent cell, or a state whose next value
    depends on the state itself, directly or through other states. A delay line is not a recurrence.
    """
    cyclic = _cyclic_states(graph)
    values = {s.current for s in graph.states if s.name in cyclic}
    for node in graph.nodes:
        if node.op.recurrent or values.intersection(node.inputs):
            values.update(node.outputs)
    return frozenset(values)


def movement(graph: Graph, calls: Sequence[Arrays]) -> list[Arrays]:
    """How far rounding moves the outputs of each call: float64 arrays with the outputs' shapes.

    This function is for outputs that depend on a recurrence. `calls` are the inputs of consecutive
    calls after a reset. The graph must have been through the passes: they lower recurrent cells, so
    that rounding inside the cells counts as well.
    """
    return _spread(lambda run_in: _outputs(graph, calls, run_in(graph)), _moving)


def node_movement(graph: Graph, node: Node, operands: Mapping[str, Array]) -> Arrays:
    """Like `movement`, for one node. Its operands count as exact; it computes in float64."""
    return _spread(lambda run_in: [run_in(graph)(node, operands)], _moving)[0]


def sampled_movement(graphs: Sequence[Graph], calls: Sequence[Arrays]) -> list[Arrays]:
    """The counterpart of `movement` for outputs that do not depend on a recurrence.

    `graphs` compute the same function, for example before and after the passes; the largest
    movement among them counts.
    """
    found = [
        _spread(lambda run_in, graph=graph: _outputs(graph, calls, run_in(graph)), _rounding)  # type: ignore[misc]
        for graph in graphs
    ]
    return [
        tuple(_OTHER_ORDERS * np.maximum.reduce(each) for each in zip(*of_call, strict=True))
        for of_call in zip(*found, strict=True)
    ]


def sampled_node_movement(graph: Graph, node: Node, operands: Mapping[str, Array]) -> Arrays:
    """Like `sampled_movement`, for one node, whose operands are given in float64."""
    (found,) = _spread(lambda run_in: [run_in(graph)(node, operands)], _rounding)
    return tuple(_OTHER_ORDERS * each for each in found)


def _spread(
    run: Callable[[Callable[[Graph], RunNode]], list[Arrays]], moving: Moving
) -> list[Arrays]:
    steps: list[Arrays] = []
    exact = run(lambda graph: _recording(graph, steps))
    spread = [tuple(np.zeros(x.shape) for x in call) for call in exact]
    for trial in range(TRIALS):
        rng, recorded = np.random.default_rng(trial), iter(steps)
        moved = run(lambda graph, rng=rng, recorded=recorded: moving(graph, rng, recorded))  # type: ignore[misc]
        spread = [
            tuple(_further(s, a, b) for s, a, b in zip(*call, strict=True))
            for call in zip(spread, moved, exact, strict=True)
        ]
    return spread


def _further(spread: Array, moved: Array, exact: Array) -> Array:
    if exact.dtype.kind != "f":
        return spread
    with np.errstate(all="ignore"):
        distance = np.abs(moved - exact)
    return np.maximum(spread, np.where(np.isfinite(distance), distance, 0.0))


def _outputs(graph: Graph, calls: Sequence[Arrays], run: RunNode) -> list[Arrays]:
    outputs = []
    states: Mapping[str, Array] | None = None
    for inputs in calls:
        result = evaluate(graph, inputs, states=states, double=True, run=run)
        states = result.states
        outputs.append(result.outputs)
    return outputs


def _recording(graph: Graph, steps: list[Arrays]) -> RunNode:
    """An evaluator in float64 that appends the results of step functions to `steps`."""

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _recording(node.op.body, steps))
        results = run_double(node, env)
        if takes_steps(node.op):
            steps.append(results)
        return results

    return run


def _moving(graph: Graph, rng: np.random.Generator, steps: Iterator[Arrays]) -> RunNode:
    """An evaluator in float64 that moves each float result within the error bound of its node.

    The results of step functions are taken from `steps`.
    """

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _moving(node.op.body, rng, steps))
        if takes_steps(node.op):
            return next(steps)
        if len(node.outputs) != 1:
            return run_double(node, env)  # nodes with several results copy and do not round
        epsilon = roundoff(graph.types[node.output].dtype)
        operands = [env[v] for v in node.inputs]
        low, middle, high = interval(node.op, operands, (0.0,) * len(operands), epsilon)
        if middle.dtype.kind != "f":
            return (middle,)
        with np.errstate(all="ignore"):
            slack = np.maximum(high - middle, middle - low)
        slack = np.where(np.isfinite(slack), slack, 0.0)
        return (middle + slack * rng.uniform(-1.0, 1.0, slack.shape),)

    return run


def _rounding(graph: Graph, rng: np.random.Generator, steps: Iterator[Arrays]) -> RunNode:
    """An evaluator in the graph's precision that moves floats by one to two gaps at most.

    The results of step functions are taken from `steps`.
    """

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _rounding(node.op.body, rng, steps))
        if takes_steps(node.op):
            return next(steps)
        operands = {v: env[v] for v in node.inputs}
        if not isinstance(node.op, Pointwise):
            operands = {v: _moved(x, graph.types[v].dtype, rng) for v, x in operands.items()}
        with np.errstate(all="ignore"):
            narrow = {v: np.asarray(x, graph.types[v].dtype.numpy) for v, x in operands.items()}
        results = zip(node.outputs, run_node(node, narrow), strict=True)
        return tuple(_moved(x, graph.types[v].dtype, rng) for v, x in results)

    return run


def _moved(x: Array, dtype: DType, rng: np.random.Generator) -> Array:
    """Convert floats to float64 and move them by at most two units of their rounding error."""
    if x.dtype.kind != "f":
        return x
    between = 2.0 * roundoff(dtype)
    with np.errstate(all="ignore"):
        return x.astype(np.float64) * (1.0 + between * rng.uniform(-1.0, 1.0, x.shape))


def _loop(op: Loop, node: Node, env: Mapping[str, Array], run: RunNode) -> Arrays:
    return op.run(tuple(env[v] for v in node.inputs), constants(op.body, True), run)


def _cyclic_states(graph: Graph) -> set[str]:
    """The names of the states whose next value depends on the state itself."""
    needs: dict[str, frozenset[str]] = {s.current: frozenset({s.name}) for s in graph.states}
    for node in graph.nodes:
        union = frozenset().union(*(needs.get(v, frozenset()) for v in node.inputs))
        needs.update(dict.fromkeys(node.outputs, union))
    direct = {s.name: needs.get(s.next, frozenset()) for s in graph.states}
    return {name for name in direct if name in _reached(name, direct)}


def _reached(start: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = edges[waiting.pop()] - reached
        reached |= fresh
        waiting += fresh
    return reached
