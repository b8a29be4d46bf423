"""Measures compiled plans: times every step, or builds programs for a profiler or a cycle model.

`time_steps` builds and runs a program that reads the clock between kernels. The program also times
loops (`peaks.py`), which give bounds for kernels at the same clock rate and load. `build_calls`
builds a program without clocks, for a profiler or a cycle model.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.languages.render import render
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.instrument import model_objects, ticking_model
from ellc.codegen.measure.peaks import Loops, measuring_loops
from ellc.codegen.output.glue import make_model
from ellc.codegen.output.model import Model
from ellc.codegen.output.runtime import runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.llvm import IrJob, LlvmPool
from ellc.codegen.toolchain.programs import Library, build_program, library_here
from ellc.ir.types import DType
from ellc.ir.work_folders import temporary_folder

_STREAM_BYTES = 256 << 20  # larger than any cache
_CALM = 4  # the fastest 1 / `_CALM` of all calls count as undisturbed


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

    `plans` lists the times of the steps, and `calls` the numbers of calls. `call_median_ns` is the
    median of the sum of all steps. `calm_ns` is the mean time of `predict` over the fastest quarter
    of the calls. The steps' means over the same calls add up to it; their medians would not if
    another process took the core in most calls.

    `peak_macs_per_ns`, `byte_macs_per_ns` and `stream_bytes_per_ns` are the limits of one core,
    measured in the same run: how many multiply-adds of floats and of 8-bit integers it can do, and
    how many bytes it can read from memory.
    """

    plans: tuple[tuple[StepTime, ...], ...]
    calls: tuple[int, ...]
    call_median_ns: tuple[float, ...]
    calm_ns: tuple[float, ...]
    peak_macs_per_ns: float
    byte_macs_per_ns: float
    stream_bytes_per_ns: float


@dataclass(frozen=True, slots=True)
class OtherMachine:
    """Another machine, for example a board, on which programs are timed."""

    run: Callable[[Path, Sequence[str]], bytes]
    """Runs a program with these arguments and returns its standard output."""
    stream_bytes: int
    """More than all caches of the machine together."""
    library: Library = "static"
    """The C library of programs for the machine."""


def time_steps(
    plans: Sequence[tuple[str, Plan]],
    target: Target,
    limit_ms: int,
    rounds: int = 1,
    other: OtherMachine | None = None,
) -> Times:
    """Time every step of the plans on one thread, each plan for `limit_ms` in total.

    `plans` lists pairs (prefix of the kernels' names, plan). The time is divided into `rounds`.
    Every round times all plans one after the other, so that a change of the clock rate affects all
    plans. The program runs on this machine unless another is given; if that takes an emulator, the
    times are meaningless. Raises the errors of `emulate.run`.
    """
    chosen = other or OtherMachine(partial(_run_here, target), _STREAM_BYTES, library_here(target))
    stream_bytes = chosen.stream_bytes
    with temporary_folder("profile") as folder:
        program = folder / "profile"
        models = [ticking_model(plan, prefix) for prefix, plan in plans]
        loops = measuring_loops(target, stream_bytes)
        values: dict[str, object] = {
            "timed": True,
            "peak_trips": loops.peak.trips,
            "byte_trips": loops.byte_peak.trips,
            "stream_trips": loops.stream.trips,
            "stream_bytes": stream_bytes,
        }
        kernels = [loops.peak.kernel, loops.byte_peak.kernel, loops.stream.kernel]
        linked = [_object(kernels, target, folder)]
        _build(plans, models, target, folder, program, values, linked, chosen.library)
        words = [str(max(1, limit_ms // rounds))]
        printed = "".join(chosen.run(program, words).decode() for _ in range(rounds))
    return _parsed(printed, len(plans), loops)


def _run_here(target: Target, program: Path, words: Sequence[str]) -> bytes:
    return emulate.run(target, [program, *words], limit_s=3600)


def _object(kernels: Sequence[Kernel], target: Target, folder: Path) -> Path:
    with LlvmPool(1) as pool:
        (data,) = pool.compile([IrJob("loops", llvm_module(kernels, target))], target)
    path = folder / "loops.o"
    path.write_bytes(data)
    return path


def build_calls(plans: Sequence[tuple[str, Plan]], target: Target, program: Path) -> None:
    """Build a static program. `PROGRAM N` calls every model N times, in a function `forward`.

    The names of kernels remain as symbols, so that a profiler or a cycle model can tell them apart.
    """
    with temporary_folder("profile") as folder:
        models = [make_model(plan, prefix) for prefix, plan in plans]
        _build(plans, models, target, folder, program, {"timed": False}, [], "none")


def _build(
    plans: Sequence[tuple[str, Plan]],
    models: Sequence[Model],
    target: Target,
    folder: Path,
    program: Path,
    values: dict[str, object],
    objects: Sequence[Path],
    library: Library,
) -> None:
    linked = list(objects)
    for (_, plan), model in zip(plans, models, strict=True):
        linked += model_objects(plan, model, folder)
    described = [_described(plan, m) for (_, plan), m in zip(plans, models, strict=True)]
    ports = max(max(len(m.inputs), len(m.outputs)) for m in models) + 1
    source = folder / "profile.c"
    source.write_text(render("profile.c.j2", models=described, max_ports=ports, **values))
    options = [f"-I{runtime_dir()}", "-Wall", "-Wextra", "-Werror"]
    sources = [source, *([runtime_dir() / "ellc_clock.c"] if values["timed"] else [])]
    build_program(target, sources, linked, program, options=options, library=library)


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


def _parsed(printed: str, plans: int, loops: Loops) -> Times:
    """The times in the lines that the program prints. `profile.c.j2` describes these lines."""
    calls: list[list[list[int]]] = [[] for _ in range(plans)]
    times: dict[str, list[int]] = {"p": [], "b": [], "s": []}
    for line in printed.splitlines():
        kind, *numbers = line.split()
        values = [int(x) for x in numbers]
        if kind == "m":
            calls[values[0]].append(values[1:])
        else:
            times[kind].append(values[0])
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
        loops.peak.work / min(times["p"]),
        loops.byte_peak.work / min(times["b"]),
        loops.stream.work / min(times["s"]),
    )
