"""When a compiled result agrees with the reference: the project's tolerances, in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ir.types import Array

RELATIVE = 1e-4
OF_LARGEST = 1e-2


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two tensors compare. `worst` is the largest error in units of what is allowed there."""

    elements: int
    wrong: int = 0
    undecided: int = 0
    worst: float = 0.0
    first: str = ""

    def merged(self, other: Agreement) -> Agreement:
        """Both together; the first difference is the earlier one's."""
        return Agreement(
            self.elements + other.elements,
            self.wrong + other.wrong,
            self.undecided + other.undecided,
            max(self.worst, other.worst),
            self.first or other.first,
        )


def allowed_error(want: Array) -> Array:
    """What a float may differ by: 1e-4 * max(|b|, 1e-2 * max|tensor|), float64."""
    size = np.abs(want.astype(np.float64))
    largest = size[np.isfinite(size)].max(initial=0.0)
    return np.asarray(RELATIVE * np.maximum(size, OF_LARGEST * largest))


def wrong_elements(got: Array, want: Array) -> Array:
    """Where results do not agree.

    Integers, booleans and bits must be equal; floats as `allowed_error` says, with NaN and
    infinities in the same places.
    """
    if not np.issubdtype(want.dtype, np.floating):
        return np.asarray(got != want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.asarray(np.where(np.isfinite(want), ~(_error(got, want) <= 1.0), ~same))


def compare(got: Array, want: Array, forgiven: Array | None = None) -> Agreement:
    """Compare a result with the reference.

    `forgiven` marks elements that may be as they are although they differ: they are counted as
    undecided. Raises `ValueError` for tensors of different type or shape.
    """
    if got.dtype != want.dtype or got.shape != want.shape:
        raise ValueError(f"{got.dtype}{got.shape} compared with {want.dtype}{want.shape}")
    wrong = wrong_elements(got, want)
    undecided = np.zeros_like(wrong) if forgiven is None else wrong & forgiven
    wrong = wrong & ~undecided
    worst = 0.0
    if np.issubdtype(want.dtype, np.floating):
        near = np.where(np.isfinite(want) & ~undecided, _error(got, want), 0.0)
        worst = float(near.max(initial=0.0))
    first = ""
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        first = f"at {place}: {got[place].item()!r} instead of {want[place].item()!r}"
    return Agreement(want.size, int(wrong.sum()), int(undecided.sum()), worst, first)


def _error(got: Array, want: Array) -> Array:
    """|a - b| in units of what is allowed; 0 where both are equal, infinite for NaN."""
    with np.errstate(all="ignore"):
        ratio = np.abs(got.astype(np.float64) - want) / allowed_error(want)
    return np.where(got == want, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
