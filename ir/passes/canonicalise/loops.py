"""Passes on loops: unroll short ones (`UnrollLoops`), simplify others (`SimplifyLoops`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Constant, Graph, Node, Port
from ellc.ir.nested import map_bodies
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.canonicalise.eliminate_dead import EliminateDead
from ellc.ir.passes.properties import NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


@register_pass("unroll_loops")
@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Unroll loops of at most `most_trips` trips."""

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
    )

    most_trips: int = 1

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            if isinstance(node.op, Loop) and node.op.trips <= self.most_trips:
                unroll(editor, node, node.op)
        return editor.graph()


@register_pass("simplify_loops")
@dataclass(frozen=True)
class SimplifyLoops(Pass):
    """Move constants into bodies, and remove unused result sequences and operands of loops.

    A dense layer whose operand is an element of a sequence is applied to the whole sequence before
    the loop, if the layer's result then takes at most `sequence_bytes`. The weights are thus read
    once instead of on every trip. If a `Gather` picks one element of a loop-invariant operand per
    trip, at known, equally spaced indices, the `Gather` is removed, and the loop walks along that
    operand.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
    )

    sequence_bytes: int = 1 << 20

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            if isinstance(node.op, Loop) and any(editor.uses(v) for v in node.outputs):
                _Simplified(editor, node, node.op, self.sequence_bytes).replace()
        return editor.graph()


def unrolled(graph: Graph) -> Graph:
    """The graph with all loops unrolled."""
    inner = map_bodies(graph, unrolled)
    trips = (node.op.trips for node in inner.nodes if isinstance(node.op, Loop))
    return UnrollLoops(max(trips, default=0)).run(inner)


def unroll(editor: Editor, node: Node, op: Loop) -> None:
    """Replace a loop by the nodes of all its trips."""
    carried, sequences, fixed = op.parts(node.inputs)
    source = node.source
    sequences_out: list[list[str]] = [[] for _ in op.outward]
    exact = op.body.exact
    constants = {
        c.value: editor.rounded(exact[c.value], op.body.types[c.value].dtype)
        if c.value in exact
        else editor.constant(op.body.weights[c.key], op.body.types[c.value].dtype)
        for c in op.body.constants
    }
    for trip in range(op.trips):
        elements = [
            _element(editor, node, value, walk, walk.position(trip, op.trips))
            for value, walk in zip(sequences, op.inward, strict=True)
        ]
        ports = (p.value for p in op.body.inputs)
        names = dict(zip(ports, (*carried, *elements, *fixed), strict=True))
        names.update(constants)
        for inner in op.body.nodes:
            operands = (names[v] for v in inner.inputs)
            results = editor.insert_multi(node, inner.op, *operands, source=inner.source or source)
            names.update(zip(inner.outputs, results, strict=True))
        following = tuple(names[p.value] for p in op.body.outputs)
        carried = following[: op.carried]
        for values, value in zip(sequences_out, following[op.carried :], strict=True):
            values.append(value)
    stacked = (
        _stacked(editor, node, [v[w.position(t, op.trips)] for t in range(op.trips)], w)
        for v, w in zip(sequences_out, op.outward, strict=True)
    )
    results = (*(_owned(editor, node, v) for v in carried), *stacked)
    editor.forward(node, *results)


def _owned(editor: Editor, node: Node, value: str) -> str:
    """The value if a node computes it; otherwise a copy, as a public output must be computed."""
    if editor.producer(value) is not None:
        return value
    return editor.insert(node, Reshape(editor.type(value).shape), value, source=node.source)


def _element(editor: Editor, node: Node, value: str, walk: Walk, place: int) -> str:
    type_ = editor.type(value)
    starts = tuple(place if a == walk.axis else 0 for a in range(type_.rank))
    sizes = tuple(1 if a == walk.axis else n for a, n in enumerate(type_.shape))
    row = editor.insert(node, Slice(starts, sizes, (1,) * type_.rank), value, source=node.source)
    shape = walk.element(type_).shape
    return editor.insert(node, Reshape(shape), row, source=node.source)


def _stacked(editor: Editor, node: Node, values: list[str], walk: Walk) -> str:
    thin = [
        editor.insert(node, Reshape(walk.sequence(editor.type(v), 1).shape), v, source=node.source)
        for v in values
    ]
    return thin[0] if len(thin) == 1 else editor.insert(node, Concat(walk.axis), *thin)


def _with(axis: int, number: int, numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers[:axis], number, *numbers[axis + 1 :])


class _Simplified:
    """A loop being rewritten. Each port of its body is paired with the loop's operand for it."""

    def __init__(self, editor: Editor, node: Node, op: Loop, sequence_bytes: int) -> None:
        self._editor, self._node, self._op = editor, node, op
        self._sequence_bytes = sequence_bytes
        self._body = op.body
        starts, sequences, fixed = op.parts(tuple(zip(op.body.inputs, node.inputs, strict=True)))
        self._starts = list(starts)
        self._walked = list(zip(op.inward, sequences, strict=True))
        self._fixed = list(fixed)

    def replace(self) -> None:
        """Simplify the body and its ports, and replace the loop if that changed it."""
        self._sink_constants()
        self._walk_gathers()
        self._hoist()
        kept = self._drop_outputs()
        self._body = EliminateDead().run(self._body)
        self._drop_unread()
        ports = [*self._starts, *(pair for _, pair in self._walked), *self._fixed]
        op = replace(
            self._op,
            body=replace(self._body, inputs=tuple(p for p, _ in ports)),
            inward=tuple(w for w, _ in self._walked),
            outward=tuple(
                w for i, w in enumerate(self._op.outward) if i + self._op.carried in kept
            ),
        )
        if op == self._op:
            return
        operands = [v for _, v in ports]
        editor, node = self._editor, self._node
        new_results = iter(editor.insert_multi(node, op, *operands, source=node.source))
        results = [next(new_results) if i in kept else "" for i in range(len(node.outputs))]
        any_result = next(r for r in results if r)
        editor.forward(node, *(r or any_result for r in results))

    def _sink_constants(self) -> None:
        for port, value in list(self._fixed):
            array = self._editor.array(value)
            if array is None:
                continue
            exact = self._editor.exact(value)
            body = self._body
            self._fixed.remove((port, value))
            self._body = replace(
                body,
                constants=(*body.constants, Constant(port.value, body.weights.add(array))),
                exact=body.exact if exact is None else {**body.exact, port.value: exact},
            )

    def _walk_gathers(self) -> None:
        """Let the loop walk along an invariant of which a `Gather` picks one element per trip."""
        fixed = {p.value: v for p, v in self._fixed}
        picks = [n for n in self._body.nodes if isinstance(n.op, Gather) and n.inputs[0] in fixed]
        indices = self._known() if picks else {}
        for inner in picks:
            assert isinstance(inner.op, Gather)
            if inner.inputs[1] not in indices:
                continue
            axis, value = inner.op.axis, fixed[inner.inputs[0]]
            type_ = self._editor.type(value)
            all_indices = np.concatenate([a.reshape(-1) for a in indices[inner.inputs[1]]])
            steps = np.diff(np.clip(all_indices, 0, type_.shape[axis] - 1))
            if all_indices.size != self._op.trips or not steps.size or np.any(steps != steps[0]):
                continue
            if steps[0]:
                self._walk(inner, value, axis, all_indices, int(steps[0]))

    def _walk(self, pick: Node, value: str, axis: int, indices: Array, step: int) -> None:
        """Replace a `Gather` of `value` at these indices, one per trip, by a walk along `value`."""
        type_, trips = self._editor.type(value), self._op.trips
        first = int(np.clip(indices, 0, type_.shape[axis] - 1).min())
        if trips != type_.shape[axis]:
            ones = (1,) * type_.rank
            part = Slice(
                _with(axis, first, (0,) * type_.rank),
                _with(axis, trips, type_.shape),
                _with(axis, abs(step), ones),
            )
            value = self._editor.insert(self._node, part, value, source=pick.source)
        walk, body = Walk(axis, step < 0), self._body
        element, name = walk.element(self._editor.type(value)), pick.output
        nodes: tuple[Node, ...] = ()
        if element.shape != body.types[name].shape:
            name = f"{pick.output}_walked"
            nodes = (
                Node(Reshape(body.types[pick.output].shape), (name,), pick.outputs, pick.source),
            )
        self._walked.append((walk, (Port(name, name), value)))
        rest = (n for n in body.nodes if n is not pick)
        types = {**body.types, name: element}
        self._body = replace(body, nodes=(*nodes, *rest), types=types)

    def _known(self) -> dict[str, list[Array]]:
        """The known values of the body, each with its array for every trip.

        A value is known if it is a constant, an element of a constant sequence, or a single number
        that is computed from known values.
        """
        trips, body = range(self._op.trips), self._body
        known = {c.value: [body.weights[c.key]] * len(trips) for c in body.constants}
        for walk, (port, value) in self._walked:
            array = self._editor.array(value)
            if array is not None:
                positions = (walk.position(t, len(trips)) for t in trips)
                known[port.value] = [np.take(array, p, walk.axis) for p in positions]
        for node in body.nodes:
            single = all(body.types[v].elements == 1 for v in node.outputs)
            if single and all(v in known for v in node.inputs):
                results = [node.op.reference(*(known[v][t] for v in node.inputs)) for t in trips]
                known.update(zip(node.outputs, map(list, zip(*results, strict=True)), strict=True))
        return known

    def _hoist(self) -> None:
        """Apply dense layers to whole sequences before the loop, instead of to their elements."""
        for inner in self._body.nodes:
            element = {p.value: (walk, value) for walk, (p, value) in self._walked}
            if not isinstance(inner.op, Dense | IntDense) or inner.inputs[0] not in element:
                continue
            walk, sequence = element[inner.inputs[0]]
            others = [self._outside(v) for v in inner.inputs[1:]]
            if walk.axis >= self._body.types[inner.inputs[0]].rank or None in others:
                continue
            result = walk.sequence(self._body.types[inner.output].meaning, self._op.trips)
            if result.elements * result.dtype.item_bytes > self._sequence_bytes:
                continue
            operands = [v for v in others if v is not None]
            source = inner.source or self._node.source
            hoisted = self._editor.insert(self._node, inner.op, sequence, *operands, source=source)
            self._walked.append((walk, (Port(inner.output, inner.output), hoisted)))
            rest = tuple(n for n in self._body.nodes if n is not inner)
            self._body = replace(self._body, nodes=rest)

    def _outside(self, value: str) -> str | None:
        """The value outside the loop for a constant or invariant of the body; None for others."""
        for port, outer in self._fixed:
            if port.value == value:
                return outer
        body = self._body
        if value in body.exact:
            return self._editor.rounded(body.exact[value], body.types[value].dtype)
        key = next((c.key for c in body.constants if c.value == value), None)
        if key is None:
            return None
        return self._editor.constant(body.weights[key], body.types[value].dtype)

    def _drop_outputs(self) -> set[int]:
        """Remove result sequences that nothing reads; returns the positions of all that stay."""
        carried = self._op.carried
        kept = {
            i
            for i, value in enumerate(self._node.outputs)
            if i < carried or self._editor.uses(value)
        }
        outputs = tuple(p for i, p in enumerate(self._body.outputs) if i in kept)
        self._body = replace(self._body, outputs=outputs)
        return kept

    def _drop_unread(self) -> None:
        body = self._body
        read = {v for n in body.nodes for v in n.inputs} | {p.value for p in body.outputs}
        self._walked = [(w, (p, v)) for w, (p, v) in self._walked if p.value in read]
        self._fixed = [(p, v) for p, v in self._fixed if p.value in read]
