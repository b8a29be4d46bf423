"""Readers of model files: each turns bytes into a graph, and raises nothing but `EllcError`."""
