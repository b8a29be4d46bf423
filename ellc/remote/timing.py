"""Runs programs that measure times on a board."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ellc.codegen.measure.profiling import OtherMachine
from ellc.codegen.toolchain.programs import glibc_of
from ellc.ir.printable import visible
from ellc.remote.connection import Connection
from ellc.remote.deploy import ReachedBoard
from ellc.remote.job import BoardProgram, copy_and_run

_STREAM_BYTES = 32 << 20
"""More than the caches of boards hold, but much less than their memory."""
_PROGRAM = "profile"
# The seconds that are added to the time limit: if a model is slow, even the fewest calls that are
# timed take minutes.
_OVERHEAD_S = 3600.0


def limit_s(limit_ms: int) -> float:
    """After how many seconds a program that measures for `limit_ms` is stopped."""
    return _OVERHEAD_S + 10 * limit_ms / 1e3


def timing_on(board: ReachedBoard, limit_ms: int) -> OtherMachine:
    """How to time programs on the board, which leaves no files there."""
    fits = board.facts.glibc >= glibc_of(board.target)
    run = partial(_run, board.connection, limit_ms)
    return OtherMachine(run, _STREAM_BYTES, "glibc" if fits else "static")


def _run(connection: Connection, limit_ms: int, program: Path, words: Sequence[str]) -> bytes:
    job = BoardProgram((f"./{_PROGRAM}", *words), b"", limit_s(limit_ms))
    return copy_and_run(connection, {_PROGRAM: program}, None, job)


def board_name(board: ReachedBoard) -> str:
    """The board's address and, if it reports it, its model."""
    machine = board.facts.machine
    model = machine.model if machine else ""
    host = board.connection.host
    return visible(f"{host} ({model})" if model else host)
