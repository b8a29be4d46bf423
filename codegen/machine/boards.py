"""The named targets, one row per board, and the choice of a target for a given machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ellc.codegen.machine.core import core_named
from ellc.codegen.machine.cpu_check import linux_flags
from ellc.codegen.machine.linux_machine import Machine
from ellc.codegen.machine.memories import BoardMemory
from ellc.codegen.machine.platform import profile_of
from ellc.codegen.machine.target import Target, make_target

MHZ = 1_000_000

_ARM64 = "aarch64-unknown-linux-gnu"
_ARMV7 = "armv7-unknown-linux-gnueabihf"
_PC = "x86_64-unknown-linux-gnu"
_NO_HELIUM = "-mve.fp,-mve"
"""Kernels for Cortex-M55 and M85 are scalar, because LLVM 22 cannot compile floats for Helium:

* `fcmp uno <4 x float> %a, zeroinitializer` is never true. LLVM writes `vpt.f32 ge` and `vcmpt.f32
  lt`, the inverses of the two conditions of which one holds unless an operand is NaN.
* It stops at an assertion (`MCOperand::getImm`) if a `<4 x float>` from `uitofp` is multiplied by
  2^-16 and the same block also uses the number 16, here in `sin`, `cos` and `tan`: it puts the
  operand `#16` of `vcvt.f32.u32` into a register.
* Conversions between floats and 64-bit integers in vectors call library functions.

With vectors of 16 bytes, 39 samples in a sixteenth of those of all operators failed on the emulated
Corstone-300: at NaN, infinities and denormals, with such calls, or in LLVM. All of them have
floats. `-mve.fp` avoids the errors, but has no vectors of floats, and a target has one size of
vectors."""


@dataclass(frozen=True, slots=True)
class _Board:
    """One board. A field that is not given has the usual value of the board's platform."""

    name: str
    description: str
    triple: str
    cpu: str
    llvm_features: str = ""
    cores: int = 0
    mhz: int = 0
    emulated_cpu: str = ""
    """The emulator's name for the core, or for another core with the same extensions."""
    models: tuple[str, ...] = ()
    """How the name of this board begins in Linux's device tree. Needed only if several boards have
    the same core."""
    is_general: bool = False
    """Whether its code is also meant for boards that have no row."""
    memories: tuple[BoardMemory, ...] = ()
    """Its memories, in the order in which a network should fill them."""

    def target(self) -> Target:
        core = core_named(self.cpu, profile_of(self.triple))
        target = make_target(self.name, self.description, self.triple, core, self.llvm_features)
        emulator = target.emulator
        if emulator and self.emulated_cpu:
            emulator = (*emulator[:-1], self.emulated_cpu)
        return replace(
            target,
            cores=self.cores or target.cores,
            clock_hz=self.mhz * MHZ or target.clock_hz,
            emulator=emulator,
            memories=self.memories,
        )


_KIB, _MIB = 1 << 10, 1 << 20


