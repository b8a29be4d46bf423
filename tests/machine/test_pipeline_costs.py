"""The table of a core's pipeline agrees with the cycle tool, instruction by instruction."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from instruction_loops import LONG, SHORT, Loop, spelling_of
from listed_loops import listed
from loop_cycles import cycles_of_loops

from ellc.codegen.machine.pipeline import loop_cycles, pipeline_of
from ellc.codegen.machine.resolve import resolve

PI = resolve("pi3_64")
ALONE = {
    "multiply_add": "fmla v{0}.4s, v30.4s, v31.s[1]",
    "half_multiply_add": "fmla v{0}.2s, v30.2s, v31.s[1]",
    "vector_add": "fadd v{0}.4s, v30.4s, v31.4s",
    "vector_multiply": "fmul v{0}.4s, v30.4s, v31.4s",
    "vector_load": "ldr q{0}, [sp]",
    "half_load": "ldr d{0}, [sp]",
    "vector_store": "str q{0}, [sp, #-16]",
    "insert": "ins v{0}.d[1], x9",
}
"""Independent copies, with different results."""
CHAINS = {
    "multiply_add": ("fmla v0.4s, v30.4s, v31.s[1]",),
    "factors": ("fmla v0.4s, v1.4s, v31.s[1]", "fmla v1.4s, v0.4s, v31.s[1]"),
    "vector_add": ("fadd v0.4s, v0.4s, v31.4s",),
    "integer": ("add x9, x9, x10",),
    "multiply": ("mul x9, x9, x10",),
    "load, insertion, product": (
        "ldr x9, [sp]",
        "ins v1.d[1], x9",
        "fmla v0.4s, v1.4s, v31.s[1]",
    ),
    "product, sum": ("fmla v0.4s, v30.4s, v31.s[1]", "fadd v0.4s, v0.4s, v30.4s"),
}
PAIRS = {
    "product, load": ("fmla v0.4s, v30.4s, v31.s[1]", "ldr x9, [sp]"),
    "product, integer": ("fmla v0.4s, v30.4s, v31.s[1]", "add x9, x10, x11"),
    "insertion, load of a half": ("ins v1.d[1], x9", "ldr d2, [sp]"),
    "load of a half, load": ("ldr d1, [sp]", "ldr x9, [sp]"),
    "integers": ("add x9, x10, x11", "add x12, x10, x11"),
    "four products and a load": (
        *(f"fmla v{n}.4s, v30.4s, v31.s[1]" for n in range(4)),
        "ldr q8, [sp]",
    ),
}


def loops() -> Iterator[Loop]:
    for name, text in ALONE.items():
        yield Loop(f"alone_{name}", tuple(text.format(n) for n in range(8)))
    for kind, bodies in (("chain", CHAINS), ("pair", PAIRS)):
        for name, body in bodies.items():
            yield Loop(f"{kind}_{name}".replace(", ", "_").replace(" ", "_"), body)


def predicted(loop: Loop) -> float:
    """The cycles of an instruction by ellc's model, as `cycles_of_loops` counts them."""
    rows = pipeline_of(PI)
    assert rows is not None
    lengths = []
    for length in (SHORT, LONG):
        lines = [*islice(cycle(loop.body), length), "subs x0, x0, #1", "b.ne 1b"]
        lengths.append(loop_cycles([op for line in lines for op in listed(line)], rows))
    return (lengths[1] - lengths[0]) / (LONG - SHORT)


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_instructions_take_the_cycles_that_the_tool_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loop_cycles.TRIPS", 20)
    every = list(loops())
    counted = cycles_of_loops(PI, spelling_of(PI), every)
    different = {
        loop.name: (predicted(loop), counted[loop.name])
        for loop in every
        if abs(predicted(loop) - counted[loop.name]) > 0.05
    }
    assert not different
