"""Loops in assembly that show what an instruction takes: `instruction_costs.py` measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.cost import Companion
from ellc.codegen.machine.target import Target

SHORT, LONG = 48, 144
"""The numbers of instructions in the bodies of two loops. In the difference of their cycles, the
cost of the loop itself cancels."""


@dataclass(frozen=True)
class Loop:
    """Instructions that are repeated to make loop bodies of `SHORT` and of `LONG` instructions."""

    name: str
    body: tuple[str, ...]

    def functions(self, spelling: Spelling) -> Iterator[tuple[str, str]]:
        """(name, assembly) of two functions. The argument of a function is the number of trips."""
        for length in (SHORT, LONG):
            name = f"{self.name}_{length}"
            body = "\n".join(islice(cycle(self.body), length))
            yield name, spelling.function.format(name=name, body=body)


@dataclass(frozen=True)
class Spelling:
    """The assembly of one state of a core.

    `register` names the register of a number and a type. Numbers below `results(type)` are for
    results of that type, those from `operands` on are for operands that are only read.
    """

    function: str
    register: Callable[[int, VType], str]
    results: Callable[[VType], int]
    operands: int
    companions: Mapping[Companion, tuple[str, ...]]

    def loops(self, row: Instruction, asm: str) -> Iterator[tuple[str, Loop]]:
        """Pairs (what it shows, loop): `once`, a chain for each operand, `with` each companion."""
        copies = [self._text(row, asm, n) for n in range(self.results(row.gives))]
        yield "once", Loop(f"{row.name}_once", tuple(copies))
        for operand in range(len(row.takes)):
            if _heads_a_list(asm, operand) or f"{{{operand}}}" not in asm:
                chained = self._text(row, asm, 0, operand)
                yield f"chain{operand}", Loop(f"{row.name}_chain{operand}", (chained,))
        for kind, others in self.companions.items():
            turns = zip(copies, cycle(others), strict=False)
            body = tuple(line for pair in turns for line in pair)
            yield f"with {kind}", Loop(f"{row.name}_with_{kind}", body)

    def _text(self, row: Instruction, asm: str, result: int, chained: int | None = None) -> str:
        """One instruction; registers from operand `chained` on begin with that of the result."""
        operands = []
        for index, type_ in enumerate(row.takes):
            after = chained is not None and index >= chained
            number = result + index - (chained or 0) if after else self.operands + index
            operands.append(self.register(number, type_))
        return asm.format(*operands, r=self.register(result, row.gives))


def _heads_a_list(asm: str, operand: int) -> bool:
    """Whether an operand is the first register of a list, or in none.

    A chain can go only through such an operand: the other registers of a list follow the first.
    """
    before = asm.split(f"{{{operand}}}")[0]
    return "{{" not in before or "}}" in before or before.endswith("{{")


def _aarch64_register(number: int, type_: VType) -> str:
    return f"v{number if number < 8 else number + 8}"


def _arm_register(number: int, type_: VType) -> str:
    quad = number if number < 4 else number + 4
    return f"q{quad}" if type_.elem.bytes * type_.lanes == 16 else f"d{2 * quad}"


def _thumb_register(number: int, type_: VType) -> str:
    """A register of 32 bits, or two of them; `r1` and the next ones are only read."""
    if type_.elem.bytes * type_.lanes == 8:
        return f"r{4 + 2 * number}, r{5 + 2 * number}"
    return f"r{4 + number}" if number < 6 else f"r{number - 5}"


def _x86_register(number: int, type_: VType) -> str:
    return {16: "x", 32: "y", 64: "z"}[type_.elem.bytes * type_.lanes] + f"mm{number}"


_A64_LOOP = "{name}:\n1:\n{body}\nsubs x0, x0, #1\nb.ne 1b\nret"
_A32_LOOP = "{name}:\n1:\n{body}\nsubs r0, r0, #1\nbne 1b\nbx lr"
_T32_LOOP = (
    ".thumb_func\n{name}:\npush {{r4-r11}}\n1:\n{body}\nsubs.w r0, r0, #1\nbne.w 1b\n"
    "pop {{r4-r11}}\nbx lr"
)
_X86_LOOP = "{name}:\n{name}_next:\n{body}\ndec rdi\njnz {name}_next\nret"

_A64 = Spelling(
    _A64_LOOP,
    _aarch64_register,
    lambda type_: 12,
    12,
    {
        "integer": tuple(f"add x{n}, x14, x15" for n in (9, 10, 11, 12)),
        "load": tuple(f"ldr x{n}, [sp]" for n in (9, 10, 11, 12)),
        "vector_load": ("ldr d28, [sp]", "ldr d29, [sp]"),
        "vector": ("add v28.2s, v30.2s, v31.2s", "add v29.2s, v30.2s, v31.2s"),
    },
)
_A32 = Spelling(
    _A32_LOOP,
    _arm_register,
    lambda type_: 8,
    8,
    {
        "integer": ("add r1, r3, r3", "add r2, r3, r3"),
        "load": ("ldr r1, [sp]", "ldr r2, [sp]"),
        "vector_load": ("vldr d30, [sp]", "vldr d31, [sp]"),
        "vector": ("vadd.i32 d30, d28, d29", "vadd.i32 d31, d28, d29"),
    },
)
_T32 = Spelling(
    _T32_LOOP,
    _thumb_register,
    lambda type_: 3 if type_.elem.bytes == 8 else 6,
    6,
    {
        "integer": ("add.w r10, r1, r2", "add.w r11, r1, r2"),
        "load": ("ldr.w r10, [sp]", "ldr.w r11, [sp]"),
    },
)
_X86 = Spelling(_X86_LOOP, _x86_register, lambda type_: 12, 12, {})


def spelling_of(target: Target) -> Spelling:
    """The assembly of a target's state."""
    if target.is_thumb:
        return _T32
    return {"aarch64": _A64, "arm": _A32, "x86_64": _X86}[target.arch]
