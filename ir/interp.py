"""The reference executor: evaluates a graph in numpy, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Arrays, Op
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.loop import Loop
from ellc.ir.types import Array, DType, TensorType


@dataclass(frozen=True)
class Result:
    """The outputs of an evaluation in order, the next states by name, and, if kept, all values."""

    outputs: Arrays
    states: Mapping[str, Array]
    values: Mapping[str, Array]


def initial_states(graph: Graph) -> dict[str, Array]:
    """The state arrays after a reset, by state name."""
    return {s.name: graph.weights[s.key] for s in graph.states}


def run_node(node: Node, env: Mapping[str, Array]) -> Arrays:
    """The results of a node; `env` holds the operands by value.

    A node with float16 operands computes in float32; then its results are rounded.
    """
    operands = tuple(env[v] for v in node.inputs)
    with np.errstate(all="ignore"):
        if not any(x.dtype == np.float16 for x in operands):
            return node.op.reference(*operands)
        wide = (x.astype(np.float32) if x.dtype == np.float16 else x for x in operands)
        return tuple(_halved(node.op, result) for result in node.op.reference(*wide))


def _halved(op: Op, result: Array) -> Array:
    """A result of float16 operands, in its own type."""
    last = op.stages[-1].op if isinstance(op, Fused) else op
    if result.dtype != np.float32 or (isinstance(last, Cast) and last.dtype is not DType.F16):
        return result
    return result.astype(np.float16)


def run_double(node: Node, env: Mapping[str, Array]) -> Arrays:
    """The results of a node, computed in float64 instead of float32, also between fused stages.

    An operator that turns bits or integers into floats returns float32, because no operand tells it
    to compute in float64; such results are converted.
    """
    with np.errstate(all="ignore"):
        return _double(node.op, tuple(env[v] for v in node.inputs))


def _double(op: Op, operands: Arrays) -> Arrays:
    if isinstance(op, Loop):
        return op.run(operands, constants(op.body, True), run_double)
    if not isinstance(op, Fused):
        return tuple(_precise(r, True) for r in op.reference(*operands))
    head, *rest = op.split(operands)
    running = _double(op.anchor, head)
    for stage, extras in zip(op.stages, rest, strict=True):
        running = _double(stage.op, (*running, *extras))
    return running


def evaluate(
    graph: Graph,
    inputs: Arrays,
    *,
    states: Mapping[str, Array] | None = None,
    double: bool = False,
    keep: bool = False,
    run: Callable[[Node, Mapping[str, Array]], Arrays] | None = None,
) -> Result:
    """Run the graph on numpy arrays of the declared shapes.

    With `double`, float32 values are computed in float64, the precision in which passes are
    compared. With `keep`, `Result.values` holds every value; without it, a value is dropped after
    its last use. `run`, if given, evaluates a node instead of `run_node` and `run_double`.

    Raises `EllcError` (E120) if the number of inputs or the shape of one is wrong.
    """
    if len(inputs) != len(graph.inputs):
        message = f"number of inputs: {len(inputs)} (the model has {len(graph.inputs)})"
        raise EllcError(message, code="E120")
    carried = dict(initial_states(graph), **(states or {}))
    env: dict[str, Array] = {}
    for port, array in zip(graph.inputs, inputs, strict=True):
        env[port.value] = _checked(port.name, graph.types[port.value], array, double)
    env.update(constants(graph, double))
    env.update({s.current: _precise(carried[s.name], double) for s in graph.states})
    step = run or (run_double if double else run_node)
    last = {} if keep else _last_uses(graph)
    for index, node in enumerate(graph.nodes):
        env.update(zip(node.outputs, step(node, env), strict=True))
        for value in last.get(index, ()):
            env.pop(value, None)
    return Result(
        tuple(env[p.value] for p in graph.outputs),
        {s.name: env[s.next] for s in graph.states},
        env if keep else {},
    )


def constants(graph: Graph, double: bool) -> dict[str, Array]:
    """The constant arrays by value.

    With `double`, float32 arrays are converted to float64, or replaced by the unrounded arrays that
    are known (`Graph.exact`).
    """
    arrays = {v: _precise(a, double) for v, a in graph.constant_arrays().items()}
    return {**arrays, **graph.exact} if double else arrays


def _precise(array: Array, double: bool) -> Array:
    return array.astype(np.float64) if double and array.dtype == np.float32 else array


def _checked(name: str, type_: TensorType, array: Array, double: bool) -> Array:
    if tuple(array.shape) != type_.shape:
        raise EllcError(
            f"input '{name}' has shape {tuple(array.shape)}, but the model expects {type_.shape}",
            code="E120",
        )
    return _precise(np.asarray(array, dtype=type_.dtype.numpy), double)


def _last_uses(graph: Graph) -> dict[int, list[str]]:
    wanted = {p.value for p in graph.outputs} | {s.next for s in graph.states}
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        last.update(dict.fromkeys(node.outputs, index))
        last.update(dict.fromkeys(node.inputs, index))
    dying: dict[int, list[str]] = {}
    for value, index in last.items():
        if value not in wanted:
            dying.setdefault(index, []).append(value)
    return dying
