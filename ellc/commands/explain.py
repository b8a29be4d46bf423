"""`ellc explain`: what compiling makes of a network and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_notes
from ellc.commands.parameters import kernels_option, model_options, target_option
from ellc.explain.level_names import LEVEL_NAMES

if TYPE_CHECKING:
    from ellc.models import ModelOptions


@click.command("explain")
@click.argument("model", type=click.Path(path_type=Path))
@target_option
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
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write everything as one page for a browser; it needs no network.",
)
@click.option("--no-optimize", is_flag=True, help="Only the passes that kernels need.")
@kernels_option
@model_options
def command(
    model: Path,
    target: str,
    node: str,
    levels: tuple[str, ...],
    page: Path | None,
    no_optimize: bool,
    kernels: tuple[tuple[str, str], ...],
    options: ModelOptions,
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
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.explain.levels import explanation
    from ellc.explain.page import write_page
    from ellc.explain.study import StudyOptions, study
    from ellc.progress import progress

    if page and (node or levels):
        raise click.UsageError("--html shows every node and every level: no --node, no --level")
    chosen = StudyOptions(not no_optimize, kernels, options)
    with progress() as report:
        found = study(model, resolve(target), chosen, report)
        text = write_page(found, page) if page else explanation(found, node, levels)
    echo_notes(found.graph.metadata)
    echo(text, whole=True)
