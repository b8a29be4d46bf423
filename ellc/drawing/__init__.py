"""Pictures of a graph: text for Graphviz, and svg with ellc's own layout."""
