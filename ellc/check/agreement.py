"""Compares a compiled result with the reference, within tolerances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array

RELATIVE = 1e-4
OF_LARGEST = 1e-2
MOST_OF_LARGEST = 1e-2
"""The largest difference that measured rounding can excuse, as a fraction of the largest magnitude.
Without this bound, any result would seem right if rounding alone can move results very far."""

_MOST_OF_OWN = 10.0
"""The same as a multiple of a result's own tolerance, where that is more."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a comparison. `worst` is the largest error relative to the allowed error.

    `grown` counts elements that agree only because their error is within the measured movement by
    rounding (`ellc.check.growth`); they exceed the usual tolerance by a factor of at most `growth`.
    `unbounded` counts wrong elements whose error is within the measured movement too, but above
    `MOST_OF_LARGEST`. `undecided` counts elements that differ and were forgiven. `first` describes
    the first wrong element.
    """

    elements: int
    wrong: int = 0
    undecided: int = 0
    worst: float = 0.0
    first: str = ""
    grown: int = 0
    growth: float = 0.0
    unbounded: int = 0

    def merged(self, other: Agreement) -> Agreement:
        """Both results together; the first difference is that of `self` if it has one."""
        return Agreement(
            self.elements + other.elements,
            self.wrong + other.wrong,
            self.undecided + other.undecided,
            max(self.worst, other.worst),
            self.first or other.first,
            self.grown + other.grown,
            max(self.growth, other.growth),
            self.unbounded + other.unbounded,
        )


def allowed_error(want: Array, movement: Array | None = None, of_largest: float = 0.0) -> Array:
    """The allowed error of each float b of `want`: 1e-4 * max(|b|, 1e-2 * max|tensor|), in float64.

    It is at least `of_largest` * max|tensor|, for kernels with a tolerance of their own. `movement`
    is how far rounding alone moves each element (`ellc.check.growth`). Where it is larger than this
    error, the movement is allowed instead, up to the larger one of 1e-2 and 10 * `of_largest` times
    max|tensor|.
    """
    size = np.abs(want.astype(np.float64))
    largest = size[np.isfinite(size)].max(initial=0.0)
    least = max(RELATIVE * OF_LARGEST, of_largest) * largest
    usual = np.asarray(np.maximum(RELATIVE * size, least))
    if movement is None:
        return usual
    most = max(MOST_OF_LARGEST, _MOST_OF_OWN * of_largest) * largest
    return np.asarray(np.maximum(usual, np.minimum(movement, most)))


def wrong_elements(
    got: Array, want: Array, movement: Array | None = None, of_largest: float = 0.0
) -> Array:
    """A mask of the elements that do not agree.

    Integers, booleans and bits must be equal. Floats may differ by `allowed_error`; NaN and
    infinities must be at the same positions.
    """
    if not np.issubdtype(want.dtype, np.floating):
        return np.asarray(got != want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.asarray(
        np.where(np.isfinite(want), ~(_error(got, want, movement, of_largest) <= 1.0), ~same)
    )


def compare(
    got: Array,
    want: Array,
    forgiven: Array | None = None,
    movement: Array | None = None,
    of_largest: float = 0.0,
) -> Agreement:
    """Compare a result with the reference.

    `forgiven` marks elements that may differ; they count as undecided if they do. `movement` and
    `of_largest` are the arguments of `allowed_error`. Raises `ValueError` for tensors of different
    types or shapes.
    """
    if got.dtype != want.dtype or got.shape != want.shape:
        raise ValueError(f"{got.dtype}{got.shape} compared with {want.dtype}{want.shape}")
    wrong = wrong_elements(got, want, movement, of_largest)
    undecided = np.zeros_like(wrong) if forgiven is None else wrong & forgiven
    wrong = wrong & ~undecided
    worst, grown, growth, unbounded = 0.0, 0, 0.0, 0
    if np.issubdtype(want.dtype, np.floating):
        counted = np.isfinite(want) & ~undecided
        worst = _worst(got, want, movement, of_largest, counted)
        explained = counted & ~wrong & wrong_elements(got, want, None, of_largest)
        grown, growth = int(explained.sum()), _worst(got, want, None, of_largest, explained)
        if movement is not None:
            unbounded = int((wrong & (np.abs(got.astype(np.float64) - want) <= movement)).sum())
    first = ""
    if wrong.any():
        position = tuple(int(i) for i in np.argwhere(wrong)[0])
        first = f"at {position}: {got[position].item()!r} instead of {want[position].item()!r}"
    counts = int(wrong.sum()), int(undecided.sum())
    return Agreement(want.size, *counts, worst, first, grown, growth, unbounded)


def _worst(
    got: Array, want: Array, movement: Array | None, of_largest: float, where: Array
) -> float:
    errors = _error(got, want, movement, of_largest)
    return float(np.where(where, errors, 0.0).max(initial=0.0))


def _error(got: Array, want: Array, movement: Array | None, of_largest: float) -> Array:
    """|got - want| relative to the allowed error; 0 where both are equal, infinite for NaN."""
    with np.errstate(all="ignore"):
        ratio = np.abs(got.astype(np.float64) - want) / allowed_error(want, movement, of_largest)
    return np.where(got == want, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
