"""RISC-V: the ABI follows from the extensions, and all objects of a target have the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.toolchain.elf import Piece, write_constants
from ellc.codegen.toolchain.llvm import IrJob, LlvmPool
from tests.toolchain.toolchain_samples import AXPY

FLOAT_ABI = 0x6  # EF_RISCV_FLOAT_ABI, which linkers compare


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool(1) as made:
        yield made


def flags(data: bytes) -> int:
    """`e_flags` of an ELF file."""
    at = 48 if data[4] == 2 else 36
    return int.from_bytes(data[at : at + 4], "little")


@pytest.mark.parametrize(
    ("triple", "features", "abi"),
    [
        ("riscv32-unknown-none-elf", "+m,+c", "ilp32"),
        ("riscv32-unknown-none-elf", "+m,+a,+c,+f", "ilp32f"),
        ("riscv32-unknown-none-elf", "+m,+a,+c,+d", "ilp32d"),
        ("riscv64-unknown-linux-gnu", "+m,+a,+f,+d,+c,+v", "lp64d"),
        ("riscv64-unknown-linux-gnu", "+m,+a,+f,+d,+c", "lp64d"),
    ],
)
def test_code_and_constants_have_one_float_abi(
    triple: str, features: str, abi: str, pool: LlvmPool, tmp_path: Path
) -> None:
    cpu = "generic-rv64" if "64" in triple else "generic-rv32"
    target = resolve("custom", Overrides(triple, cpu, features))
    assert target.llvm_abi == abi
    assert target.computes_floats is (abi[-1] in "fd") and target.scalar_f64 is (abi[-1] == "d")
    (code,) = pool.compile([IrJob("axpy", AXPY)], target)
    write_constants(tmp_path / "data.o", "data", [Piece(4, bytes(8))], target)
    data = (tmp_path / "data.o").read_bytes()
    assert flags(code) & FLOAT_ABI == flags(data) & FLOAT_ABI == {"f": 2, "d": 4}.get(abi[-1], 0)


def test_a_core_without_the_extension_m_divides_by_a_helper() -> None:
    least = resolve("custom", Overrides("riscv32-unknown-none-elf", "generic-rv32", "+c"))
    assert not least.divides_words and resolve("esp32c3").divides_words
