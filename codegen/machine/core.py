"""CPU cores: facts for kernels and emitters that depend on neither clock nor operating system.

LLVM knows such facts but has no interface to read them. Therefore a table here lists them, by
LLVM's names of cores. A core that is not in the table is assumed to have what its architecture
guarantees and, in 32-bit ARM code, a fused multiply-add.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Arch = Literal["arm", "aarch64", "x86_64", "wasm32", "riscv32", "riscv64"]
Profile = Literal[Arch, "thumb"]
"""An architecture, or `thumb` for ARM cores that have only Thumb instructions (Cortex-M)."""

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Memory:
    """How long a kernel on a core that executes in order waits for cache lines, in cycles."""

    near_wait: float
    """The wait for a prefetched line from the second-level cache."""
    far_wait: float
    """The wait for a prefetched line from memory, if memory delivers lines as fast as they are
    used."""
    store_wait: float
    """The same for a line of results that is fetched or written back."""


@dataclass(frozen=True, slots=True)
class Units:
    """What a core that executes out of order starts in a cycle. The order of code hardly matters.

    The numbers count multiply-adds of vectors of 16 bytes, loads of 16 bytes, and all instructions.
    """

    products: float
    loads: float
    instructions: float
    latency: int
    """Cycles from a multiply-add to the next one that adds to the same sum."""

    def cycles(self, products: int, loads: int, sums: int) -> float:
        """The least cycles of a trip of a loop that adds products to `sums` independent sums."""
        others = 2  # a counter and its branch
        return max(
            products / self.products,
            loads / self.loads,
            (products + loads + others) / self.instructions,
            products / sums * self.latency,
        )


@dataclass(frozen=True, slots=True)
class Core:
    """One CPU core."""

    name: str
    """LLVM's name of the core."""
    in_order: bool = False
    """Whether the core issues instructions in order, so that an instruction that waits for its
    operands delays all later instructions."""
    as_written: bool = False
    """Whether LLVM must keep the order of a kernel's instructions. LLVM's schedulers for the
    Cortex-A53 put loads between multiply-adds, where each load costs four cycles. If loads stay in
    groups, register tiles are 1.1 to 1.2 times as fast, and 1.4 times on 32-bit Arm (measured)."""
    scheduler: str = ""
    """The name of the scheduler (`kir.scheduling`) that orders the statements of straight-line
    blocks. If it is empty, statements keep the order in which the kernel was built."""
    features: frozenset[str] = frozenset()
    """Kernel features that the architecture does not guarantee; see `machine.features`."""
    is_v8: bool = False
    """Whether it is an Armv8 core, even if it runs 32-bit code."""
    divides: bool = False
    """Whether it has an instruction that divides 32-bit integers in 32-bit ARM code."""
    fuses: bool = False
    """Whether it has a fused multiply-add (VFPv4) in 32-bit ARM code."""
    multiplies_by_lane: bool = False
    """Whether LLVM compiles a product and a sum in 32-bit ARM code to `vmla q, q, d[i]`, which
    rounds the product, instead of `vfma`, which cannot take a lane."""
    doubles: bool = False
    """Whether a Cortex-M core computes float64 in hardware."""
    zig_fpu: str = ""
    """Zig's name for the FPU of a Cortex-M core, which LLVM's name of the core implies."""
    load_cycles: float = 2.0
    """The issue slots that a vector load takes. A multiply-add takes 1."""
    memory_bytes: float = 2.0
    """How many bytes one core reads from memory in a cycle, roughly: a Cortex-A53 at 1.2 GHz reads
    2 (measured by others and assumed by the cycle model), a desktop core about 10."""
    slot_cycles: float = 0.7
    """The cycles that an issue slot takes in a whole step, as `kir.issue_slots` counts slots."""
    byte_cycles: float = 0.3
    """The cycles that a step takes for each byte of its operands, weights and results, in addition.
    `tests/benchmarks/step_costs.py` fits both numbers to measured steps. The defaults are guesses
    between a Cortex-A53 and a desktop core."""
    shared_speed: float = 1.5
    """How much faster several cores together read from memory than one core does. It is a guess:
    boards have one channel of memory, which one core nearly fills."""
    l1_bytes: int = 32 * KIB
    """The size of the first-level data cache."""
    l2_bytes: int = 512 * KIB
    """The size of the second-level cache that one core can fill; 0 if there is none. If chip makers
    choose the size, this is the size on the boards that ellc has targets for."""

    units: Units | None = None
    """What the core starts in a cycle, if it executes out of order and this is known. Then a slot
    is the time of a multiply-add, and `slot_cycles` is 1 / `Units.products`."""
    memory: Memory | None = None
    """How long kernels wait for cache lines, if the core executes in order and this is known."""

    @property
    def zig_name(self) -> str:
        """The core's name for `zig cc -mcpu=`, with underscores; `baseline` for generic cores."""
        return "baseline" if self.name in _GENERIC_NAMES else self.name.replace("-", "_")