_ROWS: tuple[_Board, ...] = (
    _Board(
        "pi0",
        "Raspberry Pi Zero and 1: ARM1176, ARMv6 without NEON, Raspbian",
        "armv6-unknown-linux-gnueabihf",
        "arm1176jzf-s",
        "+vfp2,-neon",
        cores=1,
        mhz=1000,
        emulated_cpu="arm1176",
    ),
    _Board(
        "pi3",
        "Raspberry Pi 3: Cortex-A53 in 32-bit state, Raspbian",
        _ARMV7,
        "cortex-a53",
        "+neon,+vfp4",
        # qemu-arm 7.2 has no 32-bit Cortex-A53. `max` also runs instructions that the Cortex-A53
        # lacks; `toolchain/disassemble.py` finds such instructions.
        emulated_cpu="max",
        # Newer models with a 32-bit system run the same code. Older models lack instructions, and
        # are ruled out by their flags.
        models=("Raspberry Pi",),
    ),
    _Board(
        "pi3_64",
        "Raspberry Pi 3: Cortex-A53, 64-bit Linux",
        _ARM64,
        "cortex-a53",
        mhz=1200,
        emulated_cpu="cortex-a53",
    ),
    _Board(
        "pi4",
        "Raspberry Pi 4: Cortex-A72, 64-bit Linux",
        _ARM64,
        "cortex-a72",
        emulated_cpu="cortex-a72",
    ),
    _Board(
        "pi5",
        "Raspberry Pi 5: Cortex-A76, 64-bit Linux",
        _ARM64,
        "cortex-a76",
        mhz=2400,
        emulated_cpu="cortex-a76",
    ),
    _Board(
        "orangepi0",
        "Orange Pi Zero: Allwinner H2+, Cortex-A7, 32-bit Linux",
        _ARMV7,
        "cortex-a7",
        "+neon,+vfp4",
        emulated_cpu="cortex-a7",
        is_general=True,
    ),
    _Board(
        "dragonboard410c",
        "DragonBoard 410c: Snapdragon 410, Cortex-A53, 64-bit Linux",
        _ARM64,
        "cortex-a53",
        mhz=1200,
        emulated_cpu="cortex-a53",
        models=("Qualcomm Technologies, Inc. APQ 8016",),
    ),
    _Board(
        "imx8mp",
        "NXP i.MX 8M Plus: Cortex-A53, 64-bit Linux",
        _ARM64,
        "cortex-a53",
        mhz=1800,
        emulated_cpu="cortex-a53",
        models=("NXP i.MX8MPlus", "NXP i.MX 8M Plus"),
    ),
    _Board(
        "imx93",
        "NXP i.MX 93: Cortex-A55 with dot product and half precision, 64-bit Linux",
        _ARM64,
        "cortex-a55",
        cores=2,
        mhz=1700,
        # qemu 7.2 has no Cortex-A55. The Cortex-A76 has the same Armv8.2 extensions.
        emulated_cpu="cortex-a76",
        models=("NXP i.MX93", "NXP i.MX 93"),
    ),
    _Board(
        "imxrt1050",
        "NXP i.MX RT1050: Cortex-M7, bare metal",
        "thumbv7em-unknown-none-eabihf",
        "cortex-m7",
        mhz=600,
        # The reference manual's memory map with the fuses' default division of FlexRAM (16 banks of
        # 32 KiB, as in Zephyr's nxp_rt1050.dtsi); the flash of the evaluation kit (MIMXRT1050-EVKB,
        # HyperFlash).
        memories=(
            BoardMemory("itcm", 0x0000_0000, 128 * _KIB, "code"),
            BoardMemory("dtcm", 0x2000_0000, 128 * _KIB, "data"),
            BoardMemory("ocram", 0x2020_0000, 256 * _KIB, "any"),
            BoardMemory("flash", 0x6000_0000, 64 * _MIB, "flash"),
        ),
    ),
    _Board(
        "imxrt1170",
        "NXP i.MX RT1170: Cortex-M7, bare metal",
        "thumbv7em-unknown-none-eabihf",
        "cortex-m7",
        mhz=1000,
        # The reference manual's memory map with the fuses' default division of FlexRAM; ocram is
        # OCRAM1 and OCRAM2, which follow each other. The flash of the evaluation kit (QSPI).
        memories=(
            BoardMemory("itcm", 0x0000_0000, 256 * _KIB, "code"),
            BoardMemory("dtcm", 0x2000_0000, 256 * _KIB, "data"),
            BoardMemory("ocram", 0x2024_0000, 1024 * _KIB, "any"),
            BoardMemory("flash", 0x3000_0000, 16 * _MIB, "flash"),
        ),
    ),
    _Board(
        "mcxn947",
        "NXP MCX N947: Cortex-M33 with DSP extension, bare metal",
        "thumbv8m.main-unknown-none-eabihf",
        "cortex-m33",
        "+dsp",
        mhz=150,
        # The reference manual's memory map, as in Zephyr's nxp_mcxn94x_common.dtsi: RAMX on
        # the code bus, RAMA to RAMG in one piece.
        # RAMH, the next 32 KiB, is left out, because it may hold error correction codes.
        memories=(
            BoardMemory("ramx", 0x0400_0000, 96 * _KIB, "code"),
            BoardMemory("ram", 0x2000_0000, 384 * _KIB, "data"),
            BoardMemory("flash", 0x0000_0000, 2 * _MIB, "flash"),
        ),
    ),
    _Board(
        "nucleo_l4r5",
        "ST NUCLEO-L4R5ZI: STM32L4R5, Cortex-M4, bare metal",
        "thumbv7em-unknown-none-eabihf",
        "cortex-m4",
        mhz=120,
        # The reference manual's memory map: SRAM1 to SRAM3 in one piece.
        memories=(
            BoardMemory("ram", 0x2000_0000, 640 * _KIB, "data"),
            BoardMemory("flash", 0x0800_0000, 2 * _MIB, "flash"),
        ),
    ),
    _Board(
        "pico",
        "Raspberry Pi Pico: RP2040, Cortex-M0+ without FPU, bare metal",
        "thumbv6m-unknown-none-eabi",
        "cortex-m0plus",
        "+soft-float",
        mhz=133,
        memories=(
            BoardMemory("ram", 0x2000_0000, 264 * _KIB, "data"),
            BoardMemory("flash", 0x1000_0000, 2 * _MIB, "flash"),
        ),
    ),
    _Board(
        "pico2",
        "Raspberry Pi Pico 2: RP2350, Cortex-M33 with DSP extension, bare metal",
        "thumbv8m.main-unknown-none-eabihf",
        "cortex-m33",
        "+dsp",
        mhz=150,
        memories=(
            BoardMemory("ram", 0x2000_0000, 520 * _KIB, "data"),
            BoardMemory("flash", 0x1000_0000, 4 * _MIB, "flash"),
        ),
    ),
    _Board(
        "corstone300",
        "Arm Corstone-300 (MPS3 board with AN547): Cortex-M55, bare metal",
        "thumbv8.1m.main-unknown-none-eabihf",
        "cortex-m55",
        _NO_HELIUM,
        mhz=32,
    ),
    _Board(
        "ek_ra8m1",
        "Renesas EK-RA8M1: Cortex-M85, bare metal",
        "thumbv8.1m.main-unknown-none-eabihf",
        "cortex-m85",
        _NO_HELIUM,
        mhz=480,
    ),
    _Board(
        "esp32c3",
        "Espressif ESP32-C3: RISC-V (rv32imc) without FPU, bare metal",
        "riscv32-unknown-none-elf",
        "generic-rv32",
        "+m,+c",
        mhz=160,
        # ESP-IDF's linker script (components/esp_system/ld/esp32c3/memory.ld.in): SRAM on the data
        # bus, between the cache of instructions and what the boot loader needs while it loads. The
        # system's own data are a part of it. Flash on the data bus, of Espressif's modules
        # ESP32-C3-MINI-1 and WROOM-02 with 4 MiB.
        memories=(
            BoardMemory("ram", 0x3FC8_0000, 320 * _KIB, "data"),
            BoardMemory("flash", 0x3C00_0000, 4 * _MIB, "flash"),
        ),
    ),
    _Board(
        "bpi_f3",
        "Banana Pi BPI-F3: SpacemiT K1, and other RISC-V boards (rv64gc), 64-bit Linux",
        "riscv64-unknown-linux-gnu",
        "generic-rv64",
        # The K1 also has RVV 1.0 (`+v`). With it and vectors of 16 bytes, a 32nd of the samples of
        # all operators agrees under QEMU with vector registers of 256 bits. But LLVM spills vectors
        # to slots of the board's register size, and leaves them out of the frames that it reports,
        # so that the stack in the manifest would be too small.
        "+m,+a,+f,+d,+c",
        cores=8,
        mhz=1600,
        is_general=True,
    ),
    _Board(
        "linux",
        "64-bit PC with AVX2 and FMA (x86-64-v3), Linux",
        _PC,
        "x86-64-v3",
        is_general=True,
    ),
    _Board(
        "windows",
        "64-bit PC with AVX2 and FMA (x86-64-v3), Windows",
        "x86_64-w64-windows-gnu",
        "x86-64-v3",
    ),
    _Board("mac", "Apple silicon (M1 and later), macOS 11", "arm64-apple-macosx11.0.0", "apple-m1"),
    _Board(
        "wasm",
        "WebAssembly with 128-bit SIMD",
        "wasm32-unknown-unknown",
        "generic",
        "+simd128",
    ),
    _Board(
        "aarch64",
        "Any 64-bit ARM machine (Armv8.0), Linux",
        _ARM64,
        "generic",
        emulated_cpu="cortex-a53",
        is_general=True,
    ),
)

