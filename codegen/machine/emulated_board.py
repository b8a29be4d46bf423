"""The boards that `qemu-system-arm` emulates, on which programs for Cortex-M cores are tested.

They are Arm's MPS2 boards; Arm's application notes AN386, AN500 and AN505 and QEMU's `mps2.c` and
`mps2-tz.c` list their memories.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Region:
    """A memory: the address of its first byte, and its size."""

    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EmulatedBoard:
    """A board of `qemu-system-arm` with one Cortex-M core."""

    machine: str
    """QEMU's name."""
    code: Region
    ram: Region
    extern: Region

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs a program, whose file name follows."""
        return (
            *("qemu-system-arm", "-machine", self.machine),
            *("-display", "none", "-monitor", "none", "-serial", "null"),
            *("-semihosting-config", "enable=on,target=native"),
            "-kernel",
        )

    @property
    def memories(self) -> dict[str, Region]:
        """The memories by the names that linker scripts use."""
        return {"code": self.code, "ram": self.ram, "extern": self.extern}


_AN386 = EmulatedBoard(
    "mps2-an386", Region(0, 4 * MIB), Region(0x2000_0000, 4 * MIB), Region(0x2100_0000, 16 * MIB)
)
_AN500 = EmulatedBoard(
    "mps2-an500", Region(0, 4 * MIB), Region(0x2000_0000, 4 * MIB), Region(0x6000_0000, 16 * MIB)
)
_AN505 = EmulatedBoard(
    "mps2-an505",
    # Secure code must be at addresses with bit 28. The external memory has none: it holds data.
    Region(0x1000_0000, 4 * MIB),
    Region(0x3800_0000, 4 * MIB),
    Region(0x8000_0000, 16 * MIB),
)

_BY_CORE = {
    "cortex-m4": _AN386,
    "cortex-m7": _AN500,
    "cortex-m33": _AN505,
}


def emulated_board(core: str) -> EmulatedBoard | None:
    """The emulated board with this core, by LLVM's name; None if there is none."""
    return _BY_CORE.get(core)
