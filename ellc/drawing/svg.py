"""Draws a graph as an svg picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.drawing.boxes import Box, boxes, columns, fitted
from ellc.drawing.layout import Routes, Wire, lay_out
from ellc.ir.graph import Graph

_ROW_PX, _BOX_PX, _MARGIN_PX, _TRACK_PX, _PAD_PX = 66, 44, 16, 11, 10
_COLUMN_PX = 7.3
"""The width of a 12 px character in the widest of the common monospaced fonts."""
_LEAST_COLUMNS, _MOST_COLUMNS = 30, 56
_MARK_PX = 4
_APART_PX = 5
"""Half of the vertical distance between lines into a box and lines out of it."""
_COLOURS = {
    "input": ("#e3f1e1", "#4d8a52"),
    "output": ("#fbe9d6", "#b9803f"),
    "state": ("#efe6f7", "#8466a8"),
    "node": ("#eef3fa", "#6d87ab"),
}
_FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"


def svg(graph: Graph) -> HtmlCode:
    """The graph as a standalone svg picture."""
    return drawing(boxes(graph), graph.name)


def drawing(every: Sequence[Box], title: str) -> HtmlCode:
    """Draw boxes in a column, one per row, with lines between them."""
    layout = lay_out(every)
    measure = _Measure(_columns_of(every))
    width = measure.right + (layout.tracks + 1) * _TRACK_PX + _MARGIN_PX
    height = 2 * _MARGIN_PX + len(every) * _ROW_PX - (_ROW_PX - _BOX_PX)
    head = html_code(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'font-family="{2}" font-size="12">',
        width,
        max(height, 2 * _MARGIN_PX),
        html_text(_FONT),
    )
    body = [
        head,
        html_code("<title>{}</title>", html_text(title)),
        _ARROWHEAD,
        HtmlCode('<rect width="100%" height="100%" fill="#fff"/>'),
        *_lines(every, layout, measure),
        *(_box(box, row, measure) for row, box in enumerate(every)),
        HtmlCode("</svg>\n"),
    ]
    return html_joined(body, "\n")


_ARROWHEAD = HtmlCode(
    '<defs><marker id="arrowhead" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" '
    'markerHeight="8" orient="auto"><path d="M0 0.8L8 4L0 7.2z" fill="#555"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class _Measure:
    """Sizes that all boxes share, in pixels."""

    columns: int

    @property
    def width(self) -> int:
        return round(self.columns * _COLUMN_PX) + 2 * _PAD_PX

    @property
    def right(self) -> int:
        return _MARGIN_PX + self.width

    def track(self, number: int) -> int:
        return self.right + (number + 1) * _TRACK_PX


def _columns_of(every: Sequence[Box]) -> int:
    """The number of text columns of a box: wide enough for titles, notes and shapes, up to a limit.

    Long names of layers are shortened to fit.
    """
    wanted = [columns(b.title) + (2 + columns(b.note) if b.note else 0) for b in every]
    wanted += [columns(b.shape) + 2 + min(columns(b.name), _LEAST_COLUMNS) for b in every]
    return min(_MOST_COLUMNS, max((_LEAST_COLUMNS, *wanted)))


def _top(row: int) -> int:
    return _MARGIN_PX + row * _ROW_PX


def _lines(every: Sequence[Box], layout: Routes, measure: _Measure) -> Iterator[HtmlCode]:
    middle = _MARGIN_PX + measure.width // 2
    for row in sorted(layout.straight):
        yield _path(html_code("M{} {}V{}", middle, _top(row - 1) + _BOX_PX, _top(row)))
    entries = _Entries(layout.wires)
    for wire in layout.wires:
        yield from _wire(wire, entries, measure)


class _Entries:
    """The heights at which wires enter and leave boxes; each wire at a box has its own height."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        self._into: dict[int, list[str]] = {}
        self._out_of: dict[int, list[str]] = {}
        for wire in sorted(wires, key=lambda w: (w.track, w.start)):
            self._out_of.setdefault(wire.start, []).append(wire.value)
            for row in wire.consumers:
                self._into.setdefault(row, []).append(wire.value)

    def into(self, row: int, value: str) -> int:
        """The y coordinate at which a wire enters a box.

        Wires enter in the upper half of a box; the wire on the innermost track is the lowest.
        """
        return _top(row) + _BOX_PX // 2 - _APART_PX - _spread(self._into[row], value)

    def out_of(self, row: int, value: str) -> int:
        """The y coordinate at which a wire leaves a box.

        Wires leave in the lower half of a box; the wire on the innermost track is the highest.
        """
        return _top(row) + _BOX_PX // 2 + _APART_PX + _spread(self._out_of[row], value)


