"""Times the four phases of a program on this machine: compile, load, first call, steady call."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.load import RunResult
from ellc.codegen.toolchain.system_root import runs_directly
from ellc.commands.bench import noise
from ellc.driver import Artifact, CompileOptions, compile_model, default_emit
from ellc.execute import open_library
from ellc.explain.study import StudyOptions
from ellc.ir.work_folders import temporary_folder
from ellc.profile.figures import Phase
from ellc.progress import Progress, silent

STARTS = 5
"""The number of new processes in which loading and the first call are timed."""


def phases(
    model: Path,
    target: Target,
    options: StudyOptions,
    limit_ms: int,
    progress: Progress = silent,
) -> tuple[Phase, ...]:
    """Time the phases of a program; only `compile` if the target's code does not run here.

    The first call runs with cold caches and with memory that is not mapped yet, but the library
    file is already in the system's file cache. Steady calls are repeated for `limit_ms`.
    """
    runs = runs_directly(target)
    kinds = ("so",) if runs else default_emit(target)[:1]
    with temporary_folder("phases") as folder:
        chosen = compile_options(options, kinds)
        artifact = compile_model(model, target, chosen, folder / "out", progress)
        if not runs or artifact.library is None:
            return (compiled(artifact),)
        progress("measuring phases", 0, 0)
        library = open_library(artifact.library)
        answers = library.starts(noise(library.network), count=STARTS, repeat_ms=limit_ms)
    return compiled(artifact), *started(answers)


def compile_options(options: StudyOptions, kinds: tuple[str, ...]) -> CompileOptions:
    """The options with which the library of the phases is compiled."""
    return CompileOptions(
        emit=kinds,
        threads=options.threads,
        optimize=options.optimize,
        kernels=options.kernels,
        tuning=options.tuning,
        shipped_tuning=options.shipped_tuning,
        model=options.model,
    )


def started(answers: Sequence[RunResult]) -> tuple[Phase, ...]:
    """The phases after `compile`. Each answer is from a new process; the last has steady calls."""
    return (
        _phase("load", [answer.load_ns for answer in answers]),
        _phase("first call", [answer.first_ns for answer in answers]),
        _phase("steady call", answers[-1].call_ns),
    )


def compiled(artifact: Artifact) -> Phase:
    """The phase `compile`, with its stages."""
    parts = tuple((stage, 1e3 * taken) for stage, taken in artifact.seconds.items())
    total = sum(taken for _, taken in parts)
    return Phase("compile", 1, total, total, total, parts)


def _phase(name: str, times_ns: Sequence[int]) -> Phase:
    p90 = float(np.percentile(times_ns, 90))
    return Phase(
        name, len(times_ns), min(times_ns) / 1e6, statistics.median(times_ns) / 1e6, p90 / 1e6
    )
