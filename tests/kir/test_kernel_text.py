"""Print and parse kernels: exact round trips, clear errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from kernel_samples import sample_kernels
from operation_cases import operation_cases

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.kir.verify import problems
from ellc.ir.errors import EllcError


@pytest.mark.parametrize("kernel", sample_kernels(), ids=lambda k: k.name)
def test_parsing_what_was_printed_gives_the_kernel_back(kernel: Kernel) -> None:
    assert problems(kernel) == ()
    assert parse(print_kernel(kernel)) == kernel


def test_every_operation_survives_the_round_trip() -> None:
    for case in operation_cases((1, 4)):
        assert parse(print_kernel(case.kernel)) == case.kernel


def test_literals_keep_every_bit() -> None:
    numbers = [0.0, -0.0, 1e-45, 0.1, -1.5e300, math.inf, -math.inf, math.nan]
    b = KernelBuilder("literals")
    y = b.param("y", Elem.F64, writable=True)
    for i, number in enumerate(numbers):
        b.store(Imm(number, VType(Elem.F64)), y, i)
    kernel = b.finish()
    again = parse(print_kernel(kernel))
    assert again == kernel
    zeros = [s.value.value for s in again.body[:2]]  # type: ignore[union-attr]
    assert [math.copysign(1, z) for z in zeros] == [1, -1]


def test_equal_numbers_with_different_bits_are_different_literals() -> None:
    assert Imm(0.0, VType(Elem.F32)) != Imm(-0.0, VType(Elem.F32))
    assert Imm(math.nan, VType(Elem.F32)) == Imm(float("nan"), VType(Elem.F32))
    assert Imm(1, VType(Elem.I32)) != Imm(1, VType(Elem.I64))


def test_the_printed_form_is_the_documented_one(golden: Callable[[str, str], None]) -> None:
    texts = [print_kernel(kernel) for kernel in sample_kernels()]
    golden("kir/samples.txt", "\n".join(texts))


def test_every_bad_line_is_reported_at_once() -> None:
    text = """
    kernel k(x: f32 align 4; begin, end) {
      v1: f32 = load x[0] align 4
      v2: f33 = load x[0] align 4
      v3: f32 = wobble v1
      store v9 -> x[0] align 4
      v4: f32 = load z[0] align 4
      nonsense
    }
    """
    with pytest.raises(EllcError) as caught:
        parse(text)
    assert [p.split(":")[0] for p in caught.value.problems] == [f"line {i}" for i in range(4, 9)]
    assert "there is no operation wobble" in caught.value.problems[1]


@pytest.mark.parametrize("text", ["", "kernel", "kernel k(; begin, end) {", "}\n}"])
def test_what_is_no_kernel_is_refused(text: str) -> None:
    with pytest.raises(EllcError, match="E320"):
        parse(text)