_GENERIC_NAMES = ("generic", "x86-64")
_V82 = frozenset({"dotprod", "fp16"})
_AVX2 = frozenset({"avx2", "fma", "f16c"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
_VNNI = _AVX512 | {"avx512_vnni"}
_ICE_LAKE = _VNNI | {"avx512_vpopcntdq"}

_V7A = Core("", divides=True, fuses=True)
_V8A = replace(_V7A, is_v8=True)
_V82A = replace(_V8A, features=_V82)
_SMALL = replace(_V8A, in_order=True, slot_cycles=1.0, byte_cycles=0.62, shared_speed=1.25)
_WAITS = Memory(near_wait=2.5, far_wait=8.0, store_wait=1.0)
"""Fitted to the model of the Cortex-A53. For the Cortex-A55 they are a guess."""
_CORTEX_M = Core("", in_order=True, l2_bytes=0)
_X86 = Core(
    "", load_cycles=1.0, memory_bytes=10.0, slot_cycles=0.22, byte_cycles=0.03, shared_speed=4.0
)
_APPLE = replace(
    _V82A,
    memory_bytes=16.0,
    byte_cycles=0.05,
    shared_speed=4.0,
    l1_bytes=128 * KIB,
    l2_bytes=4 * MIB,
)

_ROWS: tuple[Core, ...] = (
    Core("arm1176jzf-s", in_order=True, l1_bytes=16 * KIB, l2_bytes=128 * KIB),
    Core("cortex-a8", in_order=True),
    Core("cortex-a9"),
    replace(_SMALL, name="cortex-a7", is_v8=False),
    *(replace(_V7A, name=f"cortex-a{number}") for number in (12, 15, 17)),
    *(replace(_SMALL, name=f"cortex-a{number}") for number in (32, 35)),
    replace(
        _SMALL,
        name="cortex-a53",
        as_written=True,
        scheduler="in_order",
        multiplies_by_lane=True,
        memory=_WAITS,
    ),
    *(replace(_V8A, name=f"cortex-a{number}") for number in (57, 73)),
    # Units of both from LLVM's models (AArch64SchedA57.td, which it also uses for the Cortex-A72,
    # and AArch64SchedNeoverseN1.td, the server version of the Cortex-A76), which follow Arm's
    # optimization guides. The Cortex-A72 has two SIMD units of 64 bits. Its multiply-add of 16
    # bytes adds to a sum after 5 cycles according to LLVM, after 3 according to Arm.
    replace(
        _V8A,
        name="cortex-a72",
        units=Units(products=1, loads=1, instructions=3, latency=5),
        load_cycles=0.5,
        # STREAM's copy on a Raspberry Pi 4 at 1.5 GHz: 5.5 GB/s (sci-pi.org.uk).
        memory_bytes=3.7,
        slot_cycles=1.0,
        byte_cycles=0.3,
        shared_speed=1.25,
        l2_bytes=1 * MIB,
    ),
    replace(
        _SMALL,
        features=_V82,
        name="cortex-a55",
        scheduler="in_order",
        l2_bytes=64 * KIB,
        memory=_WAITS,
    ),
    # The smallest caches of a core complex that has an L2 cache (Arm's technical reference manual).
    replace(_SMALL, features=_V82, name="cortex-a510", l2_bytes=128 * KIB),
    replace(
        _V82A,
        name="cortex-a76",
        units=Units(products=2, loads=2, instructions=4, latency=4),
        load_cycles=0.5,
        slot_cycles=0.5,
        l1_bytes=64 * KIB,
    ),
    *(replace(_V82A, name=f"cortex-a{number}") for number in (65, 75, 77, 78, 710)),
    replace(_V82A, name="neoverse-n1"),
    *(replace(_APPLE, name=f"apple-m{number}") for number in (1, 2, 3, 4)),
    replace(_CORTEX_M, name="cortex-m0plus", l1_bytes=16 * KIB),
    replace(_CORTEX_M, name="cortex-m4", l1_bytes=16 * KIB, zig_fpu="vfp4d16sp"),
    replace(_CORTEX_M, name="cortex-m7", doubles=True, zig_fpu="fp_armv8d16"),
    replace(_CORTEX_M, name="cortex-m33", l1_bytes=16 * KIB, zig_fpu="fp_armv8d16sp"),
    *(
        replace(_CORTEX_M, name=f"cortex-m{number}", doubles=True, zig_fpu="fp_armv8d16")
        for number in (55, 85)
    ),
    *(replace(_X86, name=name, features=_AVX2) for name in ("x86-64-v3", "haswell", "skylake")),
    replace(_X86, name="znver3", features=_AVX2),
    replace(_X86, name="x86-64-v4", features=_AVX512),
    replace(_X86, name="cascadelake", features=_VNNI),
    *(replace(_X86, name=name, features=_ICE_LAKE) for name in ("znver4", "znver5")),
)

_TABLE = {core.name: core for core in _ROWS}
_LEAST: dict[Profile, Core] = {
    "aarch64": replace(_V8A, name="generic"),
    "arm": Core("generic"),
    "thumb": replace(_CORTEX_M, name="generic"),
    "x86_64": replace(_X86, name="x86-64"),
    # V8 schedules WebAssembly itself, and LLVM's order only keeps more values at the same time. As
    # written, four networks take 0 to 3 % less processor time under Node 20 (x86-64).
    "wasm32": Core("generic", as_written=True),
    # 32-bit cores are those of microcontrollers. The ESP32-C3 reads flash through 16 KiB of cache.
    "riscv32": Core("generic-rv32", in_order=True, l1_bytes=16 * KIB, l2_bytes=0),
    "riscv64": Core("generic-rv64", in_order=True),
}


def core_named(name: str, profile: Profile) -> Core:
    """The core with this name.

    An empty name means what the profile guarantees. An unknown name means the same, with a fused
    multiply-add in 32-bit ARM code.
    """
    least = _LEAST[profile]
    if name in ("", least.name):
        return least
    # An unknown 32-bit ARM core is assumed to be recent and to have VFPv4. The table
    # contains the old cores.
    return _TABLE.get(name) or replace(least, name=name, fuses=True)


def core_names() -> tuple[str, ...]:
    """The names of all cores in the table."""
    return tuple(_TABLE)
