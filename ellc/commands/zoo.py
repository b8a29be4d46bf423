"""`ellc zoo`: networks to play with."""

from __future__ import annotations

from pathlib import Path

import click

from ellc.commands.output import bytes_text, echo, echo_json, echo_made, json_option, table
from ellc.commands.parameters import PLACE


@click.group("zoo", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List and build published networks with seeded weights.

    The architectures are real, the weights are not trained: speed and size are those of the real
    network, its answers mean nothing.
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the networks that can be built."""
    from ellc.zoo import networks
    from ellc.zoo.catalogue import patterns

    if as_json:
        rows = [
            {
                "name": network.name,
                "input": list(network.input),
                "origin": network.origin,
                "formats": list(network.formats),
                "inferred": network.inferred,
            }
            for network in networks()
        ]
        echo_json(rows)
        return
    header = ("name", "input", "origin", "files")
    lines = [
        (n.name, "x".join(map(str, n.input)), n.origin, " ".join(n.formats)) for n in networks()
    ]
    echo(table(header, lines))
    echo("Other widths and sizes: " + ", ".join(patterns()))


def _complete_name(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from ellc.zoo import networks

    return [network.name for network in networks() if network.name.startswith(incomplete)]


@command.command("build")
@click.argument("name", shell_complete=_complete_name)
@click.option(
    "-o",
    "--output",
    type=PLACE,
    required=True,
    help="File to write: FILE.ell, or FILE.eir for ellc's own, faster form.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other weights.")
@click.option(
    "--width",
    default="1",
    show_default=True,
    metavar="FRACTION",
    help="Share of the channels of inner layers, such as 1/16.",
)
@json_option
def build_(name: str, output: Path, seed: int, width: str, as_json: bool) -> None:
    """Build a network and write it as a model file.

    The same arguments give the same bytes, everywhere.
    """
    from ellc.progress import progress
    from ellc.zoo.files import build_file
    from ellc.zoo.widths import parse_width

    share = parse_width(width)
    with progress(quiet=as_json) as report:
        made = build_file(name, output, seed, share, report)
    if as_json:
        echo_json(
            {
                "name": name,
                "file": str(output),
                "seed": seed,
                "width": str(share),
                "parameters": made.parameters,
                "bytes": made.file_bytes,
            }
        )
    else:
        echo_made(f"{output}: {made.parameters:,} parameters, {bytes_text(made.file_bytes)}")
