"""Replaces resource variables, which keep values between calls, by plain values.

Operators run in the file's order. So a read gives the value of the last assignment before the read
in the same call, or otherwise the value at the end of the previous call. `CALL_ONCE` runs a graph
before the first call; this graph assigns the initial values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import tensor
from ellc.frontends.tflite.effects import effect
from ellc.frontends.tflite.if_variables import (
    Branch,
    Key,
    assigned_variables,
    unused_name,
    used_variables,
    with_values,
)
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode
from ellc.frontends.tflite.scales import quant_of
from ellc.frontends.tflite.versions import want_known_version
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

_NO_HANDLES: Mapping[str, Key] = MappingProxyType({})
# The least numbers of operands, results and graphs of an operator.
_SIZES = {
    "ASSIGN_VARIABLE": (2, 0, 0),
    "CALL_ONCE": (0, 0, 1),
    "READ_VARIABLE": (1, 1, 0),
    "VAR_HANDLE": (0, 1, 0),
}


@dataclass(frozen=True, slots=True)
class Start:
    """The source of a variable's initial value: the output `output` of a graph that runs once."""

    graph: TfliteGraph
    output: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that is read before it is assigned.

    The tensor `before` represents the variable's value at the start of a call. The tensor `after`
    represents its value at the end of the call; it is None if no operator assigns the variable.
    Without `start`, the initial value is zero.
    """

    before: Tensor
    after: Tensor | None
    start: Start | None


@dataclass(slots=True)
class _VariableResolver:
    """Replaces the operators on variables in one graph, operator by operator.

    `nodes` has the remaining operators. `before` maps variables to the tensors of their values at
    the start of a call. `after` maps variables to the tensors that were assigned last.
    """

    nodes: list[TfliteNode] = field(default_factory=list)
    handles: dict[str, Key] = field(default_factory=dict)  # by the name of the handle's tensor
    before: dict[Key, Tensor] = field(default_factory=dict)
    after: dict[Key, Tensor] = field(default_factory=dict)
    starts: dict[Key, Start] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)  # the `id` of each graph of CALL_ONCE
    names: set[str] = field(default_factory=set)  # the names of tensors in the resulting graph

    def step(self, node: TfliteNode) -> None:
        """Process the next operator."""
        if node.kind in _SIZES:  # other operators are checked when they are imported
            want_known_version(node.kind, node.version)
        _want_operands(node)
        match node.kind:
            case "VAR_HANDLE":
                name = (node.options.text("Container"), node.options.text("SharedName"))
                self.handles[node.outputs[0]] = name
            case "CALL_ONCE":
                self._start(node)
            case "ASSIGN_VARIABLE":
                self.after[self._key(node)] = tensor(node, 1)
            case "READ_VARIABLE":
                self.nodes.append(replace(node, operands=(self._read(node),)))
            case "IF":
                self._choose(node)
            case _:
                if reason := effect(node):
                    raise Unsupported(f"{node.label or 'an operator'} ({node.kind}): {reason}")
                self.nodes.append(node)

    def _key(self, node: TfliteNode) -> Key:
        if node.inputs[0] not in self.handles:
            raise Unsupported(f"{node.kind}: its variable does not come from an earlier VAR_HANDLE")
        return self.handles[node.inputs[0]]

    def _read(self, node: TfliteNode) -> Tensor:
        return self._current(self._key(node), replace(node.results[0], name=node.inputs[0]))

    def _current(self, key: Key, like: Tensor) -> Tensor:
        """The current value of a variable; if it has not been used yet, the tensor `like`."""
        return self.after[key] if key in self.after else self.before.setdefault(key, like)

    def _choose(self, node: TfliteNode) -> None:
        branches = [self._branch(node, graph) for graph in node.graphs]
        like = used_variables(branches)
        named = {key: name for name, key in self.handles.items()}
        current = {
            key: self._current(
                key, replace(t, name=named.get(key) or unused_name(key[1], self.names))
            )
            for key, t in like.items()
        }
        changed = {
            k: replace(like[k], name=unused_name(k[1], self.names))
            for k in assigned_variables(branches)
        }
        self.nodes.append(with_values(node, branches, current, tuple(changed.values())))
        self.after |= changed

    def _branch(self, node: TfliteNode, graph: TfliteGraph) -> Branch:
        given = zip(graph.inputs, node.inputs[1:], strict=False)
        handles = {t.name: self.handles[name] for t, name in given if name in self.handles}
        inside = _resolved(graph.nodes, [t.name for t in graph.tensors], handles)
        if inside.started:
            raise Unsupported(f"{node.label} (IF): a branch contains CALL_ONCE")
        within = replace(graph, nodes=tuple(inside.nodes))
        names = frozenset(inside.names)
        return Branch(within, names, frozenset(handles), inside.before, inside.after)

    def _start(self, node: TfliteNode) -> None:
        graph = node.graphs[0]
        if id(graph) in self.started:
            return
        self.started.add(id(graph))
        if graph.inputs:
            raise Unsupported("CALL_ONCE: its graph has inputs, but CALL_ONCE has no operands")
        if any(inner.kind == "CALL_ONCE" for inner in graph.nodes):
            raise Unsupported("CALL_ONCE: its graph contains another CALL_ONCE")
        inside = _resolved(graph.nodes, [t.name for t in graph.tensors])
        if inside.before:
            raise Unsupported("CALL_ONCE: its graph reads variables")
        outputs = tuple(inside.after.values())
        start = replace(graph, outputs=outputs, nodes=tuple(inside.nodes))
        for index, key in enumerate(inside.after):
            if key in self.before or key in self.after:
                raise Unsupported(f"CALL_ONCE: the variable '{key[1]}' is used earlier in the file")
            self.starts[key] = Start(start, index)


def _want_operands(node: TfliteNode) -> None:
    counts = (len(node.operands), len(node.results), len(node.graphs))
    wanted = _SIZES.get(node.kind, (0, 0, 0))
    if any(f < w for f, w in zip(counts, wanted, strict=True)):
        raise Unsupported(f"{node.kind}: an operand, a result or a graph is missing")


def _resolved(
    nodes: Iterable[TfliteNode], names: Iterable[str], handles: Mapping[str, Key] = _NO_HANDLES
) -> _VariableResolver:
    """Resolve all operators of a graph, and return the resolver.

    `names` has the names of the graph's tensors, and `handles` maps names of handles to variables.
    """
    walk = _VariableResolver(handles=dict(handles), names=set(names))
    for node in nodes:
        walk.step(node)
    return walk


def without_handles(
    nodes: Sequence[TfliteNode], outputs: Sequence[str]
) -> tuple[list[TfliteNode], list[Variable], dict[str, str]]:
    """Return the nodes with plain values instead of handles, the variables, and error messages.

    Only variables on which `outputs` depend are returned. A handle may be left without a value,
    because its variable is read only inside a loop or has no initial value. The last result maps
    each handle to the error message for an operator that takes it. Raises `Unsupported` for
    operators on variables that cannot be replaced.
    """
    names = [name for node in nodes for name in (*node.inputs, *node.outputs)]
    walk = _resolved(nodes, [*names, *outputs])
    producers = {name: node for node in walk.nodes for name in node.outputs}
    unread = {
        name: f"takes the variable '{name}', {_why_unread(key in walk.starts)}"
        for name, key in walk.handles.items()
    }
    variables = {
        current.name: Variable(current, walk.after.get(key), walk.starts.get(key))
        for key, current in walk.before.items()
    }
    visited: set[str] = set()
    following = list(outputs)
    while following:
        name = following.pop()
        if name in visited:
            continue
        visited.add(name)
        if name in producers:
            following += producers[name].inputs
        elif name in variables and (after := variables[name].after):
            following.append(after.name)
    return walk.nodes, [v for name, v in variables.items() if name in visited], unread


def _why_unread(starts: bool) -> str:
    if starts:
        return "which is read inside a loop only"
    return "which has no initial value in the file"


def variable_values(emitter: Emitter, variables: Sequence[Variable]) -> dict[str, Value]:
    """Map the names of variables to their values at the start of a call.

    A variable that is assigned becomes a state of the graph. Any other variable becomes a constant.
    """
    first = _started(emitter, variables)
    values = {}
    for variable in variables:
        current = variable.before
        initial = first[current.name] if variable.start else _zeros(emitter, current)
        keep = variable.after is not None
        values[current.name] = (
            emitter.state(current.name, initial) if keep else emitter.constant(initial)
        )
    return values


def _started(emitter: Emitter, variables: Iterable[Variable]) -> dict[str, Array]:
    """Map the names of variables to the values that the graphs of CALL_ONCE assign."""
    groups: dict[int, list[tuple[Variable, Start]]] = {}
    for variable in variables:
        if variable.start:
            groups.setdefault(id(variable.start.graph), []).append((variable, variable.start))
    first = {}
    for group in groups.values():
        graph = group[0][1].graph
        try:
            results = import_inner(emitter.inner("start"), graph, [], [s.output for _, s in group])
        except EllcError as error:
            raise Unsupported(f"CALL_ONCE: {error.message}") from error
        for (variable, _), value in zip(group, results, strict=True):
            name = variable.before.name
            first[name] = known(value, f"the first value of '{name}'")
    return first


def _zeros(emitter: Emitter, current: Tensor) -> Array:
    """The initial zeros of a variable without `start`, as in TensorFlow Lite Micro."""
    zero = quant_of(current).zero_point[0] if current.quant else 0
    return emitter.full(current.shape, zero, current.dtype.numpy)


def keep_variables(
    emitter: Emitter, variables: Iterable[Variable], values: Mapping[str, Value]
) -> None:
    """Set the next values of the states: the values of the variables at the end of a call."""
    for variable in variables:
        if variable.after is None:
            continue
        name, now = variable.before.name, values.get(variable.after.name)
        if now is None:
            raise Unsupported(f"no operator makes the next value of the variable '{name}'")
        then = values[name]
        if (now.dtype, now.shape) != (then.dtype, then.shape):
            raise Unsupported(
                f"the variable '{name}' changes from {then.dtype.value}{list(then.shape)}"
                f" to {now.dtype.value}{list(now.shape)}"
            )
        emitter.set_state(name, now)
