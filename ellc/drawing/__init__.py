"""Draws a graph: as text for Graphviz, or as svg with ellc's own layout."""