def _spread(values: Sequence[str], value: str) -> int:
    half = _BOX_PX // 2 - 2 * _APART_PX
    return half * values.index(value) // max(1, len(values))


def _wire(wire: Wire, entries: _Entries, measure: _Measure) -> Iterator[HtmlCode]:
    x, track = measure.right, measure.track(wire.track)
    start = entries.out_of(wire.start, wire.value)
    corner = _TRACK_PX // 2
    for row in wire.consumers:
        end = entries.into(row, wire.value)
        yield _path(
            html_code(
                "M{0} {1}H{2}Q{3} {1} {3} {4}V{5}Q{3} {6} {2} {6}H{0}",
                *(x, start, track - corner, track, start + corner, end - corner, end),
            )
        )


def _path(route: HtmlCode) -> HtmlCode:
    return html_code('<path d="{}" fill="none" stroke="#555" marker-end="url(#arrowhead)"/>', route)


def _box(box: Box, row: int, measure: _Measure) -> HtmlCode:
    left, top, inner = _MARGIN_PX, _top(row), _MARGIN_PX + _PAD_PX
    fill, edge = map(HtmlCode, _COLOURS[box.kind])
    key = html_code(' data-key="{}" class="node"', html_text(box.key)) if box.key else HtmlCode("")
    full = html_text(" / ".join(filter(None, (box.title, box.shape, box.name))))
    room = measure.columns - (columns(box.note) + 2 if box.note else 0)
    name = fitted(box.name, measure.columns - columns(box.shape) - 2)
    parts = [
        html_code("<g{}><title>{}</title>", key, full),
        html_code(
            '<rect x="{}" y="{}" width="{}" height="{}" rx="5" fill="{}" stroke="{}"/>',
            *(left, top, measure.width, _BOX_PX, fill, edge),
        ),
        _mark(box, left, top, measure),
        html_code(
            '<text x="{}" y="{}" font-weight="bold">{}</text>',
            *(inner, top + 18, html_text(fitted(box.title, room))),
        ),
        html_code(
            '<text x="{}" y="{}" fill="#222">{}</text>', inner, top + 34, html_text(box.shape)
        ),
        html_code(
            '<text x="{}" y="{}" fill="#667">{}</text>',
            *(inner + round((columns(box.shape) + 2) * _COLUMN_PX), top + 34, html_text(name)),
        ),
    ]
    if box.note:
        note = (measure.right - _PAD_PX, top + 18, html_text(box.note))
        parts.append(html_code('<text x="{}" y="{}" text-anchor="end">{}</text>', *note))
    return html_joined([*parts, HtmlCode("</g>")])


def _mark(box: Box, left: int, top: int, measure: _Measure) -> HtmlCode:
    """A bar along the lower edge of a box; its length shows the box's `share`."""
    length = round(min(1.0, box.share) * (measure.width - 2))
    if not length:
        return HtmlCode("")
    return html_code(
        '<rect x="{}" y="{}" width="{}" height="{}" rx="2" fill="#d9642c"/>',
        *(left + 1, top + _BOX_PX - _MARK_PX, length, _MARK_PX),
    )
