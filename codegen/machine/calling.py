"""Calling conventions of C for functions in assembly: the first argument, registers to preserve.

Facts from Arm's AAPCS64 and AAPCS32 and from the System V ABI for x86-64; the unwinding directives
are those of GNU as. Unwinding information goes into `.debug_frame`, where debuggers and profilers
find it: `.eh_frame` would take memory on the device, and ARM's own tables would need a library.
Conventions of Windows, macOS and wasm are not here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ellc.codegen.machine.core import Profile
from ellc.ir.errors import InternalError


@dataclass(frozen=True, slots=True)
class Convention(ABC):
    """How a function in assembly is called, and what its prologue and epilogue are."""

    argument: str
    """The register of the first argument, if that is a pointer."""
    preserved: tuple[str, ...]
    """Registers that a function saves before it overwrites them, in the order of saving."""
    file_directives: tuple[str, ...] = ()
    """Directives at the beginning of a source file."""
    align_log2: int = 2
    """Alignment of a function, as a power of two of bytes."""
    type_sign: ClassVar[str] = "%"
    """The character before a symbol's type in directives."""

    @abstractmethod
    def saved_bytes(self, saves: Sequence[str]) -> int:
        """The stack that the prologue takes."""

    @abstractmethod
    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        """Instructions that save these registers, and where unwinders find them."""

    @abstractmethod
    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        """Instructions that restore these registers and return."""

    def ordered(self, saves: Sequence[str]) -> list[str]:
        """The registers in the order in which they are saved.

        Raises `InternalError` if the convention does not preserve one of them.
        """
        wrong = [register for register in saves if register not in self.preserved]
        if wrong:
            raise InternalError(f"functions need not save {', '.join(wrong)}")
        return [register for register in self.preserved if register in saves]


def _numbered(letter: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class _Aarch64(Convention):
    """Registers of 8 bytes in a stack that stays aligned to 16."""

    argument: str = "x0"
    preserved: tuple[str, ...] = (*_numbered("x", 19, 28), *_numbered("d", 8, 15))

    def saved_bytes(self, saves: Sequence[str]) -> int:
        return -(-len(saves) // 2) * 16

    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        size = self.saved_bytes(saves)
        if size:
            yield from (f"sub\tsp, sp, #{size}", f".cfi_def_cfa_offset {size}")
        for index, register in enumerate(self.ordered(saves)):
            yield f"str\t{register}, [sp, #{8 * index}]"
            yield f".cfi_offset {register}, {8 * index - size}"

    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        for index, register in enumerate(self.ordered(saves)):
            yield f"ldr\t{register}, [sp, #{8 * index}]"
        size = self.saved_bytes(saves)
        if size:
            yield from (f"add\tsp, sp, #{size}", ".cfi_def_cfa_offset 0")
        yield "ret"


@dataclass(frozen=True, slots=True)
class _Arm(Convention):
    """Registers of 4 bytes, and vector halves of 8 bytes, for A32 and Thumb."""

    argument: str = "r0"
    preserved: tuple[str, ...] = (*_numbered("r", 4, 11), *_numbered("d", 8, 15))

    def saved_bytes(self, saves: Sequence[str]) -> int:
        return sum(8 if register.startswith("d") else 4 for register in saves)

    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        for group in self._groups(saves):
            size = self.saved_bytes(group)
            yield f"{_kind(group)}push\t{{{', '.join(group)}}}"
            yield f".cfi_adjust_cfa_offset {size}"
            each = size // len(group)
            for index, register in enumerate(group):
                yield f".cfi_rel_offset {register}, {index * each}"

    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        for group in reversed(self._groups(saves)):
            yield f"{_kind(group)}pop\t{{{', '.join(group)}}}"
            yield f".cfi_adjust_cfa_offset -{self.saved_bytes(group)}"
        yield "bx\tlr"

    def _groups(self, saves: Sequence[str]) -> list[list[str]]:
        """The registers of each push: a push of vector registers takes consecutive ones."""
        core, runs = [], list[list[str]]()
        for register in self.ordered(saves):
            if register.startswith("r"):
                core.append(register)
            elif runs and int(runs[-1][-1][1:]) + 1 == int(register[1:]):
                runs[-1].append(register)
            else:
                runs.append([register])
        return [group for group in (core, *runs) if group]


def _kind(group: Sequence[str]) -> str:
    return "v" if group[0].startswith("d") else ""


@dataclass(frozen=True, slots=True)
class _X86(Convention):
    """Registers of 8 bytes that are pushed; no vector register is preserved."""

    argument: str = "rdi"
    preserved: tuple[str, ...] = ("rbx", "rbp", "r12", "r13", "r14", "r15")
    file_directives: tuple[str, ...] = ("\t.intel_syntax noprefix",)
    align_log2: int = 4
    type_sign: ClassVar[str] = "@"

    def saved_bytes(self, saves: Sequence[str]) -> int:
        return 8 * len(saves)

    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        for register in self.ordered(saves):
            yield from (f"push\t{register}", ".cfi_adjust_cfa_offset 8")
            yield f".cfi_rel_offset {register}, 0"

    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        for register in reversed(self.ordered(saves)):
            yield from (f"pop\t{register}", ".cfi_adjust_cfa_offset -8", f".cfi_restore {register}")
        yield "ret"


_UNIFIED = "\t.syntax unified"
CONVENTIONS: dict[Profile, Convention] = {
    "aarch64": _Aarch64(),
    "arm": _Arm(file_directives=(_UNIFIED, "\t.arm")),
    "thumb": _Arm(file_directives=(_UNIFIED, "\t.thumb"), align_log2=1),
    "x86_64": _X86(),
}
"""By profile. Their functions are called on systems whose objects are ELF."""
