"""Imports WHILE loops with a known number of trips, such as Keras's recurrent layers."""

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
    """Import a loop whose number of trips is known at import.

    Operands whose value is known on every trip (counters) become constant sequences that the loop
    walks over. Operands that no trip changes are captured. If every trip writes the next row of a
    list, the loop stacks the rows. All other operands are carried.
    """
    if len(node.graphs) != 2:
        raise Unsupported(f"its number of graphs is {len(node.graphs)}, not 2")
    condition, body = node.graphs
    values = [operand(inputs, i) for i in range(len(body.inputs))]
    if not len(values) == len(condition.inputs) == len(body.outputs) == len(node.results):
        raise Unsupported("the inputs and outputs of its graphs do not fit its operands")
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
    result = import_inner(inner, graph, within, range(len(graph.outputs)))
    for index, value in zip([*carried, *lists], result, strict=True):
        if index in carried and value.type.shape != values[index].type.shape:
            raise Unsupported(
                f"a value changes its shape from {values[index].shape} to {value.shape}"
            )
        inner.output(f"y{index}", value)
    walks = (Walk(),) * len(walked), (Walk(),) * len(lists)
    loop = Loop(inner.build(), len(trips) - 1, len(carried), *walks)
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
    """Map each operand that is a list to its written rows and the index of the first of them.

    Every trip writes the next row of a list. `others` has the operands that cannot be lists.
    """
    fixed = [v if i in others and v.is_constant else None for i, v in enumerate(values)]
    lists = {}
    for index in set(range(len(values))) - others:
        written = written_rows(body, index)
        if written is None:
            continue
        first = first_row(emitter, body, written, fixed, trips[:-1])
        if first is not None:
            lists[index] = written, first
    return lists


def _reads(graph: TfliteGraph, index: int) -> set[int]:
    """The indices of the inputs on which an output depends."""
    positions = {t.name: i for i, t in enumerate(graph.inputs)}
    name = graph.outputs[index].name
    nodes = needed_nodes(graph.nodes, [name])
    names = {name, *(n for node in nodes for n in node.inputs)}
    return {positions[n] for n in names if n in positions}


def _trips(
    emitter: Emitter,
    condition: TfliteGraph,
    body: TfliteGraph,
    values: list[Value],
    counted: set[int],
) -> list[dict[int, np.ndarray]]:
    """Compute the counters, by operand index, before every trip and after the last one."""
    order = sorted(counted)
    fixed = {i for i, v in enumerate(values) if v.is_constant and body.inputs[i] == body.outputs[i]}
    if not condition.outputs or not _reads(condition, 0) <= counted | fixed:
        raise Unsupported(
            "the network computes its condition, so its number of trips is not known at import"
        )
    current = [v if v.is_constant else None for v in values]
    trips = []
    while True:
        trips.append({i: known(v, "a counter") for i in order if (v := current[i]) is not None})
        (more,) = import_inner(emitter.inner("condition"), condition, current, [0])
        if not known(more, "its condition").all():
            return trips
        if len(trips) > MOST_COUNTED_TRIPS:
            raise Unsupported(f"more than {MOST_COUNTED_TRIPS} trips")
        results = import_inner(emitter.inner("counters"), body, current, order)
        for index, value in zip(order, results, strict=True):
            current[index] = value


def _last(emitter: Emitter, value: Value, index: int, trips: list[dict[int, np.ndarray]]) -> Value:
    """The final value of an operand that is a counter, or that no trip changes."""
    return emitter.constant(trips[-1][index]) if index in trips[-1] else value
