"""Graph IR: tensor types, operators with their meaning, graphs, passes. Imports only numpy."""
