"""`ellc bench`: how long a call takes on this machine."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ellc.commands.output import echo_json, json_option

if TYPE_CHECKING:
    from ellc.execute import Arrays, Network


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of single calls in milliseconds; the first, cold call is not among them."""

    name: str
    target: str
    calls: int
    median_ms: float
    fastest_ms: float
    p10_ms: float
    p90_ms: float
    macs: int
    gmacs_per_second: float


@click.command("bench")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--threads", type=click.IntRange(1, 32), help="Threads; default: this machine's cores."
)
@click.option(
    "--seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01, 300),
    help="Time to spend.",
)
@json_option
def command(model: Path, threads: int | None, seconds: float, as_json: bool) -> None:
    """Measure the latency of MODEL, or of a library for this machine: median and spread.

    The inputs are seeded noise. A library for a foreign target is run under an emulator, whose
    times say nothing, so it is refused.
    """
    from codegen.toolchain.emulate import runs_directly
    from ellc.execute import compiled, is_library
    from ellc.progress import progress
    from ir.errors import EllcError

    with progress(quiet=as_json) as report, compiled(model, "host", threads, report) as library:
        if not runs_directly(library.target):
            raise EllcError(
                f"the library is for target {library.target.name!r}: only the device can time it",
                code="E707",
                where=str(model),
                hint="demo --bench, made from demo.c, measures there",
            )
        report("measuring", 0, 0)
        own = (threads or 0) if is_library(model) else 0
        _, times = library.run(
            noise(library.network), threads=own, repeat_ms=max(1, round(seconds * 1000))
        )
    latency = summary(library.network, library.target.name, times)
    if as_json:
        echo_json(asdict(latency))
    else:
        click.echo(text(latency))


def noise(network: Network) -> Arrays:
    """Inputs of every type, drawn from a fixed seed: floats from -1 to 1, integers from all."""
    rng = np.random.default_rng(0)
    arrays = []
    for _, type_ in network.inputs:
        dtype = type_.dtype.numpy
        if type_.dtype.is_float:
            arrays.append(rng.uniform(-1, 1, type_.shape).astype(dtype))
        elif type_.dtype.is_integer:
            info = np.iinfo(dtype)
            arrays.append(rng.integers(info.min, info.max, type_.shape, dtype, endpoint=True))
        else:
            arrays.append(rng.integers(0, 2, type_.shape).astype(dtype))
    return tuple(arrays)


def summary(network: Network, target: str, times_ns: tuple[int, ...]) -> Latency:
    """Median and spread of the times of single calls."""
    median_ns = statistics.median(times_ns)
    tenth, ninetieth = (float(np.percentile(times_ns, p)) for p in (10, 90))
    return Latency(
        network.name,
        target,
        len(times_ns),
        median_ns / 1e6,
        min(times_ns) / 1e6,
        tenth / 1e6,
        ninetieth / 1e6,
        network.macs,
        network.macs / median_ns,
    )


def text(latency: Latency) -> str:
    """Two lines for people."""
    return (
        f"{latency.name} on {latency.target}: median {latency.median_ms:.3f} ms "
        f"of {latency.calls:,} calls\n"
        f"  fastest {latency.fastest_ms:.3f} ms, 10 % below {latency.p10_ms:.3f} ms, "
        f"10 % above {latency.p90_ms:.3f} ms; {latency.gmacs_per_second:.2f} GMAC/s"
    )
