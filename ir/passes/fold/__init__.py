"""Fold arithmetic, reordering and padding into the operators before or after them."""
