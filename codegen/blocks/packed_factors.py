"""Factors of a requantisation in one word for each filter, where they give the exact results.

`high_factors` multiplies by a mantissa of 31 bits and adds an offset; sums are shifted left by k
bits first. Here the low bits of the mantissa are k, and the offset is `2^(k - 2)` plus a number
that is the same for all filters. With its start value, a filter takes 8 bytes of flash instead of
13 to 20, and a file has 4 of them as its bias.

The low bits change a product by 2^-27 of its value, which moves some of the steps between results.
All results are compared, as in `high_factors`. If some differ, other mantissas with the same low
bits are tried: of the 10,800 filters of five 8-bit networks for microcontrollers, 9 have none.

Filters that have few results would need offsets of their own. A start value takes their place: of
a few mantissas and start values, those are taken that give all results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ellc.codegen.blocks.high_factors import (
    LEAST_RAISED,
    ExactResults,
    HighFactors,
    OfFilter,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import Array

RAISED_BITS = 4
"""The low bits of a mantissa, which are k."""
MOST_RAISED_SUM = (1 << RAISED_BITS) - 1
"""The most bits by which a kernel can shift sums. Kernels that shift weights have a lower limit."""
_TRIES = (0, 1, -1, 2, -2, 3, -3, 4, -4)
"""The mantissas that are tried, as distances in units of `2^RAISED_BITS`."""
_SLOPES = 64
"""Half of the mantissas that are tried for a filter with few results."""
_LARGEST_OFFSET = 1 << 29
"""The limit of the common offset: it and the upper half of a product, at most 2^30, must fit in 32
bits together."""
HEADER = 2
"""The numbers of a layer before those of its filters: the offset of all filters, and F."""


def common_offset(op: Requantize, shift: int) -> int:
    """The part of the offset that all filters have: one half of a result, and the zero point."""
    return (1 << (shift - 1)) + (op.zero_point << shift)


def packed_factors(exact: ExactResults, most_raised: int) -> HighFactors | None:
    """Packed factors with k of at most `most_raised`, or None if none give the exact results."""
    for shift in exact.tried_shifts(most_raised):
        if abs(common_offset(exact.op, shift)) >= _LARGEST_OFFSET:
            continue
        found = _of_shift(exact, shift, most_raised)
        if found is not None:
            return found
    return None


def header(op: Requantize, factors: HighFactors) -> Array:
    """The numbers of a layer, in the order in which kernels read them."""
    return np.array([common_offset(op, factors.shift), factors.shift], np.int32)


def unpacked(
    b: KernelBuilder, op: Requantize, word: Operand, common: Operand
) -> tuple[Operand, OfFilter]:
    """k, and the operand `of_filter` of `apply_factors`, of a filter's word."""
    raised = b.op("and", word, b.const(MOST_RAISED_SUM, word))
    power = b.op("shl_by", b.const(1, word), raised)
    once = op.rule == "tflite_once"
    offset = common if once else b.add(common, b.shift_right(power, LEAST_RAISED))
    return raised, (word, offset, b.shift_right(power, 1))


def _of_shift(exact: ExactResults, shift: int, most_raised: int) -> HighFactors | None:
    """The packed factors with this F."""
    kept = shift + 1 - exact.right_shifts
    is_usual = ~exact.is_constant & (kept >= LEAST_RAISED)
    if (kept[is_usual] > most_raised).any():
        return None
    raised = np.where(is_usual, kept, LEAST_RAISED)
    near = (exact.mantissas >> RAISED_BITS << RAISED_BITS) + raised
    # Where all results are the zero point, the smallest mantissa is right.
    words = np.where(is_usual, near, LEAST_RAISED)
    starts = np.zeros(len(words), np.int64)
    may_be_good = is_usual | exact.is_constant
    bad = np.flatnonzero(~(exact.agreeing(_factors(exact, shift, raised, words)) & may_be_good))
    for index in bad:
        own = exact.only(np.array([index]))
        found = _one_filter(own, shift, int(raised[index]), is_usual=bool(is_usual[index]))
        if found is None:
            return None
        words[index], starts[index] = found
    return replace(_factors(exact, shift, raised, words), starts=starts.astype(np.int32))


def _factors(exact: ExactResults, shift: int, raised: Array, words: Array) -> HighFactors:
    first = 0 if exact.rounds_once else np.int64(1) << (raised - LEAST_RAISED)
    offsets = np.broadcast_to(common_offset(exact.op, shift) + first, raised.shape)
    return HighFactors(
        shift,
        words.astype(np.int32),
        offsets.astype(np.int32),
        raised.astype(np.int32),
        np.zeros(raised.shape, np.int32),
        exact.is_corrected,
        packed=True,
    )


def _one_filter(
    exact: ExactResults, shift: int, raised: int, *, is_usual: bool
) -> tuple[int, int] | None:
    """The word and what is added to the start value of a single filter."""
    if is_usual:
        pairs = _near(int(exact.mantissas[0]), raised)
    else:
        offset = common_offset(exact.op, shift) + (not exact.rounds_once)
        pairs = (_for_one if exact.is_constant[0] else _for_few)(exact, shift, offset)
    words, starts = np.array([*pairs], np.int64).T
    found = _factors(exact, shift, np.full(len(words), raised), words)
    rows = exact.only(np.zeros(len(words), np.int64))
    good = rows.agreeing(replace(found, starts=starts)) & (words >= 0) & (words < 1 << 31)
    best = int(good.argmax())
    return (int(words[best]), int(starts[best])) if good[best] else None


def _near(mantissa: int, raised: int) -> Iterator[tuple[int, int]]:
    """Words near a mantissa, and no start value."""
    for distance in _TRIES:
        yield ((mantissa >> RAISED_BITS) + distance << RAISED_BITS) + raised, 0


def _for_one(exact: ExactResults, shift: int, offset: int) -> Iterator[tuple[int, int]]:
    """The word and the start value for a filter with one result.

    The start value is as large as possible, so that sums make no difference.
    """
    wanted = (2 * int(exact.first[0]) + 1 << (shift - 1)) - offset
    half = (int(exact.most[0]) - int(exact.least[0]) + 1) >> 1
    total = (1 << (31 - LEAST_RAISED)) - 1 - half
    total = total if wanted > 0 else -total
    slope = (wanted << (32 - LEAST_RAISED)) // total
    word = (slope >> RAISED_BITS << RAISED_BITS) + LEAST_RAISED
    yield word, total - int(exact.middles[0])


def _for_few(exact: ExactResults, shift: int, offset: int) -> Iterator[tuple[int, int]]:
    """Words and start values for a filter with few results, the likeliest first.

    With each word, some start value gives one of the steps exactly.
    """
    last = int(exact.results(exact.most[:, None])[0, 0])
    lost = LEAST_RAISED - (shift + 1 - int(exact.right_shifts[0])) + RAISED_BITS
    first, likely = int(exact.first[0]), int(exact.mantissas[0]) >> lost
    for result in sorted({first + 1, (first + 1 + last) // 2, last}):
        least = int(exact.sums[0, result - exact.op.low])
        wanted = (result << shift) - offset << (32 - LEAST_RAISED)
        for distance in sorted(range(-_SLOPES, _SLOPES), key=abs):
            word = (likely + distance << RAISED_BITS) + LEAST_RAISED
            if word > 0:
                yield word, -(-wanted // word) - least
