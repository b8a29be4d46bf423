"""Editing a graph: a working copy that a pass changes and then freezes again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ir.graph import Constant, Graph, Node
from ir.op import Op
from ir.types import Array, DType, TensorType, type_of


class Editor:
    """A graph being rewritten. Nodes keep their order; new ones go right before their user.

    Nothing here recurses, so a chain of any length is fine.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node | None] = list(graph.nodes)
        self._inserted: dict[int, list[Node]] = {}
        self._types = dict(graph.types)
        self._constants = {c.value: c.key for c in graph.constants}
        self._by_key = {(c.key, graph.types[c.value].dtype): c.value for c in graph.constants}
        self._forward: dict[str, str] = {}
        self._producers: dict[str, Node] = {v: n for n in graph.nodes for v in n.outputs}
        self._index: dict[int, int] = {id(n): i for i, n in enumerate(graph.nodes)}
        self._users: dict[str, int] = {}
        for node in graph.nodes:
            self._count(node.inputs, 1)
        self._kept = {p.value for p in graph.outputs} | {s.next for s in graph.states}
        self._fresh = 0
        self.changed = False

    def nodes(self) -> Iterator[Node]:
        """The nodes in order, as they are now; nodes replaced on the way show their new form."""
        for index in range(len(self._nodes)):
            node = self._nodes[index]
            if node is not None:
                yield self._resolved(node, index)

    def producer(self, value: str) -> Node | None:
        """The node that makes a value; None for inputs, constants and states."""
        return self._producers.get(self.current(value))

    def current(self, value: str) -> str:
        """What a value is called after the replacements so far."""
        while value in self._forward:
            value = self._forward[value]
        return value

    def type(self, value: str) -> TensorType:
        """The type of a value."""
        return self._types[self.current(value)]

    def array(self, value: str) -> Array | None:
        """The array of a constant, None for anything computed."""
        key = self._constants.get(self.current(value))
        return None if key is None else self._graph.weights[key]

    def uses(self, value: str) -> int:
        """How many operands, public outputs and states refer to a value."""
        value = self.current(value)
        kept = sum(1 for v in self._kept if self.current(v) == value)
        return self._users.get(value, 0) + kept

    def used_once(self, value: str) -> bool:
        """True if one operand and nothing else reads the value."""
        return self.uses(value) == 1 and all(
            self.current(v) != self.current(value) for v in self._kept
        )

    def constant(self, array: Array, dtype: DType | None = None) -> str:
        """A constant value holding the array; equal arrays share one."""
        kind = dtype or DType.of(array.dtype)
        key = self._graph.weights.add(array)
        if (key, kind) not in self._by_key:
            value = self._new_id("c")
            self._types[value] = type_of(array, kind)
            self._constants[value] = key
            self._by_key[key, kind] = value
        return self._by_key[key, kind]

    def insert(self, before: Node, op: Op, *operands: str, source: Iterable[str] = ()) -> str:
        """Add a node with one result right before another; returns the result."""
        inputs = tuple(self.current(v) for v in operands)
        (type_,) = op.infer(*(self._types[v].meaning for v in inputs))
        value = self._new_id("v")
        self._types[value] = type_
        node = Node(op, inputs, (value,), tuple(source))
        self._inserted.setdefault(self._place(before), []).append(node)
        self._producers[value] = node
        self._count(inputs, 1)
        self.changed = True
        return value

    def replace(
        self, node: Node, op: Op, *operands: str, source: Iterable[str] | None = None
    ) -> Node:
        """Change operator and operands of a node; its results keep their ids and types."""
        inputs = tuple(self.current(v) for v in operands)
        names = node.source if source is None else tuple(dict.fromkeys(source))
        new = Node(op, inputs, node.outputs, names)
        index = self._place(node)
        self._count(node.inputs, -1)
        self._count(inputs, 1)
        self._nodes[index] = new
        self._index[id(new)] = index
        self._producers.update(dict.fromkeys(new.outputs, new))
        self.changed = True
        return new

    def forward(self, node: Node, *values: str) -> None:
        """Remove a node; whoever used its results now uses `values`."""
        for old, new in zip(node.outputs, values, strict=True):
            target = self.current(new)
            self._forward[old] = target
            self._users[target] = self._users.get(target, 0) + self._users.pop(old, 0)
        self.remove(node)

    def remove(self, node: Node) -> None:
        """Remove a node whose results nobody uses any more."""
        index = self._place(node)
        self._count(node.inputs, -1)
        self._nodes[index] = None
        for value in node.outputs:
            self._producers.pop(value, None)
        self.changed = True

    def set_type(self, value: str, type_: TensorType) -> None:
        """Change how a value is stored (its border)."""
        self._types[self.current(value)] = type_
        self.changed = True

    def graph(self) -> Graph:
        """The edited graph, frozen; values nobody names any more are dropped."""
        nodes: list[Node] = []
        for index, node in enumerate(self._nodes):
            nodes += [self._redirected(n) for n in self._inserted.get(index, ())]
            if node is not None:
                nodes.append(self._redirected(node))
        outputs = tuple(replace(p, value=self.current(p.value)) for p in self._graph.outputs)
        states = tuple(replace(s, next=self.current(s.next)) for s in self._graph.states)
        named = {v for n in nodes for v in (*n.inputs, *n.outputs)}
        named |= {p.value for p in (*self._graph.inputs, *outputs)}
        named |= {v for s in states for v in (s.current, s.next)}
        return replace(
            self._graph,
            nodes=tuple(nodes),
            outputs=outputs,
            states=states,
            types={v: t for v, t in self._types.items() if v in named},
            constants=tuple(Constant(v, k) for v, k in self._constants.items() if v in named),
        )

    def _resolved(self, node: Node, index: int) -> Node:
        fresh = self._redirected(node)
        if fresh is not node:
            self._nodes[index] = fresh
            self._index[id(fresh)] = index
            self._producers.update(dict.fromkeys(fresh.outputs, fresh))
        return fresh

    def _redirected(self, node: Node) -> Node:
        inputs = tuple(self.current(v) for v in node.inputs)
        return node if inputs == node.inputs else replace(node, inputs=inputs)

    def _place(self, node: Node) -> int:
        return self._index[id(node)]

    def _count(self, values: Iterable[str], step: int) -> None:
        for value in values:
            value = self.current(value)
            self._users[value] = self._users.get(value, 0) + step

    def _new_id(self, prefix: str) -> str:
        while f"{prefix}{self._fresh}n" in self._types:
            self._fresh += 1
        self._fresh += 1
        return f"{prefix}{self._fresh - 1}n"
