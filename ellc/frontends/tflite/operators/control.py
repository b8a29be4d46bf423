"""Loops whose number of trips is known at import, as Keras writes recurrent layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs, needed_nodes
from ellc.frontends.graph_import.recurrence import MOST_COUNTED_TRIPS, counters
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import TfliteGraph, TfliteNode
from ellc.frontends.tflite.operators.written_rows import (
    WrittenRows,
    first_row,
    with_rows,
    written_rows,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.loop import Loop, Walk


@TFLITE.imports("WHILE", limits="a number of trips known at import, at most 4096")
def while_(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Counters, known on every trip, are walked; what never changes stays; the rest is carried.

    A list of which every trip writes the next row is a sequence that the loop makes.
    """
    if len(node.graphs) != 2:
        raise Unsupported(f"{len(node.graphs)} graphs, and not a condition and a body")
    condition, body = node.graphs
    values = [operand(inputs, i) for i in range(len(body.inputs))]
    if not len(values) == len(condition.inputs) == len(body.outputs) == len(node.results):
        raise Unsupported("its graphs do not fit its operands")
    same = {i for i, (a, b) in enumerate(zip(body.inputs, body.outputs, strict=True)) if a == b}
    constant = {i for i, v in enumerate(values) if v.is_constant}
    counted = counters(constant, {i: _reads(body, i) for i in constant}) - same
    trips = _trips(emitter, condition, body, values, counted)
    if len(trips) == 1:
        return values
    lists = _lists(emitter, body, values, counted | same, trips)
    carried = [i for i in range(len(values)) if i not in counted | same | {*lists}]
    if not (carried or lists):
        return [_last(emitter, v, i, trips) for i, v in enumerate(values)]
    walked = sorted(counted)
    inner = emitter.inner("body")
    within: list[Value | None] = [None if i in lists else v for i, v in enumerate(values)]
    order = [*carried, *walked, *(i for i in sorted(same) if not values[i].is_constant)]
    for index in order:
        within[index] = inner.input(f"x{index}", values[index].type)
    rows = [written.row for written, _ in lists.values()]
    graph = replace(body, outputs=(*(body.outputs[i] for i in carried), *rows))
    made = import_inner(inner, graph, within, range(len(graph.outputs)))
    for index, value in zip([*carried, *lists], made, strict=True):
        if index in carried and value.type.shape != values[index].type.shape:
            raise Unsupported(f"a value grows from {values[index].shape} to {value.shape}")
        inner.output(f"y{index}", value)
    ways = (Walk(),) * len(walked), (Walk(),) * len(lists)
    loop = Loop(inner.build(), len(trips) - 1, len(carried), *ways)
    stacks = {i: emitter.constant(np.stack([t[i] for t in trips[:-1]])) for i in walked}
    results = emitter.add_multi(loop, *(stacks.get(i, values[i]) for i in order))
    ends = dict(zip([*carried, *lists], results, strict=True))
    for index, (_, first) in lists.items():
        ends[index] = with_rows(emitter, values[index], ends[index], first)
    return [ends.get(i) or _last(emitter, v, i, trips) for i, v in enumerate(values)]


def _lists(
    emitter: Emitter,
    body: TfliteGraph,
    values: list[Value],
    others: set[int],
    trips: list[dict[int, np.ndarray]],
) -> dict[int, tuple[WrittenRows, int]]:
    """The values of which a trip writes one row, and the row that the first trip writes."""
    fixed = [v if i in others and v.is_constant else None for i, v in enumerate(values)]
    found = {}
    for index in set(range(len(values))) - others:
        written = written_rows(body, index)
        if written is None:
            continue
        first = first_row(emitter, body, written, fixed, trips[:-1])
        if first is not None:
            found[index] = written, first
    return found


def _reads(graph: TfliteGraph, index: int) -> set[int]:
    """The inputs on which an output depends."""
    places = {t.name: i for i, t in enumerate(graph.inputs)}
    name = graph.outputs[index].name
    nodes = needed_nodes(graph.nodes, [name])
    names = {name, *(n for node in nodes for n in node.inputs)}
    return {places[n] for n in names if n in places}


def _trips(
    emitter: Emitter,
    condition: TfliteGraph,
    body: TfliteGraph,
    values: list[Value],
    counted: set[int],
) -> list[dict[int, np.ndarray]]:
    """The counted operands before every trip, and after the last one."""
    order = sorted(counted)
    fixed = {i for i, v in enumerate(values) if v.is_constant and body.inputs[i] == body.outputs[i]}
    if not condition.outputs or not _reads(condition, 0) <= counted | fixed:
        raise Unsupported("its condition is computed by the network, so its trips are not known")
    current = [v if v.is_constant else None for v in values]
    found = []
    while True:
        found.append({i: known(v, "a counter") for i in order if (v := current[i]) is not None})
        (more,) = import_inner(emitter.inner("condition"), condition, current, [0])
        if not known(more, "its condition").all():
            return found
        if len(found) > MOST_COUNTED_TRIPS:
            raise Unsupported(f"more than {MOST_COUNTED_TRIPS} trips")
        made = import_inner(emitter.inner("counters"), body, current, order)
        for index, value in zip(order, made, strict=True):
            current[index] = value


def _last(emitter: Emitter, value: Value, index: int, trips: list[dict[int, np.ndarray]]) -> Value:
    """What is left of a counter, or of a value that no trip changes."""
    return emitter.constant(trips[-1][index]) if index in trips[-1] else value
