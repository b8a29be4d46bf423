"""Graph IR: tensor types, operators with their meaning, graphs, passes. Knows numpy only."""
