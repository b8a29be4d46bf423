"""What a board is: its CPUs, its C library and its name, as it tells them itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.machine.boards import Machine, core_of_part
from ellc.codegen.machine.core import Arch
from ellc.ir.errors import EllcError
from ellc.remote.connection import Connection

_QUESTIONS = (
    ("kernel", "uname -sm"),
    ("home", 'echo "$HOME"'),
    # The header of a program tells for what the system is made: a 64-bit kernel may run 32-bit
    # programs only, as Raspberry Pi OS does.
    ("program", "head -c 40 /proc/self/exe | od -An -v -tx1"),
    # musl's ldd tells its name on stderr; systems without tools may have a library that is one.
    ("libc", "getconf GNU_LIBC_VERSION || ldd --version 2>&1 || /lib/libc.so.6"),
    ("processors", "getconf _NPROCESSORS_ONLN || nproc"),
    ("model", "tr -d '\\000' < /proc/device-tree/model"),
    ("cpu", "head -c 100000 /proc/cpuinfo"),
)
SCRIPT = "; ".join(f"echo; echo @{name}; {{ {ask}; }} 2>/dev/null" for name, ask in _QUESTIONS)
"""Asks for everything at once. What the board cannot answer is left out."""

_ARCHS: Mapping[tuple[int, int], Arch] = {(1, 40): "arm", (2, 183): "aarch64", (2, 62): "x86_64"}
"""Architectures by class and machine of an ELF header."""
_ARM_HARD_FLOAT = 0x400
_C_LIBRARY = re.compile(r"(?i)\b(glibc|gnu libc|gnu c library|musl|uclibc)")
_GLIBC = re.compile(r"(?i)\b(?:glibc|gnu libc|gnu c library)\b.*?\b([0-9]{1,4})\.([0-9]{1,4})\.?$")
_IN_32_BITS = {"asimd": ("neon", "vfpv4", "idiva"), "fp": ("vfp",)}
"""Flags of 64-bit ARM, and those that the same CPU has for 32-bit programs."""


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """The answers of a board; texts are empty and numbers 0 if it did not tell."""

    kernel: str
    home: str
    machine: Machine | None
    """None if nothing is compiled for such programs."""
    programs: str
    """What its programs are made for, in words."""
    libc: str
    """The C library and its version in the board's own words."""
    glibc: tuple[int, ...]
    """Version of the GNU C library; empty if there is another one."""

    def lines(self) -> tuple[str, ...]:
        """What was found, one line each, for reports."""
        machine = self.machine
        found = {
            "board": machine.model if machine else "",
            "kernel": self.kernel,
            "programs": self.programs,
            "C library": self.libc,
            "cores": ", ".join(machine.cores) if machine else "",
            "CPU flags": " ".join(sorted(machine.flags)) if machine else "",
        }
        return tuple(f"{name}: {value or 'unknown'}" for name, value in found.items())


def ask(connection: Connection) -> BoardFacts:
    """Ask a board what it is. Raises `EllcError` E631, E632 as `Connection.run`."""
    return parsed(connection.run(SCRIPT).output.decode(errors="replace"))


def parsed(answer: str) -> BoardFacts:
    """The facts in what `SCRIPT` printed."""
    sections = _sections(answer)
    head = _header(sections.get("program", ""))
    processors = sections.get("processors", "")
    arch = _arch(head)
    libc = _libc(sections.get("libc", ""))
    cpus = sections.get("cpu", "")
    machine = arch and Machine(
        arch,
        _flags(cpus, arch),
        _cores(cpus),
        sections.get("model", ""),
        int(processors) if re.fullmatch(r"[0-9]{1,4}", processors) else 0,
    )
    kernel = sections.get("kernel", "")
    return BoardFacts(
        kernel, sections.get("home", ""), machine, _programs(head), libc, _glibc(libc)
    )


def _sections(answer: str) -> dict[str, str]:
    names = "|".join(name for name, _ in _QUESTIONS)
    parts = re.split(rf"(?m)^@({names})$", answer)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _header(dump: str) -> bytes:
    """The bytes of an ELF header from their dump; empty if it is none."""
    words = dump.split()
    if len(words) != 40 or not all(re.fullmatch("[0-9a-f]{2}", word) for word in words):
        return b""
    head = bytes.fromhex("".join(words))
    return head if head.startswith(b"\x7fELF") else b""


def _arch(head: bytes) -> Arch | None:
    arch = _ARCHS.get((head[4], head[18] | head[19] << 8)) if head else None
    return None if arch == "arm" and not _flags_of(head) & _ARM_HARD_FLOAT else arch


def _flags_of(head: bytes) -> int:
    """The flags of a 32-bit ELF header."""
    return int.from_bytes(head[36:40], "little")


def _programs(head: bytes) -> str:
    if not head:
        return ""
    bits, machine = 32 * head[4], head[18] | head[19] << 8
    name = _ARCHS.get((head[4], machine))
    if name == "arm":
        return f"arm with {'hard' if _arch(head) else 'soft'} float, 32 bits"
    return f"{name or f'ELF machine {machine}'}, {bits} bits"


def _libc(answer: str) -> str:
    """The line that names a C library."""
    lines = (line.strip() for line in answer.splitlines())
    return next((line for line in lines if _C_LIBRARY.search(line)), "")


def _glibc(libc: str) -> tuple[int, ...]:
    """The version in `glibc 2.36` or `ldd (Debian GLIBC 2.36-9) 2.36`."""
    found = _GLIBC.search(libc)
    return (int(found[1]), int(found[2])) if found else ()


def _flags(cpus: str, arch: Arch) -> frozenset[str]:
    """The flags that every CPU has."""
    lists = [set(value.split()) for value in _values(cpus, ("Features", "flags"))]
    if not lists:
        return frozenset()
    flags = set.intersection(*lists)
    if arch == "arm":
        flags |= {short for flag in flags for short in _IN_32_BITS.get(flag, ())}
    return frozenset(flags)


def _cores(cpus: str) -> tuple[str, ...]:
    implementers = _values(cpus, ("CPU implementer",))
    parts = _values(cpus, ("CPU part",))
    pairs = zip(map(_number, implementers), map(_number, parts), strict=False)
    return tuple(dict.fromkeys(name for pair in pairs if (name := core_of_part(*pair))))


def _number(text: str) -> int:
    return int(text, 16) if re.fullmatch("0x[0-9a-fA-F]{1,4}", text) else -1


def _values(cpus: str, names: Sequence[str]) -> list[str]:
    pairs = (line.partition(":") for line in cpus.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() in names]


def unknown_board(host: str, facts: BoardFacts) -> EllcError:
    """The error for a board for which no target is chosen."""
    return EllcError(
        "ellc does not know which target this board is",
        code="E633",
        where=host,
        problems=facts.lines(),
        hint="`ellc targets` lists the targets: name the one that fits with --target",
    )
