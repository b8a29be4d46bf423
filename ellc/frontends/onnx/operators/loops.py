"""Imports Scan, a loop over sequences, and Loop with a number of trips that is known at import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs, needed_nodes
from ellc.frontends.graph_import.recurrence import MOST_COUNTED_TRIPS, counters
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import (
    Emitter,
    SequenceValue,
    Unsupported,
    Value,
    known,
    known_int,
    known_ints,
)
from ellc.frontends.onnx.inner import import_inner, own_and_captured
from ellc.frontends.onnx.model import OnnxGraph, OnnxNode
from ellc.frontends.onnx.operators.sequences import appended, extended
from ellc.frontends.onnx.order import in_order
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.shape import Concat, Slice
from ellc.ir.types import Array

_COUNTER_ELEMENTS = 64
"""The most elements of a counter: a carried value that is computed at import for every trip."""
_MOST_TRIPS_WRITTEN_OUT = 64
"""The most trips of a node that cannot become a loop of the graph. The body of such a node is
imported once for each trip."""


@dataclass(frozen=True, slots=True)
class _Body:
    """A body's graph and the values of its inputs, by name.

    `captured` values are the same on every trip. `carried` values pass from trip to trip. Each trip
    reads one element of a `walked` sequence.
    """

    graph: OnnxGraph
    label: str
    captured: Mapping[str, Value]
    carried: Mapping[str, Value] = field(default_factory=dict)
    walked: Mapping[str, tuple[Walk, Value]] = field(default_factory=dict)

    def repeat(
        self,
        emitter: Emitter,
        trips: int,
        outputs: Iterable[str],
        output_axes: Sequence[tuple[int, bool]],
    ) -> list[Value]:
        """Add a loop; return the carried values after the last trip, then the stacked outputs.

        `outputs` has the names of the next carried values, followed by the names of the outputs
        to stack over all trips. For each output to stack, `output_axes` has the new axis, and
        whether the stack begins with the last trip. Without trips, the stacks are empty.
        """
        if not (self.carried or output_axes):
            return []
        inner = emitter.inner("body")
        results = self._import(inner, outputs)
        stacked = results[len(self.carried) :]
        outward = tuple(
            Walk(axis_of(axis, v.type.rank + 1), back)
            for v, (axis, back) in zip(stacked, output_axes, strict=True)
        )
        if not trips:
            types = (w.sequence(v.type, 0) for w, v in zip(outward, stacked, strict=True))
            empty = (emitter.constant(emitter.full(t.shape, 0, t.dtype.numpy)) for t in types)
            return [*self.carried.values(), *empty]
        inward = tuple(walk for walk, _ in self.walked.values())
        loop = Loop(inner.build(), trips, len(self.carried), inward, outward)
        sequences = (v for _, v in self.walked.values())
        fixed = (v for v in self.captured.values() if not v.is_constant)
        return emitter.add_multi(loop, *self.carried.values(), *sequences, *fixed)

    def _import(self, inner: Emitter, outputs: Iterable[str]) -> list[Value]:
        """Import the body, with inputs for all but captured constants, and return its outputs."""
        for name, value in {**self.carried, **self.captured}.items():
            if isinstance(value, SequenceValue):
                raise Unsupported(
                    f"'{name}' is a sequence of tensors, to which a loop of more than "
                    f"{_MOST_TRIPS_WRITTEN_OUT} trips can only append"
                )
        port_types = {n: v.type for n, v in self.carried.items()}
        port_types.update((n, walk.element(v.type)) for n, (walk, v) in self.walked.items())
        port_types.update((n, v.type) for n, v in self.captured.items() if not v.is_constant)
        ports = {n: inner.input(f"x{i}", t) for i, (n, t) in enumerate(port_types.items())}
        graph = replace(self.graph, outputs=tuple(outputs))
        results = import_inner(inner, graph, {**self.captured, **ports}, self.label)
        for index, value in enumerate(results):
            inner.output(f"y{index}", value)
        for (name, old), new in zip(self.carried.items(), results, strict=False):
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise Unsupported(
                    f"'{name}' is {old.dtype.value}{list(old.shape)} before a trip and "
                    f"{new.dtype.value}{list(new.shape)} after it; a value that grows with the "
                    "trips must be a scan output"
                )
        return results


@ONNX.imports("Scan")
def scan(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Run a body for each element of sequences; states pass from one trip to the next."""
    body, (own, captured) = node.graph("body"), own_and_captured(node, inputs)
    count = node.integer("num_scan_inputs")
    first = 0 if node.version >= 9 else 1  # before version 9, operand 0 has the lengths
    if not 1 <= count <= len(own) - first or len(body.inputs) != len(own) - first:
        raise Unsupported("its body does not fit its operands")
    values = [operand(own, i) for i in range(first, len(own))]
    states, sequences = values[:-count], values[-count:]
    if node.version < 9:
        lengths = own[0]
        return _scan_of_batch(emitter, node, body, captured, lengths, states, sequences)
    stacked = len(body.outputs) - len(states)
    axes_and_directions = [
        tuple(zip(_each(node, f"{p}_axes", n), _each(node, f"{p}_directions", n), strict=True))
        for p, n in (("scan_input", count), ("scan_output", stacked))
    ]
    walks = [
        Walk(axis_of(axis, v.type.rank), bool(back))
        for v, (axis, back) in zip(sequences, axes_and_directions[0], strict=True)
    ]
    outward = [(axis, bool(back)) for axis, back in axes_and_directions[1]]
    return _scanned(emitter, _Body(body, node.label, captured), states, sequences, walks, outward)


