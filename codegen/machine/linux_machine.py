"""A machine with Linux, as described by its /proc/cpuinfo and by the header of a program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.machine.core import Arch

_ARCHS: Mapping[tuple[int, int], Arch] = {
    (1, 40): "arm",
    (2, 183): "aarch64",
    (2, 62): "x86_64",
    (2, 243): "riscv64",
}
"""Architectures, by the class and the machine number in an ELF header."""
_ARM_HARD_FLOAT = 0x400
_IN_32_BITS = {"asimd": ("neon", "vfpv4", "idiva"), "fp": ("vfp",)}
"""By a flag of a 64-bit ARM system: the flags that a 32-bit system on the same CPU has."""
_PARTS = {
    0xB76: "arm1176jzf-s",
    0xC07: "cortex-a7",
    0xC08: "cortex-a8",
    0xC09: "cortex-a9",
    0xC0F: "cortex-a15",
    0xD03: "cortex-a53",
    0xD04: "cortex-a35",
    0xD05: "cortex-a55",
    0xD07: "cortex-a57",
    0xD08: "cortex-a72",
    0xD09: "cortex-a73",
    0xD0B: "cortex-a76",
    0xD0C: "neoverse-n1",
}
"""LLVM's names of cores by the `CPU part` of /proc/cpuinfo, for the implementer `_ARM_LIMITED`."""
_ARM_LIMITED = 0x41


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with Linux: what its programs are compiled for, and what its CPUs can do."""

    arch: Arch
    """The architecture of its programs. A 64-bit CPU may run a system of 32-bit programs."""
    flags: frozenset[str]
    """The flags that /proc/cpuinfo lists for all CPUs, under the names that Linux uses on `arch`.
    """
    cores: tuple[str, ...] = ()
    """LLVM's names of the CPUs' cores. Unknown cores are left out."""
    model: str = ""
    """The name of the board in the device tree."""
    processors: int = 0
    """The number of CPUs; 0 if unknown."""


def machine_of(head: bytes, cpus: str, model: str = "", processors: int = 0) -> Machine | None:
    """The machine, or None if ellc has no target for its programs, which `head` describes.

    `head` is the start of the ELF header of one of its programs: 40 bytes, or empty if it is
    unknown; then the result is None. `cpus` is the text of the machine's /proc/cpuinfo.
    """
    arch = _arch(head)
    if arch is None:
        return None
    return Machine(arch, _flags(cpus, arch), _cores(cpus), model, processors)


def programs_text(head: bytes) -> str:
    """A description of the architecture that a program with this ELF header is compiled for.

    The description is empty if the header is empty.
    """
    if not head:
        return ""
    bits, machine = 32 * head[4], head[18] | head[19] << 8
    name = _ARCHS.get((head[4], machine))
    if name == "arm":
        return f"arm with {'hard' if _arch(head) else 'soft'} float, 32 bits"
    return f"{name or f'ELF machine {machine}'}, {bits} bits"


def _arch(head: bytes) -> Arch | None:
    arch = _ARCHS.get((head[4], head[18] | head[19] << 8)) if head else None
    return None if arch == "arm" and not _flags_of(head) & _ARM_HARD_FLOAT else arch


def _flags_of(head: bytes) -> int:
    """The flags of a 32-bit ELF header."""
    return int.from_bytes(head[36:40], "little")


def _flags(cpus: str, arch: Arch) -> frozenset[str]:
    """The flags that all CPUs have in common."""
    lists = [set(value.split()) for value in _values(cpus, ("Features", "flags"))]
    lists += [_extensions(value) for value in _values(cpus, ("isa",))]
    if not lists:
        return frozenset()
    flags = set.intersection(*lists)
    if arch == "arm":
        flags |= {short for flag in flags for short in _IN_32_BITS.get(flag, ())}
    return frozenset(flags)


def _extensions(isa: str) -> set[str]:
    """The names of the extensions of a RISC-V CPU, from a word such as `rv64imafdcv_zicsr_zba`."""
    letters, *names = re.sub("^rv(32|64)", "", isa).split("_")
    return {*letters, *names}


def _cores(cpus: str) -> tuple[str, ...]:
    implementers = _values(cpus, ("CPU implementer",))
    parts = _values(cpus, ("CPU part",))
    pairs = zip(map(_number, implementers), map(_number, parts), strict=False)
    return tuple(dict.fromkeys(name for pair in pairs if (name := _core_of(*pair))))


def _number(text: str) -> int:
    return int(text, 16) if re.fullmatch("0x[0-9a-fA-F]{1,4}", text) else -1


def _values(cpus: str, names: Sequence[str]) -> list[str]:
    pairs = (line.partition(":") for line in cpus.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() in names]


def _core_of(implementer: int, part: int) -> str:
    """LLVM's name of the core with these numbers of /proc/cpuinfo; empty if it is unknown."""
    return _PARTS.get(part, "") if implementer == _ARM_LIMITED else ""
