"""Targets: a core with an operating system, an ABI, a clock and a number of cores.

A `Target` holds all facts about a machine that the planner, the emitters and the linker need, so
that nothing else in the compiler compares names of CPUs, architectures or triples. Only
`make_target` creates targets, so that a board and a custom target with the same core and triple
have the same abilities.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ellc.codegen.machine import riscv
from ellc.codegen.machine.calling import CONVENTIONS, Convention
from ellc.codegen.machine.core import Arch, Core
from ellc.codegen.machine.emulated_board import EmulatedBoard, emulated_board
from ellc.codegen.machine.features import AVX512_VECTORS, features_of, words_of
from ellc.codegen.machine.isa import ISAS, Isa
from ellc.codegen.machine.memories import BoardMemory
from ellc.codegen.machine.platform import (
    ObjectFormat,
    OperatingSystem,
    Platform,
    platform_of,
    profile_of,
)

SCALAR_BYTES = 4
"""`Target.vector_bytes` of a machine without float SIMD."""


@dataclass(frozen=True, slots=True)
class Target:
    """One machine: the facts that LLVM, the planner, the linker and the emulator need."""

    name: str
    description: str
    triple: str
    """LLVM's triple with four parts, `arch-vendor-os-environment`. On ARM it sets the float ABI."""
    core: Core
    platform: Platform
    llvm_features: str = ""
    """LLVM's features, `+name` or `-name` separated by commas, that change those of the core."""

    vector_bytes: int = 16
    """The size of a vector register; 4 if there is no float SIMD and kernels are scalar."""
    vector_registers: int = 32
    """The number of vector registers, or of scalar float registers if `vector_bytes` is 4."""
    fused_multiply_add: bool = True
    """Whether kernels use a fused multiply-add, which rounds once. They use none if the core has
    none, because LLVM would call a library function for it, or if it is a 32-bit ARM core that has
    no NEON or that has `lane_fma`."""
    lane_fma: bool = False
    """Whether a multiply-add takes one lane of a vector as a factor: `fmla v, v, v.s[i]` on
    AArch64, and `vmla q, q, d[i]` on those 32-bit ARM cores for which LLVM chooses it."""
    vector_f64: bool = False
    """Whether there are vectors of float64. 32-bit NEON has none."""
    computes_floats: bool = True
    """Whether the hardware computes float32. Without this, code calls the runtime library of the C
    compiler, and nodes of float64 are declined."""
    scalar_f64: bool = True
    """Whether the hardware computes float64. Without this, LLVM calls library functions."""
    widens_half: bool = False
    """Whether an instruction converts float16 numbers to float32. It is one of vectors, except on
    cores without vectors."""
    features: frozenset[str] = frozenset()
    """The features that kernels depend on, such as neon or avx2; see `machine.features`."""

    cores: int = 1
    clock_hz: int = 0
    emulator: tuple[str, ...] | None = None
    """The command prefix that runs a program of this target on this machine: a Linux program, or
    one that is linked for the `board`. It is empty if no emulator is needed, and None if the
    program cannot run here."""
    llvm_abi: str = ""
    """LLVM's name of the ABI, where the triple does not name it (RISC-V)."""
    zig_cpu: str = "baseline"
    """The core for which `zig cc` compiles the C code of a package."""
    memories: tuple[BoardMemory, ...] = ()
    """The memories of a board without an operating system, in the order of preference; empty if
    they are not known."""

    @property
    def cpu(self) -> str:
        """LLVM's name of the core."""
        return self.core.name

    @property
    def as_written(self) -> bool:
        """Whether LLVM keeps the order of a kernel's instructions; see `Core.as_written`."""
        return self.core.as_written

    @property
    def l1_bytes(self) -> int:
        """The size of one core's data cache."""
        return self.core.l1_bytes

    @property
    def l2_bytes(self) -> int:
        """The size of the second-level cache that one core can fill; 0 if there is none."""
        return self.core.l2_bytes

    @property
    def arch(self) -> Arch:
        """The name of the architecture, a key for tables. Do not compare it: use facts of `isa`."""
        return self.platform.arch

    @property
    def isa(self) -> Isa:
        """Facts about the instruction set."""
        return ISAS[self.arch]

    @property
    def has_neon(self) -> bool:
        """Whether there are NEON vectors, on 32-bit or 64-bit ARM."""
        return self.isa.always_has_neon or self.has("neon")

    @property
    def divides_words(self) -> bool:
        """Whether there is an instruction that divides integers of `word_bits` bits."""
        if not self.isa.calls_wide_arithmetic:
            return True
        is_requested = not {"+hwdiv-arm", "+m"}.isdisjoint(words_of(self.llvm_features))
        is_v8 = self.core.is_v8 or self.triple.startswith("armv8")
        is_m_profile = self.is_thumb and not self.triple.startswith("thumbv6m")
        return is_m_profile or self.core.divides or is_v8 or is_requested

    @property
    def calls_runtime(self) -> bool:
        """Whether code calls functions of the C compiler's runtime library, such as `__aeabi_fadd`
        (`Isa.runtime_functions`), because the core computes no floats."""
        return not self.computes_floats

    @property
    def os(self) -> OperatingSystem:
        """The operating system; `none` on bare metal."""
        return self.platform.os

    @property
    def object_format(self) -> ObjectFormat:
        """The format of object files and of linked files."""
        return self.platform.object_format

    @property
    def word_bits(self) -> Literal[32, 64]:
        """The bits of a pointer, of `size_t` and of a core register."""
        return self.platform.word_bits

    @property
    def c_target(self) -> str:
        """The target of `zig cc`; for Linux, with glibc 2.28, which all systems since 2018 have."""
        return self.platform.c_target

    @property
    def board(self) -> EmulatedBoard | None:
        """The emulated board that runs bare-metal programs for this core; None if there is none."""
        return emulated_board(self.cpu) if self.os == "none" else None

    @property
    def musl_target(self) -> str:
        """The target of `zig cc` for static test programs; empty if there are none."""
        return self.platform.musl_target

    @property
    def musl_cpu(self) -> str:
        """The CPU for which zig builds the static C library; one per architecture saves builds."""
        return self.platform.musl_cpu

    @property
    def lld_emulation(self) -> str:
        """The value of `ld.lld -m`; empty for formats other than ELF."""
        return self.platform.lld_emulation

    @property
    def elf_machine(self) -> int:
        """`e_machine` of ELF objects: 40 ARM, 62 x86-64, 183 AArch64, 243 RISC-V; 0 if not ELF."""
        return self.platform.elf_machine

    @property
    def elf_flags(self) -> int:
        """`e_flags` of ELF objects that contain only data."""
        return self.isa.elf_flags | riscv.elf_flags(self.llvm_abi)

    @property
    def has_os(self) -> bool:
        """Whether there is an operating system that can load a shared library."""
        return self.os not in ("none", "wasm")

    @property
    def constant_align_bytes(self) -> int:
        """The alignment of each constant, which is also the most that code may assume.

        On a microcontroller, gaps between constants take flash, and code reads words or pairs of
        them: 8 instead of 64 bytes save 0.8 KiB of a network with 40 layers.
        """
        return 8 if self.os == "none" else 64

    @property
    def is_thumb(self) -> bool:
        """Whether this is an ARM M-profile core."""
        return profile_of(self.triple) == "thumb"

    @property
    def convention(self) -> Convention | None:
        """How ELF objects of this architecture call a function in assembly; None if unknown."""
        return CONVENTIONS.get(profile_of(self.triple))

    @property
    def shared_suffix(self) -> str:
        """The ending of linked files: `.so`, `.dylib`, `.dll`, `.wasm`, or `.a` (bare metal)."""
        return {
            "linux": ".so",
            "macos": ".dylib",
            "windows": ".dll",
            "wasm": ".wasm",
            "none": ".a",
        }[self.os]

    @property
    def default_threads(self) -> int:
        """The default number of threads of a model that is compiled for this target."""
        return self.cores if self.has_os else 1

    @property
    def datalayout(self) -> str:
        """LLVM's data layout string. The first use loads llvmlite."""
        return _datalayout(self.triple)

    def has(self, *features: str) -> bool:
        """Whether the target has all of these kernel features."""
        return self.features.issuperset(features)

    def lanes(self, element_bytes: int) -> int:
        """The number of elements of this size in one vector register, at least 1."""
        return max(1, self.vector_bytes // element_bytes)


def make_target(name: str, description: str, triple: str, core: Core, llvm_features: str) -> Target:
    """The target with the abilities of a core, a triple and LLVM's features.

    The number of cores and the clock are typical values for such a machine. Raises `EllcError`:
    E603 for an unsupported architecture or operating system, E604 for a feature without a sign.
    LLVM reports unknown cores and features only when it first compiles for them.
    """
    platform = platform_of(triple)
    features = features_of(_least(triple) | core.features, llvm_features)
    target = Target(
        name=name,
        description=description,
        triple=triple,
        core=core,
        platform=platform,
        llvm_features=llvm_features,
        features=features,
        cores=platform.cores,
        clock_hz=platform.clock_hz,
        emulator=_emulator(platform),
        zig_cpu=core.zig_name,
    )
    match profile_of(triple):
        case "aarch64":
            return replace(target, lane_fma=True, vector_f64=True, widens_half=True)
        case "x86_64":
            return _x86(target)
        case "arm":
            return _arm(target)
        case "thumb":
            return _thumb(target)
        case "wasm32":
            return _wasm(target)
        case "riscv32" | "riscv64":
            return _riscv(target)


def _emulator(platform: Platform) -> tuple[str, ...] | None:
    """The command that runs test programs: qemu, which is told a core, or Node; None if neither."""
    if not platform.emulator:
        return None
    qemu, node = ("-cpu", platform.emulated_cpu), ("--no-warnings",)
    return (platform.emulator, *(node if platform.os == "wasm" else qemu))


def _least(triple: str) -> frozenset[str]:
    """The features that CPUs of this architecture are assumed to have."""
    match profile_of(triple):
        case "aarch64":
            return frozenset({"neon"})
        case "x86_64":
            return frozenset({"sse2"})
        case "arm" if triple.startswith(("armv7", "armv8")):
            # Cortex-A7 and A53 have both. For a core without NEON, LLVM's features contain `-neon`.
            return frozenset({"neon", "dsp"})
        case "arm" if triple.startswith("armv6"):
            return frozenset({"dsp"})
        case "thumb" if triple.startswith(("thumbv7em", "thumbv8m.main", "thumbv8.1m")):
            return frozenset({"dsp"})
        case _:
            return frozenset()


def _x86(target: Target) -> Target:
    has_avx512 = target.features >= AVX512_VECTORS
    return replace(
        target,
        vector_bytes=64 if has_avx512 else 32 if target.has("avx2") else 16,
        vector_registers=32 if has_avx512 else 16,
        fused_multiply_add=target.has("fma"),
        vector_f64=True,
        widens_half=target.has("f16c"),
    )


def _arm(target: Target) -> Target:
    neon = target.has("neon")
    words = words_of(target.llvm_features)
    has_vfp4 = "-vfp4" not in words and (target.core.fuses or "+vfp4" in words)
    by_lane = neon and target.core.multiplies_by_lane
    return replace(
        target,
        vector_bytes=16 if neon else SCALAR_BYTES,
        vector_registers=16 if neon else 32,
        fused_multiply_add=neon and has_vfp4 and not by_lane,
        lane_fma=by_lane,
        widens_half=neon and has_vfp4,
        zig_cpu=target.zig_cpu if neon else "arm1176jzf_s",
    )


def _thumb(target: Target) -> Target:
    words = words_of(target.llvm_features)
    is_soft_float = not target.triple.endswith("hf") and "+soft-float" in words
    return replace(
        target,
        emulator=target.board.command if target.board else None,
        vector_bytes=SCALAR_BYTES,
        computes_floats=not is_soft_float,
        fused_multiply_add=not is_soft_float,
        widens_half=not is_soft_float,
        scalar_f64=not is_soft_float and target.core.doubles and "-fp64" not in words,
        zig_cpu=_thumb_zig_cpu(target, words),
    )


def _thumb_zig_cpu(target: Target, words: Sequence[str]) -> str:
    """Zig's cores have no FPU, unlike LLVM's, so that it is named beside the core."""
    fpu = target.core.zig_fpu
    if "-fp64" in words and target.core.doubles:
        fpu = f"{fpu}sp"
    parts = [target.zig_cpu]
    if fpu and target.triple.endswith("hf"):
        parts.append(fpu)
    if target.has("dsp") and target.core.name != "generic":
        parts.append("dsp")
    return "+".join(parts)


def _wasm(target: Target) -> Target:
    simd = target.has("simd128")
    return replace(
        target,
        vector_bytes=16 if simd else SCALAR_BYTES,
        vector_registers=16,
        fused_multiply_add=False,
        vector_f64=True,
        zig_cpu="generic+simd128" if simd else "generic",
    )


def _riscv(target: Target) -> Target:
    """A target with scalar kernels. 64-bit Linux has one ABI, that of rv64gc."""
    gc = frozenset("mafdc") if target.platform.os == "linux" else frozenset[str]()
    has = riscv.extensions(target.llvm_features) | gc
    board = target.board
    return replace(
        target,
        emulator=board.with_extensions(has).command if board else target.emulator,
        vector_bytes=SCALAR_BYTES,
        computes_floats="f" in has,
        fused_multiply_add="f" in has,
        scalar_f64="d" in has,
        llvm_abi=riscv.abi_name(target.word_bits, has),
        zig_cpu=riscv.zig_cpu(target.core.name, has),
    )


@functools.cache
def _datalayout(triple: str) -> str:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        opt=0, reloc="pic", codemodel="small"
    )
    return str(machine.target_data)
