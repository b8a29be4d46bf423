"""Compiles many graphs into one program and runs them all, to test every operator quickly.

The program is a runner of `toolchain.emulate`: a single process in which each buffer is between
guard pages, and is aligned only as far as kernels may assume. Calls are repeated in memory full of
junk and after a reset, and must give the same bytes (`toolchain.repeats`). The program runs on this
machine directly or, for another architecture, under an emulator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ellc.codegen.blocks.access import bit_bytes
from ellc.codegen.blocks.calls import Chain, Options
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.machine.target import Target
from ellc.codegen.output.c_package import c_constants
from ellc.codegen.output.emit import compile_kernels, plan_kernels, weight_pieces
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.output.model import Model
from ellc.codegen.output.runtime import compile_runtime, runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.sharing import SharedKernels
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.compile_c import compile_c
from ellc.codegen.toolchain.elf import Piece, write_constants
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.guarded_constants import guard_symbols, write_guarded
from ellc.codegen.toolchain.link import Tools
from ellc.codegen.toolchain.llvm import usable_cores
from ellc.codegen.toolchain.repeats import first_and_steady, repeated
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import Graph
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.work_folders import temporary_folder

C_FILE_PARTS = 80
"""A C file contains at most this many models. With large files, the compiler starts less often, but
there should be a file for every core."""

Emitter = Literal["llvm", "c"]
Outputs = tuple[Array, ...]


@dataclass(frozen=True)
class Trial:
    """A graph on which the passes have run, and the inputs of one or more consecutive calls.

    The first call starts from reset states, and every other call from the states that the previous
    call left. `kernels` names candidates as in `Options`. A `threads` other than 0 replaces the
    number of threads in the options. `chains` are computed in bands.
    """

    graph: Graph
    calls: tuple[tuple[Array, ...], ...]
    kernels: tuple[tuple[str, str], ...] = ()
    threads: int = 0
    chains: tuple[Chain, ...] = ()


def rivals(trial: Trial, target: Target) -> list[Trial]:
    """For each family that the planner does not choose for a node, the trial with that family."""
    plan = make_plan(trial.graph, target, Options(), "rivals")
    return [
        replace(trial, kernels=((step.values[0], other),))
        for step in plan.steps
        for other in dict.fromkeys(p.kernel for p in step.predictions)
        if other != step.predictions[0].kernel
    ]


@dataclass(frozen=True)
class _ProgramOptions:
    """How the program of several trials is built; see `run_trials`."""

    target: Target
    emitter: Emitter
    guard: emulate.Guard
    cc: tuple[str, ...]


@dataclass(frozen=True)
class _PlannedTrial:
    """A trial and its plan. `index` is the index of the trial among all trials."""

    index: int
    trial: Trial
    plan: Plan
    model: Model

    @property
    def weights(self) -> str:
        """The symbol of the trial's constants, if a separate object defines them."""
        return f"{self.model.name}_weights"

    def case(self, program: _ProgramOptions) -> emulate.Case:
        """The case by which the runner calls the model."""
        has_weights = program.emitter == "llvm" and self.model.weight_bytes > 0
        is_guarded = has_weights and not program.target.board
        return emulate.Case(
            self.model.name,
            tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in self.model.inputs),
            tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in self.model.outputs),
            self.model.arena_bytes,
            is_model=True,
            threads=self.model.threads if self.model.threads > 1 else 0,
            guards=guard_symbols(self.weights) if is_guarded else (),
        )


def run_trials(
    trials: Sequence[Trial],
    target: Target,
    emitter: Emitter = "llvm",
    options: Options | None = None,
    *,
    guard: emulate.Guard = "end",
    cc: Sequence[str] = (),
) -> list[list[Outputs] | Exception]:
    """Compile and run all trials. Returns for each trial the outputs of its calls or an exception.

    If `options.threads` is above 1, every call runs on this many threads. Kernels that many trials
    share are compiled once. `guard` says which end of every buffer, and of each trial's constants,
    is next to a guard page. `cc` may be the command of a C compiler of this machine, for instance
    with a sanitizer; it then compiles all C code.

    The exception is an `EllcError` or `InternalError`, or another one that the planner raised. It
    means that an operator has no kernel, or that the code does not compile, crashes, writes outside
    its buffers, or gives results that depend on what memory held before. It does not affect other
    trials.
    """
    chosen, shared = options or Options(), SharedKernels()
    outcomes: list[list[Outputs] | Exception] = [InternalError("did not run")] * len(trials)
    parts: list[_PlannedTrial] = []
    for index, trial in enumerate(trials):
        name = f"t{index}"
        try:
            kernels = (*chosen.kernels, *trial.kernels)
            asked = replace(
                chosen,
                kernels=kernels,
                threads=trial.threads or chosen.threads,
                chains=(*chosen.chains, *trial.chains),
            )
            plan = shared.plan(make_plan(trial.graph, target, asked, name))
            portable = emitter == "c"
            model = make_model(plan, name, asked.threads, portable=portable, divide_all=True)
            parts.append(_PlannedTrial(index, trial, plan, model))
        except Exception as error:
            outcomes[index] = error
    _run_parts(parts, _ProgramOptions(target, emitter, guard, tuple(cc)), outcomes)
    return outcomes


