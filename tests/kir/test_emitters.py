"""Kernels from both emitters: loops, conditions, functions; names that objects need."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import Build, KernelCase, by_gcc, by_llvm, by_zig, compiled_results
from kernel_samples import guarded, in_place, product, sample_kernels, swapped
from operation_cases import operation_cases
from parts import quick_part

from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.ir import Imm, Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.resolve import Overrides, fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import of_libraries
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, LlvmPool, Passes
from ellc.ir.types import Array

CUSTOM = (
    Overrides(triple="x86_64-unknown-linux-gnu"),
    Overrides(triple="armv7-unknown-linux-gnueabihf", llvm_features="-neon"),
    Overrides(triple="armv7-unknown-linux-gnueabihf", cpu="cortex-a9"),
    Overrides(triple="wasm32-unknown-unknown"),
    Overrides(triple="thumbv7em-unknown-none-eabihf", cpu="cortex-m7", llvm_features="-fp64"),
    Overrides(
        triple="thumbv7em-unknown-none-eabi", cpu="cortex-m7", llvm_features="+soft-float,-fpregs"
    ),
)
# Targets with the same options for LLVM have the same code.
ROWS = {
    (row.triple, row.cpu, row.llvm_features): row
    for row in (*fixed_targets(), resolve("host"), *(resolve("custom", o) for o in CUSTOM))
}.values()
BOARDS = ["pi0", "pi3", "pi3_64"]


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool() as made:
        yield made


@functools.cache
def sample_cases() -> tuple[KernelCase, ...]:
    rng = np.random.default_rng(1)
    floats = rng.uniform(-1, 1, 96).astype(np.float32)
    weights = rng.uniform(-1, 1, 64 + 128).astype(np.float32)
    integers = rng.integers(-128, 128, 64).astype(np.int8)
    zeros = np.zeros(24, np.float32)
    return (
        KernelCase(product(), {"x": floats, "w": weights, "y": zeros}, 2),
        KernelCase(swapped(), {"y": np.zeros(32, np.uint32)}, 30),
        KernelCase(
            guarded(),
            {"x": integers, "y": integers[::-1].copy(), "bits": np.zeros(8, np.uint8)},
            7,
        ),
        KernelCase(in_place(), {"x": floats[:32], "y": np.ones(32, np.float32)}, 28, begin=4),
        *function_cases(),
    )


def function_cases() -> Iterator[KernelCase]:
    """Cases of each elementary function, for both float types and 8 lanes and 1 lane."""
    names = ["exp", "tanh", "sigmoid", "log", "log10", "softplus", "sin", "cos", "floor", "ceil"]
    for name in [*names, "round_even", "erf", "gelu", "pow"]:
        for elem in (Elem.F32, Elem.F64):
            for lanes in (8, 1):
                yield function_case(name, elem, lanes)


def function_case(name: str, elem: Elem, lanes: int) -> KernelCase:
    rng = np.random.default_rng(5)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, 0.5, -88.5, 89.0, 1e-30, 710.0]
    x = np.concatenate([special, rng.uniform(-90, 90, 243)]).astype(elem.numpy)
    b = KernelBuilder(f"{name}_{elem.value}_{lanes}")
    p, q = b.param("x", elem), b.param("y", elem, writable=True)
    with b.loop("i", b.begin, b.end) as loop:
        place = b.mul(loop.index, lanes)
        args = [b.load(p, place, lanes)]
        if name == "pow":
            args.append(b.const(2.5, args[0]))
        b.store(getattr(vmath, name)(b, *args), q, place)
    return KernelCase(b.finish(), {"x": x, "y": np.zeros_like(x)}, len(x) // lanes)


def check(target: Target, build: Build, folder: Path, number: int = 0, parts: int = 3) -> None:
    """Compare a part of the cases; the other parts run on other targets."""
    cases = quick_part(sample_cases(), number, parts)
    for case, got in zip(cases, compiled_results(cases, target, build, folder), strict=True):
        want = case.interpreted
        for name in case.outputs:
            compare(f"{case.kernel.name} {name}", got[name], want[name])


def compare(what: str, got: Array, want: Array) -> None:
    """Assert that integers are equal, and floats up to fusing; denormals may be 0."""
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    tolerance = 20 * float(np.finfo(got.dtype).eps)
    # Errors of sums, and of sines near their zeros, are in proportion to the arguments.
    near = tolerance if what.startswith(("sin", "cos", "product")) else 0.0
    least = max(near, float(np.finfo(got.dtype).tiny))
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=least, err_msg=what)


@pytest.mark.slow
def test_llvm_on_this_machine(pool: LlvmPool, tmp_path: Path) -> None:
    check(resolve("host"), by_llvm(pool, 2), tmp_path, parts=1)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-march=native", "-ffp-contract=fast")])
def test_c_on_this_machine(tmp_path: Path, flags: tuple[str, ...]) -> None:
    check(resolve("host"), by_gcc(*flags), tmp_path, len(flags), 6)


@pytest.mark.emulated
@pytest.mark.parametrize("name", BOARDS)
def test_llvm_on_emulated_boards(pool: LlvmPool, tmp_path: Path, name: str) -> None:
    check(resolve(name), by_llvm(pool, 2), tmp_path, BOARDS.index(name))


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.parametrize("name", BOARDS)
def test_c_on_emulated_boards(tmp_path: Path, name: str) -> None:
    check(resolve(name), by_zig, tmp_path, BOARDS.index(name) + 1)


# --- what objects need ---------------------------------------------------------------------------


def all_kernels() -> list[Kernel]:
    cases = [*operation_cases((1, 4)), *function_cases()]
    return [*(c.kernel for c in cases), *sample_kernels()]


def undefined(data: bytes, target: Target) -> set[str]:
    """Undefined names of an object: from the symbol table in ELF, else from LLVM's declarations."""
    return set(ElfFile(data).undefined) if target.object_format == "elf" else set()


