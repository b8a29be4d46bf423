"""Measures compiled plans: times every step, or builds programs for a profiler or a cycle model.

`time_steps` builds and runs a program that reads the clock between kernels. The program also times
two loops, which give bounds for kernels at the same clock rate and load. The peak loop does
independent fused multiply-adds in all registers. The stream loop reads a block that is larger than
the caches. `build_calls` builds a program without clocks, for a profiler or a cycle model.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.render import render
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.instrument import model_objects, ticking_model
from ellc.codegen.output.glue import make_model
from ellc.codegen.output.model import Model
from ellc.codegen.output.runtime import runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.llvm import IrJob, LlvmPool
from ellc.ir.types import DType
from ellc.ir.work_folders import temporary_folder

_PEAK_TRIPS = 5000
_STREAM_BYTES = 256 << 20  # larger than any cache
_UNROLLED = 4  # multiply-adds of each chain in one trip
_CALM = 4  # one in `_CALM` calls, the fastest, counts as undisturbed


@dataclass(frozen=True, slots=True)
class StepTime:
    """The times of one step over many calls: the fastest, the median, and a mean.

    `calm_ns` is the mean over the calls that were least disturbed by other processes (`Times`).
    """

    fastest_ns: int
    median_ns: float
    calm_ns: float


@dataclass(frozen=True, slots=True)
class Times:
    """What `time_steps` measured. Tuples have an entry for each plan.

    `plans` has the times of the steps, and `calls` the number of calls. `call_median_ns` is the
    median of the sum of all steps. `calm_ns` is the mean time of `predict` over the fastest quarter
    of the calls. The steps' means over the same calls add up to it; their medians would not if
    another process takes the core in most calls.

    `peak_macs_per_ns` and `stream_bytes_per_ns` are bounds of one core, measured in the same run:
    how many float multiply-adds it can do, and how many bytes it can read from memory.
    """

    plans: tuple[tuple[StepTime, ...], ...]
    calls: tuple[int, ...]
    call_median_ns: tuple[float, ...]
    calm_ns: tuple[float, ...]
    peak_macs_per_ns: float
    stream_bytes_per_ns: float


def time_steps(
    plans: Sequence[tuple[str, Plan]], target: Target, limit_ms: int, rounds: int = 1
) -> Times:
    """Time every step of the plans on one thread, each plan for `limit_ms` in total.

    `plans` has pairs (prefix of the kernels' names, plan). The time is divided into `rounds`. Every
    round times all plans one after the other, so that a change of the clock rate affects all plans.
    Raises `EllcError` (E620) if the target is not this machine, because times under an emulator are
    meaningless.
    """
    with temporary_folder("profile") as folder:
        program = folder / "profile"
        models = [ticking_model(plan, prefix) for prefix, plan in plans]
        peak, peak_macs = _peak_kernel(target)
        stream, stream_trips = _stream_kernel(target)
        loops = _kernel_object([peak, stream], target, folder)
        values: dict[str, object] = {
            "timed": True,
            "peak_turns": _PEAK_TRIPS,
            "stream_turns": stream_trips,
            "stream_bytes": _STREAM_BYTES,
        }
        _build(plans, models, target, folder, program, values, [loops])
        command: list[str | Path] = [program, str(max(1, limit_ms // rounds))]
        printed = "".join(
            emulate.run(target, command, limit_s=3600).decode() for _ in range(rounds)
        )
    return _parsed(printed, len(plans), peak_macs * _PEAK_TRIPS)


def build_calls(plans: Sequence[tuple[str, Plan]], target: Target, program: Path) -> None:
    """Build a static program. `PROGRAM N` calls every model N times, in a function `forward`.

    The names of kernels remain as symbols, so that a profiler or a cycle model can tell them apart.
    """
    with temporary_folder("profile") as folder:
        models = [make_model(plan, prefix) for prefix, plan in plans]
        _build(plans, models, target, folder, program, {"timed": False}, [])


def _build(
    plans: Sequence[tuple[str, Plan]],
    models: Sequence[Model],
    target: Target,
    folder: Path,
    program: Path,
    values: dict[str, object],
    objects: Sequence[Path],
) -> None:
    linked = list(objects)
    for (_, plan), model in zip(plans, models, strict=True):
        linked += model_objects(plan, model, folder)
    described = [_described(plan, m) for (_, plan), m in zip(plans, models, strict=True)]
    ports = max(max(len(m.inputs), len(m.outputs)) for m in models) + 1
    source = folder / "profile.c"
    source.write_text(render("profile.c.j2", models=described, max_ports=ports, **values))
    options = [f"-I{runtime_dir()}", "-Wall", "-Wextra", "-Werror"]
    sources = [source, runtime_dir() / "ellc_clock.c"]
    emulate.build_program(target, sources, linked, program, options=options)


def _described(plan: Plan, model: Model) -> dict[str, object]:
    """What the template `profile.c.j2` needs to know about a model."""

    def port(size: int, dtype: DType) -> dict[str, object]:
        return {"bytes": size, "is_float": dtype is DType.F32}

    return {
        "name": model.name,
        "arena_bytes": model.arena_bytes,
        "n_steps": len(plan.steps),
        "inputs": [port(p.bytes, p.dtype) for p in model.inputs],
        "outputs": [port(p.bytes, p.dtype) for p in model.outputs],
    }


def _parsed(printed: str, plans: int, peak_macs: int) -> Times:
    """The times in the lines that the program prints. `profile.c.j2` describes these lines."""
    calls: list[list[list[int]]] = [[] for _ in range(plans)]
    peaks: list[int] = []
    streams: list[int] = []
    for line in printed.splitlines():
        kind, *numbers = line.split()
        values = [int(x) for x in numbers]
        match kind:
            case "m":
                calls[values[0]].append(values[1:])
            case "p":
                peaks.append(values[0])
            case _:
                streams.append(values[0])
    calm = [sorted(rows)[: math.ceil(len(rows) / _CALM)] for rows in calls]
    return Times(
        tuple(
            tuple(
                StepTime(min(column), statistics.median(column), statistics.fmean(calm_column))
                for column, calm_column in list(
                    zip(zip(*rows, strict=True), zip(*least, strict=True), strict=True)
                )[1:]
            )
            for rows, least in zip(calls, calm, strict=True)
        ),
        tuple(len(rows) for rows in calls),
        tuple(statistics.median(sum(row[1:]) for row in rows) for rows in calls),
        tuple(statistics.fmean(row[0] for row in least) for least in calm),
        peak_macs / min(peaks),
        _STREAM_BYTES / min(streams),
    )


def _peak_kernel(target: Target) -> tuple[Kernel, int]:
    """(a loop of independent chains of multiply-adds, the number of multiply-adds in one trip)."""
    b = KernelBuilder("ellc_peak")
    y = b.param("y", Elem.F32, 64, writable=True)
    lanes = target.lanes(4)
    # Three quarters of the registers hold chains. The two factors and the compiler need the others.
    chains = max(4, target.vector_registers * 3 // 4)
    factors = [b.load(y, i * lanes, lanes) for i in range(2)]
    sums: list[Operand] = [b.load(y, i * lanes, lanes) for i in range(chains)]
    with b.loop("turn", b.begin, b.end, carry=sums) as loop:
        values = list(loop.carried)
        for _ in range(_UNROLLED):
            values = [b.mul_add(factors[0], factors[1], v) for v in values]
        loop.carry(values)
    for i, value in enumerate(loop.results):
        b.store(value, y, i * lanes)
    return b.finish(), _UNROLLED * chains * lanes


def _stream_kernel(target: Target) -> tuple[Kernel, int]:
    """(a loop that sums a block of `_STREAM_BYTES` bytes, its number of trips)."""
    b = KernelBuilder("ellc_stream")
    x = b.param("x", Elem.F32, 64)
    y = b.param("y", Elem.F32, 64, writable=True)
    lanes, count = target.lanes(4), 8
    step = lanes * count
    sums: list[Operand] = [b.load(y, i * lanes, lanes) for i in range(count)]
    with b.loop("turn", b.begin, b.end, carry=sums) as loop:
        start = b.mul(loop.index, Imm(step))
        values = [
            b.add(v, b.load(x, b.add(start, Imm(i * lanes)), lanes))
            for i, v in enumerate(loop.carried)
        ]
        loop.carry(values)
    for i, value in enumerate(loop.results):
        b.store(value, y, i * lanes)
    return b.finish(), _STREAM_BYTES // (4 * step)


def _kernel_object(kernels: Sequence[Kernel], target: Target, folder: Path) -> Path:
    with LlvmPool(1) as pool:
        (data,) = pool.compile([IrJob("loops", llvm_module(kernels, target))], target)
    path = folder / "loops.o"
    path.write_bytes(data)
    return path
