"""Finds the target with a given name: a board, this machine, or a custom target."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from ellc.codegen.machine.boards import BOARDS
from ellc.codegen.machine.core import core_named
from ellc.codegen.machine.platform import arch_of, profile_of
from ellc.codegen.machine.target import Target, make_target
from ellc.ir.errors import EllcError


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values that replace the values of a target. None keeps the target's value.

    If `cpu` is given and `llvm_features` is not, the target's own features are dropped.
    """

    triple: str | None = None
    cpu: str | None = None
    llvm_features: str | None = None
    cores: int | None = None


def target_names() -> tuple[str, ...]:
    """All names that `resolve` accepts, in the order in which they are listed."""
    return ("host", *BOARDS, "custom")


def fixed_targets() -> tuple[Target, ...]:
    """All targets but `host`, which depends on this machine, and `custom`, which needs options."""
    return tuple(BOARDS.values())


def resolve(name: str, overrides: Overrides | None = None) -> Target:
    """The target with this name, changed by `overrides`.

    The vector width and the feature set follow from the triple, the name of the CPU and the
    features. For `host`, llvmlite reports the CPU of this machine. `custom` needs
    `overrides.triple`. Raises `EllcError` if the name is unknown (the hint then lists similar
    names), if `custom` has no triple, if a triple is not supported, if a triple has another
    architecture than the target and no CPU is given, or if a feature has no sign.
    """
    asked = overrides or Overrides()
    if name == "custom":
        row = _custom(asked)
    else:
        row = _overridden(_named(name), asked)
    return row if asked.cores is None else replace(row, cores=asked.cores)


def _named(name: str) -> Target:
    if name == "host":
        return _host()
    if name in BOARDS:
        return BOARDS[name]
    close = difflib.get_close_matches(name, target_names(), n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise EllcError(
        f"unknown target {name!r}",
        code="E601",
        hint=f"{meant}targets: {', '.join(target_names())}",
    )


def _custom(asked: Overrides) -> Target:
    if asked.triple is None:
        raise EllcError(
            "target 'custom' needs a triple",
            code="E602",
            hint="for example --triple aarch64-unknown-linux-gnu --cpu cortex-a73",
        )
    core = core_named(asked.cpu or "", profile_of(asked.triple))
    described = f"{asked.cpu or 'generic'} ({asked.triple})"
    return make_target("custom", described, asked.triple, core, asked.llvm_features or "")


def _overridden(row: Target, asked: Overrides) -> Target:
    """The target `row` with the values of `asked`, and with all values that follow from these.

    Raises `EllcError` (E604) if `asked` has a triple of another architecture but no CPU.
    """
    if asked.triple is asked.cpu is asked.llvm_features is None:
        return row
    triple = asked.triple or row.triple
    if asked.cpu is None and (arch := arch_of(triple)) != row.arch:
        raise EllcError(
            f"the CPU {row.cpu!r} of target {row.name!r} is not a CPU of {arch}",
            code="E604",
            where=triple,
            hint=f"also give --cpu, such as --cpu {core_named('', profile_of(triple)).name}",
        )
    core = row.core if asked.cpu is None else core_named(asked.cpu, profile_of(triple))
    kept = row.llvm_features if asked.llvm_features is None and asked.cpu is None else ""
    target = make_target(row.name, row.description, triple, core, asked.llvm_features or kept)
    return replace(
        target,
        cores=row.cores,
        clock_hz=row.clock_hz,
        zig_cpu=row.zig_cpu if asked.cpu is None else target.zig_cpu,
    )


def _host() -> Target:
    """The target for this machine, with the CPU, features, caches and cores that it reports."""
    import llvmlite.binding as llvm

    flags = llvm.get_host_cpu_features()
    llvm_features = ",".join(f"{'+' if on else '-'}{flag}" for flag, on in sorted(flags.items()))
    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    core = core_named(cpu, profile_of(triple))
    l1_bytes, l2_bytes = _cache_bytes()
    core = replace(core, l1_bytes=l1_bytes or core.l1_bytes, l2_bytes=l2_bytes or core.l2_bytes)
    target = make_target("host", f"this machine ({cpu})", triple, core, llvm_features)
    return replace(
        target,
        zig_cpu="native",
        emulator=() if target.os == "linux" else None,
        cores=_usable_cores(),
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _cache_bytes() -> tuple[int, int]:
    """(size of the first core's data cache, size of its second-level cache); 0 if unknown."""
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
