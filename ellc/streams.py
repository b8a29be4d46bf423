"""Standard streams of the command's own process: open, full, or closed by the caller."""

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
    """Takes the place of a standard output that the caller has closed; writing raises an error."""

    def __init__(self, nowhere: TextIO) -> None:
        self._nowhere = nowhere  # keeps the number of standard output from files

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        raise EllcError("standard output is closed", code="E703")


class _Stream(io.TextIOWrapper):
    """A standard stream that says of a lack of space that it was this stream."""

    def __init__(self, stream: io.TextIOWrapper, what: str) -> None:
        super().__init__(
            stream.buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering
        )
        self._what = what
        self._kept = stream  # else it would close the buffer

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
            if not is_full(error):  # a reader that has gone is click's business
                raise
            # What is left in the buffer would fail again at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            message = f"no space left for standard {self._what}"
            raise EllcError(message, code="E703") from error


def open_standard_streams() -> None:
    """Give the process streams that say so themselves where they cannot be written.

    Those that the caller has closed lead nowhere: a file that is opened later would get their
    numbers, and what is printed would go into it. That nobody reads reports is the caller's wish;
    a result that nobody can read is an error.
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
