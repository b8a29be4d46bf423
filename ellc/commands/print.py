"""`ellc print`: print a model as text or as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import echo
from ellc.commands.parameters import FILE_PATH, model_options

if TYPE_CHECKING:
    from ellc.ir.graph import Graph
    from ellc.models import ModelOptions


@click.command("print")
@click.argument("model", type=FILE_PATH)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "svg"]),
    default="text",
    show_default=True,
    help="text: the graph IR, which can be read back; dot: for Graphviz; svg: a picture.",
)
@click.option("-o", "--output", type=FILE_PATH, help="Write to this file, not to stdout.")
@model_options
def command(model: Path, form: str, output: Path | None, options: ModelOptions) -> None:
    """Print a model's graph as text, dot or svg."""
    from ellc.drawing.dot import dot
    from ellc.drawing.svg import svg
    from ellc.ir.files import write_text
    from ellc.ir.text import print_graph
    from ellc.models import read_model

    forms: dict[str, Callable[[Graph], str]] = {"text": print_graph, "dot": dot, "svg": svg}
    text = forms[form](read_model(model, options))
    if output is None:
        echo(text, nl=False, uncut=True)
    else:
        write_text(output, text)
