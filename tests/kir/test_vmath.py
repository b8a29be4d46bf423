"""The elementary functions, interpreted on dense samples and compared with numpy's float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from ellc.codegen.kir import vmath, vmath_hyperbolic, vmath_inverse
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.interp import run
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array

Function = Callable[..., Operand]
REFERENCES: dict[str, Callable[..., Array]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(x), 1.0) / (1.0 + np.exp(-np.abs(x))),
    "log": np.log,
    "log10": np.log10,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "ceil": np.ceil,
    "round_even": np.rint,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "gelu": lambda x: gelu_reference(x),
    "pow": np.power,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "atan": np.arctan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "tan": np.tan,
}
ULPS = {
    "exp": 1.01, "tanh": 3, "sigmoid": 3, "log": 2, "log10": 3, "softplus": 4, "floor": 0,
    "ceil": 0, "round_even": 0, "erf": 3, "gelu": 8,
    "expm1": 3, "log1p": 3, "sinh": 4, "cosh": 3, "asinh": 5, "acosh": 5, "atanh": 5, "atan": 3,
    "asin": 4, "acos": 4, "tan": 4,
}  # fmt: skip
RANGES = {
    "exp": (-104, 88.7), "tanh": (-12, 12), "sigmoid": (-87, 30), "log": (0, 100),
    "log10": (0, 1e6), "softplus": (-87, 100), "sin": (-100, 100), "cos": (-100, 100),
    "floor": (-1e4, 1e4), "ceil": (-1e4, 1e4), "round_even": (-1e4, 1e4), "erf": (-6, 6),
    "gelu": (-13, 13), "expm1": (-90, 88.7), "log1p": (-0.9999, 1e6), "sinh": (-89, 89),
    "cosh": (-89, 89), "asinh": (-1e10, 1e10), "acosh": (1, 1e10), "atanh": (-0.99999, 0.99999),
    "atan": (-1e4, 1e4), "asin": (-1, 1), "acos": (-1, 1), "tan": (-100, 100),
}  # fmt: skip


def gelu_reference(x: Array) -> Array:
    """x erfc(-x / sqrt 2) / 2, with a first-order correction for rounding of the argument."""
    exact = -x.astype(np.longdouble) / np.sqrt(np.longdouble(2))
    t = exact.astype(np.float64)
    slope = -2 / math.sqrt(math.pi) * np.exp(-t * t)
    lost = np.where(np.isfinite(t), exact - t, 0).astype(np.float64)
    tail = np.vectorize(math.erfc, otypes=[float])(t) + slope * lost
    return np.asarray(x * 0.5 * tail)


ONE_ARGUMENT = [name for name in REFERENCES if name != "pow"]


def evaluate(name: str, *args: Array) -> Array:
    """The function on whole arrays, in a kernel with a lane per sample."""
    elem, lanes = Elem(f"f{args[0].dtype.itemsize * 8}"), len(args[0])
    b = KernelBuilder(name)
    loaded = [b.load(b.param(f"x{i}", elem), 0, lanes) for i in range(len(args))]
    modules = (vmath, vmath_hyperbolic, vmath_inverse)
    function: Function = next(getattr(m, name) for m in modules if hasattr(m, name))
    b.store(function(b, *loaded), b.param("y", elem, writable=True), 0)
    buffers = {f"x{i}": a for i, a in enumerate(args)} | {"y": np.full(lanes, 7, args[0].dtype)}
    run(b.finish(), buffers, 0, 1)
    return buffers["y"]


def samples(name: str, dtype: type, count: int = 60_001) -> Array:
    low, high = RANGES[name]
    rng = np.random.default_rng(7)
    spread = rng.uniform(low, high, count)
    # Add numbers of every magnitude, from the smallest normal number on.
    smallest = math.log2(np.finfo(dtype).tiny)
    small = 2.0 ** rng.uniform(smallest, math.log2(max(abs(low), high)), count)
    sign = rng.choice([-1.0, 1.0], count) if low < 0 else 1.0
    small = np.clip(small * sign, low, high)
    halves = np.arange(-40, 41) / 2 if low < 0 else np.arange(1, 41) / 2
    return np.concatenate([spread, small, np.clip(halves, low, high)]).astype(dtype)


def ulps(got: Array, want: Array, dtype: type) -> Array:
    """Distances in units in the last place of `want` (at least of the smallest normal number)."""
    spacing = np.maximum(np.abs(want), float(np.finfo(dtype).tiny)).astype(dtype)
    return np.abs(got.astype(np.float64) - want) / np.spacing(spacing)


@pytest.mark.parametrize("name", [n for n in ONE_ARGUMENT if n not in ("sin", "cos")])
def test_f32_error_is_within_the_stated_units(name: str) -> None:
    x = samples(name, np.float32)
    with np.errstate(all="ignore"):
        want = REFERENCES[name](x.astype(np.float64))
    error = ulps(evaluate(name, x), want, np.float32)
    worst = int(np.argmax(error))
    assert error[worst] <= ULPS[name], f"{error[worst]:.3f} ulp at x = {x[worst]!r}"


@pytest.mark.parametrize("name", [n for n in ONE_ARGUMENT if n not in ("sin", "cos")])
def test_f64_error_is_below_1e_14(name: str) -> None:
    low, high = RANGES[name]
    x = np.clip(samples(name, np.float64, 20_001), low, high)
    want = REFERENCES[name](x)
    got = evaluate(name, x)
    # The reference is numpy's float64, so the difference also contains numpy's error.
    error = np.abs(got - want) / np.maximum(np.abs(want), np.finfo(np.float64).tiny)
    worst = int(np.argmax(error))
    assert error[worst] <= 1e-14, f"{error[worst]:.3g} at x = {x[worst]!r}"


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize(
    "dtype, limit, tolerance", [(np.float32, 51_000, 2 * 2.0**-24), (np.float64, 1.6e6, 4e-16)]
)
def test_sine_and_cosine_up_to_their_limit(
    name: str, dtype: type, limit: float, tolerance: float
) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.uniform(-10, 10, 40_000), rng.uniform(-limit, limit, 40_000), [0.0, -0.0, 1e-30]]
    ).astype(dtype)
    error = np.abs(evaluate(name, x).astype(np.float64) - REFERENCES[name](x.astype(np.float64)))
    worst = int(np.argmax(error))
    assert error[worst] <= tolerance, f"{error[worst]:.3g} at x = {x[worst]!r}"


def test_sine_is_relatively_exact_near_multiples_of_pi() -> None:
    x = (np.arange(-300, 301) * math.pi).astype(np.float32)
    want = np.sin(x.astype(np.float64))
    assert np.max(ulps(evaluate("sin", x), want, np.float32)) <= 2


SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1e30, -1e30, 88.0, -88.0)


@pytest.mark.parametrize("name", ONE_ARGUMENT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_are_those_of_numpy(name: str, dtype: type) -> None:
    x = np.array([*SPECIAL, np.finfo(dtype).tiny, np.finfo(dtype).max], dtype)
    with np.errstate(all="ignore"):
        want = REFERENCES[name](x.astype(np.float64))
    got = evaluate(name, x).astype(np.float64)
    tiny = float(np.finfo(dtype).tiny) * 1.01
    with np.errstate(all="ignore"):
        want = want.astype(dtype).astype(np.float64)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=tiny)
    zero_sign = name in (
        *("tanh", "floor", "ceil", "round_even", "erf", "sinh", "asinh", "atanh", "atan", "asin"),
    )
    if zero_sign:
        assert np.signbit(got[0]) == np.signbit(0.0) and np.signbit(got[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overflow_underflow_and_denormals_of_exp_and_log(dtype: type) -> None:
    info = np.finfo(dtype)
    top, bottom = math.log(float(info.max)), math.log(float(info.tiny))
    x = np.array([top * 0.99999, top * 1.0001, bottom * 0.99999, bottom * 1.1, -1e4, 1e4], dtype)
    with np.errstate(all="ignore"):
        want = np.exp(x)
    np.testing.assert_allclose(evaluate("exp", x), want, rtol=1e-5, atol=info.smallest_subnormal)
    small = np.array([info.smallest_subnormal, info.tiny / 3, info.tiny, info.max], dtype)
    np.testing.assert_allclose(
        evaluate("log", small), np.log(small.astype(np.longdouble)).astype(dtype), rtol=1e-6
    )


def test_pow_to_three_ulp_and_f64_to_1e_14() -> None:
    rng = np.random.default_rng(11)
    x = 2.0 ** rng.uniform(-30, 30, 60_000)
    y = rng.uniform(-4, 4, 60_000)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    want = np.power(x32.astype(np.float64), y32.astype(np.float64))
    normal = (want > np.finfo(np.float32).tiny) & (want < np.finfo(np.float32).max)
    got = evaluate("pow", x32, y32)
    assert np.max(ulps(got, want, np.float32)[normal]) <= 3
    np.testing.assert_allclose(evaluate("pow", x, y * 8), np.power(x, y * 8), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pow_special_cases_are_those_of_numpy(dtype: type) -> None:
    values = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -1.5, 1e9, -1e9, 1e30]
    values += [np.inf, -np.inf, np.nan, 16777215.0]
    x, y = (m.ravel().astype(dtype) for m in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    got = evaluate("pow", x, y)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    defined = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[defined]), np.signbit(want[defined]))


def test_other_element_types_are_refused() -> None:
    b = KernelBuilder("k")
    with pytest.raises(ValueError, match="not i32"):
        vmath.exp(b, b.load(b.param("x", Elem.I32), 0))
