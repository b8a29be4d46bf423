"""Decide how elements are stored: views, transposes, tensors of two values as bits."""
