"""Pictures of a graph: text for Graphviz, and svg with a layout of our own."""
