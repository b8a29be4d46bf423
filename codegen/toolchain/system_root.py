"""What this machine has for programs of a target: the same system, or an emulator with a C library.

The C libraries of other architectures come from Debian's cross packages.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError

# By architecture: the folder of the C library, and the Debian package that contains it.
_ROOTS = {
    "arm": (Path("/usr/arm-linux-gnueabihf"), "libc6-armhf-cross"),
    "aarch64": (Path("/usr/aarch64-linux-gnu"), "libc6-arm64-cross"),
    "riscv64": (Path("/usr/riscv64-linux-gnu"), "libc6-riscv64-cross"),
}


def runs_directly(target: Target) -> bool:
    """Whether this machine has the target's operating system, architecture and features."""
    if target.os != "linux":
        return False
    if target.emulator == ():
        return True
    host = resolve("host")
    return host.os == "linux" and host.arch == target.arch and host.features >= target.features


def has_c_library(target: Target) -> bool:
    """Whether this machine has the C library that a shared library of the target needs."""
    if runs_directly(target):
        return platform.libc_ver()[0] == "glibc"
    root, _ = _ROOTS.get(target.arch, (None, ""))
    return root is not None and root.is_dir()


def with_system_root(target: Target) -> Target:
    """The target, with an emulator command that finds the dynamic loader and the C library.

    Raises `EllcError` (E620) if this machine has no C library for the target.
    """
    if runs_directly(target):
        return target
    root, package = _ROOTS.get(target.arch, (None, ""))
    if root is None or not root.is_dir():
        raise EllcError(
            f"this machine has no C library for target {target.name!r}",
            code="E620",
            hint=f"on Debian and Ubuntu: apt-get install {package}" if package else "",
        )
    # Debian's 32-bit C library is for ARMv7; an emulated ARMv6 core cannot run it.
    words = target.emulator or ()
    words = (words[0], "-cpu", "max") if words[1:] == ("-cpu", "arm1176") else words
    return replace(target, emulator=(*words, "-L", str(root)))
