"""Compile many graphs into one program and run them all: cheap tests of every operator.

The program is that of `toolchain.emulate`: one process, each buffer between guard pages and aligned
to no more than promised. Calls are repeated in memory full of junk and after a reset, and must give
the same bytes (`toolchain.repeats`). It runs here or, for a foreign target, under an emulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ellc.codegen.blocks.access import bit_bytes
from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.machine.target import Target
from ellc.codegen.output.c_package import c_constants
from ellc.codegen.output.emit import kernel_jobs, plan_kernels, weight_pieces
from ellc.codegen.output.glue import Model, header_text, make_model, source_text
from ellc.codegen.output.runtime import compile_runtime, runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.sharing import SharedKernels
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.compile_c import compile_c
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.guarded_constants import guard_symbols, write_guarded
from ellc.codegen.toolchain.link import Tools
from ellc.codegen.toolchain.llvm import LlvmPool, usable_cores
from ellc.codegen.toolchain.repeats import first_and_steady, repeated
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import Graph
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.work_folders import temporary_folder

C_FILE_PARTS = 20
"""Models in one C file: fewer compilers to start, still enough files for every core."""

Emitter = Literal["llvm", "c"]
Outputs = tuple[Array, ...]


@dataclass(frozen=True)
class Trial:
    """A graph that has been through the passes, and the inputs of one or more calls in a row.

    State is carried from call to call and is as after a reset in the first. `kernels` are taken in
    place of the cheapest; see `Options`. `threads`, unless 0, replaces that of the options.
    """

    graph: Graph
    calls: tuple[tuple[Array, ...], ...]
    kernels: tuple[tuple[str, str], ...] = ()
    threads: int = 0


def rivals(trial: Trial, target: Target) -> list[Trial]:
    """The same with each family that the planner does not take, one at a time."""
    plan = make_plan(trial.graph, target, Options(), "rivals")
    return [
        replace(trial, kernels=((step.values[0], other),))
        for step in plan.steps
        for other in dict.fromkeys(p.kernel for p in step.predictions)
        if other != step.predictions[0].kernel
    ]


@dataclass(frozen=True)
class _Making:
    """How a program of trials is made; see `run_trials`."""

    target: Target
    emitter: Emitter
    guard: emulate.Guard
    cc: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """A trial that could be planned."""

    index: int
    trial: Trial
    plan: Plan
    model: Model

    @property
    def weights(self) -> str:
        """The symbol of its constants, where they are an object of their own."""
        return f"{self.model.name}_weights"

    def case(self, made: _Making) -> emulate.Case:
        """What the runner calls."""
        has_weights = made.emitter == "llvm" and self.model.weight_bytes > 0
        return emulate.Case(
            self.model.name,
            tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in self.model.inputs),
            tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in self.model.outputs),
            self.model.arena_bytes,
            is_model=True,
            threads=self.model.threads if self.model.threads > 1 else 0,
            guards=guard_symbols(self.weights) if has_weights else (),
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
    """Compile and run all trials; for each the outputs of its calls, or what went wrong with it.

    With `options.threads` above 1 every call runs on that many threads. Kernels that several trials
    have in common are compiled once. `guard` says which end of every buffer and of each trial's
    constants lies at a page that may not be touched. `cc`, words that start a C compiler of this
    machine, takes the place of the built-in one for everything in C, so that it can be one with a
    sanitizer.

    A trial whose operators have no kernel, whose code does not compile, crashes, writes where it
    must not or whose results depend on what memory held gets an `EllcError` or `InternalError` and
    does not spoil the others.
    """
    chosen, shared = options or Options(), SharedKernels()
    found: list[list[Outputs] | Exception] = [InternalError("did not run")] * len(trials)
    parts: list[_Part] = []
    for index, trial in enumerate(trials):
        name = f"t{index}"
        try:
            kernels = (*chosen.kernels, *trial.kernels)
            asked = replace(chosen, kernels=kernels, threads=trial.threads or chosen.threads)
            plan = shared.plan(make_plan(trial.graph, target, asked, name))
            model = make_model(plan, name, asked.threads, portable=emitter == "c")
            parts.append(_Part(index, trial, plan, model))
        except Exception as error:
            found[index] = error
    _run_parts(parts, _Making(target, emitter, guard, tuple(cc)), found)
    return found


def _every_kernel(parts: Sequence[_Part]) -> list[Kernel]:
    """Each kernel of some parts once."""
    kernels = (kernel for part in parts for kernel in plan_kernels(part.plan))
    return [*{kernel.name: kernel for kernel in kernels}.values()]


def _run_parts(
    parts: Sequence[_Part],
    made: _Making,
    found: list[list[Outputs] | Exception],
) -> None:
    """Run parts together; when that fails, halves of them, until it is known which one it was."""
    if not parts:
        return
    try:
        results = _run_together(parts, made)
    except (EllcError, InternalError) as error:
        if len(parts) == 1:
            found[parts[0].index] = error
            return
        middle = len(parts) // 2
        _run_parts(parts[:middle], made, found)
        _run_parts(parts[middle:], made, found)
        return
    for part, result in zip(parts, results, strict=True):
        found[part.index] = result


def _run_together(parts: Sequence[_Part], made: _Making) -> list[list[Outputs] | Exception]:
    with temporary_folder("trials") as folder:
        objects = _glue(parts, made, folder)
        if made.emitter == "llvm":
            objects += _kernels(parts, made.target, folder) + _weights(parts, made, folder)
        if any(part.model.threads > 1 for part in parts):
            objects.append(_pool(made, folder))
        cases = [part.case(made) for part in parts]
        runner = emulate.build_runner(
            made.target, objects, cases, folder, guard=made.guard, cc=made.cc
        )
        requests = [_requests(place, part) for place, part in enumerate(parts)]
        answers = iter(emulate.run_cases(runner, [r for some in requests for r in some]))
    return [
        _decoded_calls(part, [next(answers) for _ in some])
        for part, some in zip(parts, requests, strict=True)
    ]


def _glue(parts: Sequence[_Part], made: _Making, folder: Path) -> list[Path]:
    """Objects with the API functions of all parts, and for C their kernels."""
    size = C_FILE_PARTS if made.emitter == "c" else len(parts)
    sources = [
        _source(parts[start : start + size], made, folder / f"part{start}.c")
        for start in range(0, len(parts), size)
    ]
    with ThreadPoolExecutor(usable_cores()) as executor:
        return list(executor.map(lambda source: _compiled(source, made), sources))


def _source(parts: Sequence[_Part], made: _Making, path: Path) -> Path:
    """One C file with several models. Their kernels are printed together: they share helpers."""
    text: list[str] = []
    if made.emitter == "c":
        text.append(c_kernels(_every_kernel(parts), made.target))
    for part in parts:
        header = path.parent / f"{part.model.name}.h"
        header.write_text(header_text(part.model, "test"), encoding="utf-8")
        preamble = c_constants(part.model) if made.emitter == "c" else None
        text.append(source_text(part.model, "test", preamble))
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def _compiled(source: Path, made: _Making) -> Path:
    out = source.with_suffix(".o")
    # Results do not depend on it, and it takes a quarter of the time; wide vectors on a CPU that
    # has none take ten times as long.
    extra = ["-O0"]
    if made.emitter == "c" and not made.cc:
        extra.append(f"-mcpu={made.target.zig_cpu}")
    include = (source.parent, runtime_dir())
    compile_c(source, made.target, include, out, Tools(cc=made.cc), extra)
    return out


def _pool(made: _Making, folder: Path) -> Path:
    out = folder / "ellc_pool.o"
    (data,) = compile_runtime(["ellc_pool.c"], made.target, tools=Tools(cc=made.cc))
    out.write_bytes(data)
    return out


def _kernels(parts: Sequence[_Part], target: Target, folder: Path) -> list[Path]:
    kernels = _every_kernel(parts)
    if not kernels:
        return []
    jobs = kernel_jobs(kernels, target)
    with LlvmPool(min(len(jobs), usable_cores())) as pool:
        compiled = pool.compile(jobs, target)
    paths = [folder / f"kernels{index}.o" for index in range(len(compiled))]
    for path, data in zip(paths, compiled, strict=True):
        want_no_calls(data)
        path.write_bytes(data)
    return paths


def want_no_calls(data: bytes) -> None:
    """Raise `InternalError` if kernels need a library, which the runner would link silently."""
    needed = ElfFile(data).undefined
    if needed:
        raise InternalError(f"kernels call {', '.join(sorted(needed))}")


def _weights(parts: Sequence[_Part], made: _Making, folder: Path) -> list[Path]:
    constants = {
        part.weights: weight_pieces(part.model.weights) for part in parts if part.model.weight_bytes
    }
    if not constants:
        return []
    out = folder / "weights.o"
    write_guarded(out, constants, made.target, made.guard)
    return [out]


def _requests(place: int, part: _Part) -> list[emulate.Request]:
    calls = [_encoded(part, inputs) for inputs in part.trial.calls]
    other = tuple(np.flip(x) for x in part.trial.calls[0])
    return repeated(place, calls, _encoded(part, other))


def _encoded(part: _Part, inputs: Sequence[Array]) -> tuple[bytes, ...]:
    types = part.trial.graph.input_types()
    return tuple(to_bytes(x, t) for x, t in zip(inputs, types, strict=True))


def _decoded_calls(part: _Part, answers: Sequence[tuple[bytes, ...]]) -> list[Outputs] | Exception:
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
    """A tensor as it lies in a caller's buffer: signs packed, booleans as bytes."""
    data = np.asarray(array, dtype=type_.dtype.numpy).reshape(type_.shape)
    return np.asarray(stored_array(data, type_.dtype), order="C").tobytes()


def from_bytes(data: bytes, type_: TensorType) -> Array:
    """The tensor in a caller's buffer.

    Raises `InternalError` for bits after the last channel that are not 0, and for booleans that
    are neither 0 nor 1.
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
