"""`ellc explain`: show how a network is compiled, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_files, echo_json, echo_note, echo_notes, json_option
from ellc.commands.parameters import (
    FILE_PATH,
    kernels_option,
    max_ram_option,
    model_options,
    no_chains_option,
    no_tuning_option,
    overrides_options,
    target_option,
    threads_option,
    tuning_option,
)
from ellc.explain.level_names import LEVEL_NAMES

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.explain.study import Study
    from ellc.models import ModelOptions


@click.command("explain")
@click.argument("model", type=FILE_PATH)
@target_option
@overrides_options
@click.option(
    "--node",
    default="",
    metavar="NAME",
    help="A layer of the model, a value such as %v8, or a kernel's name as profilers show it.",
)
@click.option(
    "--level",
    "levels",
    type=click.Choice(LEVEL_NAMES),
    multiple=True,
    help="What to show; may be repeated. Default: cost, and with --node also graph and plan.",
)
@click.option(
    "--html",
    "page",
    type=FILE_PATH,
    metavar="FILE",
    help="Write all levels of all nodes to one HTML page, which works offline.",
)
@click.option(
    "--ram-curve",
    is_flag=True,
    help="Show how little RAM the network can run in, and what that costs.",
)
@click.option("--no-optimize", is_flag=True, help="Run only the passes that kernels need.")
@threads_option
@max_ram_option
@no_chains_option
@kernels_option
@tuning_option
@no_tuning_option
@model_options
@json_option
def command(
    model: Path,
    target: str,
    overrides: Overrides,
    node: str,
    levels: tuple[str, ...],
    page: Path | None,
    ram_curve: bool,
    no_optimize: bool,
    threads: int | None,
    max_ram: int | None,
    no_chains: bool,
    kernels: tuple[tuple[str, str], ...],
    tuning: Path | None,
    no_tuning: bool,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Show how a model is compiled, level by level, and why its layers take their time.

    \b
    cost    the cost of each layer and its share; begin here
    graph   what each pass changed
    plan    the candidate kernels of a layer, their predicted costs,
            the chosen one, and where its operands are in memory
    kernel  the kernel of a layer in ellc's own kernel IR
    llvm    the kernel in LLVM IR, before LLVM optimises it
    asm     the kernel in assembly

    The levels kernel, llvm and asm need --node. --html shows all levels of all layers: begin with
    the most expensive layers, and go down level by level. Costs are issue slots, counted in the
    text of the kernels. If the environment variable ELLC_CYCLE_TOOL names a model of the target's
    core, cost and asm also show modelled cycles, down to single instructions.

    The options of `ellc compile`, such as --cpu, --kernel and --tuning, have the same effect here.
    --json gives the figures of cost and plan.

    --ram-curve shows plans that need less and less RAM, because they compute layers together, in
    bands of rows and strips of columns; strips compute some products again.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.explain.document import document
    from ellc.explain.levels import explanation
    from ellc.explain.names import find
    from ellc.explain.page import write_page
    from ellc.explain.ram_curve import curve_of
    from ellc.explain.study import StudyOptions, study
    from ellc.progress import progress

    if page and (node or levels):
        raise click.UsageError("--html shows all nodes and levels: leave out --node and --level")
    if as_json and (page or levels):
        raise click.UsageError("--json gives figures only: leave out --html and --level")
    if ram_curve and (page or node or levels or no_chains or max_ram):
        other = "--html, --node, --level, --no-chains and --max-ram"
        raise click.UsageError(f"--ram-curve shows the whole network: leave out {other}")
    chosen = StudyOptions(
        not no_optimize,
        threads,
        kernels,
        tuning,
        not no_tuning,
        options,
        not no_chains,
        max_ram,
    )
    row = resolve(target, overrides)
    if ram_curve:
        with progress(quiet=as_json) as report:
            curve = curve_of(model, row, chosen, report)
        if as_json:
            echo_json(curve.document())
        else:
            echo(curve.text())
        return
    with progress(quiet=as_json) as report:
        result = study(model, row, chosen, report)
        if as_json:
            figures = document(result, find(result, node) if node else result.nodes)
        else:
            text = write_page(result, page) if page else explanation(result, node, levels)
    _echo_notes(result)
    if as_json:
        echo_json(figures)
    elif page:
        echo_files(text)
    else:
        echo(text, uncut=True)


def _echo_notes(result: Study) -> None:
    echo_notes(result.graph.metadata)
    for note in result.plan.notes:
        echo_note(note)
