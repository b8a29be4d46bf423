"""Arithmetic that goes into weights, activations and padding."""
