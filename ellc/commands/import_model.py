"""`ellc import`: a model of any kind as one of ellc's own files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import bytes_text, echo_json, echo_made, echo_notes, json_option
from ellc.commands.parameters import PLACE, model_options
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.models import ModelOptions


@click.command("import")
@click.argument("model", type=PLACE)
@click.option(
    "-o",
    "--output",
    type=PLACE,
    required=True,
    help="File to write: FILE.ell where the network fits that format, or FILE.eir.",
)
@model_options
@json_option
def command(model: Path, output: Path, options: ModelOptions, as_json: bool) -> None:
    """Write a model as .ell, for ELL's tools, or as .eir, ellc's own container.

    The network is simplified: shape arithmetic is computed, and transposes and duplicates that
    exporters leave are removed. An .ell file holds a chain of ELL's layers with NHWC images; layers
    that do not fit are reported. An .eir file can hold every network.
    """
    from ellc.importing import import_file
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        made = import_file(model, output, options, report)
    echo_notes(made.graph.metadata)
    if as_json:
        echo_json(
            {
                "name": made.graph.name,
                "file": str(output),
                "operators": len(made.graph.nodes),
                "parameters": made.parameters,
                "bytes": made.file_bytes,
            }
        )
        return
    echo_made(
        f"{visible(str(output))}: {len(made.graph.nodes)} operators, "
        f"{made.parameters:,} parameters, {bytes_text(made.file_bytes)}"
    )
