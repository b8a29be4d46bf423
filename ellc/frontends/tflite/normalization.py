"""Reads the mean and standard deviation of picture channels from a model's TFLITE_METADATA.

The metadata is a separate flatbuffer (identifier M001) inside the file. This module reads only the
fields on the path to these two values.
"""

from __future__ import annotations

from collections.abc import Iterator

from flatbuffers import number_types

from ellc.frontends.tflite.tables import CheckedTable, Damaged, EntryBudget
from ellc.ir.graph import INPUT_PREFIX

_IDENTIFIER = b"M001"
_COLOURS = ("red", "green", "blue")
# The indices of the fields in their tables.
_GRAPHS, _INPUTS, _STEPS, _STEP_KIND, _STEP, _MEAN, _DEVIATION = 3, 2, 4, 0, 1, 0, 1
_NORMALIZATION = 1  # the code of a normalisation among the kinds of steps


def normalization_keys(data: bytes) -> dict[str, str]:
    """The mean and deviation of the first input's pixels (0 to 255), as metadata entries.

    The result is empty if the file has no such metadata. The metadata is optional, so damaged
    metadata counts as missing.
    """
    if data[4:8] != _IDENTIFIER:
        return {}
    try:
        top = CheckedTable(data, 0, EntryBudget(len(data)))
        top.Pos = top.Indirect(0)
        numbers = next(_normalizations(top), None)
    except Damaged:
        return {}
    if numbers is None:
        return {}
    keys = {}
    for index, colour in enumerate(_COLOURS):
        for what, values in zip(("Mean", "StdDev"), numbers, strict=True):
            # A single number applies to all channels.
            keys[f"{INPUT_PREFIX}{colour}Channel{what}"] = repr(values[index % len(values)])
    return keys


def _normalizations(top: CheckedTable) -> Iterator[tuple[list[float], list[float]]]:
    """Yield (means, deviations) of each valid normalisation step of the first input."""
    for graph in _tables(top, _GRAPHS, 1):
        for tensor in _tables(graph, _INPUTS, 1):
            for step in _tables(tensor, _STEPS, 16):
                kind = step.Offset(_slot(_STEP_KIND))
                position = step.Offset(_slot(_STEP))
                if not (kind and position):
                    continue
                if step.Get(number_types.Uint8Flags, step.Pos + kind) != _NORMALIZATION:
                    continue
                normalization = CheckedTable(
                    step.Bytes, step.Indirect(step.Pos + position), step.budget
                )
                both = _floats(normalization, _MEAN), _floats(normalization, _DEVIATION)
                if all(len(values) in (1, 3) for values in both) and 0 not in both[1]:
                    yield both


def _slot(field: int) -> int:
    return 4 + 2 * field


def _tables(owner: CheckedTable, field: int, most_tables: int) -> Iterator[CheckedTable]:
    position = owner.Offset(_slot(field))
    if position:
        start = owner.Vector(position)
        for index in range(min(owner.VectorLen(position), most_tables)):
            yield CheckedTable(owner.Bytes, owner.Indirect(start + 4 * index), owner.budget)


def _floats(owner: CheckedTable, field: int) -> list[float]:
    position = owner.Offset(_slot(field))
    if not position:
        return []
    numbers: list[float] = owner.GetVectorAsNumpy(number_types.Float32Flags, position).tolist()
    return numbers
