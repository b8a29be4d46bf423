"""Decide what one kernel computes: its epilogue, and the border around its result."""
