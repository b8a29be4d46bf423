"""`ellc ops`: list ellc's own operators, or the operators that it reads from a model format."""

from __future__ import annotations

import inspect
from dataclasses import asdict, fields

import click

from ellc.commands.output import echo, echo_json, json_option, table
from ellc.ir.op import Op, Pointwise, all_ops
from ellc.support import FORMATS, supported


@click.command("ops")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="List the operators that ellc reads from this format, with their limits.",
)
@json_option
def command(form: str | None, as_json: bool) -> None:
    """List ellc's own operators, or with --format the operators of a model format.

    A "pointwise" operator can run in the epilogue of another operator's kernel. A "composite"
    operator is always rewritten as other operators before code is generated.
    """
    if form is not None:
        _list_format(form, as_json)
        return
    rows = [
        {
            "name": name,
            "kind": kind(cls),
            "attributes": [f.name for f in fields(cls)],  # type: ignore[arg-type]
            "summary": summary(cls),
        }
        for name, cls in all_ops().items()
    ]
    if as_json:
        echo_json(rows)
    else:
        echo(
            table(("name", "kind", "summary"), [[r["name"], r["kind"], r["summary"]] for r in rows])
        )


def _list_format(form: str, as_json: bool) -> None:
    operators = supported(form)
    if as_json:
        echo_json([asdict(row) for row in operators])
    else:
        echo(table(("operator", "limits"), [(row.operator, row.limits) for row in operators]))


def kind(cls: type[Op]) -> str:
    """The kind of an operator: `pointwise`, `composite` or `plain`."""
    if cls.composite:
        return "composite"
    return "pointwise" if issubclass(cls, Pointwise) else "plain"


def summary(cls: type[Op]) -> str:
    """The first sentence of an operator's docstring, on one line."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")
