"""The names of the levels. They have a module of their own so that `--help` imports only this."""

from __future__ import annotations

LEVEL_NAMES = ("graph", "plan", "kernel", "llvm", "asm", "cost")
