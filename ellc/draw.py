"""Pictures of a graph: dot text for Graphviz, and svg with a layout of our own.

The layout gives each node a row in execution order. A value keeps a lane (a column) from the node
that makes it to the last one that reads it, so a line can run down its lane without crossing a box:
a chain is one column, a residual connection or a branch opens a second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ellc.inspect import operator_text
from ellc.ir.graph import Graph, Node
from ellc.ir.types import TensorType

_ROW_PX, _BOX_PX, _GAP_PX, _MARGIN_PX = 76, 44, 24, 16
_CHARACTER_PX = 7.2
_LABEL_CHARACTERS = 44


@dataclass(frozen=True, slots=True)
class Box:
    """One thing drawn: a public input, a node, or a public output. Values are ids of the graph."""

    title: str
    subtitle: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    kind: str


def boxes(graph: Graph) -> list[Box]:
    """Everything to draw, in order. Constants are left out."""
    constants = {c.value for c in graph.constants}
    found = [_port(graph, p.name, p.value, "input") for p in graph.inputs]
    found += [
        Box(f"state {s.name}", _type(graph.types[s.current]), (), (s.current,), "state")
        for s in graph.states
    ]
    found += [_node(graph, node, constants) for node in graph.nodes]
    found += [
        Box(f"next {s.name}", _type(graph.types[s.next]), (s.next,), (), "state")
        for s in graph.states
    ]
    found += [_port(graph, p.name, p.value, "output") for p in graph.outputs]
    return found


def _port(graph: Graph, name: str, value: str, kind: str) -> Box:
    reads, makes = ((), (value,)) if kind == "input" else ((value,), ())
    return Box(f"{kind} {name}", _type(graph.types[value]), reads, makes, kind)


def _node(graph: Graph, node: Node, constants: set[str]) -> Box:
    operands, results = graph.node_types(node)
    source = f"{'+'.join(node.source)}: " if node.source else ""
    reads = tuple(v for v in node.inputs if v not in constants)
    title = operator_text(node.op, operands)
    return Box(title, source + _type(results[0]), reads, node.outputs, "node")


def _type(type_: TensorType) -> str:
    return f"{type_.dtype.value} {'x'.join(map(str, type_.shape)) or 'scalar'}"


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    shapes = {"input": "ellipse", "output": "ellipse", "state": "cds", "node": "box"}
    lines = [
        f"digraph {_dot_text(graph.name)} {{",
        "  node [fontname=Helvetica];",
    ]
    makers: dict[str, int] = {}
    for index, box in enumerate(boxes(graph)):
        label = f"{_dot_text(box.title)[:-1]}\\n{_dot_text(box.subtitle)[1:]}"
        lines.append(f"  n{index} [shape={shapes[box.kind]}, label={label}];")
        lines += [f"  n{makers[v]} -> n{index};" for v in box.reads if v in makers]
        makers |= dict.fromkeys(box.makes, index)
    return "\n".join([*lines, "}", ""])


def _dot_text(text: str) -> str:
    """A quoted string of Graphviz."""
    escaped = _printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _printable(text: str) -> str:
    """Text for a picture: what cannot be shown, or not even written in XML, becomes a mark."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _xml_text(text: str) -> str:
    return escape(_printable(text))


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its lane; its row is its position in the list. `lines` come from (row, lane)."""

    box: Box
    lane: int
    lines: tuple[tuple[int, int], ...]


def place(every: Sequence[Box]) -> list[Placed]:
    """Give every box a lane, so that no line crosses a box."""
    last_use = {v: row for row, box in enumerate(every) for v in (*box.makes, *box.reads)}
    origin: dict[str, tuple[int, int]] = {}  # value -> (row, lane) of its maker
    busy_until: dict[int, int] = {}  # lane -> last row it is needed for
    placed = []
    for row, box in enumerate(every):
        lines = tuple(dict.fromkeys(origin[v] for v in box.reads if v in origin))
        free = (lane for lane in range(len(every)) if busy_until.get(lane, -1) <= row)
        lane = min(free, key=lambda n: (n not in {from_lane for _, from_lane in lines}, n))
        busy_until[lane] = max((last_use[v] for v in box.makes), default=row)
        origin |= dict.fromkeys(box.makes, (row, lane))
        placed.append(Placed(box, lane, lines))
    return placed


def svg(graph: Graph) -> str:
    """The graph as a standalone svg picture."""
    placed = place(boxes(graph))
    longest = max((len(_clip(t)) for p in placed for t in (p.box.title, p.box.subtitle)), default=0)
    width = max(120, round(longest * _CHARACTER_PX) + 16)
    lanes = 1 + max((p.lane for p in placed), default=0)
    size = (
        2 * _MARGIN_PX + lanes * width + (lanes - 1) * _GAP_PX,
        2 * _MARGIN_PX + len(placed) * _ROW_PX,
    )
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="monospace" font-size="12">',
        f"<title>{_xml_text(graph.name)}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for row, item in enumerate(placed):
        body += _lines_svg(item, row, width)
    for row, item in enumerate(placed):
        body += _box_svg(item, row, width)
    return "\n".join([*body, "</svg>", ""])


_FILL = {"input": "#d9ead3", "output": "#fce5cd", "state": "#eadcf4", "node": "#e8eef7"}


def _left(lane: int, width: int) -> int:
    return _MARGIN_PX + lane * (width + _GAP_PX)


def _top(row: int) -> int:
    return _MARGIN_PX + row * _ROW_PX


def _lines_svg(item: Placed, row: int, width: int) -> Iterator[str]:
    end_x, end_y = _left(item.lane, width) + width // 2, _top(row)
    for from_row, from_lane in item.lines:
        x, y = _left(from_lane, width) + width // 2, _top(from_row) + _BOX_PX
        # Down its own lane to the row above, then across the free strip between the rows.
        path = f"M{x} {y}V{end_y - (_ROW_PX - _BOX_PX)}L{end_x} {end_y}"
        yield f'<path d="{path}" fill="none" stroke="#555"/>'


def _box_svg(item: Placed, row: int, width: int) -> Iterator[str]:
    left, top = _left(item.lane, width), _top(row)
    full = f"{_xml_text(item.box.title)}\n{_xml_text(item.box.subtitle)}"
    yield (
        f'<g><title>{full}</title><rect x="{left}" y="{top}" width="{width}" height="{_BOX_PX}" '
        f'rx="5" fill="{_FILL[item.box.kind]}" stroke="#345"/>'
    )
    for text, drop, style in (
        (item.box.title, 18, 'font-weight="bold"'),
        (item.box.subtitle, 35, 'fill="#333"'),
    ):
        yield f'<text x="{left + 8}" y="{top + drop}" {style}>{_xml_text(_clip(text))}</text>'
    yield "</g>"


def _clip(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
