"""Instruction sets: facts for emitters, kernels and linkers that do not depend on the core."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ellc.codegen.machine.core import Arch


class FloatMin(Enum):
    """Where one instruction computes minimum and maximum of floats such that NaN wins."""

    NOWHERE = auto()
    NEON_VECTORS = auto()
    EVERYWHERE = auto()


@dataclass(frozen=True, slots=True)
class Isa:
    """One instruction set, a row of `ISAS`."""

    name: Arch
    always_has_neon: bool = False
    float_min: FloatMin = FloatMin.NOWHERE
    looks_up_in_registers: bool = False
    """Whether an instruction looks up bytes in a table in four vector registers."""
    masks_are_bits: bool = False
    """Whether an instruction converts a mask to one bit per lane."""
    vector_loads_take_offsets: bool = True
    """Whether a vector load can add a constant to its pointer."""
    freezes_narrow_loads: bool = False
    """Whether loads of byte vectors need LLVM's `freeze`: otherwise it combines a load with the
    instruction that widens it, and goes through the stack."""
    calls_wide_arithmetic: bool = False
    """Whether LLVM calls a library to divide and convert integers of 64 bits."""

    return_address_bytes: int = 0
    """Bytes that a call pushes, which are not in the called function's frame."""
    stack_align_bytes: int = 8
    has_red_zone: bool = False
    """Whether a function may use bytes below the stack pointer, which its frame does not count."""
    c_flags: tuple[str, ...] = ()
    """Options without which C code of a package would need a library."""
    elf_flags: int = 0
    elf_page_bytes: int = 0
    """Alignment of loaded segments; 0 for the linker's default.

    Operating systems that run 32-bit ARM programs have 4 KiB pages (64-bit kernels, too), so the
    linker's default of 64 KiB would waste address space on small boards. There are AArch64 systems
    with pages of 16 and 64 KiB, such as Raspberry Pi 5, which need the default.
    """


_EABI5 = 0x0500_0000

ISAS: dict[Arch, Isa] = {
    isa.name: isa
    for isa in (
        Isa(
            "aarch64",
            always_has_neon=True,
            float_min=FloatMin.EVERYWHERE,
            looks_up_in_registers=True,
            stack_align_bytes=16,
            c_flags=("-mno-outline-atomics",),
        ),
        Isa(
            "arm",
            float_min=FloatMin.NEON_VECTORS,
            vector_loads_take_offsets=False,
            freezes_narrow_loads=True,
            calls_wide_arithmetic=True,
            elf_flags=_EABI5,
            elf_page_bytes=4096,
        ),
        Isa("x86_64", masks_are_bits=True, return_address_bytes=8, has_red_zone=True),
        Isa("wasm32", float_min=FloatMin.EVERYWHERE),
    )
}
