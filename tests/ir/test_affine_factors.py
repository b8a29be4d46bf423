"""Float factors found for fixed-point ones give the same results for all sums."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.ir.affine_factors import AffineFactors, Sums, affine_factors
from ellc.ir.fixed_point import multiply, multiply_once, quantize_multiplier
from ellc.ir.types import Array

RULES = {"tflite": multiply, "tflite_once": multiply_once}
SIGNED, POSITIVE = range(-131, 125), range(256)


def found(
    rule: str, factors: list[float], least: int, most: int, results: range, *, centred: bool = True
) -> tuple[AffineFactors | None, Array, Array]:
    """(what is found, the sums [channels, n], their exact results)."""
    pairs = np.array([quantize_multiplier(f) for f in factors], np.int32)
    mantissas, shifts = pairs[:, :1], pairs[:, 1:]

    def scaled(x: Array) -> Array:
        return RULES[rule](x, *(np.broadcast_to(p, x.shape) for p in (mantissas, shifts)))

    ends = Sums(*(np.full(len(factors), n, np.int64) for n in (least, most)))
    affine = affine_factors(
        scaled, np.array(factors), ends, results, centred=centred, away=rule == "tflite"
    )
    every = np.broadcast_to(np.arange(least, most + 1), (len(factors), most - least + 1))
    exact = np.clip(scaled(every.astype(np.int32)), results[0], results[-1])
    return affine, every, exact


def applied(affine: AffineFactors, sums: Array, *, fused: bool) -> Array:
    x = (sums - affine.centre[:, None]).astype(np.float32)
    factor, offset = affine.factor[:, None], affine.offset[:, None]
    offset = np.copysign(offset, x) if affine.apart else offset
    if fused:
        total = (x.astype(np.float64) * factor + offset).astype(np.float32)
    else:
        total = x * factor + offset
    return np.rint(total).astype(np.int64) + affine.middle


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("results", [SIGNED, POSITIVE, range(6, 100), range(-300, -3)])
@pytest.mark.parametrize("centred", [True, False])
def test_every_sum_has_its_result(rule: str, results: range, centred: bool) -> None:
    factors = [0.01, 0.0123, 0.3, 0.49, 1e-9, 0.0]
    affine, sums, exact = found(rule, factors, -30_000, 41_000, results, centred=centred)
    assert affine is not None
    assert affine.apart == (rule == "tflite" and results[0] < 0)
    assert centred or not affine.centre.any()
    for fused in (True, False):
        got = np.clip(applied(affine, sums, fused=fused), results[0], results[-1])
        assert np.array_equal(got, exact)


def test_sums_with_few_results_need_no_threshold() -> None:
    for least, most in ((3, 3), (-9, 4), (90_000, 90_001), (-90_001, -90_000)):
        affine, sums, exact = found("tflite", [0.01, 0.002], least, most, SIGNED)
        assert affine is not None
        got = np.clip(applied(affine, sums, fused=True), SIGNED[0], SIGNED[-1])
        assert np.array_equal(got, exact)


def test_nothing_is_found_where_a_float_has_too_few_digits() -> None:
    affine, _, _ = found("tflite", [1.1e-5], 0, 0, POSITIVE)
    assert affine is not None
    ends = Sums(np.array([0]), np.array([2**25]))
    mantissa, shift = (np.array([[n]], np.int32) for n in quantize_multiplier(1.1e-5))

    def scaled(x: Array) -> Array:
        return multiply(x, *(np.broadcast_to(p, x.shape) for p in (mantissa, shift)))

    assert (
        affine_factors(scaled, np.array([1.1e-5]), ends, POSITIVE, centred=True, away=True) is None
    )


def test_sums_that_wrap_are_left_alone() -> None:
    ends = Sums(np.array([-(2**31) - 1]), np.array([5]))
    assert (
        affine_factors(lambda x: x, np.array([1.0]), ends, SIGNED, centred=True, away=True) is None
    )
