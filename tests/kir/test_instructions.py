"""The definition of every instruction agrees with LLVM and C, and LLVM emits the instruction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from instruction_cases import instruction_case
from kernel_cases import Build, by_gcc, by_llvm, compiled_results

from ellc.codegen.kir.instructions import INSTRUCTIONS, SETS
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.ops import OPS
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.kir.verify import problems
from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, LlvmPool
from ellc.ir.errors import InternalError

ROWS = tuple(INSTRUCTIONS.values())


def custom(triple: str, cpu: str = "", llvm_features: str = "") -> Target:
    return resolve("custom", Overrides(triple=triple, cpu=cpu, llvm_features=llvm_features))


AARCH64 = custom("aarch64-unknown-linux-gnu", "", "+dotprod,+i8mm")
ARM = custom("armv7-unknown-linux-gnueabihf", "cortex-a53", "+neon,+dotprod,+i8mm")
COMPLETE = {
    "aarch64": AARCH64,
    "arm": ARM,
    "x86_64": custom("x86_64-unknown-linux-gnu", "znver4"),
    "thumb": resolve("mcxn947"),
    "wasm32": resolve("wasm"),
}
"""Targets that together have all instructions in all forms."""


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool() as made:
        yield made


def of(target: Target) -> tuple[Instruction, ...]:
    return tuple(row for row in ROWS if row.available(target))


def check(rows: tuple[Instruction, ...], target: Target, build: Build, folder: Path) -> None:
    cases = [instruction_case(row) for row in rows]
    wrong = []
    for case, got in zip(cases, compiled_results(cases, target, build, folder), strict=True):
        want = case.interpreted["y"]
        bad = np.flatnonzero(got["y"] != want)
        if len(bad):
            i = int(bad[0])
            wrong.append(f"{case.kernel.name}: {len(bad)} wrong, [{i}] {got['y'][i]} != {want[i]}")
    assert not wrong, "\n".join(wrong)


def test_a_row_is_whole() -> None:
    assert len(ROWS) == sum(map(len, SETS.values())) and not OPS.keys() & INSTRUCTIONS.keys()
    for name, rows in SETS.items():
        for row in rows:
            assert row.name.startswith(f"{name}_") and row.llvm.keys() == row.asm.keys()
            assert any(row.available(target) for target in COMPLETE.values()), row.name


def test_the_verifier_and_the_text_know_every_row() -> None:
    for row in ROWS:
        kernel = instruction_case(row).kernel
        assert not problems(kernel)
        assert parse(print_kernel(kernel)) == kernel
    text = print_kernel(instruction_case(INSTRUCTIONS["dsp_smuad"]).kernel)
    (problem,) = problems(parse(text.replace("dsp_smuad v", "dsp_sxtb16 v")))
    assert problem.endswith("dsp_sxtb16 takes 1 operand, not 2")
    (problem,) = problems(parse(text.replace("dsp_smuad v", "neon_smull_8b v")))
    assert problem.endswith("neon_smull_8b takes i8x8 as operand 0, not i16x2")


def test_a_target_without_an_instruction_refuses_it() -> None:
    kernel = instruction_case(INSTRUCTIONS["neon_sdot_4s"]).kernel
    with pytest.raises(InternalError, match="target pi4 has no instruction neon_sdot_4s"):
        llvm_module([kernel], resolve("pi4"))
    assert "neon.sdot.v4i32.v16i8" in llvm_module([kernel], resolve("pi5"))


def test_llvm_on_this_machine(pool: LlvmPool, tmp_path: Path) -> None:
    host = resolve("host")
    check(of(host), host, by_llvm(pool, 1), tmp_path)


@pytest.mark.emulated
@pytest.mark.parametrize("target", [AARCH64, ARM], ids=["aarch64", "arm"])
def test_llvm_on_an_emulated_machine(pool: LlvmPool, tmp_path: Path, target: Target) -> None:
    assert len(of(target)) > 25
    check(of(target), target, by_llvm(pool, 1), tmp_path)


@pytest.mark.slow
def test_c_with_undefined_behaviour_trapped(tmp_path: Path) -> None:
    traps = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    check(ROWS, resolve("host"), by_gcc("-O1", *traps), tmp_path)


@pytest.mark.slow
def test_llvm_makes_the_instruction_itself(pool: LlvmPool) -> None:
    missing = []
    for name, target in COMPLETE.items():
        rows = of(target)
        module = llvm_module([instruction_case(row).kernel for row in rows], target)
        (data,) = pool.compile([IrJob(name, module, EmitKind.ASM)], target)
        for row in rows:
            code = data.decode().split(f"\ncase_{row.name}:")[1].split("\n\t.size")[0]
            mnemonic = row.asm[target.arch].split()[0]
            if mnemonic not in code.split():
                missing.append(f"{name}: {row.name} has no {mnemonic}")
    assert not missing, "\n".join(missing)
