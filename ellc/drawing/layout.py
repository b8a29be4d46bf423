"""Finds the routes of a drawing's lines, next to a column of boxes.

If the next box reads a result of a box, a straight line joins the two. If later boxes read the
result, it gets a track: a vertical line to the right of the column, from the box to the last
reader. So no line crosses a box. Short lines use inner tracks. A track is used again for lines that
do not overlap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ellc.drawing.boxes import Box


@dataclass(frozen=True, slots=True)
class Wire:
    """A value on a track, from the row `start` that computes it to the rows that read it.

    `consumers` are the rows that read it, in ascending order. The row after `start` is left out,
    because a straight line leads to it.
    """

    value: str
    start: int
    consumers: tuple[int, ...]
    track: int

    @property
    def end(self) -> int:
        """The last row that reads the value."""
        return self.consumers[-1]


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of all lines; `straight` are the rows with a straight line from the row above."""

    straight: frozenset[int]
    wires: tuple[Wire, ...]
    tracks: int


def lay_out(every: Sequence[Box]) -> Routes:
    """Find the routes between boxes; each box is a row."""
    rows: dict[str, list[int]] = {}
    producers: dict[str, int] = {}
    for row, box in enumerate(every):
        for value in dict.fromkeys(v for v in box.reads if v in producers):
            rows.setdefault(value, []).append(row)
        producers |= dict.fromkeys(box.makes, row)
    straight = {
        row for value, readers in rows.items() for row in readers if row == producers[value] + 1
    }
    long = [
        (value, producers[value], tuple(row for row in readers if row > producers[value] + 1))
        for value, readers in rows.items()
    ]
    wires = _on_tracks([wire for wire in long if wire[2]])
    return Routes(frozenset(straight), wires, 1 + max((w.track for w in wires), default=-1))


def _on_tracks(long: Sequence[tuple[str, int, tuple[int, ...]]]) -> tuple[Wire, ...]:
    """Assign the innermost free track to each line, beginning with the shortest line."""
    occupied: list[list[tuple[int, int]]] = []  # by track, sorted and disjoint
    wires = []
    for value, start, consumers in sorted(long, key=lambda w: (w[2][-1] - w[1], w[1], w[0])):
        span = (start, consumers[-1])
        track = next(
            (t for t, spans in enumerate(occupied) if _is_free(spans, span)), len(occupied)
        )
        if track == len(occupied):
            occupied.append([])
        occupied[track].insert(bisect_left(occupied[track], span), span)
        wires.append(Wire(value, start, consumers, track))
    return tuple(sorted(wires, key=lambda w: (w.start, w.track)))


def _is_free(spans: Sequence[tuple[int, int]], span: tuple[int, int]) -> bool:
    """Whether a span overlaps none of `spans`; a span may begin in the row where another ends."""
    index = bisect_left(spans, span)
    before = index > 0 and spans[index - 1][1] > span[0]
    return not before and not (index < len(spans) and spans[index][0] < span[1])
