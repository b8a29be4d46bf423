"""Writes a graph in the language of Graphviz."""

from __future__ import annotations

from ellc.drawing.boxes import boxes, fitted
from ellc.ir.graph import Graph

_SHAPES = {"input": "ellipse", "output": "ellipse", "state": "cds", "node": "box"}
_LABEL_COLUMNS = 48


def dot(graph: Graph) -> str:
    """The graph as input text for Graphviz's program `dot`."""
    lines = [f"digraph {_quoted(graph.name)} {{", "  node [fontname=Helvetica];"]
    producers: dict[str, int] = {}
    for index, box in enumerate(boxes(graph)):
        texts = (box.title, box.shape, box.name)
        label = "\\n".join(_escaped(fitted(text, _LABEL_COLUMNS)) for text in texts if text)
        lines.append(f'  n{index} [shape={_SHAPES[box.kind]}, label="{label}"];')
        lines += [f"  n{producers[v]} -> n{index};" for v in box.reads if v in producers]
        producers |= dict.fromkeys(box.makes, index)
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return f'"{_escaped(fitted(text, len(text)))}"'


def _escaped(text: str) -> str:
    """The text, escaped for a quoted string of Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
