"""Division, remainders and 64-bit conversions, interpreted and compared with numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ellc.codegen.kir import vmath, wide
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.interp import run
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.pointwise import Cast, Div, Mod
from ellc.ir.types import Array, DType

INTEGERS = (Elem.I8, Elem.U8, Elem.I16, Elem.U16, Elem.I32, Elem.U32, Elem.I64, Elem.U64)
FLOATS = (Elem.F32, Elem.F64)


def evaluate(function: Callable[..., Operand], result: Elem, *args: Array) -> Array:
    """The function on whole arrays, in a kernel with a lane per sample."""
    lanes = len(args[0])
    b = KernelBuilder("wide")
    elems = [Elem(f"{a.dtype.kind}{a.dtype.itemsize * 8}") for a in args]
    loaded = [b.load(b.param(f"x{i}", e), 0, lanes) for i, e in enumerate(elems)]
    b.store(function(b, *loaded), b.param("y", result, writable=True), 0)
    buffers = {f"x{i}": a for i, a in enumerate(args)} | {"y": np.zeros(lanes, result.numpy)}
    run(b.finish(), buffers, 0, 1)
    return buffers["y"]


def integers(elem: Elem) -> Array:
    """The ends of the type, small numbers, and random numbers of every magnitude."""
    info = np.iinfo(elem.numpy)
    bits = info.bits
    rng = np.random.default_rng(bits)
    drawn = rng.integers(info.min, info.max, 40, elem.numpy, endpoint=True)
    sized = drawn >> rng.integers(0, bits - 1, 40).astype(elem.numpy)
    edges = [0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1, info.max // 2 + 1]
    edges += [] if info.min == 0 else [-1, -2, -3]
    return np.concatenate([np.array(edges, elem.numpy), drawn, sized])


def floats(elem: Elem) -> Array:
    rng = np.random.default_rng(3)
    powers = 2.0 ** rng.uniform(-40, 66, 200) * rng.choice([-1, 1], 200)
    edges = [0.0, -0.0, 0.5, -0.5, 1.5, np.inf, -np.inf, np.nan, 2.0**31, 2.0**32, 2.0**63]
    edges += [-(2.0**63), 2.0**64, -(2.0**64), 2.0**24 + 2, 2.0**53, 1e300, 4294967295.0]
    with np.errstate(over="ignore"):
        return np.array([*edges, *powers]).astype(elem.numpy)


@pytest.mark.parametrize("elem", INTEGERS, ids=lambda e: e.value)
def test_integer_division(elem: Elem) -> None:
    values = integers(elem)
    x, y = (a.reshape(-1) for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        (quotient,), (remainder,) = Div().reference(x, y), Mod().reference(x, y)
    remainder = np.where(y == 0, 0, remainder)
    assert np.array_equal(evaluate(lambda b, p, q: wide.divide(b, p, q)[0], elem, x, y), quotient)
    assert np.array_equal(evaluate(lambda b, p, q: wide.divide(b, p, q)[1], elem, x, y), remainder)


@pytest.mark.parametrize("elem", FLOATS, ids=lambda e: e.value)
def test_remainder_of_floats_is_exact(elem: Elem) -> None:
    rng = np.random.default_rng(4)
    x = (2.0 ** rng.uniform(-20, 60, 500) * rng.choice([-1, 1], 500)).astype(elem.numpy)
    y = (2.0 ** rng.uniform(-10, 30, 500) * rng.choice([-1, 1], 500)).astype(elem.numpy)
    tiny = np.finfo(elem.numpy).smallest_subnormal
    special = np.array([0.0, -0.0, 1.0, -3.5, np.inf, -np.inf, np.nan, tiny, 9 * tiny], elem.numpy)
    pairs = [a.reshape(-1) for a in np.meshgrid(special, special)]
    x, y = np.concatenate([x, pairs[0]]), np.concatenate([y, pairs[1]])
    with np.errstate(all="ignore"):
        want = np.fmod(x, y)
    np.testing.assert_array_equal(evaluate(wide.fmod, elem, x, y), want)


@pytest.mark.parametrize("to", (Elem.I64, Elem.U64), ids=lambda e: e.value)
@pytest.mark.parametrize("elem", FLOATS, ids=lambda e: e.value)
def test_float_to_wide_integer(elem: Elem, to: Elem) -> None:
    x = floats(elem)
    with np.errstate(all="ignore"):
        (want,) = Cast(DType(to.value)).reference(x)
    found = evaluate(lambda b, v: wide.convert(b, v, to), to, x)
    assert np.array_equal(found, want)


@pytest.mark.parametrize("to", FLOATS, ids=lambda e: e.value)
@pytest.mark.parametrize("elem", (Elem.I64, Elem.U64), ids=lambda e: e.value)
def test_wide_integer_to_float(elem: Elem, to: Elem) -> None:
    # Numbers halfway between two floats, and their neighbours.
    edges = [((1 << 24) + 1) << k for k in range(38)] + [((1 << 53) + 1) << k for k in range(9)]
    beside = [e + d for e in edges for d in (-1, 0, 1)]
    x = np.concatenate([integers(elem), np.array(beside, elem.numpy)])
    found = evaluate(lambda b, v: wide.convert(b, v, to), to, x)
    assert np.array_equal(found, x.astype(to.numpy))


@pytest.mark.parametrize("elem", FLOATS, ids=lambda e: e.value)
def test_expm1_below_zero(elem: Elem) -> None:
    x = -(10.0 ** np.linspace(-6, 3, 400)).astype(elem.numpy)
    found = evaluate(vmath.expm1_negative, elem, x)
    want = np.expm1(x.astype(np.float64))
    assert np.max(np.abs(found - want) / np.spacing(np.abs(want).astype(elem.numpy))) <= 3
    ends = np.array([0.0, -np.inf, np.nan], elem.numpy)
    np.testing.assert_array_equal(
        evaluate(vmath.expm1_negative, elem, ends), np.array([0.0, -1.0, np.nan], elem.numpy)
    )
