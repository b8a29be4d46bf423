"""The width of a narrower network: the fraction of channels that inner layers keep."""

from __future__ import annotations

from fractions import Fraction

from ellc.ir.errors import EllcError


def parse_width(text: str) -> Fraction:
    """Parse a width such as `1/16` or `0.5`, above 0 and at most 1. Raises `EllcError` E741."""
    try:
        width = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        width = Fraction(0)
    if not 0 < width <= 1:
        raise EllcError(
            f"'{text}' is not a width",
            code="E741",
            hint="give a number above 0 and at most 1, such as 1/16 or 0.5",
        )
    return width


def scaled(channels: int, width: Fraction, groups: int = 1) -> int:
    """Scale a number of channels by a width, to a multiple of `groups` that is not 0."""
    return groups * max(1, round(channels * width / groups))
