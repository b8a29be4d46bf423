"""Platforms: facts that depend on architecture and operating system, such as file formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from ellc.codegen.machine.core import Arch, Profile
from ellc.ir.errors import EllcError

OperatingSystem = Literal["linux", "macos", "windows", "wasm", "none"]
ObjectFormat = Literal["elf", "macho", "coff", "wasm"]


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything about a target that does not depend on its core."""

    arch: Arch
    os: OperatingSystem
    object_format: ObjectFormat = "elf"
    word_bits: Literal[32, 64] = 64
    c_target: str = ""
    musl_target: str = ""
    musl_cpu: str = "baseline"
    lld_emulation: str = ""
    elf_machine: int = 0
    emulator: str = ""
    """The program that runs Linux programs of this platform on other machines; may be empty."""
    emulated_cpu: str = "max"
    """The emulator's name for a core that has all extensions."""
    wheel_tags: tuple[str, ...] = ()
    """pip's names of this platform; empty if Python does not run there."""
    cores: int = 1
    """The usual number of cores of such a machine."""
    clock_hz: int = 0


_AARCH64 = Platform(
    "aarch64",
    "linux",
    c_target="aarch64-linux-gnu.2.28",
    musl_target="aarch64-linux-musl",
    musl_cpu="generic",
    lld_emulation="aarch64linux",
    elf_machine=183,
    emulator="qemu-aarch64",
    wheel_tags=("manylinux_2_28_aarch64", "musllinux_1_1_aarch64"),
    cores=4,
    clock_hz=1_500_000_000,
)
_X86_64 = Platform(
    "x86_64",
    "linux",
    c_target="x86_64-linux-gnu.2.28",
    musl_target="x86_64-linux-musl",
    musl_cpu="x86_64",
    lld_emulation="elf_x86_64",
    elf_machine=62,
    wheel_tags=("manylinux_2_28_x86_64", "musllinux_1_1_x86_64"),
    cores=4,
    clock_hz=3_000_000_000,
)


_ARMV6_WHEEL_TAGS = ("linux_armv6l", "linux_armv7l")
"""pip's names for ARMv6 code. A Pi with an ARMv7 core can run it, and reports armv7l to pip."""


def _elsewhere(
    linux: Platform, os: OperatingSystem, object_format: ObjectFormat, c_target: str, wheel_tag: str
) -> Platform:
    """The same architecture with another operating system, for which there is no emulator."""
    return replace(
        linux, os=os, object_format=object_format, c_target=c_target, musl_target="",
        lld_emulation="", elf_machine=0, emulator="", wheel_tags=(wheel_tag,),
    )  # fmt: skip


_ROWS: tuple[Platform, ...] = (
    _AARCH64,
    replace(
        _elsewhere(_AARCH64, "macos", "macho", "aarch64-macos.11.0", "macosx_11_0_arm64"),
        clock_hz=3_200_000_000,
    ),
    Platform(
        "arm",
        "linux",
        word_bits=32,
        c_target="arm-linux-gnueabihf.2.28",
        musl_target="arm-linux-musleabihf",
        musl_cpu="arm1176jzf_s",
        lld_emulation="armelf_linux_eabi",
        elf_machine=40,
        emulator="qemu-arm",
        wheel_tags=("linux_armv7l", "manylinux_2_28_armv7l", "musllinux_1_1_armv7l"),
        cores=4,
        clock_hz=1_200_000_000,
    ),
    Platform(
        "arm",
        "none",
        word_bits=32,
        c_target="thumb-freestanding-eabihf",
        lld_emulation="armelf",
        elf_machine=40,
        clock_hz=600_000_000,
    ),
    _X86_64,
    _elsewhere(_X86_64, "windows", "coff", "x86_64-windows-gnu", "win_amd64"),
    _elsewhere(_X86_64, "macos", "macho", "x86_64-macos.11.0", "macosx_11_0_x86_64"),
    Platform(
        "riscv64",
        "linux",
        c_target="riscv64-linux-gnu.2.28",
        musl_target="riscv64-linux-musl",
        lld_emulation="elf64lriscv",
        elf_machine=243,
        emulator="qemu-riscv64",
        emulated_cpu="rv64,v=true,vext_spec=v1.0",  # without a version, qemu prints a warning
        wheel_tags=("linux_riscv64", "manylinux_2_28_riscv64", "musllinux_1_1_riscv64"),
        cores=4,
        clock_hz=1_500_000_000,
    ),
    Platform(
        "riscv32",
        "none",
        word_bits=32,
        c_target="riscv32-freestanding",
        lld_emulation="elf32lriscv",
        elf_machine=243,
        clock_hz=160_000_000,
    ),
    Platform(
        "wasm32",
        "wasm",
        object_format="wasm",
        word_bits=32,
        c_target="wasm32-freestanding",
        musl_target="wasm32-wasi",
        musl_cpu="generic+simd128",
        emulator="node",
        clock_hz=2_000_000_000,
    ),
)
_TABLE: dict[tuple[str, str], Platform] = {(row.arch, row.os): row for row in _ROWS}


def platform_of(triple: str) -> Platform:
    """The platform of a triple. Raises `EllcError` (E603) if there is none."""
    arch, os_word = arch_of(triple), _os_of(triple)
    row = _TABLE.get((arch, os_word))
    if row is None:
        raise EllcError(
            f"the triple {triple!r} is not supported: {arch} with operating system {os_word!r}",
            code="E603",
            hint="write all four parts, such as armv7-unknown-linux-gnueabihf",
        )
    if triple.startswith("armv6") and row.wheel_tags:
        row = replace(row, wheel_tags=_ARMV6_WHEEL_TAGS)
    if arch == "arm" and not triple.endswith("hf"):
        row = replace(row, c_target=row.c_target.replace("eabihf", "eabi"), musl_target="")
    return row


def profile_of(triple: str) -> Profile:
    """The architecture of a triple, or `thumb` for Cortex-M."""
    return "thumb" if triple.startswith("thumb") else arch_of(triple)


def arch_of(triple: str) -> Arch:
    """The architecture of a triple. Raises `EllcError` (E603) if there is no code generator."""
    head = triple.split("-", 1)[0]
    if head in ("aarch64", "arm64"):
        return "aarch64"
    if head in ("x86_64", "amd64"):
        return "x86_64"
    if head in ("wasm32", "riscv32", "riscv64"):
        return cast(Arch, head)
    if head.startswith(("armv", "thumbv")) or head in ("arm", "thumb"):
        return "arm"
    raise EllcError(
        f"there is no code generator for the architecture {head!r} of {triple!r}",
        code="E603",
        hint="architectures: aarch64, armv6 to armv8, thumbv7em, thumbv8m.main, riscv32, riscv64, "
        "x86_64, wasm32",
    )


def _os_of(triple: str) -> str:
    for word, os_word in (
        ("linux", "linux"),
        ("windows", "windows"),
        ("macosx", "macos"),
        ("darwin", "macos"),
        ("none", "none"),
    ):
        if word in triple:
            return os_word
    return "wasm" if triple.startswith("wasm") else "unknown"
