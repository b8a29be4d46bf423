"""Resource variables: what a file keeps between calls, as plain values before and after a call.

Operators run in the file's order, so a read gives what the last assignment before it stored, or
what the call before left there. `CALL_ONCE` runs a graph before the first call: what that assigns
is the initial value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.choices import Branch, Key, assigned, fresh, touched, with_values
from ellc.frontends.tflite.common import tensor
from ellc.frontends.tflite.effects import effect
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode
from ellc.frontends.tflite.scales import quant_of
from ellc.frontends.tflite.versions import want_known_version
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

_NO_HANDLES: Mapping[str, Key] = MappingProxyType({})
# How many operands, results and graphs there must be.
_SIZES = {
    "ASSIGN_VARIABLE": (2, 0, 0),
    "CALL_ONCE": (0, 0, 1),
    "READ_VARIABLE": (1, 1, 0),
    "VAR_HANDLE": (0, 1, 0),
}


@dataclass(frozen=True, slots=True)
class Start:
    """Where the first value comes from: an output of a graph that runs once."""

    graph: TfliteGraph
    output: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that is read before it is assigned: `before` stands for what it holds then.

    `after` is what it holds after the call, None if nobody assigns it. Without `start` it
    starts at its zero.
    """

    before: Tensor
    after: Tensor | None
    start: Start | None


@dataclass(slots=True)
class _Walk:
    """The operators of one graph so far."""

    nodes: list[TfliteNode] = field(default_factory=list)
    handles: dict[str, Key] = field(default_factory=dict)  # by the handle's tensor
    before: dict[Key, Tensor] = field(default_factory=dict)
    after: dict[Key, Tensor] = field(default_factory=dict)
    starts: dict[Key, Start] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)  # identities of graphs
    names: set[str] = field(default_factory=set)  # of tensors, in the graph as it becomes

    def step(self, node: TfliteNode) -> None:
        """Take the next operator."""
        if node.kind in _SIZES:  # the others are looked at when they are imported
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
                if said := effect(node):
                    raise Unsupported(f"{node.label or 'an operator'} ({node.kind}): {said}")
                self.nodes.append(node)

    def _key(self, node: TfliteNode) -> Key:
        if node.inputs[0] not in self.handles:
            raise Unsupported(f"{node.kind}: its variable is not of a VAR_HANDLE before it")
        return self.handles[node.inputs[0]]

    def _read(self, node: TfliteNode) -> Tensor:
        return self._held(self._key(node), replace(node.results[0], name=node.inputs[0]))

    def _held(self, key: Key, like: Tensor) -> Tensor:
        """What a variable holds now; `like` stands for that if nothing does yet."""
        return self.after[key] if key in self.after else self.before.setdefault(key, like)

    def _choose(self, node: TfliteNode) -> None:
        branches = [self._branch(node, graph) for graph in node.graphs]
        like = touched(branches)
        named = {key: name for name, key in self.handles.items()}
        held = {
            key: self._held(key, replace(t, name=named.get(key) or fresh(key[1], self.names)))
            for key, t in like.items()
        }
        changed = {k: replace(like[k], name=fresh(k[1], self.names)) for k in assigned(branches)}
        self.nodes.append(with_values(node, branches, held, tuple(changed.values())))
        self.after |= changed

    def _branch(self, node: TfliteNode, graph: TfliteGraph) -> Branch:
        given = zip(graph.inputs, node.inputs[1:], strict=False)
        handles = {t.name: self.handles[name] for t, name in given if name in self.handles}
        inside = _walked(graph.nodes, [t.name for t in graph.tensors], handles)
        if inside.started:
            raise Unsupported(f"{node.label} (IF): a branch has CALL_ONCE")
        within = replace(graph, nodes=tuple(inside.nodes))
        names = frozenset(inside.names)
        return Branch(within, names, frozenset(handles), inside.before, inside.after)

    def _start(self, node: TfliteNode) -> None:
        graph = node.graphs[0]
        if id(graph) in self.started:
            return
        self.started.add(id(graph))
        if graph.inputs:
            raise Unsupported("CALL_ONCE: its graph takes operands, and it has none")
        if any(inner.kind == "CALL_ONCE" for inner in graph.nodes):
            raise Unsupported("CALL_ONCE: its graph calls another one once")
        inside = _walked(graph.nodes, [t.name for t in graph.tensors])
        if inside.before:
            raise Unsupported("CALL_ONCE: its graph reads variables")
        outputs = tuple(inside.after.values())
        start = replace(graph, outputs=outputs, nodes=tuple(inside.nodes))
        for index, key in enumerate(inside.after):
            if key in self.before or key in self.after:
                raise Unsupported(f"CALL_ONCE: the variable '{key[1]}' is in use before")
            self.starts[key] = Start(start, index)