def _every_kernel(parts: Sequence[_PlannedTrial]) -> list[Kernel]:
    """The kernels of several trials, each once."""
    kernels = (kernel for part in parts for kernel in plan_kernels(part.plan))
    return [*{kernel.name: kernel for kernel in kernels}.values()]


def _run_parts(
    parts: Sequence[_PlannedTrial],
    program: _ProgramOptions,
    outcomes: list[list[Outputs] | Exception],
) -> None:
    """Run trials in one program. If that fails, run each half, until failing trials are found."""
    if not parts:
        return
    try:
        results = _run_together(parts, program)
    except (EllcError, InternalError) as error:
        if len(parts) == 1:
            outcomes[parts[0].index] = error
            return
        middle = len(parts) // 2
        _run_parts(parts[:middle], program, outcomes)
        _run_parts(parts[middle:], program, outcomes)
        return
    for part, result in zip(parts, results, strict=True):
        outcomes[part.index] = result


def _run_together(
    parts: Sequence[_PlannedTrial], program: _ProgramOptions
) -> list[list[Outputs] | Exception]:
    with temporary_folder("trials") as folder:
        objects = _glue(parts, program, folder)
        if program.emitter == "llvm":
            objects += _kernels(parts, program.target, folder) + _weights(parts, program, folder)
        if any(part.model.threads > 1 for part in parts):
            objects.append(_pool(program, folder))
        cases = [part.case(program) for part in parts]
        runner = emulate.build_runner(
            program.target, objects, cases, folder, guard=program.guard, cc=program.cc
        )
        requests = [_requests(case, part) for case, part in enumerate(parts)]
        answers = iter(emulate.run_cases(runner, [r for group in requests for r in group]))
    return [
        _decoded_calls(part, [next(answers) for _ in group])
        for part, group in zip(parts, requests, strict=True)
    ]


