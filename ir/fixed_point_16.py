"""Logistic function and hyperbolic tangent of 16-bit fixed-point numbers, bit for bit as in TFLite.

TFLite uses the functions of gemmlowp, a library of integer arithmetic. *Qn* is a fixed-point format
with n integer bits: x stands for x / 2^(15 - n). Numbers have 16 bits; the arrays that hold them
are int32, so that no step overflows.
"""

from __future__ import annotations

import math

import numpy as np

from ellc.ir.fixed_point import divide_by_power
from ellc.ir.types import Array

FUNCTIONS = ("logistic", "tanh")
MOST_INTEGER_BITS = 6
ONE = (1 << 15) - 1  # the largest Q0, which stands for 1
QUARTER_BITS = 13  # 1/4 as Q0 is 2^13
_DEEPEST = 32  # for x above this number, e^-x counts as 0


def constant(real: float, integer_bits: int = 0) -> int:
    """The nearest fixed-point number with this many integer bits."""
    return math.floor(real * 2.0 ** (15 - integer_bits) + 0.5)


def exponential_factors(integer_bits: int) -> list[tuple[int, int]]:
    """(bit, factor) for each bit that stands for a number from 1/4 to 16, from low to high.

    The factor is e^-v as Q0, where v is the number that the bit stands for.
    """
    powers = range(-2, min(integer_bits, 5))
    return [(1 << (15 - integer_bits + p), constant(math.exp(-(2.0**p)))) for p in powers]


def deepest(integer_bits: int) -> int | None:
    """The stored number below which the exponential is 0; None if the format has no such number."""
    return -_DEEPEST << (15 - integer_bits) if integer_bits > 5 else None


def function_16(function: str, integer_bits: int, x: Array) -> Array:
    """A function of `FUNCTIONS` at x, as Q0; x has `integer_bits` integer bits.

    The logistic function is computed from e^-|x|, the hyperbolic tangent from e^-2|x|.
    """
    negative = -np.abs(x.astype(np.int32))
    if function == "logistic":
        above = _one_over_one_plus(_exp_of_negative(negative, integer_bits))
        return np.where(x == 0, 1 << 14, np.where(x > 0, above, ONE - above)).astype(np.int32)
    above = _one_minus_over_one_plus(_exp_of_negative(negative, integer_bits + 1))
    return np.where(x == 0, 0, np.where(x > 0, above, -above)).astype(np.int32)


def _product(a: Array, b: Array | int) -> Array:
    """2ab / 2^16, halves rounded up."""
    return np.asarray(np.right_shift(a * b + (1 << 14), 15))


def _exp_of_negative(x: Array, integer_bits: int) -> Array:
    """e^x as Q0 for x <= 0."""
    quarter = 1 << (QUARTER_BITS - integer_bits)
    inside = (x & (quarter - 1)) - quarter  # -1/4 <= inside < 0; inside - x is a multiple of 1/4
    result = _exp_of_quarter(inside << integer_bits)
    quarters = inside - x
    for bit, factor in exponential_factors(integer_bits):
        result = np.where(quarters & bit, _product(result, factor), result)
    least = deepest(integer_bits)
    if least is not None:
        result = np.where(x < least, 0, result)
    return np.where(x == 0, ONE, result)


def _exp_of_quarter(x: Array) -> Array:
    """e^x for -1/4 <= x < 0, both Q0: the Taylor series of degree 4 around -1/8."""
    d = x + (1 << 12)
    square = _product(d, d)
    cube, fourth = _product(square, d), _product(square, square)
    last = _product(divide_by_power(fourth, 2) + cube, constant(1 / 3))
    centre = constant(math.exp(-1 / 8))
    rest = d + divide_by_power(last + square, 1)
    return np.asarray(np.minimum(centre + _product(rest, centre), ONE))


def _reciprocal(x: Array) -> Array:
    """2 / (1 + x) as Q2 for 0 <= x <= 1 as Q0: three steps of Newton's method."""
    half = (x + ONE + 1) >> 1  # half the denominator
    guess = constant(48 / 17, 2) + _product(half, constant(-32 / 17, 2))
    for _ in range(3):
        error = (1 << 13) - _product(half, guess)
        guess = guess + (_product(guess, error) << 2)
    return guess


def _one_over_one_plus(x: Array) -> Array:
    """1 / (1 + x) for 0 <= x <= 1, both Q0."""
    return np.asarray(np.minimum(_reciprocal(x) << 1, ONE))


def _one_minus_over_one_plus(x: Array) -> Array:
    """(1 - x) / (1 + x) for 0 <= x <= 1, both Q0."""
    return np.asarray(np.minimum((_reciprocal(x) - (1 << 13)) << 2, ONE))
