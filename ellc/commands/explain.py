"""`ellc explain`: what compiling makes of a network and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_json, echo_note, echo_notes, json_option
from ellc.commands.parameters import (
    PLACE,
    kernels_option,
    model_options,
    overrides_options,
    target_option,
    threads_option,
    tuning_option,
)
from ellc.explain.level_names import LEVEL_NAMES

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.models import ModelOptions


@click.command("explain")
@click.argument("model", type=PLACE)
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
    type=PLACE,
    metavar="FILE",
    help="Write everything as one page for a browser; it needs no network.",
)
@click.option("--no-optimize", is_flag=True, help="Only the passes that kernels need.")
@threads_option
@kernels_option
@tuning_option
@model_options
@json_option
def command(
    model: Path,
    target: str,
    overrides: Overrides,
    node: str,
    levels: tuple[str, ...],
    page: Path | None,
    no_optimize: bool,
    threads: int | None,
    kernels: tuple[tuple[str, str], ...],
    tuning: Path | None,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Show what compiling makes of a model, level by level, and why a layer is slow.

    \b
    cost    what each layer costs and its share; begin here
    graph   what each pass changed
    plan    which kernels could compute a layer, what each is predicted
            to cost, which was taken, and where its operands lie
    kernel  the kernel of a layer in ellc's own kernel IR
    llvm    the same in LLVM IR, as LLVM is given it
    asm     the same in assembly

    kernel, llvm and asm need --node. --html shows all levels of all layers: begin with the layers
    that cost most and walk down. Costs are issue slots, counted in the kernels' text. If the
    environment variable ELLC_CYCLE_TOOL names a model of the target's core, cost and asm also show
    modelled cycles, those of every instruction among them.

    With the options of `ellc compile` it shows what that compiles: another CPU, kernels that were
    named or measured. --json gives the figures of cost and plan.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.explain.document import document
    from ellc.explain.levels import explanation
    from ellc.explain.names import find
    from ellc.explain.page import write_page
    from ellc.explain.study import StudyOptions, study
    from ellc.progress import progress

    if page and (node or levels):
        raise click.UsageError("--html shows every node and every level: no --node, no --level")
    if as_json and (page or levels):
        raise click.UsageError("--json gives figures, not pages or levels: no --html, no --level")
    chosen = StudyOptions(not no_optimize, threads, kernels, tuning, options)
    with progress(quiet=as_json) as report:
        found = study(model, resolve(target, overrides), chosen, report)
        if as_json:
            figures = document(found, find(found, node) if node else found.nodes)
        else:
            text = write_page(found, page) if page else explanation(found, node, levels)
    echo_notes(found.graph.metadata)
    for note in found.plan.notes:
        echo_note(note)
    if as_json:
        echo_json(figures)
    else:
        echo(text, whole=True)
