"""What a CPU can do, derived from triple, name and features: for `host`, `custom` and overrides.

LLVM knows this but tells nobody, so the little that kernels and the planner need is a table here. A
CPU that the table does not know gets the least its architecture promises; `llvm_features` adds to
that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ellc.codegen import targets
from ellc.codegen.targets import Target
from ellc.ir.errors import EllcError

_AVX2 = frozenset({"sse2", "avx2", "fma", "f16c"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
_V82 = frozenset({"neon", "dotprod", "fp16"})

_CPU_FEATURES: dict[str, frozenset[str]] = {
    "x86-64-v3": _AVX2,
    "x86-64-v4": _AVX512,
    "haswell": _AVX2,
    "skylake": _AVX2,
    "znver3": _AVX2,
    "cascadelake": _AVX512 | {"avx512_vnni"},
    "znver4": _AVX512 | {"avx512_vnni", "avx512_vpopcntdq"},
    "znver5": _AVX512 | {"avx512_vnni", "avx512_vpopcntdq"},
    **dict.fromkeys(("apple-m1", "apple-m2", "apple-m3", "apple-m4", "neoverse-n1"), _V82),
    **dict.fromkeys(("cortex-a55", "cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78"), _V82),
}
"""Kernel features beyond the architecture's least, for the CPUs that people name."""

_FROM_LLVM: dict[str, str] = {
    "avx512vnni": "avx512_vnni",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "fullfp16": "fp16",
}
"""LLVM's feature names where they differ from those of `Target.features`."""

_KNOWN: frozenset[str] = frozenset(
    {"neon", "dotprod", "fp16", "i8mm", "simd128", "dsp", "avxvnni"}
    | _AVX512
    | {"avx512_vnni", "avx512_vpopcntdq"}
)
"""Every word that may stand in `Target.features`."""

_IMPLIED: tuple[tuple[str, frozenset[str]], ...] = (
    ("avx2", frozenset({"sse2"})),
    ("avx512f", _AVX2),
    ("avx512_vnni", frozenset({"avx512f"}) | _AVX2),
    ("dotprod", frozenset({"neon"})),
)
"""A feature and what LLVM switches on with it."""


@dataclass(frozen=True, slots=True)
class _Platform:
    """What operating system and architecture alone decide, as the row of the same kind."""

    arch: str
    os: str
    like: str


_PLATFORMS: tuple[_Platform, ...] = (
    _Platform("aarch64", "linux", "aarch64"),
    _Platform("aarch64", "macos", "mac"),
    _Platform("arm", "linux", "orangepi0"),
    _Platform("arm", "none", "imxrt1050"),
    _Platform("x86_64", "linux", "linux"),
    _Platform("x86_64", "windows", "windows"),
    _Platform("x86_64", "macos", "linux"),
    _Platform("wasm32", "wasm", "wasm"),
)


def derive(name: str, triple: str, cpu: str, llvm_features: str) -> Target:
    """Return a target for any triple that ellc can serve, with the abilities its CPU is known for.

    An empty `cpu` is the architecture's generic one. Raises `EllcError` for an architecture,
    operating system or combination of both that no row covers. Whether LLVM knows the CPU and the
    features shows when it first compiles for them (`E604`).
    """
    row = _platform_row(triple)
    given, removed = _split(llvm_features)
    features = _closure(_least(row, triple) | _CPU_FEATURES.get(cpu, frozenset()) | given) - removed
    return _with_features(
        replace(
            row,
            name=name,
            description=f"{cpu or 'generic'} ({triple})",
            triple=triple,
            cpu=cpu or _generic_cpu(row.arch),
            llvm_features=llvm_features,
            zig_cpu=_zig_cpu(row, cpu),
            emulator=_emulator(row),
        ),
        features,
    )


def rederive(row: Target, triple: str | None, cpu: str | None, llvm_features: str | None) -> Target:
    """Return `row` with these replaced and everything that follows from them derived anew.

    Raises `EllcError` E604 for a triple of another architecture without a CPU of that one.
    """
    if triple and cpu is None and (arch := targets.arch_of(triple)) != row.arch:
        raise EllcError(
            f"the CPU {row.cpu!r} of target {row.name!r} is none of {arch}",
            code="E604",
            where=triple,
            hint=f"also give --cpu, such as --cpu {_generic_cpu(arch)}",
        )
    features = row.llvm_features if llvm_features is None and cpu is None else llvm_features or ""
    made = derive(row.name, triple or row.triple, row.cpu if cpu is None else cpu, features)
    measured = replace(
        made,
        description=row.description,
        cores=row.cores,
        l1_bytes=row.l1_bytes,
        l2_bytes=row.l2_bytes,
        clock_hz=row.clock_hz,
    )
    return measured if cpu is not None else replace(measured, zig_cpu=row.zig_cpu)


def detect_host() -> Target:
    """Return the row of the running machine: CPU, features, caches and cores as they are found."""
    import llvmlite.binding as llvm

    flags = llvm.get_host_cpu_features()
    llvm_features = ",".join(f"{'+' if on else '-'}{flag}" for flag, on in sorted(flags.items()))
    cpu = llvm.get_host_cpu_name()
    made = derive("host", llvm.get_process_triple(), cpu, llvm_features)
    l1_bytes, l2_bytes = _cache_bytes()
    return replace(
        made,
        description=f"this machine ({cpu})",
        zig_cpu="native",
        emulator=() if made.os == "linux" else None,
        cores=_usable_cores(),
        l1_bytes=l1_bytes or made.l1_bytes,
        l2_bytes=l2_bytes or made.l2_bytes,
    )


