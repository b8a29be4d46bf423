"""Kernel IR: loops, vector values and memory accesses, between the graph and the machine."""
