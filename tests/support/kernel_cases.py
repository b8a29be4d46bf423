"""Kernels with test data, run by the interpreter or compiled by either emitter for any target.

All cases for a target and an emitter are in one program, so that a thousand kernels need only one
link and one start of the emulator.
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
    """A kernel, the arrays to which its parameters point, and the range for which it is called."""

    kernel: Kernel
    arrays: Mapping[str, Array]
    end: int
    begin: int = 0

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the parameters that the kernel writes, in order."""
        return tuple(p.name for p in self.kernel.params if p.writable)

    @cached_property
    def interpreted(self) -> dict[str, Array]:
        """The arrays that the kernel writes, after the interpreter has run it."""
        arrays = {name: array.copy() for name, array in self.arrays.items()}
        run(self.kernel, arrays, self.begin, self.end)
        return {name: arrays[name] for name in self.outputs}


Build = Callable[[Sequence[KernelCase], Target, Path], list[Path]]


def wrappers(cases: Sequence[KernelCase], *, declare: bool) -> str:
    """C functions for the test program; each copies the initial outputs and calls a kernel."""
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
    """Compile kernels with LLVM, in a few modules that are compiled in parallel.

    `written_for` is the target whose operations the IR may use; by default, the compiled one.
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
    """Compile the C code of kernels with zig, with traps for undefined behaviour.

    Without optimisation, this takes 40 % of the time and has the same traps. `by_gcc` compiles with
    optimisation.
    """
    source = c_source(cases, target, folder)
    checks = ("-fsanitize=undefined", "-fno-sanitize=function", "-fsanitize-trap=undefined")
    return [zig_object(source, target, (*C_FLAGS, "-O0", *checks))]


def by_gcc(*flags: str) -> Build:
    """Compile the C code of kernels with the gcc of this machine."""

    def build(cases: Sequence[KernelCase], target: Target, folder: Path) -> list[Path]:
        source, compiled = c_source(cases, target, folder), folder / "kernels.o"
        words = ["gcc", *C_FLAGS, *flags, "-c", str(source), "-o", str(compiled)]
        subprocess.run(words, check=True, capture_output=True, text=True)
        return [compiled]

    return build


def c_source(cases: Sequence[KernelCase], target: Target, folder: Path) -> Path:
    """A C file with all kernels and their wrappers."""
    source = folder / "kernels.c"
    kernels = c_kernels([c.kernel for c in cases], target)
    source.write_text(kernels + wrappers(cases, declare=False))
    return source


def zig_object(source: Path, target: Target, flags: Sequence[str]) -> Path:
    """Compile a C file to an object for a static program of the target."""
    compiled = source.with_suffix(".o")
    words = ["cc", "-target", target.musl_target, f"-mcpu={target.musl_cpu}", *flags]
    zig.run([*words, "-c", source, "-o", compiled], what=f"compiling {source.name}")
    return compiled


def compiled_results(
    cases: Sequence[KernelCase], target: Target, build: Build, folder: Path
) -> list[dict[str, Array]]:
    """The arrays that the kernel of every case writes, after compiled code has run it."""
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
