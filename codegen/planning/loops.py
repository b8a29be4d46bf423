"""Flattens loops for the planner: each loop is replaced by the nodes of its body.

The nodes of the body occur once, between an `Enter` and a `Leave` node, which hold the number of
trips. Values of the body get new names, except that an input of the body that is the same on every
trip is replaced by the value outside the loop that it stands for.
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


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop of the plan, identified by `number`. Its steps run `trips` times.

    If `alone`, one thread runs the whole loop, because there is too little work between barriers.
    """

    number: int
    trips: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Enter(Op):
    """The node before the body: (first values.., sequences..) -> (carried values.., elements..)."""

    repeat: Repeat
    carried: int
    walks: tuple[Walk, ...]
    name: ClassVar[str] = "loop"


@dataclass(frozen=True, slots=True)
class Leave(Op):
    """The node after the body: (next values.., elements..) -> (last values.., sequences..).

    `held` names the carried values to which the next values are assigned.
    """

    repeat: Repeat
    held: tuple[str, ...]
    walks: tuple[Walk, ...]
    name: ClassVar[str] = "loop"


def flattened(graph: Graph) -> Graph:
    """The graph, with every loop replaced by the nodes of its body.

    Raises `EllcError` (E304) if the body of a loop contains another loop.
    """
    if not any(isinstance(node.op, Loop) for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    types, constants = dict(graph.types), list(graph.constants)
    for node in graph.nodes:
        if not isinstance(node.op, Loop):
            nodes.append(node)
            continue
        inlined = _Inlined(node, node.op, Repeat(len(nodes), node.op.trips), graph)
        nodes += inlined.nodes()
        types.update(inlined.types)
        constants += inlined.constants
    return replace(graph, nodes=tuple(nodes), types=types, constants=tuple(constants))


class _Inlined:
    """One loop as nodes, types and constants, whose names are unique in the outer graph."""

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
        """The nodes in order: copies of constant sequences, `Enter`, the body, `Leave`."""
        op, node = self._op, self._node
        starts, sequences, _ = op.parts(node.inputs)
        placed = []
        for value in sequences:
            if value in self._fixed:  # a sequence must not be a constant
                yield self._copied(value)
                value = f"{self._node.outputs[0]}.{value}.walked"
            placed.append(value)
        enter = Enter(self._repeat, op.carried, op.inward)
        yield Node(enter, (*starts, *placed), self._moving, node.source)
        for inner in op.body.nodes:
            yield self._inner(inner)
        results = tuple(self._names[p.value] for p in op.body.outputs)
        leave = Leave(self._repeat, self._moving[: op.carried], op.outward)
        yield Node(leave, results, node.outputs, node.source)

    def _copied(self, value: str) -> Node:
        name = f"{self._node.outputs[0]}.{value}.walked"
        self.types[name] = self._outer[value]
        return Node(Reshape(self._outer[value].shape), (value,), (name,), self._node.source)

    def _inner(self, node: Node) -> Node:
        if isinstance(node.op, Loop):
            raise EllcError(
                "a loop inside a loop is not supported, and this one is too long to be unrolled",
                code="E304",
                where=", ".join(node.source),
                hint="use fewer trips in one of the loops, or end the network before the loops",
            )
        inputs = tuple(self._names[v] for v in node.inputs)
        outputs = tuple(self._names[v] for v in node.outputs)
        return Node(node.op, inputs, outputs, node.source or self._node.source)


def last_uses_in_loops(nodes: tuple[Node, ...], last: Mapping[str, int]) -> dict[str, int]:
    """The index of the last node that uses each value: `last`, corrected for loops.

    A value that is computed before a loop and read in it, or a sequence that a loop walks, is
    needed on every trip. Its last use is therefore at the end of the loop or later.
    """
    result = dict(last)
    computed: dict[str, int] = {v: i for i, n in enumerate(nodes) for v in n.outputs}
    begin: int | None = None
    reads: set[str] = set()
    for index, node in enumerate(nodes):
        match node.op:
            case Enter(carried=carried):
                begin, reads = index, set(node.inputs[carried:])
            case Leave():
                assert begin is not None
                for value in reads | set(node.inputs):
                    if computed.get(value, -1) < begin:
                        result[value] = max(result[value], index)
                begin = None
            case _ if begin is not None:
                reads.update(node.inputs)
    return result
