"""`ellc zoo`: list, show, build, inspect and compile published networks; fetch their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ellc.commands import compile as compile_command
from ellc.commands.inspect import show as show_report
from ellc.commands.output import bytes_text, echo, echo_files, echo_json, json_option, table
from ellc.commands.parameters import FILE_PATH

if TYPE_CHECKING:
    from ellc.zoo import ZooNetwork
    from ellc.zoo.facts import Accuracy, Facts, Size, Speed
    from ellc.zoo.measured import NetworkSizes

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("zoo", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, show, build and compile published networks.

    The architectures are as published, but the weights are random numbers from a seed. So speed and
    size are those of the published network, but the outputs mean nothing. For meaningful outputs
    give trained weights with `--weights`; for some networks `fetch` downloads them. Published
    figures are shown with their sources.
    """


def _complete_name(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from ellc.zoo import networks

    return [network.name for network in networks() if network.name.startswith(incomplete)]


_network_argument = click.argument("network", metavar="NAME", shell_complete=_complete_name)
_BUILD_OPTIONS = (
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the random weights.",
    ),
    click.option(
        "--width",
        default="1",
        show_default=True,
        metavar="FRACTION",
        help="Fraction of the channels to keep in inner layers, such as 1/16.",
    ),
    click.option(
        "--batch-norm",
        type=click.Choice(["folded", "kept"]),
        default="folded",
        show_default=True,
        help="folded: part of the weights; kept: separate layers, as in training.",
    ),
)


_weights_option = click.option(
    "--weights",
    type=FILE_PATH,
    metavar="FILE",
    help="Trained weights: a PyTorch state dict, safetensors, .npz, Keras .h5, ONNX or TFLite.",
)


def _build_options(call: Command) -> Command:
    for option in reversed(_BUILD_OPTIONS):
        call = option(call)
    return call