def _glue(parts: Sequence[_PlannedTrial], program: _ProgramOptions, folder: Path) -> list[Path]:
    """The objects of the API functions of all trials; with the C emitter, also of the kernels."""
    size = len(parts)
    if program.emitter == "c":
        size = min(C_FILE_PARTS, -(-size // usable_cores()))
    sources = [
        _source(parts[start : start + size], program, folder / f"part{start}.c")
        for start in range(0, len(parts), size)
    ]
    with ThreadPoolExecutor(usable_cores()) as executor:
        return list(executor.map(lambda source: _compiled(source, program), sources))


def _source(parts: Sequence[_PlannedTrial], program: _ProgramOptions, path: Path) -> Path:
    """Write one C file with several models. Their kernels share helper functions."""
    text: list[str] = []
    if program.emitter == "c":
        text.append(c_kernels(_every_kernel(parts), program.target))
    for part in parts:
        header = path.parent / f"{part.model.name}.h"
        header.write_text(header_text(part.model, "test"), encoding="utf-8")
        preamble = c_constants(part.model) if program.emitter == "c" else None
        text.append(source_text(part.model, "test", preamble))
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def _compiled(source: Path, program: _ProgramOptions) -> Path:
    out = source.with_suffix(".o")
    # -O0 compiles in a quarter of the time and does not change results. Without -mcpu, wide vectors
    # would take ten times as long to compile.
    extra = ["-O0"]
    if program.emitter == "c" and not program.cc:
        extra.append(f"-mcpu={program.target.zig_cpu}")
    include = (source.parent, runtime_dir())
    compile_c(source, program.target, include, out, Tools(cc=program.cc), extra)
    return out


def _pool(program: _ProgramOptions, folder: Path) -> Path:
    out = folder / "ellc_pool.o"
    (data,) = compile_runtime(["ellc_pool.c"], program.target, tools=Tools(cc=program.cc))
    out.write_bytes(data)
    return out


def _kernels(parts: Sequence[_PlannedTrial], target: Target, folder: Path) -> list[Path]:
    objects = [compiled.data for compiled in compile_kernels(_every_kernel(parts), target)]
    if target.object_format == "elf":
        require_no_calls(objects, target)
    paths = [folder / f"kernels{index}.o" for index in range(len(objects))]
    for path, data in zip(paths, objects, strict=True):
        path.write_bytes(data)
    return paths


def of_libraries(names: Iterable[str], target: Target) -> set[str]:
    """The functions that code for a target must not call.

    Every toolchain for a core without an FPU has `Isa.runtime_functions`.
    """
    allowed = target.isa.runtime_functions if target.calls_runtime else ""
    return {name for name in names if not re.fullmatch(allowed, name)}


def require_no_calls(objects: Sequence[bytes], target: Target) -> None:
    """Raise `InternalError` if kernels call library functions, which the runner would link.

    On cores without an FPU they may call `Isa.runtime_functions`.
    """
    read = [ElfFile(data) for data in objects]
    defined = {symbol.name for file in read for symbol in file.symbols if symbol.is_defined}
    needed = {name for file in read for name in file.undefined} - defined
    if needed := of_libraries(needed, target):
        raise InternalError(f"kernels call library functions: {', '.join(sorted(needed))}")


def _weights(parts: Sequence[_PlannedTrial], program: _ProgramOptions, folder: Path) -> list[Path]:
    constants = {
        part.weights: weight_pieces(part.model.weights, program.target)
        for part in parts
        if part.model.weight_bytes
    }
    if not constants:
        return []
    if program.target.board:
        return [
            _plain(symbol, pieces, program.target, folder) for symbol, pieces in constants.items()
        ]
    out = folder / "weights.o"
    write_guarded(out, constants, program.target, program.guard)
    return [out]


def _plain(symbol: str, pieces: Sequence[Piece], target: Target, folder: Path) -> Path:
    """An object of constants without guard pages, which no small memory has room for."""
    out = folder / f"{symbol}.o"
    write_constants(out, symbol, pieces, target)
    return out


def _requests(case: int, part: _PlannedTrial) -> list[emulate.Request]:
    calls = [_encoded(part, inputs) for inputs in part.trial.calls]
    other = tuple(np.flip(x) for x in part.trial.calls[0])
    return repeated(case, calls, _encoded(part, other))


def _encoded(part: _PlannedTrial, inputs: Sequence[Array]) -> tuple[bytes, ...]:
    types = part.trial.graph.input_types()
    return tuple(to_bytes(x, t) for x, t in zip(inputs, types, strict=True))


def _decoded_calls(
    part: _PlannedTrial, answers: Sequence[tuple[bytes, ...]]
) -> list[Outputs] | Exception:
    types = part.trial.graph.output_types()
    first, steady = first_and_steady(answers, len(part.trial.calls))
    if not steady:
        return InternalError("results depend on what memory held before")
    try:
        return [
            tuple(from_bytes(data, t) for data, t in zip(answer, types, strict=True))
            for answer in first
        ]
    except InternalError as error:
        return error


def to_bytes(array: Array, type_: TensorType) -> bytes:
    """The bytes of a tensor in a caller's buffer. Bits are packed, and booleans are bytes."""
    data = np.asarray(array, dtype=type_.dtype.numpy).reshape(type_.shape)
    return np.asarray(stored_array(data, type_.dtype), order="C").tobytes()


def from_bytes(data: bytes, type_: TensorType) -> Array:
    """The tensor whose bytes are in a caller's buffer.

    Raises `InternalError` if a bit after the last channel is not 0, or if a boolean is neither 0
    nor 1.
    """
    if type_.dtype is DType.BIT:
        channels = type_.shape[-1]
        packed = np.frombuffer(data, np.uint8).reshape(*type_.shape[:-1], bit_bytes(channels))
        bits = np.unpackbits(packed, axis=-1, bitorder="little")
        if bits[..., channels:].any():
            raise InternalError("bits after the last channel are set")
        return bits[..., :channels].astype(bool)
    if type_.dtype is DType.BOOL:
        values = np.frombuffer(data, np.uint8)
        if (values > 1).any():
            raise InternalError("a boolean is neither 0 nor 1")
        return values.astype(bool).reshape(type_.shape)
    return np.frombuffer(data, type_.dtype.numpy).reshape(type_.shape)
