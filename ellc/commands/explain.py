"""`ellc explain`: show how a network is compiled, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo, echo_files, echo_json, echo_note, echo_notes, json_option
from ellc.commands.parameters import (
    FILE_PATH,
    model_options,
    overrides_options,
    planning_options,
    target_option,
    threads_option,
)
from ellc.explain.level_names import LEVEL_NAMES

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.codegen.machine.target import Target
    from ellc.commands.parameters import Planning
    from ellc.explain.study import Study, StudyOptions
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
@planning_options
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
    planning: Planning,
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
    from ellc.explain.study import StudyOptions

    shown = Shown(node, levels, page, as_json=as_json)
    shown.check()
    is_planned = (
        not planning["chains"] or planning["max_ram_bytes"] or planning["memories"] is not None
    )
    if ram_curve and (shown.is_limited or is_planned):
        other = "--html, --node, --level, --no-chains, --max-ram and --memory"
        raise click.UsageError(f"--ram-curve shows the whole network: leave out {other}")
    chosen = StudyOptions(optimize=not no_optimize, threads=threads, model=options, **planning)
    if ram_curve:
        _show_curve(model, resolve(target, overrides), chosen, as_json=as_json)
    else:
        _show(model, resolve(target, overrides), chosen, shown)


@dataclass(frozen=True, slots=True)
class Shown:
    """What to show, and in which form: `page` is a file for a page in HTML."""

    node: str
    levels: tuple[str, ...]
    page: Path | None
    as_json: bool

    @property
    def is_limited(self) -> bool:
        """Whether the user asks for a part of the study, or for a page."""
        return bool(self.page or self.node or self.levels)

    def check(self) -> None:
        """Raise `UsageError` if two options contradict each other."""
        if self.page and (self.node or self.levels):
            text = "--html shows all nodes and levels: leave out --node and --level"
            raise click.UsageError(text)
        if self.as_json and (self.page or self.levels):
            raise click.UsageError("--json gives figures only: leave out --html and --level")


def _show_curve(model: Path, target: Target, options: StudyOptions, *, as_json: bool) -> None:
    from ellc.explain.ram_curve import curve_of
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        curve = curve_of(model, target, options, report)
    if as_json:
        echo_json(curve.document())
    else:
        echo(curve.text())


def _show(model: Path, target: Target, options: StudyOptions, shown: Shown) -> None:
    from ellc.explain.document import document
    from ellc.explain.levels import explanation
    from ellc.explain.names import find
    from ellc.explain.page import write_page
    from ellc.explain.study import study
    from ellc.progress import progress

    node, page = shown.node, shown.page
    with progress(quiet=shown.as_json) as report:
        result = study(model, target, options, report)
        if shown.as_json:
            figures = document(result, find(result, node) if node else result.nodes)
        else:
            text = write_page(result, page) if page else explanation(result, node, shown.levels)
    _echo_notes(result)
    if shown.as_json:
        echo_json(figures)
    elif page:
        echo_files(text)
    else:
        echo(text, uncut=True)


def _echo_notes(result: Study) -> None:
    echo_notes(result.graph.metadata)
    for note in result.plan.notes:
        echo_note(note)
