"""Functions that no scheduler writes, but that the assembler accepts: none is proved.

They may come from a file of kept schedules that somebody has changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
from kernel_samples import moving
from proved_nests import Case, translated
from tiles import Tile

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.in_order.code import Unsupported
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import For, Imm, Kernel
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.resolve import resolve

PI, PI_32, A55 = resolve("pi3_64"), resolve("pi3"), resolve("imx93")
Forge = Callable[[list[str]], list[str]]


def rows_below_the_end() -> Kernel:
    """A loop whose number of trips is not known, and may be 0, in a loop of four trips."""
    b = KernelBuilder("triangle")
    x, y = b.param("x", Elem.F32), b.param("y", Elem.F32, writable=True)
    zero, six = (Imm(number, VType(Elem.F32, 4)) for number in (0.0, 6.0))
    with b.loop("i", b.begin, b.end) as rows, b.loop("k", 0, 4) as parts:
        with b.loop("j", 0, b.end, carry=[zero]) as columns:
            value = b.load(x, b.mul(columns.index, 4), 4)
            columns.carry([b.mul_add(value, value, columns.carried[0])])
        place = b.add(b.mul(rows.index, 16), b.mul(parts.index, 4))
        b.store(b.min(columns.results[0], six), y, place)
    return b.finish()


@functools.cache
def case(name: str) -> Case:
    match name:
        case "tile":
            return translated(Tile(8, 2).kernel(), PI)
        case "tile, 32 bits":
            return translated(Tile(4, 2).kernel(), PI_32)
        case "moving sums, 32 bits":
            return translated(moving(), PI_32)
        case "triangle":
            return translated(rows_below_the_end(), PI)
        case "triangle, A55":
            return translated(rows_below_the_end(), A55)
    return translated(rows_below_the_end(), PI_32)


def swapped(old: str, new: str) -> Forge:
    """Replace a line that occurs by another one, everywhere."""

    def forge(lines: list[str]) -> list[str]:
        assert old in lines, old
        return [new if line == old else line for line in lines]

    return forge


def before(mark: str, *new: str) -> Forge:
    """Insert lines before the first one that begins with `mark`."""

    def forge(lines: list[str]) -> list[str]:
        at = next(i for i, line in enumerate(lines) if line.startswith(mark))
        return [*lines[:at], *new, *lines[at:]]

    return forge


def compared_early(lines: list[str]) -> list[str]:
    """Move the comparison of the innermost loop's bounds out of the loop around it."""
    inner = next(i for i, line in enumerate(lines) if "ge" in line and line.endswith(".Ldone3"))
    compare = next(i for i in range(inner, 0, -1) if lines[i].startswith("cmp"))
    around, index = lines.index(".Lloop2:"), lines[compare].split()[1].rstrip(",")
    zero = next(line for line in lines if line.startswith("mov") and f" {index}, #0" in line)
    kept = [line for i, line in enumerate(lines) if i != compare]
    return [*kept[:around], zero, lines[compare], *kept[around:]]


FORGED: dict[str, tuple[str, Forge]] = {
    "a shift by a register": ("moving sums, 32 bits", swapped("lsl r8, r1, #7", "lsl r8, r1, r7")),
    "a register as a number": ("triangle, 32 bits", lambda lines: [*map(_as_register, lines)]),
    "bytes in all lanes": ("triangle", lambda lines: [x.replace("4s, w", "16b, w") for x in lines]),
    "halves instead of floats": (
        "triangle, A55",
        lambda lines: [x.replace("4s", "8h") if x.startswith("fmla") else x for x in lines],
    ),
    "flags of the trip before": ("triangle", compared_early),
    "flags of the trip before, 32 bits": ("triangle, 32 bits", compared_early),
    "a load from far away": ("tile", before(".Lloop2", "ldr q31, [x2, #65520]")),
    "a load from far away, 32 bits": ("tile, 32 bits", before(".Lloop2", "vldr d16, [r1, #1020]")),
    "a load of a loop without trips": ("triangle", before("movi", "ldr q31, [x2, #0]")),
    "a load behind the rows of a product": (
        "tile",
        lambda lines: before("subs", _further(lines))(lines),
    ),
}


def _as_register(line: str) -> str:
    """`vmov.f32 q0, q6` instead of a vector of sixes."""
    return line.replace("#6.0", "q6") if line.startswith("vmov.f32") else line


def _further(lines: list[str]) -> str:
    """A load that is in a product loop, four trips further on."""
    start, end = lines.index(".p2align 4"), next(i for i, x in enumerate(lines) if "subs" in x)
    load = next(x for x in lines[start:end] if x.startswith("ldr d"))
    head, _, far = load.removesuffix("]").rpartition("#")
    return f"{head}#{int(far) + 64}]"


def products_by_four_bytes(first: int) -> Kernel:
    """A loop of dot products of bytes by four bytes of the image, from `first` on."""
    b = KernelBuilder("dots")
    x, w = b.param("x", Elem.I8), b.param("w", Elem.I8)
    y = b.param("y", Elem.I32, writable=True)
    with b.loop("i", b.begin, b.end) as rows:
        at = b.mul(rows.index, 64)
        with b.loop("k", 0, 64, 16, carry=[b.const(0, VType(Elem.I32, 4))]) as loop:
            image, weights = b.load(x, b.add(at, loop.index), 16), b.load(w, loop.index, 16)
            four = b.op("repeat", b.part(image, first, 4), attrs=(4,))
            loop.carry([b.op(SIGNED_DOT, loop.carried[0], weights, four)])
        b.store(loop.results[0], y, b.mul(rows.index, 4))
    return b.finish()


def test_dot_products_by_bytes_of_two_words_are_refused() -> None:
    found = translated(products_by_four_bytes(4), A55)
    function = found.translated.function
    assert found.problem(function) == ""
    for first in (5, 6, 7):
        with pytest.raises(Unsupported):
            translated(products_by_four_bytes(first), A55)
        (other,) = products_by_four_bytes(first).body
        assert isinstance(other, For)
        forged = replace(found, nest=replace(found.nest, loop=other))
        assert forged.problem(function)


@pytest.mark.parametrize("what", FORGED)
def test_forged_functions_are_not_proved(what: str) -> None:
    name, forge = FORGED[what]
    found = case(name)
    function = found.translated.function
    assert found.problem(function) == ""
    lines = forge(list(function.lines))
    assert lines != list(function.lines)
    assert found.problem(replace(function, lines=tuple(lines)))
