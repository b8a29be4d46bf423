"""Loops for a planner: their bodies' nodes in one flat graph, between an entry and an exit.

The nodes of a body appear once, their values under names of their own; `Enter` and `Leave` around
them say that they run several times. An operand that stays the same is the outer value itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ellc.ir.errors import EllcError
from ellc.ir.graph import Constant, Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import TensorType

MACS_WORTH_A_BARRIER = 32_768
"""Multiply-adds of a kernel that take longer than threads take to wait for each other after it."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop of the plan: `number` tells loops apart, its steps run `trips` times.

    With `alone` one thread runs them all: there is too little to do between barriers.
    """

    number: int
    trips: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Enter(Op):
    """(initial values.., sequences..) -> (carried values.., elements..) before a body."""

    repeat: Repeat
    carried: int
    walks: tuple[Walk, ...]
    name: ClassVar[str] = "loop"


@dataclass(frozen=True, slots=True)
class Leave(Op):
    """(next values.., elements..) -> (last values.., sequences..) after the body of an `Enter`.

    `held` are the carried values that the next ones go to.
    """

    repeat: Repeat
    held: tuple[str, ...]
    walks: tuple[Walk, ...]
    name: ClassVar[str] = "loop"


def flattened(graph: Graph) -> Graph:
    """The graph with every loop's body in its place; the same graph if it has no loops.

    Raises `EllcError` (E304) for a loop in a loop.
    """
    if not any(isinstance(node.op, Loop) for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    types, constants = dict(graph.types), list(graph.constants)
    for node in graph.nodes:
        if not isinstance(node.op, Loop):
            nodes.append(node)
            continue
        unrolled = _Inlined(node, node.op, Repeat(len(nodes), node.op.trips), graph)
        nodes += unrolled.nodes()
        types.update(unrolled.types)
        constants += unrolled.constants
    return replace(graph, nodes=tuple(nodes), types=types, constants=tuple(constants))


class _Inlined:
    """One loop's nodes and what they need, named for the graph around it."""

    def __init__(self, node: Node, op: Loop, repeat: Repeat, graph: Graph) -> None:
        self._node, self._op, self._repeat = node, op, repeat
        self._outer = graph.types
        self._fixed = {c.value for c in graph.constants}
        body, prefix = op.body, f"{node.outputs[0]}."
        self._names = {v: prefix + v for v in body.types}
        _, _, invariants = op.parts(node.inputs)
        ports = [p.value for p in body.inputs]
        moving = len(ports) - len(invariants)
        self._names.update(zip(ports[moving:], invariants, strict=True))
        self._moving = tuple(self._names[v] for v in ports[:moving])
        self.types: dict[str, TensorType] = {
            n: body.types[v] for v, n in self._names.items() if n.startswith(prefix)
        }
        self.constants = [Constant(self._names[c.value], c.key) for c in body.constants]

    def nodes(self) -> Iterator[Node]:
        """Copies of constant sequences, the entry, the body, the exit."""
        op, node = self._op, self._node
        starts, sequences, _ = op.parts(node.inputs)
        placed = []
        for value in sequences:
            if value in self._fixed:  # what is walked lies in memory of the arena or the caller
                yield self._copied(value)
                value = f"{self._node.outputs[0]}.{value}.walked"
            placed.append(value)
        enter = Enter(self._repeat, op.carried, op.inward)
        yield Node(enter, (*starts, *placed), self._moving, node.source)
        for inner in op.body.nodes:
            yield self._inner(inner)
        made = tuple(self._names[p.value] for p in op.body.outputs)
        leave = Leave(self._repeat, self._moving[: op.carried], op.outward)
        yield Node(leave, made, node.outputs, node.source)

    def _copied(self, value: str) -> Node:
        name = f"{self._node.outputs[0]}.{value}.walked"
        self.types[name] = self._outer[value]
        return Node(Reshape(self._outer[value].shape), (value,), (name,), self._node.source)

    def _inner(self, node: Node) -> Node:
        if isinstance(node.op, Loop):
            raise EllcError(
                "a loop in a loop has no kernels, and is too long to be written out",
                code="E304",
                where=", ".join(node.source),
                hint="give the inner or the outer one fewer trips, or end the network before it",
            )
        inputs = tuple(self._names[v] for v in node.inputs)
        outputs = tuple(self._names[v] for v in node.outputs)
        return Node(node.op, inputs, outputs, node.source or self._node.source)


def last_uses_in_loops(nodes: tuple[Node, ...], last: Mapping[str, int]) -> dict[str, int]:
    """Last uses by index of node, with what a loop needs again on its next trip kept to its end.

    That is what was made before it and is read inside, and the sequences it walks.
    """
    result = dict(last)
    made: dict[str, int] = {v: i for i, n in enumerate(nodes) for v in n.outputs}
    begin: int | None = None
    reads: set[str] = set()
    for index, node in enumerate(nodes):
        match node.op:
            case Enter(carried=carried):
                begin, reads = index, set(node.inputs[carried:])
            case Leave():
                assert begin is not None
                for value in reads | set(node.inputs):
                    if made.get(value, -1) < begin:
                        result[value] = max(result[value], index)
                begin = None
            case _ if begin is not None:
                reads.update(node.inputs)
    return result
