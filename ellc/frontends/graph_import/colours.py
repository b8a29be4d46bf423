"""The order of colours that networks expect, unless they are in ELL's format."""

from __future__ import annotations

from ellc.ir.graph import Graph
from ellc.pictures.pixels import ORDER_KEY, Geometry, is_picture


def with_colours(graph: Graph) -> Graph:
    """The graph with its input pictures marked as red, green, blue.

    A graph without colour pictures, or whose metadata already has an order, is returned as it is.
    The mark is needed because a graph without one means ELL's order: blue, green, red.
    """
    pictures = [Geometry.of(t) for t in graph.input_types() if is_picture(t)]
    if ORDER_KEY in graph.metadata or not any(p.channels == 3 for p in pictures):
        return graph
    return graph.with_metadata({ORDER_KEY: "rgb"})
