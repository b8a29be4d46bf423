"""The description of an error code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code: `title` is a heading, `cause` says when it is raised, `remedy` what to do."""

    code: str
    title: str
    cause: str
    remedy: str
