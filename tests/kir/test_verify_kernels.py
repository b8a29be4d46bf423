"""The verifier accepts kernels of the builder, and reports every mistake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kernel_samples import sample_kernels

from ellc.codegen.kir.ir import For, Imm, Kernel, Let, Load, Param, Stmt, Store, Var
from ellc.codegen.kir.text import parse
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.codegen.kir.verify import problems, verify
from ellc.ir.errors import InternalError

F32, F32X4 = VType(Elem.F32), VType(Elem.F32, 4)
X = Param("x", Elem.F32, 16)
Y = Param("y", Elem.F32, 4, writable=True)
ONE = Imm(1.0, F32)


def kernel(*body: Stmt, params: tuple[Param, ...] = (X, Y)) -> Kernel:
    return Kernel("k", params, Var("begin", INDEX), Var("end", INDEX), body)


def let(
    name: str, op: str, *args: Var | Imm, type: VType = F32, attrs: tuple[int, ...] = ()
) -> Let:
    return Let(Var(name, type), op, args, attrs)


def test_samples_are_sound() -> None:
    for sample in sample_kernels():
        verify(sample)


WRONG = {
    "v1 is assigned twice": (let("v1", "neg", ONE), let("v1", "neg", ONE)),
    "v9 is used where it is not defined": (let("v1", "neg", Var("v9", F32)),),
    "v1 is f32, but is used as f32x4": (
        let("v1", "neg", ONE),
        let("v2", "neg", Var("v1", F32X4), type=F32X4),
    ),
    "v1: there is no operation wobble": (let("v1", "wobble", ONE),),
    "v1: add takes 2 operands, not 1": (let("v1", "add", ONE),),
    "v1: and does not take f32": (let("v1", "and", ONE, ONE),),
    "v1: add takes operands of the same type, not f32 and f32x4": (
        let("v1", "add", ONE, Imm(1.0, F32X4)),
    ),
    "the result of lt must be mask, not f32": (let("v1", "lt", ONE, ONE),),
    "v1: lane has lane 4, outside 0..3": (let("v1", "lane", Imm(1.0, F32X4), attrs=(4,)),),
    "v1: part has last lane 4, outside 3..3": (
        let("v1", "part", Imm(1.0, F32X4), type=VType(Elem.F32, 2), attrs=(3, 2)),
    ),
    "v1: convert cannot convert f32 to mask": (
        let("v1", "convert", ONE, type=VType(Elem.MASK), attrs=(11,)),
    ),
    "v1: bitcast cannot convert f32 to f64": (
        let("v1", "bitcast", ONE, type=VType(Elem.F64), attrs=(1,)),
    ),
    "v1: splat takes a scalar, not f32x4": (
        let("v1", "splat", Imm(1.0, F32X4), type=F32X4, attrs=(4,)),
    ),
    "v1: pack_bits takes a multiple of 8 lanes, not 4": (
        let("v1", "pack_bits", Imm(1, VType(Elem.MASK, 4)), type=VType(Elem.U8)),
    ),
    "v1: shl has bits 32, outside 0..31": (
        let("v1", "shl", Imm(1, VType(Elem.I32)), type=VType(Elem.I32), attrs=(32,)),
    ),
    "store to x, which is not writable": (Store(ONE, X, Imm(0), 0, 4),),
    "store at z, which is not a parameter of this kernel": (
        Store(ONE, Param("z", Elem.F32, 4, True), Imm(0), 0, 4),
    ),
    "load at x of i32, but x holds f32": (Load(Var("v1", VType(Elem.I32)), X, Imm(0), 0, 4),),
    "load at x: 6 bytes is not a valid alignment of f32": (Load(Var("v1", F32), X, Imm(0), 0, 6),),
    "store at y with alignment 16, but y has alignment 4": (
        Store(Imm(1.0, F32X4), Y, Imm(0), 0, 16),
    ),
    "load at x[2] is not aligned to 16 bytes": (Load(Var("v1", F32X4), X, Imm(0), 2, 16),),
    "an index must be idx, not f32": (Load(Var("v1", F32), X, ONE, 0, 4),),
    "literal 1 of f32 must be a float": (let("v1", "neg", Imm(1, F32)),),
    "literal 300 does not fit u8": (
        let("v1", "neg", Imm(300, VType(Elem.U8)), type=VType(Elem.U8)),
    ),
    "v1 has 0 lanes": (Load(Var("v1", VType(Elem.F32, 0)), X, Imm(0), 0, 4),),
    "x is both a parameter and a value": (let("x", "neg", ONE),),
    "'double' is not a valid name: names must be identifiers of C": (let("double", "neg", ONE),),
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_violation_is_named(problem: str) -> None:
    assert problem in problems(kernel(*WRONG[problem]))


def loop(**changes: object) -> For:
    good = For(
        Var("i", INDEX), Imm(0), Imm(4), 1, (Var("c", F32),), (ONE,), (), (ONE,), (Var("r", F32),)
    )
    return replace(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad, problem",
    [
        (loop(step=0), "loop i has step 0, which is not positive"),
        (loop(yields=()), "loop i has carried lists of different lengths"),
        (loop(yields=(Imm(1.0, F32X4),)), "carried value c must be f32, not f32x4"),
        (loop(stop=ONE), "a bound of a loop must be idx, not f32"),
    ],
)
def test_a_bad_loop_is_named(bad: For, problem: str) -> None:
    assert problems(kernel(loop())) == ()
    assert problem in problems(kernel(bad))


def test_values_end_with_their_block() -> None:
    inner = loop(body=(let("v1", "neg", ONE),))
    assert problems(kernel(inner, let("v2", "neg", Var("r", F32)))) == ()
    found = problems(
        kernel(inner, let("v2", "neg", Var("v1", F32)), let("v3", "neg", Var("c", F32)))
    )
    assert found == (
        "v1 is used where it is not defined",
        "c is used where it is not defined",
    )


def test_parameters_are_checked() -> None:
    twice = (X, replace(X, elem=Elem.I32))
    assert "two parameters have the same name" in problems(kernel(params=twice))
    bad = Param("m", Elem.MASK, 1)
    assert "parameter m: mask values cannot be stored" in problems(kernel(params=(bad,)))
    pairs = replace(kernel(), in_place=(("x", "q"),))
    assert problems(pairs) == ("in_place names q, which is not a parameter",)


def test_the_report_has_all_violations() -> None:
    text = """
    kernel k(x: f32 align 4; begin, end) {
      v1: f32 = add f32(1.0), f32x4(2.0)
      store v1 -> x[0] align 3
    }
    """
    with pytest.raises(InternalError) as caught:
        verify(parse(text))
    report = str(caught.value)
    assert "kernel k is malformed" in report
    assert "add takes operands of the same type" in report
    assert "3 bytes is not a valid alignment" in report
    assert "not writable" in report
