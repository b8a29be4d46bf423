"""Compare compiled results with the reference, and describe differences in a sentence."""

from __future__ import annotations

from ellc.check.agreement import compare
from ellc.ir.types import Array


def disagreement(got: Array, want: Array) -> str:
    """A description of how results differ; empty if they agree (`ellc.check.agreement`)."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    found = compare(got, want)
    if not found.wrong:
        return ""
    return f"{found.wrong} of {found.elements} elements differ, first {found.first}"
