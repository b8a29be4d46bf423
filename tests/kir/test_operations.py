"""For every operation, the interpreter, LLVM and C agree, on this machine and in emulators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import Build, KernelCase, by_gcc, by_llvm, by_zig, compiled_results
from operation_cases import LANES, half_cases, operation_cases
from parts import quick_part

from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.ops import OPS
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.llvm import LlvmPool
from ellc.ir.types import Array

SMALLEST = {np.dtype(t): np.finfo(t).tiny for t in (np.float16, np.float32, np.float64)}


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool() as made:
        yield made


@pytest.fixture(scope="module")
def all_cases() -> tuple[KernelCase, ...]:
    return operation_cases()


def part(number: int, parts: int, lanes: Sequence[int] = LANES) -> tuple[KernelCase, ...]:
    """A part of the cases, with a case for every operation."""
    cases, names = operation_cases(lanes), tuple(OPS)

    def operation(case: KernelCase) -> list[str]:
        return [max((n for n in names if case.kernel.name.startswith(f"{n}_")), key=len)]

    return tuple(quick_part(cases, number, parts, covers=operation))


def differing(case: KernelCase, got: Array, want: Array) -> Array:
    """The positions at which a result differs from the interpreter's.

    These differences are allowed: the bits of NaN, the sign of zero from min and max, rounding
    mul_add once or twice, and denormal numbers on units that flush them.
    """
    if got.dtype.kind != "f":
        return np.flatnonzero(got != want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    operation = case.kernel.name.split("_")[0]
    if operation not in ("min", "max"):
        same &= (np.signbit(got) == np.signbit(want)) | np.isnan(want)
    if case.kernel.name.startswith("mul_add"):
        a, b, c = (case.arrays[f"p{i}"].astype(np.float64) for i in range(3))
        with np.errstate(all="ignore"):
            size = (np.abs(a * b) + np.abs(c))[: len(got)]
            same |= np.abs(got.astype(np.float64) - want) <= size * np.finfo(got.dtype).eps
            # With two roundings, the product may overflow although the result does not.
            same |= np.isinf(want) & (size >= np.finfo(got.dtype).max)
    tiny = SMALLEST[got.dtype]
    same |= (np.abs(got) <= tiny) & (np.abs(want) <= tiny)
    return np.flatnonzero(~same)


def check(cases: tuple[KernelCase, ...], target: Target, build: Build, folder: Path) -> None:
    wrong = []
    for case, got in zip(cases, compiled_results(cases, target, build, folder), strict=True):
        want = case.interpreted["y"]
        bad = differing(case, got["y"], want)
        if len(bad):
            i = int(bad[0])
            wrong.append(f"{case.kernel.name}: {len(bad)} wrong, [{i}] {got['y'][i]} != {want[i]}")
    assert not wrong, f"{len(wrong)} of {len(cases)} kernels\n" + "\n".join(wrong[:60])


def test_there_is_a_case_for_every_operation_and_element_it_takes(
    all_cases: tuple[KernelCase, ...],
) -> None:
    assert len(all_cases) > 1500
    assert len({c.kernel.name for c in all_cases}) == len(all_cases)


@pytest.mark.slow
def test_llvm_on_this_machine(pool: LlvmPool, tmp_path: Path) -> None:
    check(part(0, 4), resolve("host"), by_llvm(pool), tmp_path)


@pytest.mark.slow
def test_c_by_gcc_with_undefined_behaviour_trapped(tmp_path: Path) -> None:
    traps = ("-fsanitize=undefined,float-cast-overflow", "-fsanitize-undefined-trap-on-error")
    # Without optimisation, as in `by_zig`: the traps are the same, in a third of the time.
    build = by_gcc("-O0", "-DELLC_PLAIN_C", *traps)
    check(part(1, 4, (1, 4)), resolve("host"), build, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, lanes",
    [(("-fno-math-errno",), (8, 16)), (("-march=native", "-ffp-contract=off"), (4,))],
)
def test_c_by_gcc_optimised(tmp_path: Path, flags: tuple[str, ...], lanes: tuple[int, ...]) -> None:
    check(part(lanes[0] // 8, 6, lanes), resolve("host"), by_gcc("-O3", *flags), tmp_path)


@pytest.mark.emulated
@pytest.mark.parametrize("name, lanes", [("pi0", (1, 4)), ("pi3", (1, 3, 16)), ("pi3_64", (3, 4))])
def test_llvm_on_emulated_boards(
    pool: LlvmPool, tmp_path: Path, name: str, lanes: tuple[int, ...]
) -> None:
    check(part(lanes[0], 3, lanes), resolve(name), by_llvm(pool), tmp_path)


@pytest.mark.emulated("qemu-aarch64")
@pytest.mark.parametrize("name, lanes", [("pi5", (3, 8)), ("imx93", (1, 16))])
def test_half_precision_on_emulated_boards(
    pool: LlvmPool, tmp_path: Path, name: str, lanes: tuple[int, ...]
) -> None:
    cases = half_cases(lanes)
    assert len(cases) > 50
    check(cases, resolve(name), by_llvm(pool), tmp_path)


@pytest.mark.slow
@pytest.mark.emulated("qemu-arm")
def test_c_on_an_emulated_board(tmp_path: Path) -> None:
    check(part(1, 3, (1, 4)), resolve("pi0"), by_zig, tmp_path)


@pytest.mark.emulated("qemu-arm")
def test_what_replaces_missing_hardware(pool: LlvmPool, tmp_path: Path) -> None:
    # The square roots for cores without float instructions, on a core that can check them.
    cases = operation_cases((1, 4))
    roots = tuple(c for c in cases if c.kernel.name.startswith("sqrt_f"))
    soft = replace(
        resolve("pi3"), computes_floats=False, scalar_f64=False, llvm_features="+soft-float"
    )
    assert "@llvm.sqrt" not in llvm_module([c.kernel for c in roots], soft)
    check(roots, resolve("pi3"), by_llvm(pool, written_for=soft), tmp_path)
