"""Facts about a board: its CPUs, C library and model name, as its own system reports them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ellc.codegen.machine.linux_machine import Machine, machine_of, programs_text
from ellc.ir.errors import EllcError
from ellc.remote.connection import Connection

_QUESTIONS = (
    ("kernel", "uname -sm"),
    ("home", 'echo "$HOME"'),
    # The ELF header of a running program says for which ABI the system's programs are built. The
    # kernel does not say so: Raspberry Pi OS may have a 64-bit kernel and only 32-bit programs.
    ("program", "head -c 40 /proc/self/exe | od -An -v -tx1"),
    # musl's ldd prints the C library's name on stderr. glibc is itself a program that prints its
    # name and version.
    ("libc", "getconf GNU_LIBC_VERSION || ldd --version 2>&1 || /lib/libc.so.6"),
    ("processors", "getconf _NPROCESSORS_ONLN || nproc"),
    ("model", "tr -d '\\000' < /proc/device-tree/model"),
    ("cpu", "head -c 100000 /proc/cpuinfo"),
)
SCRIPT = "; ".join(f"echo; echo @{name}; {{ {ask}; }} 2>/dev/null" for name, ask in _QUESTIONS)
"""A script that answers all questions; it leaves out an answer if all commands for it fail."""

_C_LIBRARY = re.compile(r"(?i)\b(glibc|gnu libc|gnu c library|musl|uclibc)")
_GLIBC = re.compile(r"(?i)\b(?:glibc|gnu libc|gnu c library)\b.*?\b([0-9]{1,4})\.([0-9]{1,4})\.?$")


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """The answers of a board; a text is empty if the board did not answer the question."""

    kernel: str
    home: str
    machine: Machine | None
    """The CPUs and model; None if ellc has no target for this board's programs."""
    programs: str
    """For which architecture and ABI the board's programs are built, as text."""
    libc: str
    """The C library and its version in the board's own words."""
    glibc: tuple[int, ...]
    """The version of the GNU C library; empty if the board has another C library."""

    def lines(self) -> tuple[str, ...]:
        """The facts for a report, one line each."""
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
    """Ask a board for its facts. Raises `EllcError` E631, E632 as `Connection.run`."""
    return parsed(connection.run(SCRIPT).output.decode(errors="replace"))


def parsed(answer: str) -> BoardFacts:
    """Read the facts from the output of `SCRIPT`."""
    sections = _sections(answer)
    head = _header(sections.get("program", ""))
    processors = sections.get("processors", "")
    libc = _libc(sections.get("libc", ""))
    machine = machine_of(
        head,
        sections.get("cpu", ""),
        sections.get("model", ""),
        int(processors) if re.fullmatch(r"[0-9]{1,4}", processors) else 0,
    )
    kernel = sections.get("kernel", "")
    return BoardFacts(
        kernel, sections.get("home", ""), machine, programs_text(head), libc, _glibc(libc)
    )


def _sections(answer: str) -> dict[str, str]:
    names = "|".join(name for name, _ in _QUESTIONS)
    parts = re.split(rf"(?m)^@({names})$", answer)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _header(dump: str) -> bytes:
    """The bytes of an ELF header, from a hexadecimal dump; empty for any other text."""
    words = dump.split()
    if len(words) != 40 or not all(re.fullmatch("[0-9a-f]{2}", word) for word in words):
        return b""
    head = bytes.fromhex("".join(words))
    return head if head.startswith(b"\x7fELF") else b""


def _libc(answer: str) -> str:
    """The first line that names a C library; empty if there is none."""
    lines = (line.strip() for line in answer.splitlines())
    return next((line for line in lines if _C_LIBRARY.search(line)), "")


def _glibc(libc: str) -> tuple[int, ...]:
    """The version in `glibc 2.36` or `ldd (Debian GLIBC 2.36-9) 2.36`."""
    found = _GLIBC.search(libc)
    return (int(found[1]), int(found[2])) if found else ()


def unknown_board(host: str, facts: BoardFacts) -> EllcError:
    """The error for a board for which ellc cannot choose a target."""
    return EllcError(
        "ellc cannot choose a target for this board",
        code="E633",
        where=host,
        problems=facts.lines(),
        hint="choose a target from `ellc targets`, and give it with --target",
    )
