"""Handles standard streams that are full, or that the caller has closed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ellc.ir.errors import EllcError
from ellc.ir.files import is_full


class ClosedOutput(io.TextIOBase):
    """Replaces a standard output that the caller has closed; writing raises `EllcError` E703."""

    def __init__(self, nowhere: TextIO) -> None:
        self._nowhere = nowhere  # occupies file descriptor 1, so that no other file gets it

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        raise EllcError("standard output is closed", code="E703")


class _Stream(io.TextIOWrapper):
    """A standard stream that reports a full disk as an error that names the stream."""

    def __init__(self, stream: io.TextIOWrapper, what: str) -> None:
        super().__init__(
            stream.buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering
        )
        self._what = what
        self._kept = stream  # if it were deleted, it would close the buffer

    def write(self, text: str, /) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):  # click handles the end of the reading program
                raise
            # Without this, flushing the rest of the buffer at exit would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            message = f"no space left for standard {self._what}"
            raise EllcError(message, code="E703") from error


def open_standard_streams() -> None:
    """Make the standard streams report full disks, and replace closed streams by dummies.

    Without dummies, a file that is opened later would get the descriptor of a closed stream, and
    printed text would go into this file. Text for a closed stderr is ignored, because the caller
    wants no reports. Writing to a closed stdout is an error, because the result would be lost.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        nowhere = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
        os.set_inheritable(nowhere.fileno(), True)
        setattr(sys, name, nowhere)
    if "stdout" in closed:
        sys.stdout = ClosedOutput(sys.stdout)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Stream(sys.stdout, "output")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Stream(sys.stderr, "error")
