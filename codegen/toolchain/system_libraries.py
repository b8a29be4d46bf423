"""The functions of operating systems that generated packages may call, and their libraries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

_FIRST_GLIBC = {"x86_64": (2, 2, 5), "arm": (2, 4), "aarch64": (2, 17), "riscv64": (2, 27)}
"""The first glibc of each architecture. Functions that are older have the version of this glibc."""


@dataclass(frozen=True, slots=True)
class SystemLibrary:
    """What the linker must know about a library, because the library itself is not available."""

    elf_soname: str
    elf_functions: Mapping[str, tuple[int, ...]]
    """The functions, with the version of glibc that introduced their present form."""
    windows_dll: str
    windows_functions: tuple[str, ...]

    def versions(self, arch: str) -> dict[str, tuple[str, ...]]:
        """Return the functions by their symbol version in glibc, the oldest version first."""
        first = _FIRST_GLIBC[arch]
        dated = {name: max(first, since) for name, since in self.elf_functions.items()}
        return {
            f"GLIBC_{'.'.join(map(str, version))}": tuple(
                name for name, date in sorted(dated.items()) if date == version
            )
            for version in sorted(set(dated.values()))
        }


LIBRARIES: Mapping[str, SystemLibrary] = {
    "pthread": SystemLibrary(
        elf_soname="libpthread.so.0",
        elf_functions={
            "pthread_cond_broadcast": (2, 3, 2),
            "pthread_cond_destroy": (2, 3, 2),
            "pthread_cond_init": (2, 3, 2),
            "pthread_cond_wait": (2, 3, 2),
            "pthread_create": (2, 1),
            "pthread_join": (2, 0),
            "pthread_mutex_destroy": (2, 0),
            "pthread_mutex_init": (2, 0),
            "pthread_mutex_lock": (2, 0),
            "pthread_mutex_unlock": (2, 0),
        },
        windows_dll="KERNEL32.dll",
        windows_functions=(
            "AcquireSRWLockExclusive",
            "CloseHandle",
            "CreateThread",
            "InitializeConditionVariable",
            "InitializeSRWLock",
            "ReleaseSRWLockExclusive",
            "SleepConditionVariableSRW",
            "SwitchToThread",
            "WaitForSingleObject",
            "WakeAllConditionVariable",
        ),
    ),
    "kernel": SystemLibrary(
        elf_soname="libc.so.6",
        elf_functions={"syscall": (2, 0)},
        windows_dll="KERNEL32.dll",
        windows_functions=(),
    ),
    "clock": SystemLibrary(
        elf_soname="libc.so.6",
        elf_functions={"clock_gettime": (2, 17)},
        windows_dll="KERNEL32.dll",
        windows_functions=("QueryPerformanceCounter", "QueryPerformanceFrequency"),
    ),
}
"""The libraries, by the names that `link_shared` takes in `needed`."""


def elf_libraries(needed: Iterable[str]) -> Iterator[SystemLibrary]:
    """The `needed` libraries of ELF systems. Libraries that are in the same file are merged."""
    rows = [LIBRARIES[name] for name in needed]
    for soname in dict.fromkeys(row.elf_soname for row in rows):
        same = [row for row in rows if row.elf_soname == soname]
        functions = {name: since for row in same for name, since in row.elf_functions.items()}
        yield replace(same[0], elf_functions=functions)


def least_glibc(arch: str, needed: Iterable[str]) -> tuple[int, ...]:
    """The oldest glibc of an architecture that has all functions of the libraries `needed`."""
    dates = (date for name in needed for date in LIBRARIES[name].elf_functions.values())
    return max(_FIRST_GLIBC[arch], *dates)
