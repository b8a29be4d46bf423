"""`ellc bench`: measure the latency of a call on this machine or on a board."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ellc.commands.output import echo, echo_json, json_option, table
from ellc.commands.parameters import (
    FILE_PATH,
    Between,
    board_target_option,
    model_options,
    ssh_command_option,
    ssh_option,
)
from ellc.ir.errors import EllcError
from ellc.ir.printable import visible
from ellc.profile.bounds import numbers_of
from ellc.remote.connection import Connection

if TYPE_CHECKING:
    from ellc.codegen.measure.profiling import Times
    from ellc.codegen.planning.plan import Plan
    from ellc.execute import Arrays, Network
    from ellc.models import ModelOptions
    from ellc.progress import Progress


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of single calls in milliseconds, without the first call, whose caches are cold."""

    name: str
    target: str
    calls: int
    median_ms: float
    fastest_ms: float
    p10_ms: float
    p90_ms: float
    macs: int
    gmacs_per_second: float


@dataclass(frozen=True, slots=True)
class StepLatency:
    """The time of one kernel in a call.

    `share` is the fraction of the time of all kernels. `of_peak` is the fraction of the core's peak
    rate that the kernel reaches; None if the kernel has no multiply-adds, or multiplies signs.
    """

    kernel: str
    variant: str
    layers: tuple[str, ...]
    median_ms: float
    fastest_ms: float
    share: float
    macs: int
    moved_bytes: int
    of_peak: float | None


@dataclass(frozen=True, slots=True)
class Layers:
    """The times of all kernels of a call on one thread, and the peak rates of the core.

    Times and peak rates are measured in the same run.
    """

    name: str
    calls: int
    median_ms: float
    peak_gflops: float
    byte_peak_gops: float
    memory_gb_per_second: float
    kernels: tuple[StepLatency, ...]


