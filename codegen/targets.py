"""The machines that ellc makes code for: one table row per target.

A `Target` says everything that the planner, the emitters and the linker ask about a machine, so
that nothing else in the compiler compares names or triples. `resolve` turns a name from the command
line into a row; `host` and `custom` are filled in at that moment, all others are constants.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass, replace
from typing import Literal

from ellc.ir.errors import EllcError

OperatingSystem = Literal["linux", "macos", "windows", "wasm", "none"]
ObjectFormat = Literal["elf", "macho", "coff", "wasm"]


@dataclass(frozen=True, slots=True)
class Target:
    """One machine: what LLVM is told, the planner may assume, how its code is linked and run."""

    name: str
    description: str
    triple: str
    """Four parts, as LLVM wants it (`arch-vendor-os-environment`); decides the float ABI on ARM."""
    cpu: str
    llvm_features: str = ""
    """Comma separated `+name` / `-name`, as given to LLVM beside `cpu`."""

    os: OperatingSystem = "linux"
    object_format: ObjectFormat = "elf"
    word_bits: Literal[32, 64] = 64
    """Bits of a pointer, of `size_t` and of the widest natural integer register."""

    vector_bytes: int = 16
    """Bytes of one vector register; 4 where there is no float SIMD and code is scalar."""
    vector_registers: int = 32
    """Number of registers of `vector_bytes` each (scalar float registers where that is 4)."""
    fused_multiply_add: bool = True
    """Whether `a * b + c` is one rounding; LLVM calls a library function for a fused one where
    there is none."""
    lane_fma: bool = False
    """Whether a multiply-add takes one lane of a vector as a factor: AArch64 `fmla v, v, v.s[i]`;
    `vmla q, q, d[i]` on the 32-bit Cortex-A53, which rounds the product, in place of `vfma`."""
    as_written: bool = False
    """Whether LLVM keeps the order of instructions our kernels have. On the Cortex-A53 its own
    schedulers spread loads between multiply-adds, where each waits four cycles; measured on
    register tiles, keeping the groups gives 1.1 to 1.2 times the speed, 1.4 in 32-bit state."""
    vector_f64: bool = False
    """Whether vectors of double exist (32-bit NEON has none)."""
    scalar_f64: bool = True
    """Whether doubles are done in hardware at all; LLVM calls a library function where not."""
    has_popcount_vector: bool = False
    """Whether one instruction counts bits per lane (bytes for NEON and wasm, words for AVX-512)."""
    features: frozenset[str] = frozenset()
    """What kernels select on: neon, dotprod, fp16, avx2, fma, avx512f, avx512_vpopcntdq,
    avx512_vnni, simd128, dsp, ..."""

    cores: int = 1
    l1_bytes: int = 0
    """Data cache of one core; 0 where there is none."""
    l2_bytes: int = 0
    """Second level that one core can fill; 0 where there is none."""
    clock_hz: int = 0

    emulator: tuple[str, ...] | None = None
    """Command prefix that runs a Linux program of this target here; (): directly, None: no way."""
    c_target: str = ""
    """Target of `zig cc`; glibc 2.28 on Linux, which loads on everything since 2018."""
    zig_cpu: str = "baseline"
    musl_target: str = ""
    """Target of `zig cc` for static test programs; empty where no emulator runs them."""
    musl_cpu: str = "baseline"
    """CPU of the static C library: one per architecture, because zig builds a library for each."""
    lld_emulation: str = ""
    """Value of `ld.lld -m`; empty for what is not ELF."""
    elf_machine: int = 0
    """e_machine of ELF objects: 40 ARM, 62 x86-64, 183 AArch64; 0 for what is not ELF."""

    @property
    def has_os(self) -> bool:
        """Whether an operating system loads programs, hence a shared library makes sense."""
        return self.os not in ("none", "wasm")

    @property
    def is_thumb(self) -> bool:
        """Whether this is an ARM M-profile core."""
        return self.triple.startswith("thumb")

    @property
    def arch(self) -> Literal["arm", "aarch64", "x86_64", "wasm32"]:
        """Architecture, the same word for all spellings of one."""
        return arch_of(self.triple)

    @property
    def shared_suffix(self) -> str:
        """File name ending of what is linked: `.so`, `.dylib`, `.dll`, `.wasm`, or `.a` (bare
        metal)."""
        return {
            "linux": ".so",
            "macos": ".dylib",
            "windows": ".dll",
            "wasm": ".wasm",
            "none": ".a",
        }[self.os]

    @property
    def default_threads(self) -> int:
        """Threads of a model compiled for this target unless asked otherwise."""
        return self.cores if self.has_os else 1

    @property
    def datalayout(self) -> str:
        """LLVM's data layout string; loads llvmlite at the first use."""
        return _datalayout(self.triple)

    def has(self, *features: str) -> bool:
        """Whether all of these kernel features are there."""
        return self.features.issuperset(features)

    def lanes(self, element_bytes: int) -> int:
        """Elements of this size in one vector register, at least 1."""
        return max(1, self.vector_bytes // element_bytes)


def arch_of(triple: str) -> Literal["arm", "aarch64", "x86_64", "wasm32"]:
    """Return the architecture of a triple; `EllcError` where there is no code generator for it."""
    head = triple.split("-", 1)[0]
    if head in ("aarch64", "arm64"):
        return "aarch64"
    if head in ("x86_64", "amd64"):
        return "x86_64"
    if head == "wasm32":
        return "wasm32"
    if head.startswith(("armv", "thumbv")) or head in ("arm", "thumb"):
        return "arm"
    raise EllcError(
        f"there is no code generator for the architecture {head!r} of {triple!r}",
        code="E603",
        hint="architectures: aarch64, armv6 to armv8, thumbv7em, thumbv8m.main, x86_64, wasm32",
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


KIB = 1024
MIB = 1024 * KIB
MHZ = 1_000_000


_AARCH64_LINUX = Target(
    name="",
    description="",
    triple="aarch64-unknown-linux-gnu",
    cpu="generic",
    lane_fma=True,
    vector_f64=True,
    has_popcount_vector=True,
    features=frozenset({"neon"}),
    l1_bytes=32 * KIB,
    l2_bytes=512 * KIB,
    emulator=("qemu-aarch64", "-cpu", "cortex-a53"),
    c_target="aarch64-linux-gnu.2.28",
    zig_cpu="generic",
    musl_target="aarch64-linux-musl",
    musl_cpu="generic",
    lld_emulation="aarch64linux",
    elf_machine=183,
)

_ARMV7_LINUX = Target(
    name="",
    description="",
    triple="armv7-unknown-linux-gnueabihf",
    cpu="cortex-a7",
    llvm_features="+neon,+vfp4",
    word_bits=32,
    vector_registers=16,
    has_popcount_vector=True,
    features=frozenset({"neon"}),
    l1_bytes=32 * KIB,
    l2_bytes=512 * KIB,
    emulator=("qemu-arm", "-cpu", "cortex-a7"),
    c_target="arm-linux-gnueabihf.2.28",
    zig_cpu="cortex_a7",
    musl_target="arm-linux-musleabihf",
    musl_cpu="arm1176jzf_s",
    lld_emulation="armelf_linux_eabi",
    elf_machine=40,
)

_CORTEX_M = Target(
    name="",
    description="",
    triple="thumbv7em-unknown-none-eabihf",
    cpu="cortex-m7",
    os="none",
    word_bits=32,
    vector_bytes=4,
    features=frozenset({"dsp"}),
    l1_bytes=32 * KIB,
    c_target="thumb-freestanding-eabihf",
    zig_cpu="cortex_m7",
    lld_emulation="armelf",
    elf_machine=40,
)

_X86_64_V3 = Target(
    name="",
    description="",
    triple="x86_64-unknown-linux-gnu",
    cpu="x86-64-v3",
    vector_bytes=32,
    vector_registers=16,
    vector_f64=True,
    features=frozenset({"sse2", "avx2", "fma", "f16c"}),
    cores=4,
    l1_bytes=32 * KIB,
    l2_bytes=512 * KIB,
    clock_hz=3000 * MHZ,
    c_target="x86_64-linux-gnu.2.28",
    zig_cpu="x86_64_v3",
    musl_target="x86_64-linux-musl",
    musl_cpu="x86_64",
    lld_emulation="elf_x86_64",
    elf_machine=62,
)

_V82 = frozenset({"neon", "dotprod", "fp16"})

_ROWS: tuple[Target, ...] = (
    replace(
        _ARMV7_LINUX,
        name="pi0",
        description="Raspberry Pi Zero and 1: ARM1176, ARMv6 without NEON, Raspbian",
        triple="armv6-unknown-linux-gnueabihf",
        cpu="arm1176jzf-s",
        llvm_features="+vfp2,-neon",
        vector_bytes=4,
        vector_registers=32,
        fused_multiply_add=False,
        has_popcount_vector=False,
        features=frozenset[str](),
        cores=1,
        l1_bytes=16 * KIB,
        l2_bytes=128 * KIB,
        clock_hz=1000 * MHZ,
        emulator=("qemu-arm", "-cpu", "arm1176"),
        zig_cpu="arm1176jzf_s",
    ),
    replace(
        _ARMV7_LINUX,
        name="pi3",
        description="Raspberry Pi 3: Cortex-A53 in 32-bit state, Raspbian",
        cpu="cortex-a53",
        cores=4,
        clock_hz=1200 * MHZ,
        as_written=True,
        # qemu-arm 7.2 has no 32-bit Cortex-A53; `disassemble` finds what `max` would let pass.
        emulator=("qemu-arm", "-cpu", "max"),
        fused_multiply_add=False,
        lane_fma=True,
        zig_cpu="cortex_a53",
    ),
    replace(
        _AARCH64_LINUX,
        name="pi3_64",
        description="Raspberry Pi 3: Cortex-A53, 64-bit Linux",
        cpu="cortex-a53",
        cores=4,
        clock_hz=1200 * MHZ,
        as_written=True,
        zig_cpu="cortex_a53",
    ),
    replace(
        _AARCH64_LINUX,
        name="pi4",
        description="Raspberry Pi 4: Cortex-A72, 64-bit Linux",
        cpu="cortex-a72",
        cores=4,
        l2_bytes=1 * MIB,
        clock_hz=1500 * MHZ,
        emulator=("qemu-aarch64", "-cpu", "cortex-a72"),
        zig_cpu="cortex_a72",
    ),
    replace(
        _AARCH64_LINUX,
        name="pi5",
        description="Raspberry Pi 5: Cortex-A76, 64-bit Linux",
        cpu="cortex-a76",
        features=_V82,
        cores=4,
        l1_bytes=64 * KIB,
        clock_hz=2400 * MHZ,
        emulator=("qemu-aarch64", "-cpu", "cortex-a76"),
        zig_cpu="cortex_a76",
    ),
    replace(
        _ARMV7_LINUX,
        name="orangepi0",
        description="Orange Pi Zero: Allwinner H2+, Cortex-A7, 32-bit Linux",
        cores=4,
        clock_hz=1200 * MHZ,
    ),
    replace(
        _AARCH64_LINUX,
        name="dragonboard410c",
        description="DragonBoard 410c: Snapdragon 410, Cortex-A53, 64-bit Linux",
        cpu="cortex-a53",
        cores=4,
        clock_hz=1200 * MHZ,
        as_written=True,
        zig_cpu="cortex_a53",
    ),
    replace(
        _AARCH64_LINUX,
        name="imx8mp",
        description="NXP i.MX 8M Plus: Cortex-A53, 64-bit Linux",
        cpu="cortex-a53",
        cores=4,
        clock_hz=1800 * MHZ,
        as_written=True,
        zig_cpu="cortex_a53",
    ),
    replace(
        _AARCH64_LINUX,
        name="imx93",
        description="NXP i.MX 93: Cortex-A55 with dot product and half precision, 64-bit Linux",
        cpu="cortex-a55",
        features=_V82,
        cores=2,
        l2_bytes=64 * KIB,
        clock_hz=1700 * MHZ,
        # qemu 7.2 knows no Cortex-A55; the A76 is an Armv8.2 core with the same extensions.
        emulator=("qemu-aarch64", "-cpu", "cortex-a76"),
        zig_cpu="cortex_a55",
    ),
    replace(
        _CORTEX_M,
        name="imxrt1050",
        description="NXP i.MX RT1050: Cortex-M7, bare metal",
        clock_hz=600 * MHZ,
    ),
    replace(
        _CORTEX_M,
        name="imxrt1170",
        description="NXP i.MX RT1170: Cortex-M7, bare metal",
        clock_hz=1000 * MHZ,
    ),
    replace(
        _CORTEX_M,
        name="mcxn947",
        description="NXP MCX N947: Cortex-M33 with DSP extension, bare metal",
        triple="thumbv8m.main-unknown-none-eabihf",
        cpu="cortex-m33",
        llvm_features="+dsp",
        scalar_f64=False,
        l1_bytes=16 * KIB,
        clock_hz=150 * MHZ,
        zig_cpu="cortex_m33",
    ),
    replace(_X86_64_V3, name="linux", description="64-bit PC with AVX2 and FMA (x86-64-v3), Linux"),
    replace(
        _X86_64_V3,
        name="windows",
        description="64-bit PC with AVX2 and FMA (x86-64-v3), Windows",
        triple="x86_64-w64-windows-gnu",
        os="windows",
        object_format="coff",
        c_target="x86_64-windows-gnu",
        musl_target="",
        lld_emulation="",
        elf_machine=0,
    ),
    replace(
        _AARCH64_LINUX,
        name="mac",
        description="Apple silicon (M1 and later), macOS 11",
        triple="arm64-apple-macosx11.0.0",
        cpu="apple-m1",
        os="macos",
        object_format="macho",
        features=_V82,
        cores=4,
        l1_bytes=128 * KIB,
        l2_bytes=4 * MIB,
        clock_hz=3200 * MHZ,
        emulator=None,
        c_target="aarch64-macos.11.0",
        zig_cpu="apple_m1",
        musl_target="",
        lld_emulation="",
        elf_machine=0,
    ),
    Target(
        name="wasm",
        description="WebAssembly with 128-bit SIMD",
        triple="wasm32-unknown-unknown",
        cpu="generic",
        llvm_features="+simd128",
        os="wasm",
        object_format="wasm",
        word_bits=32,
        vector_registers=16,
        fused_multiply_add=False,
        vector_f64=True,
        has_popcount_vector=True,
        features=frozenset({"simd128"}),
        l1_bytes=32 * KIB,
        l2_bytes=512 * KIB,
        clock_hz=2000 * MHZ,
        c_target="wasm32-freestanding",
        zig_cpu="generic+simd128",
    ),
    replace(
        _AARCH64_LINUX,
        name="aarch64",
        description="Any 64-bit ARM machine (Armv8.0), Linux",
        cores=4,
        clock_hz=1500 * MHZ,
    ),
)

_TABLE: dict[str, Target] = {row.name: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a user may put in place of a row's columns; None keeps the row's own value."""

    triple: str | None = None
    cpu: str | None = None
    llvm_features: str | None = None
    cores: int | None = None


def target_names() -> tuple[str, ...]:
    """All names that `resolve` takes, in the order in which they are shown."""
    return ("host", *(row.name for row in _ROWS), "custom")


def fixed_targets() -> tuple[Target, ...]:
    """The rows that are constants: all but `host` and `custom`."""
    return _ROWS


def resolve(name: str, overrides: Overrides | None = None) -> Target:
    """Return the target of this name.

    `host` asks llvmlite for the CPU of the running machine. `custom` needs `overrides.triple`; what
    its CPU can do is derived from the triple, the CPU name and the features. Overrides also change
    a fixed row: its vector width and feature set are then derived anew. Raises `EllcError` for an
    unknown name (with the close ones), a `custom` without a triple, and an architecture without a
    code generator.
    """
    from ellc.codegen import capabilities

    asked = overrides or Overrides()
    if name == "host":
        row = capabilities.detect_host()
    elif name == "custom":
        if asked.triple is None:
            raise EllcError(
                "target 'custom' needs a triple",
                code="E602",
                hint="for example --triple aarch64-unknown-linux-gnu --cpu cortex-a73",
            )
        row = capabilities.derive(
            "custom", asked.triple, asked.cpu or "", asked.llvm_features or ""
        )
    elif name in _TABLE:
        row = _TABLE[name]
    else:
        raise _unknown(name)
    machine = (asked.triple, asked.cpu, asked.llvm_features)
    if name != "custom" and any(column is not None for column in machine):
        row = capabilities.rederive(row, *machine)
    if asked.cores is not None:
        row = replace(row, cores=asked.cores)
    return row


def _unknown(name: str) -> EllcError:
    close = difflib.get_close_matches(name, target_names(), n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return EllcError(
        f"unknown target {name!r}",
        code="E601",
        hint=f"{meant}targets: {', '.join(target_names())}",
    )
