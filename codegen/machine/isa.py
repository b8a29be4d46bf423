"""Instruction sets: facts for emitters, kernels and linkers that are the same for all cores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ellc.codegen.machine.core import Arch


class FloatMin(Enum):
    """Where one instruction computes the minimum of floats, which is NaN if an operand is NaN.

    The same holds for the maximum.
    """

    NOWHERE = auto()
    NEON_VECTORS = auto()
    EVERYWHERE = auto()


@dataclass(frozen=True, slots=True)
class Isa:
    """One instruction set; a row of `ISAS`."""

    name: Arch
    always_has_neon: bool = False
    float_min: FloatMin = FloatMin.NOWHERE
    looks_up_in_registers: bool = False
    """Whether an instruction looks up bytes in a table that fills up to four vector registers."""
    masks_are_bits: bool = False
    """Whether an instruction converts a mask to one bit per lane."""
    adds_pairs: bool = False
    """Whether an instruction adds neighbouring bytes of two vectors: `addp` of AArch64."""
    vector_loads_take_offsets: bool = True
    """Whether a vector load can add a constant to its pointer."""
    freezes_narrow_loads: bool = False
    """Whether loads of vectors of 8- or 16-bit elements need LLVM's `freeze`. Without it, LLVM
    combines a load with the instruction that widens the loaded vector, and passes this vector
    through the stack."""
    calls_wide_arithmetic: bool = False
    """Whether LLVM calls library functions to divide and convert 64-bit integers."""

    runtime_functions: str = ""
    """A regular expression: the functions that code for cores without an FPU may call. They are
    part of the runtime library of every C compiler (libgcc, compiler-rt)."""
    return_address_bytes: int = 0
    """The bytes that a call pushes; the frame of the called function does not include them."""
    stack_align_bytes: int = 8
    has_red_zone: bool = False
    """Whether a function may use bytes below the stack pointer; its frame does not include them."""
    c_flags: tuple[str, ...] = ()
    """Compiler options without which the C code of a package would need a library."""
    elf_flags: int = 0
    """`e_flags` of ELF objects, without the float ABI of RISC-V (`Target.elf_flags`)."""
    elf_page_bytes: int = 0
    """The alignment of loaded segments; 0 means the linker's default, which is 64 KiB on ARM.

    All operating systems that run 32-bit ARM programs have 4 KiB pages, even with a 64-bit kernel,
    and the default would waste address space on small boards. AArch64 needs the default, because
    some systems, such as those of the Raspberry Pi 5, have pages of 16 or 64 KiB.
    """


_EABI5 = 0x0500_0000
_GNU_FLOATS = (
    r"__(add|sub|mul|div)[sd]f3|__(eq|ne|lt|le|gt|ge|unord)[sd]f2|__extendsfdf2|__truncdfsf2"
    r"|__fix(uns)?[sd]f[sd]i|__float(un)?[sd]i[sd]f"
)
"""Arithmetic, comparisons and conversions of floats, as GCC's manual of libgcc names them."""

ISAS: dict[Arch, Isa] = {
    isa.name: isa
    for isa in (
        Isa(
            "aarch64",
            adds_pairs=True,
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
            # Arm's run-time ABI, and the number of leading zeros
            runtime_functions=r"__aeabi_\w+|__clzsi2",
            elf_flags=_EABI5,
            elf_page_bytes=4096,
        ),
        Isa("x86_64", masks_are_bits=True, return_address_bytes=8, has_red_zone=True),
        Isa("wasm32", float_min=FloatMin.EVERYWHERE),
        # `fmin.s` of RISC-V returns the number if one operand is NaN.
        Isa(
            "riscv32",
            calls_wide_arithmetic=True,
            runtime_functions=_GNU_FLOATS,
            stack_align_bytes=16,
        ),
        Isa("riscv64", stack_align_bytes=16),
    )
}
