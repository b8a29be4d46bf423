"""The editor of graphs: a mutable copy of a graph, from which a pass makes a new graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from ellc.ir.graph import Constant, Graph, Node
from ellc.ir.nested import adopted
from ellc.ir.op import Op
from ellc.ir.types import Array, DType, TensorType, type_of
from ellc.ir.weights import content_key

_ENDS = ""  # the sentinel of the linked list; no value has an empty id


class Editor:
    """A graph being rewritten. Its nodes form a linked list; their keys are ids of first results.

    `replace` keeps a node's results and position. `insert` adds a node right before another.
    `forward` removes a node and makes its readers read other values. No method is recursive, so
    chains of nodes may have any length. `graph` and the constructor take linear time. The time of
    every other operation depends only on the operands, readers and arrays that it deals with.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: dict[str, Node] = {}
        self._after: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._types = dict(graph.types)
        self._keys = {c.value: c.key for c in graph.constants}
        self._exact = dict(graph.exact)
        self._shared: dict[tuple[str, DType, str], str] = {}
        for c in graph.constants:
            exact = self._exact.get(c.value)
            mark = "" if exact is None else content_key(exact)
            self._shared.setdefault((c.key, graph.types[c.value].dtype, mark), c.value)
        self._new_arrays: dict[str, Array] = {}  # by key; `graph` adds the used ones to the pool
        self._unread: list[str] = []  # constants that a node has stopped reading
        self._identities: dict[str, tuple[str, DType, str]] = {}  # of new constants, by value
        self._sharing: Counter[str] = Counter()  # new constants per key of an array
        self._forward: dict[str, str] = {}
        self._producers: dict[str, str] = {}
        self._users: dict[str, dict[str, int]] = {}
        self._kept: dict[str, int] = {}
        for value in [*(p.value for p in graph.outputs), *(s.next for s in graph.states)]:
            self._kept[value] = self._kept.get(value, 0) + 1
        self._fresh = 0
        self.changed = False
        last = _ENDS
        for node in graph.nodes:
            self._link(last, node.outputs[0], _ENDS)
            last = node.outputs[0]
            self._enter(node)

    def nodes(self) -> Iterator[Node]:
        """Iterate over the nodes in order; includes nodes inserted after the current one."""
        key = self._after.get(_ENDS, _ENDS)
        while key != _ENDS:
            self._forget()
            if key in self._nodes:
                yield self._nodes[key]
            key = self._after[key]

    def producer(self, value: str) -> Node | None:
        """The node that computes a value; None for inputs, constants and states."""
        key = self._producers.get(self.current(value))
        return None if key is None else self._nodes[key]

    def users(self, value: str) -> list[Node]:
        """The nodes that read a value, each once, in the order in which they became readers."""
        return [self._nodes[k] for k in self._users.get(self.current(value), {})]

    def current(self, value: str) -> str:
        """The value that replaces `value` after all `forward` calls so far."""
        last = value
        while last in self._forward:
            last = self._forward[last]
        while value != last:  # shorten the chain for later calls
            self._forward[value], value = last, self._forward[value]
        return last

    def type(self, value: str) -> TensorType:
        """The type of a value."""
        return self._types[self.current(value)]

    def array(self, value: str) -> Array | None:
        """The array of a constant; None for other values."""
        key = self._keys.get(self.current(value))
        if key is None:
            return None
        return self._new_arrays[key] if key in self._new_arrays else self._graph.weights[key]

    def exact(self, value: str) -> Array | None:
        """The float64 array of a floating-point constant: the unrounded array, if that is known.

        None for other values and other element types.
        """
        array = self.array(value)
        if array is None or array.dtype.kind != "f":
            return None
        return self._exact.get(self.current(value), array).astype(np.float64, copy=False)

    def is_kept(self, value: str) -> bool:
        """Whether the value is a public output or the next value of a state."""
        return self._kept.get(self.current(value), 0) > 0

    def uses(self, value: str) -> int:
        """The number of operands, public outputs and states that refer to a value."""
        value = self.current(value)
        return sum(self._users.get(value, {}).values()) + self._kept.get(value, 0)

    def used_once(self, value: str) -> bool:
        """Whether a single operand, and no output or state, refers to the value."""
        return self.uses(value) == 1 and not self.is_kept(value)

    def constant(self, array: Array, dtype: DType | None = None) -> str:
        """Add a constant with this array and return its id; equal arrays share one constant."""
        return self._add_constant(array, dtype or DType.of(array.dtype), None)

    def rounded(self, exact: Array, dtype: DType) -> str:
        """Add a floating-point constant: `exact`, a float64 array, rounded to `dtype`.

        The unrounded array is kept in `Graph.exact`. Passes that fold the constant further start
        from it, and the float64 comparison of two graphs uses it.
        """
        exact = np.asarray(exact, np.float64, order="C")
        with np.errstate(over="ignore", invalid="ignore"):
            array = exact.astype(dtype.numpy)
        same = bool(np.all((array == exact) | np.isnan(exact)))
        return self._add_constant(array, dtype, None if same else exact)

    def moved(self, value: str, change: Callable[[Array], Array]) -> str:
        """Add a constant: the array of `value` after `change`, which only moves elements.

        If `value` has an unrounded array, `change` is applied to that, too.
        """
        array, exact = self.array(value), self._exact.get(self.current(value))
        assert array is not None
        return self._add_constant(
            np.asarray(change(array), order="C"),
            self.type(value).dtype,
            None if exact is None else np.asarray(change(exact), order="C"),
        )

    def insert(self, before: Node, op: Op, *operands: str, source: Iterable[str] = ()) -> str:
        """Add a node right before another node; returns its only result."""
        (result,) = self.insert_multi(before, op, *operands, source=source)
        return result

    def insert_multi(
        self, before: Node, op: Op, *operands: str, source: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Add a node right before another node; returns its results."""
        inputs = tuple(self.current(v) for v in operands)
        op = adopted(op, self._graph.weights)
        types = op.infer(*(self._types[v].meaning for v in inputs))
        values = tuple(self._new_id("v") for _ in types)
        self._types.update(zip(values, types, strict=True))
        key = before.outputs[0]
        self._link(self._before[key], values[0], key)
        self._enter(Node(op, inputs, values, tuple(dict.fromkeys(source))))
        self.changed = True
        return values

    def replace(
        self, node: Node, op: Op, *operands: str, source: Iterable[str] | None = None
    ) -> Node:
        """Replace a node's operator and operands; its results keep their ids and types."""
        inputs = tuple(self.current(v) for v in operands)
        names = node.source if source is None else tuple(dict.fromkeys(source))
        new = Node(adopted(op, self._graph.weights), inputs, node.outputs, names)
        self._leave(self._nodes[node.outputs[0]])
        self._enter(new)
        self.changed = True
        return new

    def can_forward(self, node: Node, *values: str) -> bool:
        """Whether `forward` leaves every public output and state as the result of its own node.

        A kernel has to write an output into the caller's buffer. If an output were an input, a
        constant or another output, no kernel would write it.
        """
        return not any(
            self.is_kept(old) and (self.producer(new) is None or self.is_kept(new))
            for old, new in zip(node.outputs, values, strict=True)
        )

    def forward(self, node: Node, *values: str) -> None:
        """Remove a node, and make readers of its results read `values`, in order."""
        self.remove(node)
        for old, new in zip(node.outputs, values, strict=True):
            target = self.current(new)
            self._kept[target] = self._kept.get(target, 0) + self._kept.pop(old, 0)
            for key in self._users.pop(old, {}):
                user = self._nodes[key]
                self._count(user, -1)
                renamed = tuple(target if v == old else v for v in user.inputs)
                self._nodes[key] = replace(user, inputs=renamed)
                self._count(self._nodes[key], 1)
            self._forward[old] = target

    def remove(self, node: Node) -> None:
        """Remove a node whose results have no reader."""
        key = node.outputs[0]
        self._leave(self._nodes[key])
        del self._nodes[key]
        before, after = self._before[key], self._after[key]
        self._after[before], self._before[after] = after, before
        for value in node.outputs:
            self._producers.pop(value, None)
        self.changed = True

    def set_type(self, value: str, type_: TensorType) -> None:
        """Set a value's type, to store it with another border."""
        self._types[self.current(value)] = type_
        self.changed = True

    def graph(self) -> Graph:
        """The edited graph, without the types and constants of unused values."""
        nodes = tuple(self.nodes())
        outputs = tuple(replace(p, value=self.current(p.value)) for p in self._graph.outputs)
        states = tuple(replace(s, next=self.current(s.next)) for s in self._graph.states)
        named = {v for n in nodes for v in (*n.inputs, *n.outputs)}
        named |= {p.value for p in (*self._graph.inputs, *outputs)}
        named |= {v for s in states for v in (s.current, s.next)}
        constants = tuple(Constant(v, k) for v, k in self._keys.items() if v in named)
        for constant in constants:
            if constant.key in self._new_arrays:
                self._graph.weights.keep(constant.key, self._new_arrays[constant.key])
        return replace(
            self._graph,
            nodes=nodes,
            outputs=outputs,
            states=states,
            types={v: t for v, t in self._types.items() if v in named},
            constants=constants,
            exact={v: a for v, a in self._exact.items() if v in named},
        )

    def _add_constant(self, array: Array, dtype: DType, exact: Array | None) -> str:
        data = np.asarray(array, order="C").view()
        data.flags.writeable = False
        key = content_key(data)
        if key not in self._graph.weights:
            self._new_arrays.setdefault(key, data)
        mark = "" if exact is None else content_key(exact)
        if (key, dtype, mark) not in self._shared:
            value = self._new_id("c")
            self._types[value] = type_of(array, dtype)
            self._keys[value] = key
            if exact is not None:
                self._exact[value] = exact
            self._shared[key, dtype, mark] = value
            self._identities[value] = key, dtype, mark
            self._sharing[key] += 1
        return self._shared[key, dtype, mark]

    def _forget(self) -> None:
        """Drop new constants, and their arrays, that no node reads any more.

        Otherwise, folding a chain of operations on a large constant would keep every intermediate
        array in memory.
        """
        while self._unread:
            value = self._unread.pop()
            key = self._keys.get(value)
            if key is None or key not in self._new_arrays or self.uses(value):
                continue
            del self._keys[value], self._shared[self._identities.pop(value)]
            self._exact.pop(value, None)
            self._sharing[key] -= 1
            if not self._sharing[key]:
                del self._new_arrays[key]

    def _link(self, before: str, key: str, after: str) -> None:
        self._after[before] = self._before[after] = key
        self._before[key], self._after[key] = before, after

    def _enter(self, node: Node) -> None:
        self._nodes[node.outputs[0]] = node
        self._producers.update(dict.fromkeys(node.outputs, node.outputs[0]))
        self._count(node, 1)

    def _leave(self, node: Node) -> None:
        self._count(node, -1)

    def _count(self, node: Node, step: int) -> None:
        key = node.outputs[0]
        for value in node.inputs:
            users = self._users.setdefault(value, {})
            users[key] = users.get(key, 0) + step
            if not users[key]:
                del users[key]
                if value in self._keys:
                    self._unread.append(value)

    def _new_id(self, prefix: str) -> str:
        while f"{prefix}{self._fresh}n" in self._types:
            self._fresh += 1
        self._fresh += 1
        return f"{prefix}{self._fresh - 1}n"


def merged_source(*nodes: Node) -> tuple[str, ...]:
    """The layers that these nodes come from, each once, in the order of the nodes."""
    return tuple(dict.fromkeys(name for node in nodes for name in node.source))
