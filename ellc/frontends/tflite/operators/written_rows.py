"""Rows that a loop's body writes into a value it carries: TensorFlow's lists, as Keras fills them.

The converter writes an assignment to an element of a list as CONCATENATION(what is before the row,
the row, what is after it), two SLICEs of the carried value whose sizes count the trips. Such a
value is not a state: it is the rows of all trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import Activation, Tensor, TfliteGraph
from ellc.ir.ops.shape import Concat, Reshape, Slice
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """A carried value by its place among the body's inputs, and its parts.

    `row` is what a trip writes, [1, ...]; `numbers` are where the part before it begins, that
    part's size, and the same of the part after it.
    """

    index: int
    row: Tensor
    numbers: tuple[Tensor, ...]


def written_rows(body: TfliteGraph, index: int) -> WrittenRows | None:
    """How the body writes a row of the carried value at `index`; None if it does anything else."""
    carried, made = body.inputs[index], body.outputs[index].name
    producers = {t.name: node for node in body.nodes for t in node.results}
    whole = producers.get(made)
    if whole is None or whole.kind != "CONCATENATION" or len(whole.operands) != 3:
        return None
    before, row, after = whole.operands
    parts = [None if t is None else producers.get(t.name) for t in (before, after)]
    consumers = [node for node in body.nodes if carried.name in node.inputs]
    numbers: list[Tensor] = []
    for part in parts:
        if part is None or part.kind != "SLICE" or part not in consumers:
            return None
        numbers += [t for t in part.operands[1:] if t is not None]
    if row is None or len(numbers) != 4 or any(node not in parts for node in consumers):
        return None
    plain = whole.options.whole("Axis") == 0 and whole.options.activation is Activation.NONE
    fits = (row.shape, row.quant) == ((1, *carried.shape[1:]), carried.quant)
    return WrittenRows(index, row, tuple(numbers)) if plain and fits else None


def first_row(
    emitter: Emitter,
    body: TfliteGraph,
    written: WrittenRows,
    fixed: Sequence[Value | None],
    trips: Iterable[Mapping[int, Array]],
) -> int | None:
    """The row that the first trip writes; every further trip writes the next one.

    None where all trips write the same one. `fixed` are the body's inputs that are the same on
    every trip, `trips` its counters. Raises `Unsupported` for any other order.
    """
    graph = replace(body, outputs=written.numbers)
    shape = body.inputs[written.index].shape
    places = []
    for trip in trips:
        values = [emitter.constant(trip[i]) if i in trip else v for i, v in enumerate(fixed)]
        made = import_inner(emitter.inner("rows"), graph, values, range(len(written.numbers)))
        places.append(_place([known_ints(v, "the place of a row") for v in made], shape))
    if len(places) > 1 and len({*places}) == 1:
        return None
    if places != list(range(places[0], places[0] + len(places))):
        raise Unsupported("rows are written in another order than that of the trips")
    return places[0]


def _place(numbers: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> int:
    """The row between the two parts."""
    none = (0,) * (len(shape) - 1)
    (begin, size), (follows, rest) = numbers[:2], numbers[2:]
    place = size[0]
    ends = tuple(s if n < 0 else b + n for s, b, n in zip(shape, follows, rest, strict=True))
    across = all(n in (-1, s) for n, s in zip(size[1:], shape[1:], strict=True))
    whole = begin == (0, *none) and follows == (place + 1, *none) and ends == shape
    if not (whole and across and 0 <= place < shape[0]):
        raise Unsupported("a row is written, and other rows change")
    return place


def with_rows(emitter: Emitter, value: Value, rows: Value, first: int) -> Value:
    """The value with `rows` [trips, 1, ...] from row `first` on."""
    trips, rest = rows.shape[0], value.shape[1:]
    parts = [emitter.add(Reshape((trips, *rest)), rows)]
    for start, count in ((0, first), (first + trips, value.shape[0] - first - trips)):
        if count:
            cut = Slice((start, *(0 for _ in rest)), (count, *rest), (1,) * value.type.rank)
            parts.insert(len(parts) if start else 0, emitter.add(cut, value))
    return parts[0] if len(parts) == 1 else emitter.add(Concat(0), *parts)