def _scanned(
    emitter: Emitter,
    body: _Body,
    states: Sequence[Value],
    sequences: Sequence[Value],
    walks: Sequence[Walk],
    outward: Sequence[tuple[int, bool]],
) -> list[Value]:
    trips = {v.shape[w.axis] for v, w in zip(sequences, walks, strict=True)}
    if len(trips) != 1:
        raise Unsupported(
            f"its sequences differ in length: {' and '.join(map(str, sorted(trips)))}"
        )
    names = [i.name for i in body.graph.inputs]
    walked = dict(zip(names[len(states) :], zip(walks, sequences, strict=True), strict=True))
    carried = dict(zip(names, states, strict=False))
    full_body = replace(body, carried=carried, walked=walked)
    return full_body.repeat(emitter, trips.pop(), body.graph.outputs, outward)


def _scan_of_batch(
    emitter: Emitter,
    node: OnnxNode,
    body: OnnxGraph,
    captured: Mapping[str, Value],
    lengths: Value | None,
    states: Sequence[Value],
    sequences: Sequence[Value],
) -> list[Value]:
    """Scan of version 8: axis 0 of all operands is the batch axis; its elements run separately."""
    if min(v.type.rank for v in sequences) < 2 or any(v.type.rank < 1 for v in states):
        raise Unsupported("operands without a batch and a sequence axis")
    batch, steps = sequences[0].shape[:2]
    if lengths is not None and set(known_ints(lengths, "its operand 0 (lengths)")) - {steps}:
        raise Unsupported(f"some sequences end before step {steps}; remove operand 0 (lengths)")
    walks = [Walk(0, bool(d)) for d in _each(node, "directions", len(sequences))]
    outward = [(0, False)] * (len(body.outputs) - len(states))
    parts = [
        _scanned(
            emitter,
            _Body(body, node.label, captured),
            [_item(emitter, v, index) for v in states],
            [_item(emitter, v, index) for v in sequences],
            walks,
            outward,
        )
        for index in range(batch)
    ]
    return [
        emitter.add(Concat(0), *(reshaped(emitter, v, (1, *v.shape)) for v in results))
        for results in zip(*parts, strict=True)
    ]


def _item(emitter: Emitter, value: Value, index: int) -> Value:
    rank = value.type.rank
    starts, sizes = (index, *(0,) * (rank - 1)), (1, *value.shape[1:])
    return reshaped(emitter, emitter.add(Slice(starts, sizes, (1,) * rank), value), sizes[1:])


