"""`ellc profile`: show where the time and the memory of a network go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_files, echo_json, echo_note, echo_notes, json_option
from ellc.commands.parameters import (
    FILE_PATH,
    Between,
    is_target_given,
    kernels_option,
    model_options,
    no_tuning_option,
    overrides_options,
    ssh_command_option,
    ssh_option,
    target_option,
    tuning_option,
)
from ellc.ir.errors import EllcError
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.codegen.machine.target import Target
    from ellc.explain.study import Study, StudyOptions
    from ellc.models import ModelOptions
    from ellc.profile.figures import Profile
    from ellc.progress import Progress


@click.command("profile")
@click.argument("model", type=FILE_PATH)
@target_option
@overrides_options
@click.option(
    "--html",
    "page",
    type=FILE_PATH,
    metavar="FILE",
    help="Write an HTML page with tables and pictures, which works offline.",
)
@click.option(
    "--chrome-trace",
    "trace",
    type=FILE_PATH,
    metavar="FILE",
    help="Write a trace of one call for chrome://tracing or Perfetto.",
)
@click.option(
    "--model-explorer",
    "explorer",
    type=FILE_PATH,
    metavar="FILE",
    help="Write node data, with which Google's Model Explorer colours the model's graph.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="Threads of the calls that are timed as phases; layers are timed on one thread.",
)
@click.option(
    "--seconds",
    default=2.0,
    show_default=True,
    type=Between(0.01, 300),
    help="Time to spend on measuring layers, and again on measuring steady calls.",
)
@ssh_option
@ssh_command_option
@kernels_option
@tuning_option
@no_tuning_option
@model_options
@json_option
def command(
    model: Path,
    target: str,
    overrides: Overrides,
    page: Path | None,
    trace: Path | None,
    explorer: Path | None,
    threads: int,
    seconds: float,
    host: str | None,
    ssh_command: tuple[str, ...],
    kernels: tuple[tuple[str, str], ...],
    tuning: Path | None,
    no_tuning: bool,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Show where the time and the memory of MODEL go, layer by layer and by kind of operator.

    Costs are measured microseconds if the target's code runs on this machine, modelled cycles if
    ELLC_CYCLE_TOOL names a model of the target's core, and predicted issue slots otherwise. Every
    output names the kind of costs that it shows.

    For each layer the report has its cost, its multiply-adds, the fraction of the core's peak rate
    that it reaches, the bytes that it moves, the fraction of its cost that moving these bytes from
    or to memory would need, and the live bytes of the arena.

    Four phases are timed separately on this machine: compile, load, first call, steady call. For a
    target that does not run here, only compile is timed.

    With --ssh, the model is compiled for a board, and layers and phases are measured there. Nothing
    remains on the board afterwards.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.execute import is_library
    from ellc.explain.study import StudyOptions
    from ellc.profile.on_board import profile_on_board
    from ellc.progress import progress
    from ellc.remote.connection import Connection

    if is_library(model):
        raise EllcError(
            "this is a library, but a profile needs a model file",
            code="E706",
            where=str(model),
        )
    chosen = StudyOptions(True, threads, kernels, tuning, not no_tuning, options)
    row, limit_ms = resolve(target, overrides), max(1, round(1000 * seconds))
    with progress(quiet=as_json) as report:
        if host is None:
            studied, result = _profiled_here(model, row, chosen, limit_ms, report)
        else:
            asked = row if is_target_given() else None
            board = Connection(host, ssh_command)
            studied, result = profile_on_board(model, board, asked, chosen, limit_ms, report)
        written = _write(studied, result, page, trace, explorer, report)
    echo_notes(studied.graph.metadata)
    for note in result.notes:
        echo_note(note)
    _show(result, written, as_json)


def _profiled_here(
    model: Path, target: Target, options: StudyOptions, limit_ms: int, report: Progress
) -> tuple[Study, Profile]:
    from ellc.explain.study import study
    from ellc.profile.costs import costs
    from ellc.profile.phases import phases
    from ellc.profile.profiler import profile

    studied = study(model, target, replace(options, threads=1), report)
    found = costs(studied, limit_ms)
    return studied, profile(studied, found, phases(model, target, options, limit_ms, report))


def _write(
    studied: Study,
    result: Profile,
    page: Path | None,
    trace: Path | None,
    explorer: Path | None,
    report: Progress,
) -> list[Path]:
    """Write the files that were asked for, and return their paths."""
    from ellc.profile.chrome_trace import write_chrome_trace
    from ellc.profile.model_explorer import write_node_data
    from ellc.profile.page import write_page

    report("writing", 0, 0)
    if page:
        write_page(studied, result, page)
    if trace:
        write_chrome_trace(result, trace)
    if explorer:
        write_node_data(result, explorer)
    return [path for path in (page, trace, explorer) if path]


def _show(result: Profile, written: list[Path], as_json: bool) -> None:
    from ellc.profile.report import document, text

    if as_json:
        echo_json(document(result))
    elif written:
        echo_files("\n".join([result.label, *(f"wrote {visible(str(path))}" for path in written)]))
    else:
        echo(text(result))
