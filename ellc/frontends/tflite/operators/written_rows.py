"""Finds lists that a loop fills row by row, as the loops of Keras's recurrent layers do.

A list is a tensor; its rows are the elements along its first axis. The converter writes an
assignment to one row of a list as CONCATENATION(the rows before, the new row, the rows after),
where the first and the last operand are SLICEs of the carried list. Such a list need not be
carried: the loop can stack the rows of all trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteGraph
from ellc.ir.ops.shape import Concat, Reshape, Slice
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """How a loop body writes a row of a carried list, the body's input with the index `index`.

    `row` is the tensor [1, ...] that a trip writes. `slices` has the operands of the two SLICEs:
    the begin and the size of the part before the row, then those of the part after the row.
    """

    index: int
    row: Tensor
    slices: tuple[Tensor, ...]


def written_rows(body: TfliteGraph, index: int) -> WrittenRows | None:
    """Describe how the body writes a row of input `index`; None if it uses the input otherwise."""
    carried, output = body.inputs[index], body.outputs[index].name
    producers = {t.name: node for node in body.nodes for t in node.results}
    joined = producers.get(output)
    if joined is None or joined.kind != "CONCATENATION" or len(joined.operands) != 3:
        return None
    before, row, after = joined.operands
    parts = [None if t is None else producers.get(t.name) for t in (before, after)]
    consumers = [node for node in body.nodes if carried.name in node.inputs]
    slices: list[Tensor] = []
    for part in parts:
        if part is None or part.kind != "SLICE" or part not in consumers:
            return None
        slices += [t for t in part.operands[1:] if t is not None]
    if row is None or len(slices) != 4 or any(node not in parts for node in consumers):
        return None
    is_plain = (
        joined.options.whole("Axis") == 0 and joined.options.activation is FusedActivation.NONE
    )
    fits = (row.shape, row.quant) == ((1, *carried.shape[1:]), carried.quant)
    return WrittenRows(index, row, tuple(slices)) if is_plain and fits else None


def first_row(
    emitter: Emitter,
    body: TfliteGraph,
    written: WrittenRows,
    fixed: Sequence[Value | None],
    trips: Iterable[Mapping[int, Array]],
) -> int | None:
    """The index of the row that the first trip writes, if every later trip writes the next row.

    The result is None if there are several trips, and all write the same row. Any other order of
    rows raises `Unsupported`. `fixed` has the body's inputs that are the same on every trip, with
    None for the others, and `trips` has the counters of each trip by input index.
    """
    graph = replace(body, outputs=written.slices)
    shape = body.inputs[written.index].shape
    indices = []
    for trip in trips:
        values = [emitter.constant(trip[i]) if i in trip else v for i, v in enumerate(fixed)]
        results = import_inner(emitter.inner("rows"), graph, values, range(len(written.slices)))
        indices.append(_row_index([known_ints(v, "the index of a row") for v in results], shape))
    if len(indices) > 1 and len({*indices}) == 1:
        return None
    if indices != list(range(indices[0], indices[0] + len(indices))):
        raise Unsupported("it does not write the rows of a list in order")
    return indices[0]


def _row_index(numbers: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> int:
    """The index of the row between two parts of a list, whose begins and sizes are in `numbers`.

    Raises `Unsupported` unless the parts are all other rows of the list. `shape` is the list's
    shape.
    """
    none = (0,) * (len(shape) - 1)
    (begin, size), (follows, rest) = numbers[:2], numbers[2:]
    position = size[0]
    ends = tuple(s if n < 0 else b + n for s, b, n in zip(shape, follows, rest, strict=True))
    has_whole_rows = all(n in (-1, s) for n, s in zip(size[1:], shape[1:], strict=True))
    is_complete = begin == (0, *none) and follows == (position + 1, *none) and ends == shape
    if not (is_complete and has_whole_rows and 0 <= position < shape[0]):
        raise Unsupported("it writes one row of a list and also changes other rows")
    return position


def with_rows(emitter: Emitter, value: Value, rows: Value, first: int) -> Value:
    """Replace the rows of the list `value` from the index `first` on by `rows` [trips, 1, ...]."""
    trips, rest = rows.shape[0], value.shape[1:]
    parts = [emitter.add(Reshape((trips, *rest)), rows)]
    for start, count in ((0, first), (first + trips, value.shape[0] - first - trips)):
        if count:
            cut = Slice((start, *(0 for _ in rest)), (count, *rest), (1,) * value.type.rank)
            parts.insert(len(parts) if start else 0, emitter.add(cut, value))
    return parts[0] if len(parts) == 1 else emitter.add(Concat(0), *parts)
