"""Names of the levels; `--help` needs only these, and does not import the levels' code."""

from __future__ import annotations

LEVEL_NAMES = ("graph", "plan", "kernel", "llvm", "asm", "cost")
