"""The names of the levels, in a module of their own, so that `--help` imports nothing else."""

from __future__ import annotations

LEVEL_NAMES = ("graph", "plan", "kernel", "llvm", "asm", "cost")
