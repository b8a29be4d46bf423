"""Writing files so that a failure never leaves a half-written one in place of a good one."""

from __future__ import annotations

from pathlib import Path

from ir.errors import EllcError


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once; raises `EllcError` where that is not possible."""
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EllcError(
            f"cannot be written: {error.strerror or error}",
            code="E703",
            where=str(path),
        ) from error
