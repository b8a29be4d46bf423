"""Decide what each kernel computes: its epilogue, and the border around its result."""
