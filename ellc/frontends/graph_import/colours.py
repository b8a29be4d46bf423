"""Marks the colour order of networks that are not in ELL's format."""

from __future__ import annotations

from ellc.ir.graph import Graph
from ellc.pictures.pixels import ORDER_KEY, Geometry, is_picture


def with_colours(graph: Graph) -> Graph:
    """Mark the input pictures of a graph as red, green, blue.

    A graph without colour pictures, or with a colour order in its metadata, is returned unchanged.
    The mark is needed because the default order is that of ELL: blue, green, red.
    """
    pictures = [Geometry.of(t) for t in graph.input_types() if is_picture(t)]
    if ORDER_KEY in graph.metadata or not any(p.channels == 3 for p in pictures):
        return graph
    return graph.with_metadata({ORDER_KEY: "rgb"})
