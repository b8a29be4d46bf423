"""The boards that QEMU emulates, on which programs for microcontrollers are tested.

They are Arm's MPS2 and MPS3 boards, and QEMU's own RISC-V board. Arm's application notes AN386,
AN500, AN505 and AN547 and QEMU's `mps2.c`, `mps2-tz.c` and `riscv/virt.c` list their memories.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Region:
    """A memory: the address of its first byte, and its size."""

    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EmulatedBoard:
    """A board of QEMU with one core.

    The core starts with what lies in `boot`: the vectors of a Cortex-M, the first instruction of a
    RISC-V core. `code` holds instructions, `extern` constants and the memory of networks, `ram` the
    rest.
    """

    machine: str
    """QEMU's name."""
    boot: Region
    code: Region
    ram: Region
    extern: Region
    program: str = "qemu-system-arm"
    package: str = "qemu-system-arm"
    """Debian's package that contains the program."""
    start_file: str = "start_cortex_m.c"
    """The C file in `templates/bare` with the part of the start-up code for this kind of core."""
    options: tuple[str, ...] = ()
    """More options of QEMU."""

    def with_extensions(self, names: Set[str]) -> EmulatedBoard:
        """The board with a RISC-V core that has these extensions, of those that kernels use."""
        words = (f"{name}={str(name in names).lower()}" for name in "afd")
        return replace(self, options=(*self.options, "-cpu", ",".join(("rv32", *words))))

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs a program, whose file name follows."""
        return (
            *(self.program, "-machine", self.machine, *self.options),
            *("-display", "none", "-monitor", "none", "-serial", "null"),
            *("-semihosting-config", "enable=on,target=native"),
            "-kernel",
        )

    @property
    def memories(self) -> dict[str, Region]:
        """The memories by the names that linker scripts use."""
        return {"boot": self.boot, "code": self.code, "ram": self.ram, "extern": self.extern}


def _board(machine: str, start: int, ram: Region, extern: Region) -> EmulatedBoard:
    """A board of which the first memory, of 4 MiB, has vectors and code."""
    boot, code = Region(start, 4 * KIB), Region(start + 4 * KIB, 4 * MIB - 4 * KIB)
    return EmulatedBoard(machine, boot, code, ram, extern)


_RAM, _SECURE_RAM = Region(0x2000_0000, 4 * MIB), Region(0x3800_0000, 4 * MIB)
_AN386 = _board("mps2-an386", 0, _RAM, Region(0x2100_0000, 16 * MIB))
_AN500 = _board("mps2-an500", 0, _RAM, Region(0x6000_0000, 16 * MIB))
_AN505 = _board("mps2-an505", 0x1000_0000, _SECURE_RAM, Region(0x8000_0000, 16 * MIB))
_AN547 = EmulatedBoard(
    "mps3-an547",
    Region(0, 512 * KIB),
    Region(0x0100_0000, 2 * MIB),
    Region(0x2000_0000, 512 * KIB),
    Region(0x6000_0000, 16 * MIB),
)
_VIRT_RAM = 0x8000_0000
_VIRT = EmulatedBoard(
    "virt",
    Region(_VIRT_RAM, 4 * KIB),
    Region(_VIRT_RAM + 4 * KIB, 4 * MIB - 4 * KIB),
    Region(_VIRT_RAM + 4 * MIB, 4 * MIB),
    Region(_VIRT_RAM + 8 * MIB, 16 * MIB),
    "qemu-system-riscv32",
    "qemu-system-misc",
    "start_riscv.c",
    ("-bios", "none"),
)

_BY_CORE = {
    # It runs unaligned accesses, which the ESP32-C3 also does.
    "generic-rv32": _VIRT,
    # QEMU's board with a Cortex-M0 is too small. A Cortex-M7 has all its instructions, and start-up
    # code makes it stop at unaligned accesses.
    "cortex-m0plus": _AN500,
    "cortex-m4": _AN386,
    "cortex-m7": _AN500,
    "cortex-m33": _AN505,
    "cortex-m55": _AN547,
    # QEMU 7.2 has no Cortex-M85. The Cortex-M55 has the instructions that LLVM uses for it.
    "cortex-m85": _AN547,
}


def emulated_board(core: str) -> EmulatedBoard | None:
    """The emulated board that runs code for this core, by LLVM's name; None if there is none."""
    return _BY_CORE.get(core)
