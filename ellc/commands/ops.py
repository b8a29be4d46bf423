"""`ellc ops`: the operators that models can be made of."""

from __future__ import annotations

import inspect
from dataclasses import fields

import click

from ellc.commands.output import echo_json, json_option, table
from ir.op import Op, Pointwise, all_ops


@click.command("ops")
@json_option
def command(as_json: bool) -> None:
    """List the operators that models can be made of.

    Kinds: "pointwise" operators can run in the epilogue of the kernel before them; "composite" ones
    are always rewritten into others before code is made.
    """
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
        click.echo(
            table(("name", "kind", "summary"), [[r["name"], r["kind"], r["summary"]] for r in rows])
        )


def kind(cls: type[Op]) -> str:
    """`pointwise`, `composite` or `plain`."""
    if cls.composite:
        return "composite"
    return "pointwise" if issubclass(cls, Pointwise) else "plain"


def summary(cls: type[Op]) -> str:
    """The first sentence of an operator's docstring, on one line."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")
