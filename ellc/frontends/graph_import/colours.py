"""The order of colours that networks of other formats than ELL's take."""

from __future__ import annotations

from ellc.ir.graph import Graph
from ellc.pictures.pixels import ORDER_KEY, Geometry, is_picture


def with_colours(graph: Graph) -> Graph:
    """The graph with red first in its pictures' colours, unless its metadata say an order.

    ELL's default, which holds where nothing is said, is blue first.
    """
    pictures = [Geometry.of(t) for t in graph.input_types() if is_picture(t)]
    if ORDER_KEY in graph.metadata or not any(p.channels == 3 for p in pictures):
        return graph
    return graph.with_metadata({ORDER_KEY: "rgb"})
