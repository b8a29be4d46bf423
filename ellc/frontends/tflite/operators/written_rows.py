"""Finds lists that a loop fills row by row, as Keras's recurrent layers do.

The converter writes an assignment to one row of a list as CONCATENATION(the rows before, the new
row, the rows after), where the first and the last operand are SLICEs of the carried list. Such a
list need not be carried: the loop can stack the rows of all iterations.
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
    """Describes how a loop body writes a row of the carried list that is its input `index`.

    `row` is the row [1, ...] that an iteration writes. `numbers` has the begin and the size of the
    part before the row, and then the begin and the size of the part after the row.
    """

    index: int
    row: Tensor
    numbers: tuple[Tensor, ...]


def written_rows(body: TfliteGraph, index: int) -> WrittenRows | None:
    """Describe how the body writes a row of the list `index`; None for any other use."""
    carried, output = body.inputs[index], body.outputs[index].name
    producers = {t.name: node for node in body.nodes for t in node.results}
    whole = producers.get(output)
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
    plain = whole.options.whole("Axis") == 0 and whole.options.activation is FusedActivation.NONE
    fits = (row.shape, row.quant) == ((1, *carried.shape[1:]), carried.quant)
    return WrittenRows(index, row, tuple(numbers)) if plain and fits else None


def first_row(
    emitter: Emitter,
    body: TfliteGraph,
    written: WrittenRows,
    fixed: Sequence[Value | None],
    trips: Iterable[Mapping[int, Array]],
) -> int | None:
    """The index of the row that the first iteration writes; each later one must write the next row.

    The result is None if all iterations write the same row. `fixed` has the body's inputs that are
    the same in every iteration, and `trips` has the counters of each iteration. Raises
    `Unsupported` for any other order of rows.
    """
    graph = replace(body, outputs=written.numbers)
    shape = body.inputs[written.index].shape
    positions = []
    for trip in trips:
        values = [emitter.constant(trip[i]) if i in trip else v for i, v in enumerate(fixed)]
        results = import_inner(emitter.inner("rows"), graph, values, range(len(written.numbers)))
        positions.append(_row_index([known_ints(v, "the index of a row") for v in results], shape))
    if len(positions) > 1 and len({*positions}) == 1:
        return None
    if positions != list(range(positions[0], positions[0] + len(positions))):
        raise Unsupported("its trips do not write the rows of a list in order")
    return positions[0]


def _row_index(numbers: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> int:
    """Compute the index of the row between the two parts from their begins and sizes.

    Raises `Unsupported` unless the parts are all other rows of the list, which has the shape
    `shape`.
    """
    none = (0,) * (len(shape) - 1)
    (begin, size), (follows, rest) = numbers[:2], numbers[2:]
    position = size[0]
    ends = tuple(s if n < 0 else b + n for s, b, n in zip(shape, follows, rest, strict=True))
    across = all(n in (-1, s) for n, s in zip(size[1:], shape[1:], strict=True))
    whole = begin == (0, *none) and follows == (position + 1, *none) and ends == shape
    if not (whole and across and 0 <= position < shape[0]):
        raise Unsupported("it writes a row of a list and changes other rows")
    return position


def with_rows(emitter: Emitter, value: Value, rows: Value, first: int) -> Value:
    """Replace the rows of a list, starting at `first`, by `rows` [iterations, 1, ...]."""
    trips, rest = rows.shape[0], value.shape[1:]
    parts = [emitter.add(Reshape((trips, *rest)), rows)]
    for start, count in ((0, first), (first + trips, value.shape[0] - first - trips)):
        if count:
            cut = Slice((start, *(0 for _ in rest)), (count, *rest), (1,) * value.type.rank)
            parts.insert(len(parts) if start else 0, emitter.add(cut, value))
    return parts[0] if len(parts) == 1 else emitter.add(Concat(0), *parts)
