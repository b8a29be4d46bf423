"""Kernel IR, the language of kernels: loops, vector values and memory accesses."""