def _each(node: OnnxNode, name: str, count: int) -> tuple[int, ...]:
    numbers = node.integers(name, (0,) * count)
    if len(numbers) != count:
        raise Unsupported(
            f"the number of items of its attribute '{name}' is {len(numbers)}, not {count}"
        )
    return numbers


@ONNX.imports(
    "Loop",
    limits="at most 4096 trips, known at import; 64 if shapes change, or a sequence by more than "
    "appending",
    sequences=True,
)
def loop(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Run a body several times; the number of trips is known at import.

    Carried values that are known on every trip (counters) become constant sequences, of which each
    trip reads an element. Values that no trip changes are captured. All others are carried. If
    the trips cannot become a loop of the graph, the body is imported once for each trip.
    """
    body, (own, captured) = node.graph("body"), own_and_captured(node, inputs)
    starts = [operand(own, i) for i in range(2, len(own))]
    if len(body.inputs) != len(starts) + 2 or len(body.outputs) <= len(starts):
        raise Unsupported("its body does not fit its operands")
    names = [i.name for i in body.inputs]
    initial = dict(zip(names[2:], starts, strict=True))
    following = dict(zip(names[1:], body.outputs, strict=False))
    captured |= {n: v for n, v in initial.items() if _source(body, following[n]) == n}
    rank = len(body.inputs[0].shape or ())
    go = own[1] if len(own) > 1 and own[1] is not None else emitter.constant(np.array(True))
    counting = {names[0]: emitter.constant(np.zeros((1,) * rank, np.int64)), names[1]: go}
    counting.update(initial)
    full_body = _Body(body, node.label, captured)
    limit = known_int(own[0], "its number of trips") if own and own[0] is not None else None
    trips = _follow(emitter, full_body, counting, following, limit)
    last = trips[-1]
    carried = {n: v for n, v in initial.items() if n not in captured and n not in last}
    stacked = body.outputs[1 + len(starts) :]
    run = _Run(replace(full_body, carried=carried), trips, following, stacked)
    try:
        last_values, stacked_values = run.looped(emitter)
    except Unsupported:
        if len(trips) - 1 > _MOST_TRIPS_WRITTEN_OUT:
            raise
        last_values, stacked_values = run.written_out(emitter)
    ends = (last_values.get(n) or _end(emitter, n, v, last) for n, v in initial.items())
    return [*ends, *stacked_values]


@dataclass(frozen=True, slots=True)
class _Run:
    """The trips of a Loop, and two methods to import them.

    `trips` has the counters before each trip and after the last trip. `following` maps a carried
    value to the body's output with its next value. `stacked` are the outputs to collect from all
    trips. Both methods return the carried values after the last trip, and the stacked outputs.
    """

    body: _Body
    trips: Sequence[Mapping[str, Array]]
    following: Mapping[str, str]
    stacked: Sequence[str]

    def looped(self, emitter: Emitter) -> tuple[dict[str, Value], list[Value]]:
        """Import the trips as a loop of the graph.

        If a carried value is a sequence to which each trip only appends, the appended tensors are
        stacked, too.
        """
        body, trips = self.body, self.trips
        lists = appended(body.graph, body.carried, self.following)
        carried = {n: v for n, v in body.carried.items() if n not in lists}
        wanted = (*(self.following[n] for n in carried), *self.stacked, *lists.values())
        read = set().union(*(_reads(body, name) for name in wanted))
        walked = {n: (Walk(), _stack(emitter, n, trips)) for n in trips[0] if n in read}
        full_body = replace(body, carried=carried, walked=walked)
        output_axes = [(0, False)] * (len(wanted) - len(carried))
        results = full_body.repeat(emitter, len(trips) - 1, wanted, output_axes)
        ends, rest = dict(zip(carried, results, strict=False)), results[len(carried) :]
        for name, rows in zip(lists, rest[len(self.stacked) :], strict=True):
            ends[name] = extended(emitter, body.carried[name], rows)
        return ends, rest[: len(self.stacked)]

    def written_out(self, emitter: Emitter) -> tuple[dict[str, Value], list[Value]]:
        """Import the body once for each trip, so that counters are known and shapes may change."""
        body = self.body
        wanted = (*(self.following[n] for n in body.carried), *self.stacked)
        carried, rows = dict(body.carried), []
        graph = replace(body.graph, outputs=wanted)
        for trip in self.trips[:-1]:
            counted = {n: emitter.constant(a) for n, a in trip.items()}
            results = import_inner(
                emitter, graph, {**body.captured, **counted, **carried}, body.label
            )
            carried = dict(zip(carried, results, strict=False))
            rows.append(results[len(carried) :])
        if self.stacked and not rows:
            raise Unsupported("the loop has no trips, so the shapes of its results are unknown")
        return carried, [
            emitter.add(Concat(0), *(reshaped(emitter, v, (1, *v.shape)) for v in values))
            for values in zip(*rows, strict=True)
        ]


def _follow(
    emitter: Emitter,
    body: _Body,
    first: Mapping[str, Value],
    following: Mapping[str, str],
    limit: int | None,
) -> list[dict[str, Array]]:
    """Compute the counters, by name in the body, before every trip and after the last trip.

    `first` has the values of the body's inputs before the first trip: the number of the trip, the
    condition, and the carried values.
    """
    number, condition = list(first)[:2]
    reads = {n: _reads(body, name) for n, name in following.items()} | {number: set()}
    small = {
        n
        for n, v in first.items()
        if n not in body.captured and v.is_constant and v.type.elements <= _COUNTER_ELEMENTS
    }
    counted = counters(small, reads)
    if condition not in counted:
        raise Unsupported(
            "the network computes its condition, so its number of trips is not known at import; "
            "give it a number of trips and a condition that stays true"
        )
    order = [n for n in first if n in counted and n != number]
    graph = replace(body.graph, outputs=tuple(following[n] for n in order))
    current = {n: first[n] for n in (number, *order)}
    trips: list[dict[str, Array]] = []
    while True:
        trips.append({n: known(v, f"the counter '{n}'") for n, v in current.items()})
        trip = len(trips) - 1
        if (limit is not None and trip >= limit) or not trips[-1][condition].all():
            return trips
        if trip >= MOST_COUNTED_TRIPS:
            raise Unsupported(
                f"more than {MOST_COUNTED_TRIPS} trips; a Scan may have any number of trips"
            )
        inner = emitter.inner("counters")
        results = import_inner(inner, graph, {**body.captured, **current}, body.label)
        current = dict(zip(order, results, strict=True))
        current[number] = emitter.constant(trips[-1][number] + 1)


def _reads(body: _Body, output: str) -> set[str]:
    """The body's inputs and captured values, except constants, on which an output depends."""
    nodes = needed_nodes(in_order(body.graph.nodes, body.label), [output])
    names = {output, *(n for node in nodes for n in node.inputs)}
    own = {i.name for i in body.graph.inputs}
    captured = body.captured
    return {n for n in names if (n in own or n in captured) and not _is_fixed(captured.get(n))}


def _is_fixed(value: Value | None) -> bool:
    return value is not None and value.is_constant


def _source(graph: OnnxGraph, name: str) -> str:
    """The value of which `name` is a copy, made by any number of Identity nodes."""
    copies = {n.outputs[0]: n.inputs[0] for n in graph.nodes if n.kind == "Identity" and n.inputs}
    for _ in copies:
        name = copies.get(name, name)
    return name


def _stack(emitter: Emitter, name: str, trips: Sequence[Mapping[str, Array]]) -> Value:
    """Stack a counter's values on all trips along axis 0.

    If there are no trips, the result consists of the value before the first trip, so that it has
    the right shape.
    """
    arrays = [t[name] for t in trips[: max(len(trips) - 1, 1)]]
    if len({a.shape for a in arrays}) > 1:
        raise Unsupported(f"the shape of '{name}' changes from trip to trip")
    return emitter.constant(np.stack(arrays))


def _end(emitter: Emitter, name: str, value: Value, last: Mapping[str, Array]) -> Value:
    """The final value of a counter, or of a value that no trip changes."""
    return emitter.constant(last[name]) if name in last else value