BOARDS: dict[str, Target] = {row.name: row.target() for row in _ROWS}
"""All boards by name, in the order in which they are listed."""


def target_for(machine: Machine) -> Target | None:
    """The target whose code suits a machine best, or None if there is none.

    Among the boards whose code can run on the machine, one with the machine's name is preferred,
    then one with one of the machine's cores, then one whose code is general. The target gets the
    machine's number of cores, if this number is known.
    """
    rows = [row for row in _ROWS if not unfit(BOARDS[row.name], machine)]
    by_name = [row for row in rows if machine.model.startswith(row.models) and row.models]
    by_core = [row for row in rows if row.cpu in machine.cores]
    general = [row for row in rows if row.is_general]
    for row in (*by_name, *by_core, *general):
        return replace(BOARDS[row.name], cores=machine.processors or BOARDS[row.name].cores)
    return None


def unfit(target: Target, machine: Machine) -> str:
    """The reason why code for the target cannot run on the machine; empty if it can."""
    if target.os != "linux":
        return "the board runs Linux, the target does not"
    if target.arch != machine.arch:
        return f"programs of the board are for {machine.arch}; the target is {target.arch}"
    missing = sorted(linux_flags(target) - machine.flags)
    return f"the CPU lacks {', '.join(missing)}" if missing else ""