def _want_operands(node: TfliteNode) -> None:
    found = (len(node.operands), len(node.results), len(node.graphs))
    wanted = _SIZES.get(node.kind, (0, 0, 0))
    if any(f < w for f, w in zip(found, wanted, strict=True)):
        raise Unsupported(f"{node.kind}: an operand or result is missing")


def _walked(
    nodes: Iterable[TfliteNode], names: Iterable[str], handles: Mapping[str, Key] = _NO_HANDLES
) -> _Walk:
    """The operators of a graph in which there are these names and handles."""
    walk = _Walk(handles=dict(handles), names=set(names))
    for node in nodes:
        walk.step(node)
    return walk


def without_handles(
    nodes: Sequence[TfliteNode], outputs: Sequence[str]
) -> tuple[list[TfliteNode], list[Variable]]:
    """The nodes with every READ_VARIABLE of a value, and the variables that `outputs` depend on.

    Raises `Unsupported` for nodes that are not in the main graph, or not in this order.
    """
    names = [name for node in nodes for name in (*node.inputs, *node.outputs)]
    walk = _walked(nodes, [*names, *outputs])
    producers = {name: node for node in walk.nodes for name in node.outputs}
    variables = {
        held.name: Variable(held, walk.after.get(key), walk.starts.get(key))
        for key, held in walk.before.items()
    }
    seen: set[str] = set()
    following = list(outputs)
    while following:
        name = following.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in producers:
            following += producers[name].inputs
        elif name in variables and (after := variables[name].after):
            following.append(after.name)
    return walk.nodes, [v for name, v in variables.items() if name in seen]


def variable_values(emitter: Emitter, variables: Sequence[Variable]) -> dict[str, Value]:
    """What variables hold before a call, by name: states, or constants if never assigned."""
    first = _started(emitter, variables)
    values = {}
    for variable in variables:
        held = variable.before
        initial = first[held.name] if variable.start else _zeros(emitter, held)
        keep = variable.after is not None
        values[held.name] = emitter.state(held.name, initial) if keep else emitter.constant(initial)
    return values


def _started(emitter: Emitter, variables: Iterable[Variable]) -> dict[str, Array]:
    """What the graphs of CALL_ONCE assign, by the variable's name; each graph is run once."""
    groups: dict[int, list[tuple[Variable, Start]]] = {}
    for variable in variables:
        if variable.start:
            groups.setdefault(id(variable.start.graph), []).append((variable, variable.start))
    found = {}
    for group in groups.values():
        graph = group[0][1].graph
        try:
            made = import_inner(emitter.inner("start"), graph, [], [s.output for _, s in group])
        except EllcError as error:
            raise Unsupported(f"CALL_ONCE: {error.message}") from error
        for (variable, _), value in zip(group, made, strict=True):
            name = variable.before.name
            found[name] = known(value, f"the first value of '{name}'")
    return found


def _zeros(emitter: Emitter, held: Tensor) -> Array:
    """As TensorFlow Lite Micro has it; the interpreter refuses to read such a variable."""
    zero = quant_of(held).zero_point[0] if held.quant else 0
    return emitter.full(held.shape, zero, held.dtype.numpy)


def keep_variables(
    emitter: Emitter, variables: Iterable[Variable], values: Mapping[str, Value]
) -> None:
    """Make what variables hold after a call their states' next values."""
    for variable in variables:
        if variable.after is None:
            continue
        name, now = variable.before.name, values.get(variable.after.name)
        if now is None:
            raise Unsupported(f"nothing makes the next value of the variable '{name}'")
        then = values[name]
        if (now.dtype, now.shape) != (then.dtype, then.shape):
            raise Unsupported(
                f"the variable '{name}' changes from {then.dtype.value}{list(then.shape)}"
                f" to {now.dtype.value}{list(now.shape)}"
            )
        emitter.set_state(name, now)
