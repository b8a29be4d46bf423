"""Kernels with data: run by the interpreter, and compiled by either emitter for any target.

All cases of one target and emitter go into one program, so a thousand kernels cost one link and one
start of the emulator.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.interp import run
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.emulate import Case, PortMemory, Request, build_runner, run_cases
from ellc.codegen.toolchain.llvm import IrJob, LlvmPool
from ellc.ir.types import Array

C_FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g0")


@dataclass(frozen=True)
class KernelCase:
    """A kernel, the arrays its parameters point at, and the range it runs."""

    kernel: Kernel
    arrays: Mapping[str, Array]
    end: int
    begin: int = 0

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the parameters that are written, in order."""
        return tuple(p.name for p in self.kernel.params if p.writable)

    @cached_property
    def interpreted(self) -> dict[str, Array]:
        """The written arrays as the interpreter leaves them."""
        arrays = {name: array.copy() for name, array in self.arrays.items()}
        run(self.kernel, arrays, self.begin, self.end)
        return {name: arrays[name] for name in self.outputs}


Build = Callable[[Sequence[KernelCase], Target, Path], list[Path]]


def wrappers(cases: Sequence[KernelCase], *, declare: bool) -> str:
    """C functions of the runner's interface that copy the initial outputs and call the kernels."""
    lines = ["#include <stddef.h>", "#include <string.h>"]
    for case in cases:
        name, params = case.kernel.name, case.kernel.params
        if declare:
            lines.append(f"extern void {name}({', '.join(['void *'] * len(params))}, long, long);")
        lines += [
            f"int run_{name}(void *arena, const void *const *in, void *const *out);",
            f"int run_{name}(void *arena, const void *const *in, void *const *out) {{",
            "    (void)arena; (void)in; (void)out;",
        ]
        arguments = []
        for i, param in enumerate(params):
            if param.writable:
                place = f"out[{case.outputs.index(param.name)}]"
                lines.append(f"    memcpy({place}, in[{i}], {case.arrays[param.name].nbytes});")
                arguments.append(place)
            else:
                arguments.append(f"(void *)in[{i}]" if declare else f"in[{i}]")
        lines.append(f"    {name}({', '.join([*arguments, str(case.begin), str(case.end)])});")
        lines += ["    return 0;", "}"]
    return "\n".join(lines) + "\n"


def by_llvm(pool: LlvmPool, modules: int = 8, written_for: Target | None = None) -> Build:
    """Kernels through LLVM IR, spread over a few modules that compile in parallel.

    `written_for` decides which operations the IR takes for granted, if not the target itself.
    """

    def build(cases: Sequence[KernelCase], target: Target, folder: Path) -> list[Path]:
        parts = [[c.kernel for c in cases[i::modules]] for i in range(modules)]
        jobs = [
            IrJob(f"part{i}", llvm_module(p, written_for or target))
            for i, p in enumerate(parts)
            if p
        ]
        objects = []
        for i, data in enumerate(pool.compile(jobs, target)):
            objects.append(folder / f"kernels{i}.o")
            objects[-1].write_bytes(data)
        source = folder / "wrappers.c"
        source.write_text(wrappers(cases, declare=True))
        return [*objects, zig_object(source, target, ("-std=c99", "-g0", "-O1"))]

    return build


def by_zig(cases: Sequence[KernelCase], target: Target, folder: Path) -> list[Path]:
    """Kernels through C, compiled by zig with undefined behaviour trapped.

    Unoptimised, which takes 40 % of the time: traps are the same, and optimised C is GCC's part.
    """
    source = c_source(cases, target, folder)
    checks = ("-fsanitize=undefined", "-fno-sanitize=function", "-fsanitize-trap=undefined")
    return [zig_object(source, target, (*C_FLAGS, "-O0", *checks))]


def by_gcc(*flags: str) -> Build:
    """Kernels through C, compiled by the machine's own gcc."""

    def build(cases: Sequence[KernelCase], target: Target, folder: Path) -> list[Path]:
        source, compiled = c_source(cases, target, folder), folder / "kernels.o"
        words = ["gcc", *C_FLAGS, *flags, "-c", str(source), "-o", str(compiled)]
        subprocess.run(words, check=True, capture_output=True, text=True)
        return [compiled]

    return build


def c_source(cases: Sequence[KernelCase], target: Target, folder: Path) -> Path:
    """One C file with all kernels and their wrappers."""
    source = folder / "kernels.c"
    kernels = c_kernels([c.kernel for c in cases], target)
    source.write_text(kernels + wrappers(cases, declare=False))
    return source


def zig_object(source: Path, target: Target, flags: Sequence[str]) -> Path:
    """Compile for the target's static programs."""
    compiled = source.with_suffix(".o")
    words = ["cc", "-target", target.musl_target, f"-mcpu={target.musl_cpu}", *flags]
    zig.run([*words, "-c", source, "-o", compiled], what=f"compiling {source.name}")
    return compiled


def compiled_results(
    cases: Sequence[KernelCase], target: Target, build: Build, folder: Path
) -> list[dict[str, Array]]:
    """The written arrays of every case as compiled code leaves them."""
    rows = []
    for case in cases:
        inputs = tuple(
            PortMemory(case.arrays[p.name].nbytes, p.align_bytes) for p in case.kernel.params
        )
        writable = [p for p in case.kernel.params if p.writable]
        outputs = tuple(PortMemory(case.arrays[p.name].nbytes, p.align_bytes) for p in writable)
        rows.append(Case(f"run_{case.kernel.name}", inputs, outputs))
    runner = build_runner(target, build(cases, target, folder), rows, folder)
    requests = [
        Request(i, tuple(case.arrays[p.name].tobytes() for p in case.kernel.params))
        for i, case in enumerate(cases)
    ]
    answers = run_cases(runner, requests)
    return [
        {
            name: np.frombuffer(data, case.arrays[name].dtype)
            for name, data in zip(case.outputs, answer, strict=True)
        }
        for case, answer in zip(cases, answers, strict=True)
    ]
