"""The functions of operating systems that generated packages may call, and where they live."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SystemLibrary:
    """One library, as the linker has to know it without having it."""

    elf_soname: str
    elf_functions: tuple[str, ...]
    newer_on_x86_64: dict[str, str]
    """Version of the functions whose first version on x86-64 is not the right one."""
    windows_dll: str
    windows_functions: tuple[str, ...]

    def versions(self, arch: str) -> dict[str, tuple[str, ...]]:
        """Return the functions by the symbol version they have in glibc, oldest first."""
        # The first glibc of an architecture gave all its functions that version.
        first = {"x86_64": "GLIBC_2.2.5", "arm": "GLIBC_2.4", "aarch64": "GLIBC_2.17"}[arch]
        found: dict[str, tuple[str, ...]] = {first: ()}
        for function in self.elf_functions:
            version = self.newer_on_x86_64.get(function, first) if arch == "x86_64" else first
            found[version] = (*found.get(version, ()), function)
        return found


_CONDITIONS = (
    "pthread_cond_broadcast",
    "pthread_cond_destroy",
    "pthread_cond_init",
    "pthread_cond_wait",
)

LIBRARIES: dict[str, SystemLibrary] = {
    "pthread": SystemLibrary(
        elf_soname="libpthread.so.0",
        elf_functions=(
            *_CONDITIONS,
            "pthread_create",
            "pthread_join",
            "pthread_mutex_destroy",
            "pthread_mutex_init",
            "pthread_mutex_lock",
            "pthread_mutex_unlock",
        ),
        newer_on_x86_64=dict.fromkeys(_CONDITIONS, "GLIBC_2.3.2"),
        windows_dll="KERNEL32.dll",
        windows_functions=(
            "AcquireSRWLockExclusive",
            "CloseHandle",
            "CreateThread",
            "InitializeConditionVariable",
            "InitializeSRWLock",
            "ReleaseSRWLockExclusive",
            "SleepConditionVariableSRW",
            "WaitForSingleObject",
            "WakeAllConditionVariable",
        ),
    ),
}
"""By the name that `link_shared` takes in `needed`."""