# ---- list and show -------------------------------------------------------------------------------


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the networks with their published accuracies."""
    from ellc.zoo import networks
    from ellc.zoo.catalogue import patterns
    from ellc.zoo.facts import facts

    facts_by_name, _ = facts()
    if as_json:
        echo_json(
            [
                {**_network_document(n), **_facts_document(facts_by_name.get(n.name))}
                for n in networks()
            ]
        )
        return
    header = ("name", "input", "data", "top-1 %", "top-5 %", "origin", "files")
    lines = [(n.name, _input(n), *_row(facts_by_name.get(n.name)), n.origin, " ".join(n.formats))
             for n in networks()]  # fmt: skip
    echo(table(header, lines, "   rr"))
    echo("Other widths and sizes: " + ", ".join(patterns()))


def _network_document(network: ZooNetwork) -> dict[str, object]:
    return {
        "name": network.name,
        "input": list(network.input),
        "origin": network.origin,
        "formats": list(network.formats),
        "inferred": network.inferred,
    }


def _facts_document(facts: Facts | None) -> dict[str, object]:
    if facts is None:
        empty: dict[str, object] = dict.fromkeys(("dataset", "colours", "weights"))
        return {**empty, "accuracies": [], "speeds": [], "notes": []}
    return {
        "dataset": facts.dataset,
        "colours": facts.colours,
        "accuracies": [asdict(x) for x in facts.accuracies],
        "speeds": [asdict(x) for x in facts.speeds],
        "notes": list(facts.notes),
        "weights": asdict(facts.weights) if facts.weights else None,
    }


def _input(network: ZooNetwork) -> str:
    return "x".join(map(str, network.input))


def _row(facts: Facts | None) -> tuple[str, str, str]:
    """The data set, and top-1 and top-5 of the accuracy that is listed first."""
    if facts is None:
        return "", "", ""
    if not facts.accuracies:
        return facts.dataset, "", ""
    first = facts.accuracies[0]
    return facts.dataset, _percent(first.top1), _percent(first.top5)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:g}"


@command.command("show")
@_network_argument
@json_option
def show(network: str, as_json: bool) -> None:
    """Show a network: its sizes, and published figures with their sources.

    Sizes are counted in ellc's own network. "parameters" counts with batch normalisation folded
    into the weights, "trained" counts with the parameters of batch normalisation. 8-bit sizes
    include biases of 32 bits. If a published size differs, the reason is shown.
    """
    from ellc.zoo import find
    from ellc.zoo.facts import Facts, facts
    from ellc.zoo.measured import NetworkSizes

    entry, measured = find(network), NetworkSizes(network)
    known, sources = facts()
    published = known.get(network) or Facts(network, "", "", entry.origin)
    used = published.sources
    if as_json:
        sizes = [{**asdict(x), "value": x.value, "ours": measured.of(x)} for x in published.sizes]
        document = {
            **_network_document(entry),
            **_facts_document(known.get(network)),
            "measured": _sizes(measured),
        }
        cited = {name: asdict(sources[name]) for name in sorted(used)}
        echo_json({**document, "published_sizes": sizes, "sources": cited})
        return
    echo("\n".join(_head(entry, published, measured)))
    echo("\n".join(_published(published, measured)))
    for name in sorted(used):
        echo(f"[{name}] {sources[name].title}, {sources[name].url}")


def _sizes(measured: NetworkSizes) -> dict[str, int]:
    if measured.is_binary:
        weights = {"packed_bytes": measured.memory_bytes}
    else:
        weights = {"fp32_bytes": 4 * measured.folded.parameters, "int8_bytes": measured.int8_bytes}
    return {
        "parameters": measured.parameters("folded"),
        "trainable_parameters": measured.parameters("trainable"),
        "macs": measured.folded.macs,
        "receptive_field": measured.receptive_field,
        **weights,
    }


def _head(network: ZooNetwork, facts: Facts, measured: NetworkSizes) -> list[str]:
    sizes = _sizes(measured)
    lines = [network.name, f"  origin      {network.origin}"]
    if facts.dataset:
        lines.append(f"  trained on  {facts.dataset}")
    colours = f", {facts.colours}" if facts.colours not in ("", "none") else ""
    lines += [
        f"  input       {_input(network)}{colours}",
        f"  parameters  {sizes['parameters']:,}, trained {sizes['trainable_parameters']:,}",
        f"  MACs        {sizes['macs']:,}",
        f"  weights     {_weights(sizes)}",
        f"  files       {' '.join(network.formats)}",
    ]
    lines += [f"  {what}: {origin}" for what, origin in network.inferred.items()]
    if facts.weights:
        lines.append(f"  trained     {facts.weights.url}")
    return lines + [f"  {note}" for note in facts.notes]


def _weights(sizes: dict[str, int]) -> str:
    named = [f"{bytes_text(n)} {key[:-6]}" for key, n in sizes.items() if key.endswith("_bytes")]
    return ", ".join(named)


def _published(facts: Facts, measured: NetworkSizes) -> list[str]:
    """The non-empty tables of published figures, as lines."""
    lines: list[str] = []
    if facts.accuracies:
        header: tuple[str, ...] = ("accuracy", "top-1 %", "top-5 %", "source")
        lines += ["", table(header, [_accuracy(x) for x in facts.accuracies], " rr")]
    if facts.speeds:
        header = ("ms", "board", "MHz", "threads", "precision", "engine", "source")
        lines += ["", table(header, [_speed(x) for x in facts.speeds], "r rr")]
    if facts.sizes:
        header = ("size", "published", "here", "source", "why it differs")
        lines += ["", table(header, [_size(x, measured.of(x)) for x in facts.sizes], " rr")]
    return [*lines, ""]


def _accuracy(row: Accuracy) -> tuple[str, ...]:
    return row.precision, _percent(row.top1), _percent(row.top5), row.source


def _size(row: Size, ours: float) -> tuple[str, ...]:
    of = f"{row.of} ({row.counts})" if row.counts else row.of
    return of, row.published, f"{ours:,.0f}", row.source, row.difference


def _speed(row: Speed) -> tuple[str, ...]:
    clock, threads = (str(x) if x else "" for x in (row.clock_mhz, row.threads))
    return f"{row.ms:g}", row.board, clock, threads, row.precision, row.engine, row.source


# ---- build, compile and inspect ------------------------------------------------------------------


@command.command("build")
@_network_argument
@click.option(
    "-o",
    "--output",
    type=FILE_PATH,
    required=True,
    help="File to write: FILE.ell, or FILE.eir in ellc's own format, which is faster to read.",
)
@_build_options
@_weights_option
@json_option
def build_(
    network: str,
    output: Path,
    seed: int,
    width: str,
    batch_norm: str,
    weights: Path | None,
    as_json: bool,
) -> None:
    """Build a network and write it as a model file.

    The same arguments give the same bytes on every machine. The tensors in the file of --weights
    are matched with the tensors of the network by role, shape and order; their names may differ.
    """
    from ellc.progress import progress
    from ellc.zoo.files import build_file
    from ellc.zoo.widths import parse_width

    share = parse_width(width)
    with progress(quiet=as_json) as report:
        keep = batch_norm == "kept"
        built = build_file(
            network, output, seed, share, report, keep_batch_norm=keep, weights=weights
        )
    if as_json:
        echo_json(
            {
                "name": network,
                "file": str(output),
                "seed": None if weights else seed,
                "weights": str(weights) if weights else None,
                "width": str(share),
                "batch_norm": batch_norm,
                "parameters": built.parameters,
                "bytes": built.file_bytes,
            }
        )
    else:
        echo_files(f"{output}: {built.parameters:,} parameters, {bytes_text(built.file_bytes)}")


@command.command("fetch")
@_network_argument
@click.option(
    "-o", "--output", type=FILE_PATH, required=True, help="File to write, for use with --weights."
)
@json_option
def fetch_(network: str, output: Path, as_json: bool) -> None:
    """Download a network's published weights.

    No other command of ellc downloads anything. The downloaded file is checked against the SHA-256
    that ellc has recorded. `ellc zoo show` shows the address of the weights.
    """
    from ellc.progress import progress
    from ellc.zoo.weights.fetch import fetch

    with progress(quiet=as_json) as report:
        count = fetch(network, output, report)
    if as_json:
        echo_json({"name": network, "file": str(output), "bytes": count})
    else:
        echo_files(f"{output}: {bytes_text(count)}")


@command.command("inspect")
@_network_argument
@_build_options
@json_option
def inspect_(network: str, seed: int, width: str, batch_norm: str, as_json: bool) -> None:
    """Show a network's layers, like `ellc inspect` for a model file.

    No weights are generated, so the command is fast even for the largest network.
    """
    from ellc.zoo import build
    from ellc.zoo.widths import parse_width

    keep = batch_norm == "kept"
    graph = build(network, seed, parse_width(width), keep_batch_norm=keep, blank=True)
    show_report(graph, as_json=as_json)


@_network_argument
@_build_options
@_weights_option
@click.pass_context
def _compile(
    context: click.Context,
    /,
    network: str,
    seed: int,
    width: str,
    batch_norm: str,
    weights: Path | None,
    **options: Any,
) -> None:
    """Build a network and compile it, with the options of `ellc compile`."""
    from ellc.ir.work_folders import temporary_folder
    from ellc.progress import progress
    from ellc.zoo.files import build_file
    from ellc.zoo.widths import parse_width

    share = parse_width(width)
    with temporary_folder("zoo") as folder:
        model = folder / f"{network}.eir"
        with progress(quiet=options["as_json"]) as report:
            keep = batch_norm == "kept"
            build_file(network, model, seed, share, report, keep_batch_norm=keep, weights=weights)
        context.invoke(compile_command.command, model=model, **options)


def _compile_command() -> click.Command:
    """Make the command `zoo compile`: its own parameters, then the parameters of `ellc compile`.

    Here --weights names a file with trained weights. To store weights in fewer bits, build the
    network, and compile the file.
    """
    zoo_compile: click.Command = click.command("compile")(_compile)
    other = [x for x in compile_command.command.params if x.name not in ("model", "weights")]
    zoo_compile.params += other
    return zoo_compile


command.add_command(_compile_command())
