"""Loops whose number of trips is known at import, as Keras writes recurrent layers."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs, needed_nodes
from ellc.frontends.graph_import.recurrence import MOST_COUNTED_TRIPS, counters
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import TfliteGraph, TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ir.ops.loop import Loop, Walk


@TFLITE.imports("WHILE", limits="a number of trips known at import, at most 4096")
def while_(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Counters, known on every trip, are walked; what never changes stays; the rest is carried."""
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
    carried = [i for i in range(len(values)) if i not in counted | same]
    if not carried:
        return [_last(emitter, v, i, trips) for i, v in enumerate(values)]
    walked = sorted(counted)
    inner = emitter.inner("body")
    within: list[Value] = list(values)
    order = [*carried, *walked, *(i for i in sorted(same) if not values[i].is_constant)]
    for index in order:
        within[index] = inner.input(f"x{index}", values[index].type)
    for index, value in zip(carried, import_inner(inner, body, within, carried), strict=True):
        if value.type.shape != values[index].type.shape:
            raise Unsupported(f"a value grows from {values[index].shape} to {value.shape}")
        inner.output(f"y{index}", value)
    loop = Loop(inner.build(), len(trips) - 1, len(carried), (Walk(),) * len(walked))
    stacks = {i: emitter.constant(np.stack([t[i] for t in trips[:-1]])) for i in walked}
    results = emitter.add_multi(loop, *(stacks.get(i, values[i]) for i in order))
    made = dict(zip(carried, results, strict=True))
    return [made.get(i) or _last(emitter, v, i, trips) for i, v in enumerate(values)]


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