def _platform_row(triple: str) -> Target:
    os_word = _os_of(triple)
    arch = targets.arch_of(triple)
    for platform in _PLATFORMS:
        if (platform.arch, platform.os) == (arch, os_word):
            row = targets.resolve(platform.like)
            break
    else:
        raise EllcError(
            f"no target is like {triple!r}: {arch} with operating system {os_word!r}",
            code="E603",
            hint="write all four parts, such as armv7-unknown-linux-gnueabihf",
        )
    if (arch, os_word) == ("x86_64", "macos"):
        return replace(
            row, os="macos", object_format="macho", c_target="x86_64-macos.11.0", musl_target="",
            lld_emulation="", elf_machine=0,
        )  # fmt: skip
    if arch == "arm" and not triple.endswith("hf"):
        return replace(row, c_target=row.c_target.replace("eabihf", "eabi"), musl_target="")
    return row


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


def _least(row: Target, triple: str) -> frozenset[str]:
    """Features that every CPU of this architecture has."""
    match row.arch:
        case "aarch64":
            return frozenset({"neon"})
        case "x86_64":
            return frozenset({"sse2"})
        case "arm" if triple.startswith(("armv7", "armv8")):
            # Cortex-A7 and A53 class; an armv7 without NEON says -neon.
            return frozenset({"neon"})
        case "arm" if triple.startswith(("thumbv7em", "thumbv8m.main")):
            return frozenset({"dsp"})
        case _:
            return frozenset()


def _split(llvm_features: str) -> tuple[frozenset[str], frozenset[str]]:
    """Kernel features that a feature string switches on, and those it switches off."""
    words = [word.strip() for word in llvm_features.split(",") if word.strip()]
    for word in words:
        if word[0] not in "+-":
            raise EllcError(
                f"feature {word!r} has no sign",
                code="E604",
                hint="write +name or -name, separated by commas",
            )
    named = [(word[0], _FROM_LLVM.get(word[1:], word[1:])) for word in words]
    on = frozenset(name for sign, name in named if sign == "+" and name in _KNOWN)
    off = frozenset(name for sign, name in named if sign == "-" and name in _KNOWN)
    return on, off


def _closure(features: Iterable[str]) -> frozenset[str]:
    found = frozenset(features)
    for feature, implied in _IMPLIED:
        if feature in found:
            found |= implied
    return found


def _with_features(row: Target, features: frozenset[str]) -> Target:
    match row.arch:
        case "x86_64":
            wide = features >= {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
            return replace(
                row,
                features=features,
                vector_bytes=64 if wide else 32 if "avx2" in features else 16,
                vector_registers=32 if wide else 16,
                fused_multiply_add="fma" in features,
                has_popcount_vector="avx512_vpopcntdq" in features,
            )
        case "arm" if not row.is_thumb:
            neon = "neon" in features
            # Rounds twice, but takes a lane as factor; LLVM uses vmla on few CPUs only.
            by_lane = neon and row.cpu == "cortex-a53"
            return replace(
                row,
                features=features,
                vector_bytes=16 if neon else 4,
                vector_registers=16 if neon else 32,
                fused_multiply_add=neon and _has_vfp4(row) and not by_lane,
                lane_fma=by_lane,
                has_popcount_vector=neon,
                zig_cpu=row.zig_cpu if neon else "arm1176jzf_s",
            )
        case "arm":
            soft = not row.triple.endswith("hf") and "+soft-float" in row.llvm_features
            return replace(
                row,
                features=features,
                fused_multiply_add=not soft,
                scalar_f64=not soft
                and row.cpu == "cortex-m7"
                and "-fp64" not in row.llvm_features.split(","),
            )
        case "wasm32":
            simd = "simd128" in features
            return replace(
                row,
                features=features,
                vector_bytes=16 if simd else 4,
                has_popcount_vector=simd,
                zig_cpu="generic+simd128" if simd else "generic",
            )
        case _:
            return replace(row, features=features)


def _has_vfp4(row: Target) -> bool:
    """Whether a 32-bit A-class core fuses: all but the oldest with NEON, when they are named."""
    old = ("", "generic", "cortex-a8", "cortex-a9")
    asked = row.llvm_features.split(",")
    return "-vfp4" not in asked and (row.cpu not in old or "+vfp4" in asked)


def _generic_cpu(arch: str) -> str:
    return "x86-64" if arch == "x86_64" else "generic"


def _zig_cpu(row: Target, cpu: str) -> str:
    """Zig spells CPU names with underscores; the generic ones are its baseline."""
    if cpu in ("", "generic", "x86-64"):
        return "baseline"
    return cpu.replace("-", "_")


def _emulator(row: Target) -> tuple[str, ...] | None:
    """The most capable CPU of the emulator: a custom CPU has no twin in it."""
    match row.arch, row.os:
        case ("aarch64", "linux"):
            return ("qemu-aarch64", "-cpu", "max")
        case ("arm", "linux"):
            return ("qemu-arm", "-cpu", "max")
        case _:
            return None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _cache_bytes() -> tuple[int, int]:
    """Data cache and second level of the first core, 0 where the system does not say."""
    sizes: dict[int, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            level = int((index / "level").read_text())
            size = (index / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind != "Instruction" and size.endswith("K"):
            sizes[level] = int(size[:-1]) * 1024
    return sizes.get(1, 0), sizes.get(2, 0)