@click.command("bench")
@click.argument("model", type=FILE_PATH)
@click.option(
    "--threads",
    type=click.IntRange(1, 32),
    help="Threads; default: as many as it can use, the machine's cores at most.",
)
@click.option(
    "--seconds",
    default=2.0,
    show_default=True,
    type=Between(0.01, 300),
    help="Time to spend on measuring.",
)
@click.option("--layers", is_flag=True, help="Time every kernel, on one thread.")
@ssh_option
@board_target_option
@ssh_command_option
@model_options
@json_option
def command(
    model: Path,
    threads: int | None,
    seconds: float,
    layers: bool,
    host: str | None,
    target: str | None,
    ssh_command: tuple[str, ...],
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure the latency of a call: median and spread.

    MODEL is a model file, or a library that was compiled for this machine. The first call, with
    cold caches, is not counted. Inputs are random numbers from a fixed seed. Without --ssh, a
    library for another machine is refused, because times in an emulator mean nothing.

    With --layers every kernel is timed inside a call. Its rate is compared with the peak rate of
    one core, which is measured between the calls.

    With --ssh the call is timed on a board: the network is compiled for the board, copied there,
    timed, and removed.
    """
    if host is None and target is not None:
        raise click.UsageError("--target needs --ssh: without --ssh, this machine is timed")
    if host is not None:
        if layers:
            raise click.UsageError("--layers works on this machine only: leave out --ssh")
        latency = time_on_board(
            model, Connection(host, ssh_command), target, threads, seconds, options, quiet=as_json
        )
        _show(latency, as_json=as_json)
        return
    if layers:
        _bench_layers(model, threads, seconds, options, as_json)
        return
    from ellc.codegen.toolchain.system_root import runs_directly
    from ellc.execute import compiled, is_library
    from ellc.progress import progress

    with (
        progress(quiet=as_json) as report,
        compiled(model, "host", threads, options, report) as library,
    ):
        if not runs_directly(library.target):
            raise EllcError(
                f"the library is for target {library.target.name!r}, so it can only be timed on "
                "the device",
                code="E707",
                where=str(model),
                hint="name the device with --ssh, or build demo.c there and run it with --bench",
            )
        report("measuring", 0, 0)
        own = (threads or 0) if is_library(model) else 0
        _, times = library.run(
            noise(library.network), threads=own, repeat_ms=max(1, round(seconds * 1000))
        )
    _show(summary(library.network, library.target.name, times), as_json=as_json)


def _show(latency: Latency, *, as_json: bool) -> None:
    if as_json:
        echo_json(asdict(latency))
    else:
        echo(text(latency))


def time_on_board(
    model: Path,
    connection: Connection,
    target: str | None,
    threads: int | None,
    seconds: float,
    options: ModelOptions,
    *,
    quiet: bool,
) -> Latency:
    """Compile a model for a board, time its calls there, and leave nothing on the board."""
    from ellc.codegen.machine.resolve import resolve
    from ellc.driver import CompileOptions
    from ellc.execute import is_library
    from ellc.progress import progress
    from ellc.remote.deploy import BoardRun, deploy, find_board, package

    chosen = CompileOptions(emit=("so",), threads=threads, model=options)
    with progress(quiet=quiet) as report:
        report("asking the board", 0, 0)
        board = find_board(connection, resolve(target) if target else None)
        with package(model, board, chosen, report, is_run=True) as prepared:
            report("measuring on the board", 0, 0)
            own = (threads or 0) if is_library(model) else 0
            run = BoardRun(noise(prepared.library.network), own, max(1, round(seconds * 1000)))
            call = deploy(board, prepared, None, run=run)
    assert call is not None
    where = f"{connection.host} ({prepared.library.target.name})"
    return summary(prepared.library.network, where, call.call_ns)


def _bench_layers(
    model: Path, threads: int | None, seconds: float, options: ModelOptions, as_json: bool
) -> None:
    from ellc.execute import is_library
    from ellc.progress import progress

    if is_library(model):
        raise EllcError(
            "--layers needs a model file, but this is a library",
            code="E706",
            where=str(model),
        )
    if threads not in (None, 1):
        raise EllcError("layers are timed on one thread", code="E708", hint="leave out --threads")
    with progress(quiet=as_json) as report:
        layers = time_layers(model, seconds, options, report)
    if as_json:
        echo_json(asdict(layers))
    else:
        echo(layers_text(layers))


def time_layers(model: Path, seconds: float, options: ModelOptions, progress: Progress) -> Layers:
    """Compile a model for this machine and time each of its kernels."""
    from ellc.codegen.blocks.calls import Options
    from ellc.codegen.languages.names import valid_name
    from ellc.codegen.machine.resolve import resolve
    from ellc.codegen.measure.profiling import time_steps
    from ellc.codegen.planning.planner import make_plan
    from ellc.ir.pipeline import run_pipeline
    from ellc.models import read_model

    progress("compiling", 0, 0)
    graph, _ = run_pipeline(read_model(model, options))
    host, name = resolve("host"), valid_name(graph.name)
    plan = make_plan(graph, host, Options(), name)
    progress("measuring", 0, 0)
    return layer_summary(plan, time_steps([(name, plan)], host, max(1, round(seconds * 1000))))


def layer_summary(plan: Plan, times: Times) -> Layers:
    """The time of each step of a plan, its share of the sum, and its fraction of the peak rate."""
    (steps,) = times.plans
    all_ns = sum(step.median_ns for step in steps) or 1.0
    peaks = {"float": times.peak_macs_per_ns, "byte": times.byte_macs_per_ns}
    kernels = []
    for step, time in zip(plan.steps, steps, strict=True):
        peak = peaks.get(numbers_of(step.op))
        rate = step.macs / max(time.median_ns, 1.0)
        kernels.append(
            StepLatency(
                step.name,
                step.call.note,
                step.source,
                time.median_ns / 1e6,
                time.fastest_ns / 1e6,
                time.median_ns / all_ns,
                step.macs,
                step.moved_bytes,
                rate / peak if peak is not None and step.macs else None,
            )
        )
    return Layers(
        plan.graph.name,
        times.calls[0],
        times.call_median_ns[0] / 1e6,
        2 * times.peak_macs_per_ns,
        2 * times.byte_macs_per_ns,
        times.stream_bytes_per_ns,
        tuple(kernels),
    )


def layers_text(layers: Layers) -> str:
    """The report as text."""
    header = ("kernel", "variant", "ms", "share", "MACs", "GMAC/s", "of peak")
    rows = [
        (
            k.kernel,
            k.variant,
            f"{k.median_ms:.4f}",
            f"{k.share:.1%}",
            f"{k.macs:,}" if k.macs else "",
            f"{k.macs / max(k.median_ms, 1e-6) / 1e6:.1f}" if k.macs else "",
            "" if k.of_peak is None else f"{k.of_peak:.0%}",
        )
        for k in layers.kernels
    ]
    return "\n".join(
        [
            table(header, rows, "  rrrrr"),
            "",
            f"{visible(layers.name)} on one core: median {layers.median_ms:.3f} ms of "
            f"{layers.calls:,} calls; fma peak {layers.peak_gflops:.0f} GFLOP/s, "
            f"8-bit peak {layers.byte_peak_gops:.0f} GOP/s, memory "
            f"{layers.memory_gb_per_second:.1f} GB/s",
        ]
    )


def noise(network: Network) -> Arrays:
    """Random inputs from a fixed seed: floats from -1 to 1, other types from their whole range."""
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
    """The median and the spread of the times of single calls."""
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
    """The latency as two lines of text."""
    return (
        f"{visible(latency.name)} on {visible(latency.target)}: median {latency.median_ms:.3f} ms "
        f"of {latency.calls:,} calls\n"
        f"  fastest {latency.fastest_ms:.3f} ms, 10 % below {latency.p10_ms:.3f} ms, "
        f"10 % above {latency.p90_ms:.3f} ms; {latency.gmacs_per_second:.2f} GMAC/s"
    )