# Functions of the ARM run-time ABI, for cores without double-precision or any float instructions.
FLOATS_IN_SOFTWARE = re.compile(r"__aeabi_(?:[df]\w+|\w+2[df])")


def each_target() -> Iterator[object]:
    """All targets; those that differ from an earlier one only in CPU scheduling are slow tests."""
    known: set[object] = set()
    for row in ROWS:
        kind = (row.triple, row.llvm_features, row.features, row.arch == "arm" and row.cpu)
        marks = [pytest.mark.slow] if kind in known else []
        known.add(kind)
        yield pytest.param(row, marks=marks, id=f"{row.name} {row.triple} {row.cpu}")


@pytest.mark.slow
@pytest.mark.parametrize("row", list(each_target()))
def test_objects_of_every_target_need_nothing(pool: LlvmPool, row: Target) -> None:
    kernels = quick_part(all_kernels(), list(ROWS).index(row), 8)
    jobs = [IrJob(f"part{i}", llvm_module(kernels[i::4], row)) for i in range(4)]
    needed: set[str] = set()
    for data in pool.compile(jobs, row):
        needed |= undefined(data, row)
    needed = of_libraries(needed, row)
    if not row.scalar_f64:
        needed = {name for name in needed if not FLOATS_IN_SOFTWARE.fullmatch(name)}
    assert not needed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["windows", "mac", "wasm"])
def test_code_that_is_not_elf_calls_nothing_either(pool: LlvmPool, name: str) -> None:
    row = resolve(name)
    kernels = quick_part(all_kernels(), len(name), 6)
    jobs = [IrJob("all", llvm_module(kernels, row), EmitKind.ASM)]
    text = pool.compile(jobs, row)[0].decode()
    called = set(re.findall(r"^\s+(?:call|callq|bl|b)\s+([A-Za-z_]\w*)\s*$", text, re.MULTILINE))
    own = {kernel.name for kernel in kernels}
    assert {c for c in called if c.lstrip("_") not in own and not c.startswith("LBB")} == set()


@pytest.mark.slow
def test_a_missing_function_is_seen(pool: LlvmPool) -> None:
    row = resolve("pi0")
    text = llvm_module([swapped()], row)
    text += "declare float @fmaxf(float, float)\n"
    text += "define float @f(float %a) #0 {\n  %b = call float @fmaxf(float %a, float 1.0)\n"
    text += "  ret float %b\n}\n"
    (data,) = pool.compile([IrJob("needs", text, passes=Passes(names=()))], row)
    assert undefined(data, row) == {"fmaxf"}


# --- the text of C -------------------------------------------------------------------------------


@pytest.mark.slow
def test_pointers_are_restrict_unless_they_may_be_one_buffer() -> None:
    text = c_kernels([in_place(), product()], resolve("pi0"))
    assert "static void in_place(const float *x, float *y, ptrdiff_t begin, ptrdiff_t end)" in text
    assert "const float *restrict w" in text
    assert (
        "static void" not in c_kernels([product()], resolve("pi0"), static=False).split("i++")[-1]
    )


@pytest.mark.slow
def test_what_nothing_depends_on_is_left_out() -> None:
    b = KernelBuilder("idle")
    x = b.param("x", Elem.F32)
    b.param("z", Elem.F32)
    y = b.param("y", Elem.F32, writable=True)
    unused = b.op("sqrt", b.load(x, 0, 4))
    with b.loop("i", 0, 9, carry=(unused, Imm(1.0, VType(Elem.F32)))) as loop:
        loop.carry((b.add(loop.carried[0], loop.carried[0]), loop.carried[1]))
    b.store(loop.results[1], y, 0)
    text = c_kernels([b.finish()], resolve("host"))
    assert "sqrt" not in text and "f32x4" not in text
    assert all(f"(void){name};" in text for name in ("x", "z", "begin", "end"))


@pytest.mark.slow
def test_c_compiles_without_a_warning_and_links_with_nothing(tmp_path: Path) -> None:
    source, compiled = tmp_path / "k.c", tmp_path / "k.o"
    kernels = quick_part(all_kernels(), 1, 6)
    source.write_text(c_kernels(kernels, resolve("host"), static=False))
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wstrict-prototypes", "-Werror"]
    words = ["gcc", *flags, "-O1", "-ffreestanding", "-c", str(source), "-o", str(compiled)]
    subprocess.run(words, check=True)
    # Even a freestanding gcc may call these to copy memory; every C implementation has them.
    copies = {"memcpy", "memset", "memmove", "memcmp"}
    assert set(ElfFile(compiled.read_bytes()).undefined) <= copies


@pytest.mark.slow
def test_both_emitters_give_the_same_text_twice() -> None:
    row = resolve("pi3")
    for emit in (c_kernels, llvm_module):
        assert emit(sample_kernels(), row) == emit(sample_kernels(), row)
