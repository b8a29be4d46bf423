"""Requantisation by the upper half of a product gives the bits of TFLite's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.codegen.blocks.high_factors import HighFactors, exact_results, high_factors
from ellc.codegen.blocks.packed_factors import MOST_RAISED_SUM, common_offset, packed_factors
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import Array, DType

FILTERS = 40


def requantize(rule: str, zero_point: int, low: int = -128, high: int = 127) -> Requantize:
    return Requantize(rule, zero_point, low, high, DType.I8)


def by_factors(op: Requantize, factors: HighFactors, sums: Array) -> Array:
    """What `apply_factors` computes, on sums that contain the bias."""
    starts = factors.starts[:, None].astype(np.int64)
    raised = (sums + starts) << factors.raised[:, None].astype(np.int64)
    assert abs(raised[factors.mantissas != 0]).max() < 2**31
    high = ((raised * factors.mantissas[:, None]) >> 32) + factors.offsets[:, None]
    if factors.corrected:
        high -= (raised >> 31) & (1 << (factors.raised[:, None].astype(np.int64) - 1))
    return np.asarray(np.clip(high >> factors.shift, op.low, op.high))


@pytest.mark.parametrize("rule", ["tflite", "tflite_once"])
@pytest.mark.parametrize(
    ("zero_point", "low", "shifts"),
    [
        (-128, -128, (7, 9)),
        (-128, -128, (3, 25)),
        (7, 7, (4, 12)),
        (7, -128, (6, 9)),
    ],
)
def test_all_results_in_the_range_are_exact(
    rule: str, zero_point: int, low: int, shifts: tuple[int, int]
) -> None:
    rng = np.random.default_rng(shifts[1])
    op = requantize(rule, zero_point, low)
    mantissas = rng.integers(1 << 30, 1 << 31, FILTERS).astype(np.int32)
    right = -rng.integers(*shifts, FILTERS, endpoint=True).astype(np.int32)
    right[0] = -31  # all sums of this filter have the same result
    most = rng.integers(20000, 60000, FILTERS)
    least = -rng.integers(20000, 60000, FILTERS)
    factors = high_factors(op, mantissas, right, least, most)
    assert factors is not None
    sums = np.concatenate([np.arange(-300, 300), rng.integers(-20000, 20000, 3000)])
    sums = np.concatenate([np.tile(sums, (FILTERS, 1)), least[:, None], most[:, None]], axis=1)
    (wanted,) = op.reference(sums.astype(np.int32), mantissas[:, None], right[:, None])
    np.testing.assert_array_equal(by_factors(op, factors, sums), wanted)


@pytest.mark.parametrize("rule", ["tflite", "tflite_once"])
@pytest.mark.parametrize(
    ("zero_point", "low", "shifts"),
    [(-128, -128, (7, 9)), (-128, -128, (3, 14)), (7, 7, (4, 12)), (7, -128, (6, 9))],
)
def test_a_word_for_each_filter_gives_all_results(
    rule: str, zero_point: int, low: int, shifts: tuple[int, int]
) -> None:
    rng = np.random.default_rng(shifts[1])
    op = requantize(rule, zero_point, low)
    mantissas = rng.integers(1 << 30, 1 << 31, FILTERS).astype(np.int32)
    right = -rng.integers(*shifts, FILTERS, endpoint=True).astype(np.int32)
    most = rng.integers(5000, 20000, FILTERS)
    least = -rng.integers(5000, 20000, FILTERS)
    right[0] = -17  # two results, or one
    # Filters with one result: without weights, but with a large bias, as converters write them.
    least[1:3] = most[1:3] = 1 << 30
    right[1:3] = [-23, -30]
    exact = exact_results(op, mantissas, right, least, most)
    assert exact is not None
    factors = packed_factors(exact, MOST_RAISED_SUM)
    assert factors is not None
    np.testing.assert_array_equal(factors.mantissas & MOST_RAISED_SUM, factors.raised)
    units = 0 if rule == "tflite_once" else 1 << (factors.raised - 2)
    np.testing.assert_array_equal(factors.offsets, common_offset(op, factors.shift) + units)
    sums = rng.integers(least[:, None], most[:, None], (FILTERS, 3000), endpoint=True)
    steps = np.concatenate([exact.sums, sums, least[:, None], most[:, None]], axis=1)
    (wanted,) = op.reference(steps.astype(np.int32), mantissas[:, None], right[:, None])
    np.testing.assert_array_equal(by_factors(op, factors, steps), wanted)


def test_there_are_none_for_left_shifts_and_other_rules() -> None:
    mantissas, limit = np.array([1 << 30], np.int32), np.array([1000])
    for op, shift in ((requantize("tflite", 0), 1), (requantize("tflite_reduced", 0), -3)):
        assert high_factors(op, mantissas, np.array([shift], np.int32), -limit, limit) is None


def test_there_are_none_for_sums_that_would_overflow() -> None:
    mantissas, limit = np.array([1 << 30, 1 << 30], np.int32), np.array([1 << 30, 1 << 30])
    shifts = np.array([-20, -21], np.int32)
    assert high_factors(requantize("tflite", 0), mantissas, shifts, -limit, limit) is None
