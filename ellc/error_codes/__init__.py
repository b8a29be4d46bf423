"""All codes of `EllcError`, each with its cause and its remedy.

Codes are stable: scripts may test for them, and a code that is no longer raised is never used
again. Each group of codes has a module with its rows in this folder.
`tests/project/test_error_codes.py` checks that every row is raised in the source and that every
code in the source has a row. `docs/generate.py` writes the page of error codes.
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
"""The rows of all groups in order."""

ERROR_CODES = {row.code: row for row in ROWS}
"""The rows by their codes."""


def group_of(code: str) -> str:
    """The title of the group of a code; raises `KeyError` if the code belongs to no group."""
    return GROUPS[code[:2]]
