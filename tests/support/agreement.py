"""Whether a compiled result agrees with the reference, as a sentence for a failing test."""

from __future__ import annotations

from ellc.check.agreement import compare
from ellc.ir.types import Array


def disagreement(got: Array, want: Array) -> str:
    """Empty if results agree (`ellc.check.agreement`), else where and by how much they do not."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    found = compare(got, want)
    if not found.wrong:
        return ""
    return f"{found.wrong} of {found.elements} elements differ, first {found.first}"
