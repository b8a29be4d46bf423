"""Cycles of loops in assembly: by a model of the core, or by the clock of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from instruction_loops import LONG, SHORT, Loop, Spelling

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.programs import build_program
from ellc.explain.cycle_tool import MODELLED_CORES, VARIABLE
from ellc.ir.work_folders import temporary_folder

CORTEX_M_VARIABLE = "ELLC_CORTEXM_TOOL"
TRIPS = 100
UNIT = Loop("unit", ("add rax, rcx",))
"""The loop by which cycles of this machine are counted: a chain of integer additions, each of which
takes one cycle."""


def cycles_of_loops(target: Target, spelling: Spelling, loops: Sequence[Loop]) -> dict[str, float]:
    """The cycles per instruction of each loop's body, by the loop's name."""
    if target.is_thumb:
        return _differences(_on_cortex_m(target, spelling, loops), loops)
    if target.core.name in MODELLED_CORES:
        return _differences(_on_linux(target, spelling, loops), loops)
    here = _differences(_here(target, spelling, [*loops, UNIT]), [*loops, UNIT])
    return {name: time / here[UNIT.name] for name, time in here.items()}


def _differences(counted: dict[str, float], loops: Sequence[Loop]) -> dict[str, float]:
    return {
        loop.name: (counted[f"{loop.name}_{LONG}"] - counted[f"{loop.name}_{SHORT}"])
        / ((LONG - SHORT) * TRIPS)
        for loop in loops
    }


def _source(spelling: Spelling, loops: Sequence[Loop], main: str) -> str:
    """A C program with the loops, followed by `main`, whose `{calls}` become a `CALL` of each."""
    functions = [f for loop in loops for f in loop.functions(spelling)]
    lines = []
    for name, assembly in functions:
        start = f".text\n.p2align 6\n.global {name}\n.type {name},%function"
        text = f"{start}\n{assembly}\n.size {name}, .-{name}"
        lines += [f"void {name}(long);", f"__asm__({_quoted(text)});"]
    calls = "\n".join(f"    CALL({name})" for name, _ in functions)
    return "\n".join(lines) + main.replace("{calls}", calls)


def _quoted(text: str) -> str:
    return "\n".join(json.dumps(f"{line}\n") for line in text.splitlines())


_LINUX = """
#define CALL(f) f(trips);
__attribute__((noinline)) static void forward(long trips)
{
{calls}
}
int main(int count, char **words)
{
    (void)count;
    forward((words[1][0] - '0') * TRIPS);
    return 0;
}
"""


def _on_linux(target: Target, spelling: Spelling, loops: Sequence[Loop]) -> dict[str, float]:
    """The cycles of `TRIPS` trips of each loop, by the tool that models Linux programs."""
    tool = _tool(VARIABLE)
    with temporary_folder("costs") as folder:
        options = ["-marm"] if target.arch == "arm" else []
        own = ["-mcpu=cortex_a53"] if target.has_neon else []
        text = _source(spelling, loops, _LINUX)
        program = _linked(target, text, [*options, *own], folder)
        words = ["--roi", "forward", "--diff", "1", "3"]
        return _counted(tool, words, ["--", str(program), "{}"], folder)


def _linked(target: Target, text: str, options: Sequence[str], folder: Path) -> Path:
    """A static program of a C file. The C library is the usual one, whatever the options are."""
    source, compiled, program = (folder / name for name in ("loops.c", "loops.o", "loops"))
    source.write_text(text)
    words = ["cc", "-target", target.musl_target, "-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-g0"]
    words += [f"-mcpu={target.musl_cpu}", f"-DTRIPS={TRIPS}", *options]
    zig.run([*words, "-c", source, "-o", compiled], what="compiling loops")
    build_program(target, [], [compiled], program)
    return program


_BARE = """
#define CALL(f) f(TRIPS);
int main(void)
{
{calls}
    return 0;
}
"""


def _on_cortex_m(target: Target, spelling: Spelling, loops: Sequence[Loop]) -> dict[str, float]:
    """The same for a core without an operating system; its memories take no time."""
    tool = cortex_m_tool()
    core = target.core.name.removeprefix("cortex-")
    support = tool.parent / "support"
    with temporary_folder("costs") as folder:
        source, program = folder / "loops.c", folder / "loops.elf"
        source.write_text(_source(spelling, loops, _BARE))
        words = ["cc", "-target", "thumb-freestanding-eabihf", f"-mcpu={target.zig_cpu}+dsp", "-O2"]
        words += [f"-DTRIPS={TRIPS}", "-nostdlib", "-T", str(support / f"{core}.ld")]
        files = [support / "start.S", source]
        zig.run([*words, *files, "-o", program], what=f"building loops for {target.cpu}")
        return _counted(str(tool), ["--core", core], [str(program)], folder)


def _counted(
    tool: str, options: Sequence[str], program: Sequence[str], folder: Path
) -> dict[str, float]:
    answer = folder / "answer.json"
    words = [sys.executable, tool, "--json", str(answer), *options, *program]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"{tool} failed:\n{ran.stderr[-2000:]}")
    document = json.loads(answer.read_text())
    return {f["name"]: float(f["cycles"]) for f in document["functions"]}


def cortex_m_tool() -> Path:
    """The program of the tool that `ELLC_CORTEXM_TOOL` names; the variable may name its folder."""
    tool = Path(_tool(CORTEX_M_VARIABLE))
    return tool / "cortexm.py" if tool.is_dir() else tool


def _tool(variable: str) -> str:
    tool = os.environ.get(variable, "")
    if not tool:
        sys.exit(f"{variable} is not set: no modelled cycles")
    return tool


_TIMED = """
#include <stdio.h>
#include <stdint.h>
#include <time.h>
static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
typedef struct { const char *name; void (*run)(long); uint64_t least; } loop_t;
#define CALL(f) { #f, f, UINT64_MAX },
static loop_t loops[] = {
{calls}
};
int main(void)
{
    size_t count = sizeof loops / sizeof *loops;
    for (int round = 0; round < 200; round++)
        for (size_t i = 0; i < count; i++) {
            uint64_t start = now();
            loops[i].run(TRIPS * 20);
            uint64_t taken = now() - start;
            if (taken < loops[i].least) loops[i].least = taken;
        }
    for (size_t i = 0; i < count; i++)
        printf("%s %.3f\\n", loops[i].name, (double)loops[i].least / 20);
    return 0;
}
"""


def _here(target: Target, spelling: Spelling, loops: Sequence[Loop]) -> dict[str, float]:
    """The nanoseconds of `TRIPS` trips of each loop on this machine: the least of many runs."""
    with temporary_folder("costs") as folder:
        options = [f"-mcpu={target.zig_cpu}", "-masm=intel"]
        program = _linked(target, _source(spelling, loops, _TIMED), options, folder)
        ran = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    return {name: float(time) for name, time in map(str.split, ran.stdout.splitlines())}
