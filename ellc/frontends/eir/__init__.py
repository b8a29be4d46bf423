"""Reads and writes ellc's own container format (`.eir`)."""
