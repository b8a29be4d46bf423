"""`ellc tune`: measure which kernels are fastest, for `ellc compile --tuning`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo_files, echo_json, json_option, table
from ellc.commands.parameters import FILE_PATH, Between, model_options, target_option
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.models import ModelOptions
    from ellc.tune import MeasuredKernel


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
    help="Time to measure each build of the network on this machine.",
)
@model_options
@json_option
def command(
    model: Path,
    target: str,
    tuning: Path,
    seconds: float,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure all candidate kernels for each layer of MODEL, and write the fastest to a file.

    If the target's code runs on this machine, times are measured. If ELLC_CYCLE_TOOL names a model
    of the target's core, cycles are counted instead. `ellc compile --tuning FILE` uses these
    kernels for layers with the same operator and shapes, in any model, on the same core and with
    the same version of ellc.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.ir.pipeline import run_pipeline
    from ellc.models import read_model
    from ellc.progress import progress
    from ellc.tune import fastest, measure
    from ellc.tuning import merged, read_tuning, write_tuning

    row = resolve(target)
    old = read_tuning(tuning) if tuning.exists() else ()
    with progress(quiet=as_json) as report:
        graph, _ = run_pipeline(read_model(model, options))
        measured = measure(graph, row, round(seconds * 1000), report)
    best = fastest(measured, row)
    write_tuning(tuning, merged(old, best))
    if as_json:
        echo_json({"file": str(tuning), "entries": [asdict(entry) for entry in best]})
    else:
        unit = best[0].unit if best else ""
        echo_files(_text(measured, {e.layer: e.kernel for e in best}, unit, tuning))


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
        f"tuning file: {path}"
    )
    return "\n".join([*([table(header, rows, "  r rr"), ""] if rows else []), last])
