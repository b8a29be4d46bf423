"""How `NAME_init` checks that the CPU has all instructions that the kernels use.

* x86-64: by CPUID, and by XGETBV for the registers that the operating system saves.
* 64-bit ARM on Linux: by the Linux kernel's capability words. The baseline, which includes NEON,
  needs no check.
* 32-bit ARM on Linux: by the capability words. The CRC32 bit shows that a core is ARMv8: every
  ARMv8 Cortex-A has CRC32 instructions, but the kernel may call the machine ARMv7.
* Cortex-M: by MVFR0 and CPACR, which tell whether there is a floating point unit and whether it is
  switched on. Only privileged code can read them. Unprivileged code, and code without the
  hard-float ABI, checks nothing.
* Macs with Apple silicon need no check. WebAssembly engines reject a module that they cannot run.
  Every RISC-V core with 64-bit Linux has the extensions of rv64gc; 32-bit code checks nothing.

The capability words are in /proc/self/auxv. System calls read this file, because there is no C
library. If it cannot be read, the check fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ellc.codegen.machine.target import Target


@dataclass(frozen=True, slots=True)
class CpuidTest:
    """A test that the bits of `mask` are set in a register of a CPUID leaf.

    Registers are 0 to 3 for eax, ebx, ecx, edx.
    """

    leaf: int
    subleaf: int
    register: int
    mask: int


@dataclass(frozen=True, slots=True)
class CpuCheck:
    """The values for the template `cpu.c.j2`. If all are 0 or empty, nothing is checked."""

    cpuid: tuple[CpuidTest, ...] = ()
    xcr0: int = 0
    """Bits that XGETBV must return."""
    hwcap: int = 0
    """Bits that must be set in AT_HWCAP of Linux."""
    hwcap2: int = 0
    """Bits that must be set in AT_HWCAP2 of Linux."""
    is_64_bit: bool = False
    """Whether to use the system calls of 64-bit ARM, not those of 32-bit ARM."""
    mvfr0: int = 0
    """What MVFR0 must show. 0: nothing; 1: single precision; more: also double precision."""

    @property
    def kind(self) -> str:
        """The part of the template to use: `x86`, `linux`, `cortex_m`, or empty for none."""
        if self.cpuid:
            return "x86"
        if self.hwcap or self.hwcap2:
            return "linux"
        return "cortex_m" if self.mvfr0 else ""


_EAX, _EBX, _ECX, _EDX = range(4)

_X86_BITS: dict[str, tuple[int, int, int, int]] = {
    "sse3": (1, 0, _ECX, 0),
    "ssse3": (1, 0, _ECX, 9),
    "fma": (1, 0, _ECX, 12),
    "sse4.1": (1, 0, _ECX, 19),
    "sse4.2": (1, 0, _ECX, 20),
    "movbe": (1, 0, _ECX, 22),
    "popcnt": (1, 0, _ECX, 23),
    "avx": (1, 0, _ECX, 28),
    "f16c": (1, 0, _ECX, 29),
    "bmi": (7, 0, _EBX, 3),
    "avx2": (7, 0, _EBX, 5),
    "bmi2": (7, 0, _EBX, 8),
    "avx512f": (7, 0, _EBX, 16),
    "avx512dq": (7, 0, _EBX, 17),
    "avx512ifma": (7, 0, _EBX, 21),
    "avx512cd": (7, 0, _EBX, 28),
    "avx512bw": (7, 0, _EBX, 30),
    "avx512vl": (7, 0, _EBX, 31),
    "avx512vbmi": (7, 0, _ECX, 1),
    "avx512vbmi2": (7, 0, _ECX, 6),
    "gfni": (7, 0, _ECX, 8),
    "avx512vnni": (7, 0, _ECX, 11),
    "avx512bitalg": (7, 0, _ECX, 12),
    "avx512vpopcntdq": (7, 0, _ECX, 14),
    "avx512fp16": (7, 0, _EDX, 23),
    "avxvnni": (7, 1, _EAX, 4),
    "avx512bf16": (7, 1, _EAX, 5),
    "lzcnt": (0x80000001, 0, _ECX, 5),
}
"""By LLVM's name of an extension: the CPUID leaf, subleaf, register and bit that report it."""

_V3 = "sse3 ssse3 sse4.1 sse4.2 popcnt movbe avx f16c fma avx2 bmi bmi2 lzcnt"
_V4 = "avx512f avx512bw avx512cd avx512dq avx512vl"
# CPUs that have vpopcntdq also have these extensions (Ice Lake, Zen 4 and later).
_V4_BITS = "avx512ifma avx512vbmi avx512vbmi2 gfni avx512vnni avx512bitalg avx512vpopcntdq"
_XCR0_AVX, _XCR0_AVX512 = 0x06, 0xE6
_OSXSAVE = (1, 0, _ECX, 27)

