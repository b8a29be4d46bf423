"""Instruction sets: what emitters, kernels and linkers ask about one, whichever core runs it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ellc.codegen.machine.core import Arch


class FloatMin(Enum):
    """Where one instruction does what minimum and maximum of floats mean here: NaN wins."""

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
    """Whether an instruction looks bytes up in a table that four vector registers hold."""
    masks_are_bits: bool = False
    """Whether an instruction makes one bit per lane of a mask."""
    vector_loads_take_offsets: bool = True
    """Whether a vector load adds a constant to its pointer."""
    freezes_narrow_loads: bool = False
    """Whether LLVM would widen vectors of bytes while it loads them, through the stack."""
    calls_wide_arithmetic: bool = False
    """Whether LLVM calls a library to divide and convert integers of 64 bits."""

    return_address_bytes: int = 0
    """What a call pushes that is not in the called function's frame."""
    stack_align_bytes: int = 8
    has_red_zone: bool = False
    """Whether a function may use bytes below the stack pointer, which are in no frame."""
    c_flags: tuple[str, ...] = ()
    """Options without which C code of a package would need a library."""
    elf_flags: int = 0
    elf_page_bytes: int = 0
    """Alignment of loaded parts, where it is not the linker's own.

    32-bit ARM kernels have 4 KiB pages (also those 64-bit kernels that run 32-bit programs), so the
    linker's 64 KiB would waste address space on small boards. AArch64 kernels with 16 and 64 KiB
    pages exist, Raspberry Pi 5 among them: there the linker's own must stay.
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
