"""Measures a profile on a board: layers with a separate program, phases with the library."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.measure.profiling import time_steps
from ellc.codegen.toolchain.load import RunResult, build_loader, loader_numbers, split_answer
from ellc.commands.bench import noise
from ellc.driver import compile_model
from ellc.execute import Library, described_library
from ellc.explain.study import Study, StudyOptions, study
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder
from ellc.profile.costs import measured
from ellc.profile.figures import Phase, Profile
from ellc.profile.phases import STARTS, compile_options, compiled, started
from ellc.profile.profiler import profile
from ellc.progress import Progress, silent
from ellc.remote.choice import check_libc, loader_glibc
from ellc.remote.connection import Connection
from ellc.remote.deploy import ReachedBoard, find_board
from ellc.remote.job import INPUTS, LOADER, RUN, BoardProgram, copy_and_run
from ellc.remote.timing import board_name, limit_s, timing_on


def profile_on_board(
    model: Path,
    connection: Connection,
    asked: Target | None,
    options: StudyOptions,
    limit_ms: int,
    progress: Progress = silent,
) -> tuple[Study, Profile]:
    """Profile a model on a board, and leave no files there.

    `asked` is the target of the code, or None for the target that fits the board. The number of
    threads in `options` applies to the phases. Measuring the layers takes `limit_ms`, and measuring
    steady calls takes `limit_ms` too. Raises the errors of `find_board`, `check_libc`, `study` and
    `copy_and_run`.
    """
    progress("asking the board", 0, 0)
    board = find_board(connection, asked)
    check_libc(connection.host, board.facts, board.target, is_run=True)
    studied = study(model, board.target, replace(options, threads=1), progress)
    progress("measuring layers on the board", 0, 0)
    times = time_steps(
        [(studied.name, studied.plan)],
        board.target,
        limit_ms,
        other=timing_on(board, limit_ms),
    )
    timed = _phases(model, board, options, limit_ms, progress)
    return studied, profile(studied, measured(studied, times), timed, board_name(board))


def _phases(
    model: Path, board: ReachedBoard, options: StudyOptions, limit_ms: int, progress: Progress
) -> tuple[Phase, ...]:
    """Time the phases like `phases.phases`, but all except `compile` on the board."""
    with temporary_folder("phases") as folder:
        out = folder / "out"
        chosen = compile_options(options, ("so",))
        artifact = compile_model(model, board.target, chosen, out, progress)
        assert artifact.library is not None
        library, loader = described_library(artifact.library), folder / "load_library"
        build_loader(board.target, loader, loader_glibc(board.target))
        progress("measuring phases on the board", 0, 0)
        inputs = library.bytes_of(noise(library.network))
        repeats = [1] * (STARTS - 1) + [limit_ms]
        job = BoardProgram(
            _starts(library, [len(data) for data in inputs], repeats),
            b"".join(inputs),
            limit_s(limit_ms),
        )
        files = {library.path.name: library.path, LOADER: loader}
        answer = copy_and_run(board.connection, files, None, job)
    return compiled(artifact), *started(_answers(answer, library.output_bytes))


def _starts(library: Library, input_bytes: Sequence[int], repeats: Sequence[int]) -> list[str]:
    """A command that starts the loader once for each entry of `repeats`, and prints the answers.

    An answer has one time for each call, so its size varies and is printed before it.
    """
    threads, _, *sizes = loader_numbers(input_bytes, library.output_bytes, 0, 0)
    words = [f"./{LOADER}", f"./{library.path.name}", library.prefix, threads]
    call = f'{shlex.join(words)} "$ms" {shlex.join(sizes)}'
    answer = f"{RUN}/answer"
    each = f"{call} < {INPUTS} > {answer} || exit; wc -c < {answer}; cat {answer}"
    return ["sh", "-c", f'for ms in "$@"; do {each}; done', "sh", *map(str, repeats)]


def _answers(printed: bytes, output_bytes: Sequence[int]) -> list[RunResult]:
    answers: list[RunResult] = []
    while printed:
        size, _, rest = printed.partition(b"\n")
        if not size.strip().isdigit():
            raise EllcError("the board's answer does not come from the loader", code="E621")
        answers.append(split_answer(rest[: int(size)], output_bytes))
        printed = rest[int(size) :]
    return answers
