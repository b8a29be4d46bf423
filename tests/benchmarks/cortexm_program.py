"""Build a plan as a program without an operating system, and model its cycles on a Cortex-M.

The variable `ELLC_CORTEXM_TOOL` names a program, or the folder that contains it as `cortexm.py`. It
is called as `cortexm.py --core CORE --board BOARD --hint --json FILE PROGRAM`. It executes PROGRAM
and counts cycles between pairs of the markers in `cmroi.h`, which lies beside it; FILE gets the
list `parts` with [cycles, instructions] of each pair. `support/` beside it has the start-up file
`start.S` and a linker script for each core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from loop_cycles import cortex_m_tool

from ellc.codegen.measure.instrument import model_objects, ticking_model
from ellc.codegen.output.model import Model
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.ir.interp import evaluate
from ellc.ir.types import Array, TensorType
from ellc.ir.work_folders import temporary_folder


@dataclass(frozen=True)
class Measured:
    """One call of a network, the first one: cycles in all, and of each step of the plan.

    `equal` says whether all outputs are equal to the reference. `code_bytes` is the size of all
    code, and `blocks` the tool's list of the blocks of instructions that take most cycles.
    """

    plan: Plan
    cycles: float
    by_step: tuple[float, ...]
    equal: bool
    code_bytes: int
    blocks: str


def measured(plan: Plan, board: str = "zero", blocks: int = 0) -> Measured:
    """Build and run the plan, whose kernels have the prefix `net`. Exits if the tool fails."""
    model = ticking_model(plan, "net")
    inputs = tuple(_noise(plan.graph.types[port.value]) for port in plan.graph.inputs)
    with temporary_folder("cortexm") as folder:
        program = _built(plan, model, inputs, folder)
        words = ["--core", plan.target.core.name.removeprefix("cortex-"), "--board", board]
        words += ["--hint", "--top-blocks", str(blocks), "--top-functions", "0"]
        document, printed, report = _run(words, program, folder)
        code = _code_bytes(program)
    parts = [float(cycles) for cycles, _ in document["parts"]]
    expected = evaluate(plan.graph, inputs).outputs
    found = [line.split(" ", 1)[1] for line in printed.splitlines() if line.startswith("output ")]
    equal = found == [np.asarray(x, order="C").tobytes().hex() for x in expected]
    listed = report[max(0, report.find("\n  block ")) :] if blocks else ""
    return Measured(plan, sum(parts), _by_step(model, parts), equal, code, listed)


def _noise(type_: TensorType) -> Array:
    """Seeded values of a type: floats from 0 to 1, integers of all sizes."""
    rng = np.random.default_rng(0)
    if type_.dtype.numpy.kind == "f":
        return rng.random(type_.shape).astype(type_.dtype.numpy)
    info = np.iinfo(type_.dtype.numpy)
    return rng.integers(info.min, info.max + 1, type_.shape).astype(type_.dtype.numpy)


def _by_step(model: Model, parts: Sequence[float]) -> tuple[float, ...]:
    """The cycles of the steps. The model has a tick before all steps, and one after each."""
    cycles = [0.0] * ((len(model.steps) - 1) // 2)
    for index, part in zip(_step_order(model), parts, strict=False):
        cycles[index] += part
    return tuple(cycles)


def _step_order(model: Model) -> Iterator[int]:
    """The indices of the plan's steps in the order in which they run."""
    for segment in model.segments:
        for _ in range(segment.trips or 1):
            for position in range(segment.first, segment.first + len(segment.calls)):
                if position % 2:
                    yield position // 2


def _built(plan: Plan, model: Model, inputs: Sequence[Array], folder: Path) -> Path:
    target, tool = plan.target, cortex_m_tool()
    source, program = folder / "main.c", folder / "program.elf"
    source.write_text(_source(model, inputs), encoding="utf-8")
    core = target.core.name.removeprefix("cortex-")
    words = ["cc", "-target", "thumb-freestanding-eabihf", f"-mcpu={target.zig_cpu}", "-O2"]
    words += ["-nostdlib", "-Wl,--gc-sections", f"-I{tool.parent}"]
    words += ["-T", str(tool.parent / "support" / f"{core}.ld")]
    files = [tool.parent / "support" / "start.S", source, *model_objects(plan, model, folder)]
    zig.run([*words, *files, "-o", program], what=f"building a program for {target.name}")
    return program


def _source(model: Model, inputs: Sequence[Array]) -> str:
    """The program: it calls the network once between markers, and prints the outputs."""
    arrays = [f"static uint8_t arena[{model.arena_bytes + 64}] __attribute__((aligned(64)));"]
    for index, array in enumerate(inputs):
        values = ",".join(map(str, array.tobytes()))
        arrays.append(f"static uint8_t in{index}[] __attribute__((aligned(64))) = {{{values}}};")
    for index, port in enumerate(model.outputs):
        arrays.append(f"static uint8_t out{index}[{port.bytes}] __attribute__((aligned(64)));")
    shown = "".join(f"    show(out{i}, {p.bytes}u);\n" for i, p in enumerate(model.outputs[:-1]))
    return _PROGRAM.format(
        arrays="\n".join(arrays),
        inputs=",".join(f"in{i}" for i in range(len(inputs))),
        outputs=",".join(f"out{i}" for i in range(len(model.outputs))),
        arena_bytes=model.arena_bytes,
        shown=shown,
    )


_PROGRAM = """
#include <stddef.h>
#include <stdint.h>
#include "cmroi.h"

extern int net_init(void *, void *, size_t);
extern int net_predict_v(void *, const void *const *, void *const *);
extern void cm_write(const char *);
{arrays}
static uint64_t instance[128];
static const void *const ins[] = {{ {inputs} }};
static void *const outs[] = {{ {outputs} }};

/* Each step is a region of its own; the last region ends in main. */
void ellc_tick(void *times, ptrdiff_t begin, ptrdiff_t step)
{{
    (void)times;
    (void)begin;
    if (step)
        CM_END();
    CM_BEGIN();
}}

/* The linker may need these for structures and large arrays. */
void *memcpy(void *to, const void *from, size_t n)
{{
    for (size_t i = 0; i < n; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}}
void *memset(void *to, int value, size_t n)
{{
    for (size_t i = 0; i < n; i++)
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    return to;
}}

static void show(const uint8_t *data, size_t n)
{{
    cm_write("output ");
    for (size_t i = 0; i < n; i++) {{
        char text[3] = {{ "0123456789abcdef"[data[i] >> 4], "0123456789abcdef"[data[i] & 15], 0 }};
        cm_write(text);
    }}
    cm_write("\\n");
}}

int main(void)
{{
    if (net_init(instance, arena, {arena_bytes}u))
        return 1;
    int failed = net_predict_v(instance, ins, outs);
    CM_END();
{shown}    return failed;
}}
"""


def _run(
    options: Sequence[str], program: Path, folder: Path
) -> tuple[dict[str, list[list[float]]], str, str]:
    """(the tool's document, what the program printed, the tool's report)."""
    tool, answer = cortex_m_tool(), folder / "answer.json"
    words = [sys.executable, str(tool), "--json", str(answer), *options, str(program)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    if ran.returncode:
        sys.exit(f"{tool} failed:\n{ran.stderr[-2000:]}")
    return json.loads(answer.read_text(encoding="utf-8")), ran.stderr, ran.stdout


def _code_bytes(program: Path) -> int:
    """The size of the program's section of code."""
    elf = ElfFile(program.read_bytes())
    return sum(s.size for s in elf.sections if s.name == ".text")
