"""Widths of narrower networks: the fraction of channels that inner layers keep."""

from __future__ import annotations

from fractions import Fraction

from ellc.ir.errors import EllcError


def parse_width(text: str) -> Fraction:
    """A width such as `1/16` or `0.5`, above 0 and at most 1. Raises `EllcError` E741."""
    try:
        width = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        width = Fraction(0)
    if not 0 < width <= 1:
        raise EllcError(
            f"'{text}' is not a width", code="E741", hint="a number above 0, at most 1: 1/16, 0.5"
        )
    return width


def scaled(channels: int, width: Fraction, groups: int = 1) -> int:
    """The number of channels at a width: at least one per group, and the same in each."""
    return groups * max(1, round(channels * width / groups))