_A64_FPHP, _A64_ASIMDHP, _A64_RDM, _A64_DOTPROD = 1 << 9, 1 << 10, 1 << 12, 1 << 20
_A32_VFP, _A32_NEON, _A32_VFPV4, _A32_IDIVA = 1 << 6, 1 << 12, 1 << 16, 1 << 17
_A32_CRC32 = 1 << 4  # in AT_HWCAP2


_LINUX_NAMES = {
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "lzcnt": "abm",
    "bmi": "bmi1",
    "avxvnni": "avx_vnni",
    **{
        f"avx512{name}": f"avx512_{name}"
        for name in ("vbmi2", "vnni", "bitalg", "vpopcntdq", "fp16", "bf16")
    },
}
"""By LLVM's name of an x86-64 extension: its name in /proc/cpuinfo, where the two differ."""
_A64_NAMES = {
    _A64_FPHP: "fphp",
    _A64_ASIMDHP: "asimdhp",
    _A64_RDM: "asimdrdm",
    _A64_DOTPROD: "asimddp",
}
_A32_NAMES = {_A32_VFP: "vfp", _A32_NEON: "neon", _A32_VFPV4: "vfpv4", _A32_IDIVA: "idiva"}


def linux_flags(target: Target) -> frozenset[str]:
    """The flags that /proc/cpuinfo must show on a CPU that passes `cpu_check`."""
    check = cpu_check(target)
    if target.arch == "x86_64":
        return frozenset(_LINUX_NAMES.get(flag, flag) for flag in _x86_flags(target))
    names = _A64_NAMES if check.is_64_bit else _A32_NAMES
    flags = {name for bit, name in names.items() if check.hwcap & bit}
    return frozenset(flags | ({"crc32"} if check.hwcap2 & _A32_CRC32 else set()))


def cpu_check(target: Target) -> CpuCheck:
    """The check that a CPU must pass to run code for this target."""
    match target.arch:
        case "x86_64":
            return _x86(target)
        case "aarch64" if target.os == "linux":
            half = _A64_FPHP | _A64_ASIMDHP | _A64_RDM if target.has("fp16") else 0
            dot = _A64_DOTPROD | _A64_RDM if target.has("dotprod") else 0
            return CpuCheck(hwcap=half | dot, is_64_bit=True)
        case "arm" if target.os == "linux":
            return _arm32(target)
        case "arm" if target.is_thumb and target.triple.endswith("hf"):
            return CpuCheck(mvfr0=3 if target.scalar_f64 else 1)
        case _:
            return CpuCheck()


def _x86_flags(target: Target) -> set[str]:
    """The extensions that code for the target may use, by LLVM's names."""
    flags: set[str] = set()
    if target.has("avx2", "fma"):
        flags.update(_V3.split())
    if target.has("avx512f", "avx512bw", "avx512dq", "avx512vl"):
        flags.update(_V4.split())
    if target.has("avx512_vpopcntdq"):
        flags.update(_V4_BITS.split())
    if target.has("avx512_vnni"):
        flags.add("avx512vnni")
    words = [word.strip() for word in target.llvm_features.split(",")]
    return flags | {word[1:] for word in words if word[:1] == "+" and word[1:] in _X86_BITS}


def _x86(target: Target) -> CpuCheck:
    flags = _x86_flags(target)
    xcr0 = _XCR0_AVX512 if "avx512f" in flags else _XCR0_AVX if "avx" in flags else 0
    bits = [_X86_BITS[flag] for flag in flags] + ([_OSXSAVE] if xcr0 else [])
    masks: dict[tuple[int, int, int], int] = {}
    for leaf, subleaf, register, bit in bits:
        masks[leaf, subleaf, register] = masks.get((leaf, subleaf, register), 0) | 1 << bit
    # Leaf 1 is tested first, because it tells whether XGETBV exists.
    tests = tuple(CpuidTest(*key, mask) for key, mask in sorted(masks.items()))
    return CpuCheck(cpuid=tests, xcr0=xcr0)


def _arm32(target: Target) -> CpuCheck:
    hwcap = _A32_VFP
    if target.has("neon"):
        hwcap |= _A32_NEON
    if target.fused_multiply_add:
        hwcap |= _A32_VFPV4 | _A32_IDIVA
    # Cortex-A cores with numbers below 32 are ARMv7, all others ARMv8.
    number = re.fullmatch(r"cortex-a(\d+)\w*", target.cpu)
    is_v8 = target.triple.startswith("armv8") or (number is not None and int(number[1]) >= 32)
    return CpuCheck(hwcap=hwcap, hwcap2=_A32_CRC32 if is_v8 else 0)
