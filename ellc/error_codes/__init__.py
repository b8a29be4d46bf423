"""Every code that an `EllcError` can carry, with its cause and what to do about it.

A code is stable: scripts may test for it, and a code that is no longer raised is not given to
something else. Each group of codes has a file of rows here. `tests/project/test_error_codes.py`
compares them with the source, in both directions; `docs/generate.py` makes the page of error codes.
"""

from __future__ import annotations

from ellc.error_codes import command_line, graphs, kernels, model_files, targets
from ellc.error_codes.row import ErrorCode

__all__ = ["ERROR_CODES", "GROUPS", "ErrorCode", "group_of"]

GROUPS = {
    "E1": "Graphs and passes",
    "E2": "Model files",
    "E3": "Kernels, plans and output files",
    "E6": "Targets and tools",
    "E7": "Command line, pictures and arrays",
}
"""Titles by the first two characters of a code."""

ROWS = (*graphs.ROWS, *model_files.ROWS, *kernels.ROWS, *targets.ROWS, *command_line.ROWS)
"""Every row in order."""

ERROR_CODES = {row.code: row for row in ROWS}
"""The rows by their codes."""


def group_of(code: str) -> str:
    """The title of the group that a code belongs to; `KeyError` for a code of none."""
    return GROUPS[code[:2]]
