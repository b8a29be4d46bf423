"""The levels by name, from the graph down: apart from what they show, so that `--help` is quick."""

from __future__ import annotations

LEVEL_NAMES = ("graph", "plan", "kernel", "llvm", "asm", "cost")
