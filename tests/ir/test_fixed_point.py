"""Fixed-point arithmetic, compared with the same rules in exact rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from ellc.ir import fixed_point, fixed_point_16
from ellc.ir.types import Array

LOWEST, HIGHEST = -(2**31), 2**31 - 1
EDGES = (LOWEST, LOWEST + 1, -(2**30), -12345, -3, -1, 0, 1, 2, 5, 999_999, 2**30, HIGHEST)


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return half_up(x) if x >= 0 else -half_up(-x)


def wrapped(x: int) -> int:
    return (x - LOWEST) % 2**32 + LOWEST


def int32(*values: int) -> Array:
    return np.array(values, np.int32)


def numbers(count: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(x) for x in rng.integers(LOWEST, HIGHEST, count, endpoint=True)] + list(EDGES)


def high_product(a: int, b: int) -> int:
    return min(half_up(Fraction(a * b, 2**31)), HIGHEST)


def test_high_product() -> None:
    pairs = list(product(numbers(30, 1), numbers(30, 2)))
    first, second = (int32(*side) for side in zip(*pairs, strict=True))
    want = [high_product(a, b) for a, b in pairs]
    assert fixed_point.high_product(first, second).tolist() == want


@pytest.mark.parametrize("exponent", [0, 1, 2, 7, 30, 31])
def test_division_by_a_power_of_two(exponent: int) -> None:
    values = [*numbers(50, 3), *range(-70, 70)]
    want = [half_away(Fraction(x, 2**exponent)) for x in values]
    assert fixed_point.divide_by_power(int32(*values), exponent).tolist() == want


@pytest.mark.parametrize("shift", [-31, -8, -1, 0, 1, 9, 31])
def test_multiplication_by_a_factor(shift: int) -> None:
    for mantissa in (0, 1 << 30, 1_234_567_890, HIGHEST):
        values = [*numbers(40, 4), *range(-40, 40)]
        raised = [wrapped(x << max(shift, 0)) for x in values]
        twice = [
            half_away(Fraction(high_product(x, mantissa), 2 ** max(-shift, 0))) for x in raised
        ]
        assert fixed_point.multiply(int32(*values), mantissa, shift).tolist() == twice
        once = [half_up(Fraction(x * mantissa, 2 ** (31 + max(-shift, 0)))) for x in raised]
        assert fixed_point.multiply_once(int32(*values), mantissa, shift).tolist() == once


@pytest.mark.parametrize(
    "real", [0.5, 1.0, 1.5, 0.001, 3e-9, 123456.789, math.nextafter(1.0, 0.0), 2.0**-31, 2.0**30]
)
def test_a_factor_has_31_bits(real: float) -> None:
    mantissa, shift = fixed_point.quantize_multiplier(real)
    assert 2**30 <= mantissa < 2**31
    assert mantissa / 2**31 * 2.0**shift == pytest.approx(real, rel=2.0**-31)


def test_factors_without_a_mantissa() -> None:
    assert fixed_point.quantize_multiplier(0.0) == (0, 0)
    assert fixed_point.quantize_multiplier(2.0**-33) == (0, 0)
    assert fixed_point.quantize_multiplier(math.inf) == (0, 0)
    assert fixed_point.quantize_multiplier(-0.75) == (-1610612736, 0)


@pytest.mark.parametrize("exponent", [31, 32, 90, 102, 300])
def test_a_factor_that_shifts_every_bit_out_is_zero(exponent: int) -> None:
    factor = fixed_point.quantize_multiplier(1.3 * 2.0**exponent)
    assert -31 <= factor[1] <= 31  # the range that operators accept
    values = numbers(20, 6)
    want = [high_product(wrapped(x << (exponent + 1)), factor[0]) for x in values]
    assert fixed_point.multiply(int32(*values), *factor).tolist() == want


def test_exponential_is_that_of_real_numbers() -> None:
    x = np.concatenate([-np.arange(1, 3000), -np.geomspace(3000, 2**31 - 1, 2000).astype(np.int64)])
    got = fixed_point.exp_of_negative(x.astype(np.int32)) / 2.0**31
    np.testing.assert_allclose(got, np.exp(x / 2.0**26), atol=2e-7)
    assert fixed_point.exp_of_negative(int32(0)).tolist() == [HIGHEST]


def test_reciprocal_is_that_of_real_numbers() -> None:
    x = np.concatenate([np.arange(1, 1000), np.geomspace(1000, 2**32 - 1, 1000).astype(np.int64)])
    y, bits = fixed_point.reciprocal(fixed_point.wrapped(x))
    assert y.min() > 2**30 - 16
    np.testing.assert_allclose(y / 2.0**31 / 2.0**bits, 2.0**19 / x, rtol=1e-8)


@pytest.mark.parametrize("integer_bits", range(7))
def test_functions_of_16_bits_are_those_of_real_numbers(integer_bits: int) -> None:
    x = np.arange(-(2**15), 2**15).astype(np.int32)
    real = x / 2.0 ** (15 - integer_bits)
    for function, want in (("logistic", 1 / (1 + np.exp(-real))), ("tanh", np.tanh(real))):
        got = fixed_point_16.function_16(function, integer_bits, x)
        assert abs(got).max() <= 2**15 - 1
        np.testing.assert_allclose(got / 2.0**15, want, atol=15 / 2.0**15)


def test_logarithm_is_that_of_real_numbers() -> None:
    x = np.append(np.geomspace(2**19, 2**31 - 1, 3000).astype(np.int32), np.int32(2**19))
    got = fixed_point.log_of_sum(x) / 2.0**26
    np.testing.assert_allclose(got, np.log(x / 2.0**19), atol=1e-7)


def test_inverse_root_is_that_of_real_numbers() -> None:
    x = np.append(np.arange(-3, 3000), np.geomspace(3000, 2**31 - 1, 2000)).astype(np.int32)
    mantissa, shift = fixed_point.inverse_root(x)
    got = mantissa / 2.0**31 * 2.0**shift
    np.testing.assert_allclose(got, 1 / np.sqrt(np.maximum(x, 1)), rtol=2e-6)
    assert -31 <= shift.min() <= shift.max() <= 0


@pytest.mark.parametrize("factor", [1e-4, 0.3, 1.0, 900.0])
def test_quotient_is_that_of_rational_numbers(factor: float) -> None:
    pair = fixed_point.quantize_multiplier(factor)
    every = np.arange(-255, 256)
    x, y = (side.reshape(-1).astype(np.int32) for side in np.meshgrid(every, every))
    want = x / np.where(y == 0, 1, y) * factor
    np.testing.assert_allclose(fixed_point.quotient(x, y, *pair), want, atol=0.51)


@pytest.mark.parametrize("scale", [0.004, 0.07, 0.3, 1.9])
def test_softmax_is_that_of_real_numbers(scale: float) -> None:
    x = np.random.default_rng(5).integers(-128, 128, (40, 11), np.int8)
    table = fixed_point.softmax_exponentials(*fixed_point.softmax_scaling(1.0, scale))
    powers = np.exp((x - x.max(-1, keepdims=True).astype(float)) * scale)
    want = 256 * powers / powers.sum(-1, keepdims=True)
    got = fixed_point.softmax_shares(x, table)
    np.testing.assert_allclose(got, want, atol=0.5 + 1e-4)
    assert set(np.diff(table[::-1].astype(np.int64)) >= 0) == {True}
