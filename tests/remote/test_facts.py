"""Answers of boards, and the targets that fit them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ellc.codegen.machine.boards import BOARDS
from ellc.codegen.machine.resolve import resolve
from ellc.ir.errors import EllcError
from ellc.remote.choice import check_libc, chosen_target
from ellc.remote.facts import parsed

ARM_HARD = "7f 45 4c 46 01 01 01 00 00 00 00 00 00 00 00 00\n 03 00 28 00 01 00 00 00 " + (
    "8d 1c 00 00 34 00 00 00\n 5c a1 00 00 00 04 00 05"
)
ARM_SOFT = ARM_HARD.replace("00 04 00 05", "00 02 00 05")
ARM64 = "7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00\n 03 00 b7 00 01 00 00 00 " + (
    "80 25 00 00 00 00 00 00\n 40 00 00 00 00 00 00 00"
)
PC = ARM64.replace("b7", "3e")
RISCV = ARM64.replace("b7", "f3")
POWER = ARM64.replace("b7", "15")

V6 = "half thumb fastmult vfp edsp java tls"
V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
V8_IN_32_BITS = f"{V7} crc32"
V8 = "fp asimd evtstrm crc32 cpuid"
V82 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    + ("asimddp")
)
HASWELL = "fpu sse sse2 pni ssse3 fma sse4_1 sse4_2 movbe popcnt avx f16c abm bmi1 avx2 bmi2"


def cpus(flags: str, *parts: str) -> str:
    """The text of /proc/cpuinfo for ARM CPUs with these part numbers."""
    texts = [
        f"processor\t: {i}\nBogoMIPS\t: 38.40\nFeatures\t: {flags}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n"
        for i, part in enumerate(parts)
    ]
    return "\n".join(texts) + "\nHardware\t: BCM2835\nRevision\t: a02082\n"


def answer(
    kernel: str, program: str, cpu: str, model: str = "", libc: str = "glibc 2.36", count: int = 4
) -> str:
    """The answer of a board with these facts."""
    return (
        f"\n@kernel\n{kernel}\n\n@home\n/users/pi\n\n@program\n {program}\n\n@libc\n{libc}\n\n"
        f"@processors\n{count}\n\n@model\n{model}\n@cpu\n{cpu}\n"
    )


@dataclass(frozen=True)
class Case:
    name: str
    answer: str
    target: str


A53, A72, A76 = ("0xd03",) * 4, ("0xd08",) * 4, ("0xd0b",) * 4
CASES = (
    Case(
        "Zero W",
        answer("Linux armv6l", ARM_HARD, cpus(V6, "0xb76"), "Raspberry Pi Zero W Rev 1.1", count=1),
        "pi0",
    ),
    Case(
        "2",
        answer(
            "Linux armv7l", ARM_HARD, cpus(V7, *["0xc07"] * 4), "Raspberry Pi 2 Model B Rev 1.1"
        ),
        "orangepi0",
    ),
    Case(
        "3, 32 bits",
        answer(
            "Linux armv7l", ARM_HARD, cpus(V8_IN_32_BITS, *A53), "Raspberry Pi 3 Model B Rev 1.2"
        ),
        "pi3",
    ),
    Case(
        "3, 64-bit kernel with 32-bit programs",
        answer("Linux aarch64", ARM_HARD, cpus(V8, *A53), "Raspberry Pi 3 Model B Plus Rev 1.3"),
        "pi3",
    ),
    Case(
        "4, 64-bit kernel with 32-bit programs",
        answer("Linux aarch64", ARM_HARD, cpus(V8, *A72), "Raspberry Pi 4 Model B Rev 1.4"),
        "pi3",
    ),
    Case(
        "3, 64 bits",
        answer("Linux aarch64", ARM64, cpus(V8, *A53), "Raspberry Pi 3 Model B Rev 1.2"),
        "pi3_64",
    ),
    Case(
        "Zero 2",
        answer("Linux aarch64", ARM64, cpus(V8, *A53), "Raspberry Pi Zero 2 W Rev 1.0"),
        "pi3_64",
    ),
    Case(
        "4",
        answer("Linux aarch64", ARM64, cpus(V8, *A72), "Raspberry Pi 4 Model B Rev 1.4"),
        "pi4",
    ),
    Case(
        "5",
        answer("Linux aarch64", ARM64, cpus(V82, *A76), "Raspberry Pi 5 Model B Rev 1.0"),
        "pi5",
    ),
    Case(
        "i.MX 8M Plus",
        answer("Linux aarch64", ARM64, cpus(V8, *A53), "NXP i.MX8MPlus EVK board"),
        "imx8mp",
    ),
    Case(
        "RK3399, two kinds of cores",
        answer("Linux aarch64", ARM64, cpus(V8, *A53, *A72[:2]), "Pine64 RockPro64 v2.1", count=6),
        "pi3_64",
    ),
    Case(
        "unknown core",
        answer("Linux aarch64", ARM64, cpus(V8, "0xd42"), "Some board"),
        "aarch64",
    ),
    Case(
        "RISC-V",
        answer("Linux riscv64", RISCV, "isa\t: rv64imafdc_zicsr\nmmu\t: sv39\n", "VisionFive V2"),
        "bpi_f3",
    ),
    Case("PC", answer("Linux x86_64", PC, f"flags\t\t: {HASWELL}\n"), "linux"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_target_follows_from_the_answers(case: Case) -> None:
    facts = parsed(case.answer)
    found = chosen_target("board", facts, None)
    assert found.name == case.target
    assert facts.machine is not None
    assert found.cores == facts.machine.processors
    assert facts.home == "/users/pi"
    # A target that is chosen automatically is also accepted if the user names it.
    assert chosen_target("board", facts, BOARDS[case.target]) == BOARDS[case.target]
    check_libc("board", facts, found, is_run=True)


@pytest.mark.parametrize(
    "text",
    [
        answer("Linux ppc64le", POWER, "cpu\t: POWER9\n"),
        answer("Linux armv5tel", ARM_SOFT, cpus("swp half thumb fastmult edsp java", "0x926")),
        answer("Linux armv7l", ARM_HARD, cpus("half thumb", "0xc08")),
        answer("Linux x86_64", PC, "flags\t\t: fpu sse sse2 pni ssse3\n"),
        answer("Darwin arm64", "", ""),
        "",
        "@program\n7f 45 4c 46\n@cpu\nFeatures\nCPU part\t: \x1b[31m\n@processors\n-1\n",
    ],
    ids=["POWER", "soft float", "no VFP", "old PC", "Darwin", "nothing", "broken"],
)
def test_an_unknown_board_is_described(text: str) -> None:
    facts = parsed(text)
    with pytest.raises(EllcError) as caught:
        chosen_target("pi@host", facts, None)
    assert caught.value.code == "E633"
    assert caught.value.where == "pi@host"
    assert "--target" in caught.value.hint
    assert caught.value.problems == facts.lines()
    assert len(facts.lines()) == 6
    assert "\x1b" not in caught.value.report()


@pytest.mark.parametrize(
    ("case", "target", "said"),
    [
        ("Zero W", "pi3", "the CPU lacks crc32, neon"),
        ("2", "pi3", "the CPU lacks crc32"),
        ("4", "pi5", "the CPU lacks asimddp, asimdhp, asimdrdm, fphp"),
        ("3, 64 bits", "pi3", "programs of the board are for aarch64; the target is arm"),
        ("3, 64-bit kernel with 32-bit programs", "pi3_64", "are for arm; the target is aarch64"),
        ("4", "imxrt1050", "the board runs Linux, the target does not"),
    ],
)
def test_a_target_that_does_not_run_there_is_refused(case: str, target: str, said: str) -> None:
    (found,) = (c for c in CASES if c.name == case)
    with pytest.raises(EllcError) as caught:
        chosen_target("board", parsed(found.answer), resolve(target))
    assert caught.value.code == "E634"
    assert said in caught.value.message


def test_code_of_an_older_model_runs_on_a_newer_one() -> None:
    newest = parsed(CASES[8].answer)
    assert chosen_target("board", newest, resolve("pi3_64")).name == "pi3_64"


@pytest.mark.parametrize(
    ("libc", "glibc"),
    [
        ("glibc 2.36", (2, 36)),
        ("ldd (Debian GLIBC 2.36-9+rpt2+deb12u4) 2.36", (2, 36)),
        ("ldd (GNU libc) 2.17", (2, 17)),
        ("GNU C Library (GNU libc) stable release version 2.31.", (2, 31)),
        ("musl libc (aarch64)", ()),
    ],
)
def test_c_library(libc: str, glibc: tuple[int, ...]) -> None:
    facts = parsed(answer("Linux aarch64", ARM64, cpus(V8, *A53), libc=f"{libc}\nVersion 1.2.3"))
    assert facts.libc == libc
    assert facts.glibc == glibc
    nothing = parsed(answer("Linux aarch64", ARM64, cpus(V8, *A53), libc="sh: ldd: not found"))
    assert (nothing.libc, nothing.glibc) == ("", ())
    check_libc("board", nothing, BOARDS["pi3_64"], is_run=True)  # a run will show it


@pytest.mark.parametrize(
    ("libc", "copied", "run"),
    [("glibc 2.17", True, True), ("glibc 2.16", True, False), ("musl libc (armhf)", True, False),
     ("glibc 2.3", False, False)],
)  # fmt: skip
def test_an_old_c_library_is_refused(libc: str, copied: bool, run: bool) -> None:
    facts = parsed(answer("Linux armv7l", ARM_HARD, cpus(V8_IN_32_BITS, *A53), libc=libc))
    for is_run, fits in ((False, copied), (True, run)):
        if fits:
            check_libc("board", facts, BOARDS["pi3"], is_run=is_run)
            continue
        with pytest.raises(EllcError, match="or newer is needed") as caught:
            check_libc("board", facts, BOARDS["pi3"], is_run=is_run)
        assert caught.value.code == "E634"
