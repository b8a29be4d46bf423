"""`ellc tune`: measure which kernels are fastest, for `ellc compile --tuning`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_files, echo_json, json_option, table
from ellc.commands.parameters import (
    FILE_PATH,
    Between,
    is_target_given,
    model_options,
    ssh_command_option,
    ssh_option,
    target_option,
)
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.codegen.machine.target import Target
    from ellc.models import ModelOptions
    from ellc.progress import Progress
    from ellc.tune import MeasuredKernel, Method


@click.command("tune")
@click.argument("model", type=FILE_PATH)
@target_option
@click.option(
    "--tuning",
    required=True,
    type=FILE_PATH,
    metavar="FILE",
    help="The tuning file to write; entries for other layers and cores in it are kept.",
)
@click.option(
    "--seconds",
    default=1.0,
    show_default=True,
    type=Between(0.05, 300),
    help="Time to measure each build of the network, if times are measured.",
)
@click.option(
    "--candidates",
    default=8,
    show_default=True,
    type=click.IntRange(2, 64),
    metavar="N",
    help="Measure at most N candidates of each layer: those that are predicted to be fastest.",
)
@click.option(
    "--journal",
    type=FILE_PATH,
    metavar="FILE",
    help="File for the times of each group of builds; the same command continues from it after an "
    "interruption. Without it, a file beside the tuning file is used, and removed at the end.",
)
@ssh_option
@ssh_command_option
@model_options
@json_option
def command(
    model: Path,
    target: str,
    tuning: Path,
    seconds: float,
    candidates: int,
    journal: Path | None,
    host: str | None,
    ssh_command: tuple[str, ...],
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure candidate kernels for each layer of MODEL, and write the fastest to a file.

    A candidate is a kernel family with a schedule, such as the tile in registers. With --ssh,
    times are measured on a board, and nothing remains there. Otherwise, if the target's code runs
    on this machine, times are measured here. If ELLC_CYCLE_TOOL names a model of the target's core,
    cycles are counted instead. `ellc compile --tuning FILE` uses these kernels for layers with the
    same operator and shapes, in any model, on the same core and with the same version of ellc.

    After Ctrl-C, the same command continues where it stopped.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.ir.files import check_folder
    from ellc.ir.pipeline import run_pipeline
    from ellc.models import read_model
    from ellc.progress import progress
    from ellc.tune import fastest, measure, method_here, tuned
    from ellc.tuning import merged, read_tuning, write_tuning

    check_folder(tuning)
    row, limit_ms = resolve(target), round(seconds * 1000)
    old = read_tuning(tuning) if tuning.exists() else ()
    with progress(quiet=as_json) as report:
        if host is None:
            method = method_here(row, limit_ms)
        else:
            row, method = _on_board(host, ssh_command, row, limit_ms, report)
        report("planning", 0, 0)
        what = tuned(run_pipeline(read_model(model, options))[0], row, candidates)
        with _journal(tuning, journal, what.identity(method)) as path:
            measured = measure(what, method, path, report)
    best = fastest(measured, row, method)
    write_tuning(tuning, merged(old, best))
    if as_json:
        echo_json({"file": str(tuning), "entries": [asdict(entry) for entry in best]})
    else:
        unit = best[0].unit if best else ""
        echo_files(_text(measured, {e.layer: e.kernel for e in best}, unit, tuning))


_WITH_TIMES = 2
"""A journal with times has at least so many lines; the first one has none."""


@contextmanager
def _journal(tuning: Path, asked: Path | None, identity: str) -> Iterator[Path]:
    """The journal: the one that the user named, or one beside the tuning file until the work ends.

    If the work is interrupted, says how to continue.
    """
    from ellc.ir.errors import EllcError
    from ellc.journal import drop_journal

    path = asked or tuning.with_name(f"{tuning.name}.journal")
    if asked is None:
        drop_journal(path, "tune", unless=identity)
    try:
        yield path
    except (KeyboardInterrupt, EllcError) as error:
        if asked is None and path.exists() and path.read_bytes().count(b"\n") < _WITH_TIMES:
            drop_journal(path, "tune")
        if isinstance(error, KeyboardInterrupt) and path.exists():
            echo(f"the same command continues from {visible(str(path))}", err=True)
        raise
    if asked is None:
        drop_journal(path, "tune")


def _on_board(
    host: str, ssh_command: tuple[str, ...], target: Target, limit_ms: int, report: Progress
) -> tuple[Target, Method]:
    """(the board's target, or the one that the user named; how to measure on the board)."""
    from ellc.remote.connection import Connection
    from ellc.remote.deploy import find_board
    from ellc.remote.timing import board_name, timing_on
    from ellc.tune import method_on_board

    report("asking the board", 0, 0)
    connection = Connection(host, ssh_command)
    board = find_board(connection, target if is_target_given() else None)
    name, other = board_name(board), timing_on(board, limit_ms)
    return board.target, method_on_board(board.target, limit_ms, name, other)


def _text(measured: tuple[MeasuredKernel, ...], best: dict[str, str], unit: str, path: Path) -> str:
    """The report: a table with the default kernel and the fastest kernel of each layer."""
    usual: dict[str, MeasuredKernel] = {}
    times: dict[tuple[str, str], float] = {}
    for candidate in measured:
        usual.setdefault(candidate.layer, candidate)
        times[candidate.layer, candidate.kernel] = candidate.time
    rows = [
        (
            visible(", ".join(first.source) or layer),
            first.kernel,
            f"{first.time:,.0f}",
            best[layer],
            f"{times[layer, best[layer]]:,.0f}",
            f"{first.time / times[layer, best[layer]]:.2f}",
        )
        for layer, first in usual.items()
    ]
    header = ("layer", "kernel", unit, "fastest", unit, "times")
    changed = sum(first.kernel != best[layer] for layer, first in usual.items())
    last = (
        f"layers with several kernels: {len(rows)}, faster with another kernel: {changed}; "
        f"tuning file: {path} (for `ellc compile --tuning`)"
    )
    return "\n".join([*([table(header, rows, "  r rr"), ""] if rows else []), last])
