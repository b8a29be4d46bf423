"""Readers of model files: each reader turns a file into a graph, or raises `EllcError`."""
