"""`ellc import`: write a model of any format as `.ell` or `.eir`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import bytes_text, echo_files, echo_json, echo_notes, json_option
from ellc.commands.parameters import FILE_PATH, model_options
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.models import ModelOptions


@click.command("import")
@click.argument("model", type=FILE_PATH)
@click.option(
    "-o",
    "--output",
    type=FILE_PATH,
    required=True,
    help="File to write: FILE.eir, or FILE.ell if the network fits that format.",
)
@model_options
@json_option
def command(model: Path, output: Path, options: ModelOptions, as_json: bool) -> None:
    """Write a model as .ell, for ELL's tools, or as .eir, ellc's own format.

    The network is simplified: shape arithmetic is computed, and transposes and duplicates that
    exporters leave are removed. An .ell file can only hold a chain of ELL's layers with NHWC
    images; the command reports layers that do not fit. An .eir file can hold any network.
    """
    from ellc.importing import import_file
    from ellc.progress import progress

    with progress(quiet=as_json) as report:
        imported = import_file(model, output, options, report)
    echo_notes(imported.graph.metadata)
    if as_json:
        echo_json(
            {
                "name": imported.graph.name,
                "file": str(output),
                "operators": len(imported.graph.nodes),
                "parameters": imported.parameters,
                "bytes": imported.file_bytes,
            }
        )
        return
    echo_files(
        f"{visible(str(output))}: {len(imported.graph.nodes)} operators, "
        f"{imported.parameters:,} parameters, {bytes_text(imported.file_bytes)}"
    )
