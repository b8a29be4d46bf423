"""Every code of an `EllcError`, with its cause and its remedy.

Codes are stable: scripts may test for them, and a code that is no longer raised is not reused. Each
group of codes has a file of rows here. `tests/project/test_error_codes.py` compares them with the
source, in both directions; `docs/generate.py` writes the page of error codes.
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
"""Titles of the groups, by the first two characters of a code."""

ROWS = (*graphs.ROWS, *model_files.ROWS, *kernels.ROWS, *targets.ROWS, *command_line.ROWS)
"""All rows in order."""

ERROR_CODES = {row.code: row for row in ROWS}
"""The rows by their codes."""


def group_of(code: str) -> str:
    """The title of a code's group; raises `KeyError` if no group has such codes."""
    return GROUPS[code[:2]]
