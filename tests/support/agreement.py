"""How compiled results are compared with the reference: the project's tolerances, in one place."""

from __future__ import annotations

import numpy as np

from ir.types import Array

RELATIVE = 1e-4
OF_LARGEST = 1e-2


def disagreement(got: Array, want: Array) -> str:
    """Empty if results agree, else where and by how much they do not.

    Integers, booleans and bits: equal. Floats: |a - b| <= 1e-4 * max(|b|, 1e-2 * max|tensor|), with
    NaN and infinities in the same places.
    """
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    if not np.issubdtype(want.dtype, np.floating):
        wrong = got != want
    else:
        wrong = _wrong_floats(got.astype(np.float64), want.astype(np.float64))
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ, first at {place}: "
        f"{got[place]!r} instead of {want[place]!r}"
    )


def _wrong_floats(got: Array, want: Array) -> Array:
    finite = np.isfinite(want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    largest = np.abs(want[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        near = np.abs(got - want) <= RELATIVE * np.maximum(np.abs(want), OF_LARGEST * largest)
    return ~np.where(finite, near, same)
