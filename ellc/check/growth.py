"""Measure how far rounding alone moves the results of networks.

In a recurrence a rounding error returns to where it arose, trip by trip and call by call, and may
grow each time. How much depends on weights and inputs, so it is measured by random rounding
(Parker, Monte Carlo Arithmetic, 1997): the reference runs in float64, and in each of a few seeded
trials every float result of a node is moved at random within the error bound of that node alone
(`ellc.ir.rounding`). The largest distance among the trials is how far rounding may move each
result. It needs no safety factor, since the bounds are worst cases: n * eps for n terms, whereas
actual rounding errors are about sqrt(n) * eps.

In most networks without recurrence a rounding error passes a few layers and stays far below the
usual tolerance, and bounds of the worst case, layer after layer, would hide mistakes. But numbers
that cancel, steep functions and unrolled recurrences enlarge errors there, too. So their movement
is sampled: the trials compute in float32, in numpy's order of additions, and move the floats
between nodes at random by at most the distance of two neighbours. The float operands of a node
that rounds several times are moved as well, which stands for the rounding inside. Other orders of
additions may be worse, by a fixed factor.

Signs and other steps are those of the unmoved run; `ellc.check.following` treats steps that
rounding flips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import constants, evaluate, run_double, run_node
from ellc.ir.op import Arrays, Pointwise
from ellc.ir.ops.loop import Loop, RunNode
from ellc.ir.rounding import DOUBLE, SINGLE, interval, takes_steps
from ellc.ir.types import Array, DType

TRIALS = 8
"""Runs with random rounding; with this many, it is unlikely that all move a result too little."""
_OTHER_ORDERS = 8.0
"""How many times further than a sample another order of additions may move a result."""

Moving = Callable[[Graph, np.random.Generator, Iterator[Arrays]], RunNode]
"""Makes an evaluator of a graph's nodes that rounds at random and takes the recorded steps."""


def recurrent_values(graph: Graph) -> frozenset[str]:
    """Values that depend on a recurrence.

    A recurrence is a loop with carried values, a recurrent cell, or a state whose next value
    depends on the state itself, directly or through other states. A delay line is not one.
    """
    cyclic = _cyclic_states(graph)
    values = {s.current for s in graph.states if s.name in cyclic}
    for node in graph.nodes:
        if node.op.recurrent or values.intersection(node.inputs):
            values.update(node.outputs)
    return frozenset(values)


def movement(graph: Graph, calls: Sequence[Arrays]) -> list[Arrays]:
    """How far rounding moves every output of every call: float64 arrays of the outputs' shapes.

    `calls` are consecutive calls after a reset. The graph must have been through the passes, which
    lower recurrent cells, so that rounding inside the cells counts as well.
    """
    return _spread(lambda run_in: _outputs(graph, calls, run_in(graph)), _moving)


def node_movement(graph: Graph, node: Node, operands: Mapping[str, Array]) -> Arrays:
    """The same for one node of a graph on exact operands (floats in float64)."""
    return _spread(lambda run_in: [run_in(graph)(node, operands)], _moving)[0]


def sampled_movement(graphs: Sequence[Graph], calls: Sequence[Arrays]) -> list[Arrays]:
    """The same for results that depend on no recurrence: the furthest of graphs of one meaning."""
    found = [
        _spread(lambda run_in, graph=graph: _outputs(graph, calls, run_in(graph)), _rounding)  # type: ignore[misc]
        for graph in graphs
    ]
    return [
        tuple(_OTHER_ORDERS * np.maximum.reduce(each) for each in zip(*of_call, strict=True))
        for of_call in zip(*found, strict=True)
    ]


def sampled_node_movement(graph: Graph, node: Node, operands: Mapping[str, Array]) -> Arrays:
    """The same for one node of a graph, on operands that are taken as exact (floats in float64)."""
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
    """A function that evaluates nodes in float64 and appends results of steps to `steps`."""

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _recording(node.op.body, steps))
        results = run_double(node, env)
        if takes_steps(node.op):
            steps.append(results)
        return results

    return run


def _moving(graph: Graph, rng: np.random.Generator, steps: Iterator[Arrays]) -> RunNode:
    """The same, but floats are moved within their node's error bound; `steps` gives the steps."""

    def run(node: Node, env: Mapping[str, Array]) -> Arrays:
        if isinstance(node.op, Loop):
            return _loop(node.op, node, env, _moving(node.op.body, rng, steps))
        if takes_steps(node.op):
            return next(steps)
        if len(node.outputs) != 1:
            return run_double(node, env)  # nodes with several results only copy and round nothing
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


def _rounding(graph: Graph, rng: np.random.Generator, steps: Iterator[Arrays]) -> RunNode:
    """Evaluates nodes in the precision of the graph, floats moved to a neighbour at random."""

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
        made = zip(node.outputs, run_node(node, narrow), strict=True)
        return tuple(_moved(x, graph.types[v].dtype, rng) for v, x in made)

    return run


def _moved(x: Array, dtype: DType, rng: np.random.Generator) -> Array:
    """A float in float64, off by the distance of two neighbours of its type at most."""
    if x.dtype.kind != "f":
        return x
    between = 2.0 * (DOUBLE if dtype is DType.F64 else SINGLE)
    with np.errstate(all="ignore"):
        return x.astype(np.float64) * (1.0 + between * rng.uniform(-1.0, 1.0, x.shape))


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
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = edges[waiting.pop()] - reached
        reached |= fresh
        waiting += fresh
    return reached
