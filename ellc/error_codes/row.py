"""The description of an error code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An error code; `cause` says when the error is raised, and `remedy` what the user can do."""

    code: str
    title: str
    cause: str
    remedy: str
