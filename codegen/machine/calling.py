"""C calling conventions for functions in assembly: the first argument, registers to preserve.

The conventions are Arm's AAPCS64 and AAPCS32, and the System V ABI for x86-64; there are none for
Windows, macOS and WebAssembly. Unwinding directives are those of the GNU assembler. They fill
`.debug_frame`, which debuggers and profilers read. `.eh_frame` would take memory on the device, and
ARM's own unwinding tables would need a library.
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
    """A calling convention: writes the prologue and epilogue of a function in assembly."""

    argument: str
    """The register of the first argument if the argument is a pointer."""
    preserved: tuple[str, ...]
    """The registers that a function must save before it overwrites them, in the order of saving."""
    file_directives: tuple[str, ...] = ()
    """The directives at the beginning of a source file."""
    align_log2: int = 2
    """The alignment of a function: the binary logarithm of a number of bytes."""
    type_sign: ClassVar[str] = "%"
    """The character before a symbol's type in directives."""

    @abstractmethod
    def saved_bytes(self, saves: Sequence[str]) -> int:
        """The number of bytes of stack that the prologue takes."""

    @abstractmethod
    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        """The instructions that save these registers, with directives for unwinders."""

    @abstractmethod
    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        """The instructions that restore these registers and return."""

    def ordered(self, saves: Sequence[str]) -> list[str]:
        """The registers in the order in which they are saved.

        Raises `InternalError` if one of them is not a preserved register.
        """
        wrong = [register for register in saves if register not in self.preserved]
        if wrong:
            raise InternalError(f"not preserved by the calling convention: {', '.join(wrong)}")
        return [register for register in self.preserved if register in saves]


def _numbered(letter: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class _Aarch64(Convention):
    """AAPCS64: saves registers of 8 bytes on a stack that stays aligned to 16 bytes."""

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
    """AAPCS32, for A32 and Thumb: saves core registers of 4 and vector registers of 8 bytes."""

    argument: str = "r0"
    preserved: tuple[str, ...] = (*_numbered("r", 4, 11), *_numbered("d", 8, 15))

    def saved_bytes(self, saves: Sequence[str]) -> int:
        return sum(8 if register.startswith("d") else 4 for register in saves)

    def prologue(self, saves: Sequence[str]) -> Iterator[str]:
        for group in self._groups(saves):
            size = self.saved_bytes(group)
            yield f"{_mnemonic_prefix(group)}push\t{{{', '.join(group)}}}"
            yield f".cfi_adjust_cfa_offset {size}"
            each = size // len(group)
            for index, register in enumerate(group):
                yield f".cfi_rel_offset {register}, {index * each}"

    def epilogue(self, saves: Sequence[str]) -> Iterator[str]:
        for group in reversed(self._groups(saves)):
            yield f"{_mnemonic_prefix(group)}pop\t{{{', '.join(group)}}}"
            yield f".cfi_adjust_cfa_offset -{self.saved_bytes(group)}"
        yield "bx\tlr"

    def _groups(self, saves: Sequence[str]) -> list[list[str]]:
        """The registers of each push. A push of vector registers takes only consecutive ones."""
        core, runs = [], list[list[str]]()
        for register in self.ordered(saves):
            if register.startswith("r"):
                core.append(register)
            elif runs and int(runs[-1][-1][1:]) + 1 == int(register[1:]):
                runs[-1].append(register)
            else:
                runs.append([register])
        return [group for group in (core, *runs) if group]


def _mnemonic_prefix(group: Sequence[str]) -> str:
    return "v" if group[0].startswith("d") else ""


@dataclass(frozen=True, slots=True)
class _X86(Convention):
    """System V ABI: pushes registers of 8 bytes. It preserves no vector registers."""

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
"""The calling conventions by profile. They apply to systems whose objects are ELF."""
