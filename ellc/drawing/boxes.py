"""The boxes of a graph's drawing: one for every input, node, state and output."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ellc.inspect import operator_text
from ellc.ir.graph import Graph, Node
from ellc.ir.printable import visible
from ellc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a drawing.

    `reads` and `makes` are the graph's values that the box consumes and produces. `name` is the
    name of the layer or port in the model. Three fields are for programs that add figures to a
    drawing: `key` identifies the box, `note` is written at the right edge of the box, and `share`
    (0 to 1) is the length of a bar in the box, as a fraction of the box's width.
    """

    title: str
    shape: str
    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    kind: str
    key: str = ""
    note: str = ""
    share: float = 0.0


def boxes(graph: Graph) -> list[Box]:
    """The boxes of a graph in order of execution; constants have no box."""
    constants = {c.value for c in graph.constants}
    types = graph.types
    every_box = [Box("input", _shape(types[p.value]), p.name, (), (p.value,), "input")
             for p in graph.inputs]  # fmt: skip
    every_box += [
        Box("state", _shape(types[s.current]), s.name, (), (s.current,), "state")
        for s in graph.states
    ]
    every_box += [_node(graph, node, constants) for node in graph.nodes]
    every_box += [
        Box("next state", _shape(types[s.next]), s.name, (s.next,), (), "state")
        for s in graph.states
    ]
    every_box += [
        Box("output", _shape(types[p.value]), p.name, (p.value,), (), "output")
        for p in graph.outputs
    ]
    return every_box


def _node(graph: Graph, node: Node, constants: set[str]) -> Box:
    operands, results = graph.node_types(node)
    reads = tuple(v for v in node.inputs if v not in constants)
    name = first_layer(node)
    title = operator_text(node.op, operands)
    return Box(title, _shape(results[0]), name, reads, node.outputs, "node", node.outputs[0])


def first_layer(node: Node) -> str:
    """The name of the first layer that a node computes; converters join several names with `;`."""
    joined = "+".join(node.source)
    return joined.split(";")[0]


def _shape(type_: TensorType) -> str:
    return f"{'x'.join(map(str, type_.shape)) or 'scalar'} {type_.dtype.value}"


def columns(text: str) -> int:
    """The width of a text in columns of a monospaced font; East Asian wide characters take two."""
    return len(text) if text.isascii() else sum(map(_width, text))


def fitted(text: str, most: int) -> str:
    """The text, shortened to at most `most` columns.

    The middle of a longer text is left out, because names usually differ at their ends.
    """
    shown = visible(text)
    if columns(shown) <= most:
        return shown
    head = "".join(_while_fits(shown, (most - 1) // 3))
    tail = "".join(_while_fits(reversed(shown), most - 1 - columns(head)))
    return f"{head}…{tail[::-1]}" if most > 0 else ""


def _while_fits(text: Iterator[str] | str, most: int) -> Iterator[str]:
    width = 0
    for char in text:
        width += _width(char)
        if width > most:
            return
        yield char


def _width(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
