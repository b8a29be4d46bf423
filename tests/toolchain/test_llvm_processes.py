"""LLVM in child processes: all targets, reproducible bytes, reports of crashes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ellc.codegen.machine.resolve import Overrides, fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import llvm
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, LlvmPool, Passes, compile_ir
from ellc.ir.errors import EllcError, InternalError
from tests.toolchain.toolchain_samples import AXPY, CANNOT_SELECT

MAGIC = {
    "elf": b"\x7fELF",
    "coff": b"\x64\x86",
    "macho": b"\xcf\xfa\xed\xfe",
    "wasm": b"\0asm",
}
ROOT = Path(llvm.__file__).parents[2]


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool(2) as made:
        yield made


@pytest.fixture(autouse=True)
def reproducers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("row", [resolve("host"), *fixed_targets()], ids=lambda row: row.name)
def test_every_target_makes_an_object(row: Target, pool: LlvmPool) -> None:
    first, second = pool.compile([IrJob("axpy", AXPY)] * 2, row)
    assert first.startswith(MAGIC[row.object_format])
    assert first == second
    if row.object_format == "elf":
        assert int.from_bytes(first[18:20], "little") == row.elf_machine
        assert first[4] == row.word_bits // 32


def test_bytes_do_not_depend_on_history(pool: LlvmPool) -> None:
    pi3 = resolve("pi3")
    with LlvmPool(1) as fresh:
        alone = fresh.compile([IrJob("axpy", AXPY)], pi3)
    others = [IrJob("other", AXPY.replace("@axpy", "@other")), IrJob("ir", AXPY, EmitKind.IR)]
    assert pool.compile([*others, IrJob("axpy", AXPY)], pi3)[-1:] == alone


def test_other_kinds(pool: LlvmPool) -> None:
    jobs = [IrJob("axpy", AXPY, kind) for kind in (EmitKind.ASM, EmitKind.BITCODE, EmitKind.IR)]
    asm, bitcode, text = pool.compile(jobs, resolve("pi3_64"))
    assert b"fmul" in asm
    assert bitcode.startswith(b"BC\xc0\xde")
    assert b"define void @axpy" in text and b"aarch64-unknown-linux-gnu" in text


def test_passes_run_as_asked_and_loops_stay_scalar(pool: LlvmPool) -> None:
    as_it_is = IrJob("axpy", AXPY, EmitKind.IR, Passes(names=()))
    combined = IrJob("axpy", AXPY, EmitKind.IR, Passes(names=("instruction_combine",)))
    plain = IrJob("axpy", AXPY, EmitKind.ASM)
    first, second, third = pool.compile([as_it_is, combined, plain], resolve("pi3_64"))
    assert first != second
    assert b".4s" not in third


def test_crash_names_function_and_writes_reproducer(reproducers: Path, pool: LlvmPool) -> None:
    jobs = [IrJob("good", AXPY), IrJob("fold/max 3", CANNOT_SELECT), IrJob("after", AXPY)]
    with pytest.raises(InternalError, match="'pairwise' of 'fold/max 3'") as caught:
        pool.compile(jobs, resolve("linux"))
    path = Path(caught.value.reproducer)
    assert path.parent == reproducers
    assert "triple: x86_64-unknown-linux-gnu" in path.read_text()
    assert CANNOT_SELECT in path.read_text()
    # The pool still works, and the reproducer is a module that causes the same crash.
    assert pool.compile([IrJob("good", AXPY)], resolve("linux"))
    with pytest.raises(InternalError, match="Cannot select"):
        pool.compile([IrJob("again", path.read_text())], resolve("linux"))


def test_refused_ir_is_told_in_llvms_words(pool: LlvmPool) -> None:
    with pytest.raises(InternalError, match="expected function name"):
        pool.compile([IrJob("broken", "define void")], resolve("pi3"))


def test_module_for_another_target_is_refused(pool: LlvmPool) -> None:
    text = 'target triple = "aarch64-unknown-linux-gnu"\n' + AXPY
    assert pool.compile([IrJob("axpy", text)], resolve("pi3_64"))
    with pytest.raises(InternalError, match="the module is for 'aarch64-unknown-linux-gnu'"):
        pool.compile([IrJob("axpy", text)], resolve("pi3"))


@pytest.mark.slow
def test_job_over_its_limit_is_a_failure() -> None:
    lines = "\n".join(f"  %v{i + 1} = fmul float %v{i}, %v{i}" for i in range(200_000))
    text = f"define float @long(float %v0) nounwind {{\n{lines}\n  ret float %v200000\n}}\n"
    with LlvmPool(1, job_limit_s=0.2) as pool, pytest.raises(InternalError, match="killed after"):
        pool.compile([IrJob("long", text)], resolve("pi3"))


@pytest.mark.parametrize(
    ("cpu", "features", "said"),
    [
        ("cortex-a999", "", "'cortex-a999' is not a"),
        ("cortex-a53", "+dotprodd", "'+dotprodd' is not"),
    ],
)
def test_unknown_cpu_is_a_user_error(cpu: str, features: str, said: str, pool: LlvmPool) -> None:
    row = resolve("custom", Overrides("aarch64-unknown-linux-gnu", cpu, features))
    with pytest.raises(EllcError, match=re.escape(said)) as caught:
        pool.compile([IrJob("axpy", AXPY)], row)
    assert caught.value.code == "E604"


def test_no_jobs() -> None:
    assert compile_ir([], resolve("pi3")) == []


def test_first_result_comes_soon() -> None:
    compile_ir([IrJob("axpy", AXPY)], resolve("pi3"))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        compile_ir([IrJob("axpy", AXPY)], resolve("pi3"))
        times.append(time.perf_counter() - start)
    # This takes a tenth of a second; the limit allows for a busy machine.
    assert min(times) < 1.0


def test_works_from_a_command_line_in_any_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the folder leaked into the child')")
    program = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from ellc.codegen.toolchain.llvm import IrJob, compile_ir\n"
        "from ellc.codegen.machine.resolve import resolve\n"
        f"sys.stdout.buffer.write(compile_ir([IrJob('axpy', {AXPY!r})], resolve('pi3'))[0])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": ""}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert [ran.stdout] == compile_ir([IrJob("axpy", AXPY)], resolve("pi3"))
