"""Names of the levels, from the graph down; `--help` imports them without the levels' code."""

from __future__ import annotations

LEVEL_NAMES = ("graph", "plan", "kernel", "llvm", "asm", "cost")
