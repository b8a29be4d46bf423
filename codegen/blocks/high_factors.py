"""Requantisation by the upper half of one product, for cores that add this half to a word at once.

TFLite multiplies a sum x by `mantissa / 2^31` and divides by `2^n`, rounding twice
(`ellc.ir.fixed_point.multiply`). If x is not negative, both roundings together are the floor of
`(x * mantissa + 2^30 + 2^(30 + n)) / 2^(31 + n)`. With x shifted left by k = F + 1 - n bits, the
divisor is `2^(32 + F)`, and

    result = (upper half of (x * 2^k) * mantissa + 2^(k - 2) + 2^(F - 1)) >> F

plus the zero point, which is added as a multiple of `2^F`. F is the same for all filters of a
layer, so that one instruction shifts and saturates. Kernels shift weights and start values by k
instead of sums. Negative numbers halfway between two results are rounded down; if such results are
not clamped, `2^(k - 1)` is subtracted from the upper halves of negative sums.

A filter whose n is larger than F - 1 has few results. Its k is 2, its mantissa loses `n + 1 - F`
bits, and a start value and an offset together stand for 2^30 in the product. Whether all results
are still right is tested: both functions rise with x, so it is enough to compare them on both sides
of every step of the exact function.

If the factors are `packed` (`packed_factors`), the offsets of all filters follow from one number
and from k, and the low bits of a mantissa are k: a filter has one word beside its start value.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.fixed_point import multiply, multiply_once
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import Array, DType

LEAST_RAISED, MOST_RAISED = 2, 8
"""The bits k by which sums are shifted. The offset has a term `2^(k - 2)`. A weight of 8 bits that
is shifted by 8 bits still fits in 16."""
_MOST_START = 2048
"""The limit of start values that are tried for filters whose mantissas lose bits."""
_STORED = (DType.I8, DType.U8)
_RULES = {"tflite": multiply, "tflite_once": multiply_once}
_USUAL_SHIFT = 11
"""The F that is tried first, so that kernels of equal layers are equal and become one."""
_MOST_LOWEST = 16
"""The shift n that counts if all filters have constant results."""


@dataclass(frozen=True, eq=False, slots=True)
class HighFactors:
    """The numbers of the formula. `shift` is F; the arrays have one int32 for each filter.

    `starts` are added to sums, which are then shifted left by `raised` bits (k). With `corrected`,
    `2^(k - 1)` is subtracted from the upper halves of negative sums. With `packed`, kernels find
    offsets and k from the mantissas and from `common_offset`.
    """

    shift: int
    mantissas: Array
    offsets: Array
    raised: Array
    starts: Array
    corrected: bool
    packed: bool = False

    def start(self, values: Array) -> Array:
        """The start values [filters] of sums of weights that are shifted left by k bits.

        Where all sums give the same result, the mantissa is 0, and sums need not be right.
        """
        raised = (values.astype(np.int64) + self.starts) << self.raised
        return np.where(self.mantissas == 0, 0, raised).astype(np.int32)

    def results(self, sums: Array) -> Array:
        """The results of sums [filters, n], before they are clamped."""
        column = (slice(None), None)
        raised = (sums + self.starts[column]) << self.raised.astype(np.int64)[column]
        high = ((raised * self.mantissas[column]) >> 32) + self.offsets[column]
        if self.corrected:
            high -= np.where(raised < 0, np.int64(1) << (self.raised[column] - 1), 0)
        return np.asarray(high >> self.shift)

    def chosen(self, taken: Array, other: HighFactors) -> HighFactors:
        """These factors for filters that are `taken`, the `other` factors for the rest."""
        names = ("mantissas", "offsets", "raised", "starts")
        pairs = {n: np.where(taken, getattr(self, n), getattr(other, n)) for n in names}
        return replace(self, **pairs)


def high_factors(
    op: Requantize, mantissas: Array, shifts: Array, least: Array, most: Array
) -> HighFactors | None:
    """The factors of a requantisation, or None if none give the exact results.

    `mantissas` and `shifts` are those of each filter, `least` and `most` bounds of its sums. The
    result must have 8 bits.
    """
    exact = exact_results(op, mantissas, shifts, least, most)
    return None if exact is None else factors_of(exact)


def exact_results(
    op: Requantize, mantissas: Array, shifts: Array, least: Array, most: Array
) -> ExactResults | None:
    """What factors must give, or None if no factors can. The arguments are as above."""
    if op.rule not in _RULES or op.dtype not in _STORED or mantissas.min() < 0 or shifts.max() > 0:
        return None
    exact = ExactResults(op, mantissas, shifts, least, most)
    return None if (shifts[~exact.is_constant] >= 0).any() else exact


def factors_of(exact: ExactResults) -> HighFactors | None:
    """Factors that are not packed, or None if none give the exact results."""
    found = (_of_shift(exact, shift) for shift in exact.tried_shifts(MOST_RAISED))
    return next((factors for factors in found if factors), None)


@dataclass(frozen=True, slots=True)
class _Shortening:
    """How the mantissas of filters with few results lose bits: rounded down or `up`.

    They lose so many `more` bits, and k is as much larger.
    """

    more: int = 0
    up: bool = True


_SHORTENINGS = tuple(_Shortening(more, up) for more in range(4) for up in (True, False))


def _of_shift(exact: ExactResults, shift: int) -> HighFactors | None:
    """The factors with this F, if they are exact."""
    best = _variant(exact, shift, _SHORTENINGS[0])
    good = exact.agreeing(best)
    for shortening in _SHORTENINGS[1:]:
        if good.all() or not (exact.right_shifts >= shift)[~good].all():
            break
        other = _variant(exact, shift, shortening)
        also = exact.agreeing(other)
        best = best.chosen(good | ~also, other)
        good |= also
    return best if good.all() else None


def _variant(exact: ExactResults, shift: int, shortening: _Shortening) -> HighFactors:
    """The factors with this F."""
    constant, kept = exact.is_constant, shift + 1 - exact.right_shifts
    is_short = ~constant & (kept < LEAST_RAISED)
    short_raised = LEAST_RAISED + shortening.more
    raised = np.where(is_short, short_raised, np.where(constant, LEAST_RAISED, kept))
    dropped = np.where(is_short, short_raised - kept, 0)
    up = np.int64(1) << np.maximum(dropped - 1, 0) if shortening.up else np.int64(0)
    mantissas = (exact.mantissas + np.where(is_short, up, 0)) >> dropped
    first = np.where(is_short | exact.rounds_once, 0, np.int64(1) << (raised - 2))
    starts, more = _combined(exact, mantissas, raised, dropped)
    offsets = np.where(is_short, more, first) + (1 << (shift - 1)) + (exact.op.zero_point << shift)
    return HighFactors(
        shift,
        np.where(constant, 0, mantissas).astype(np.int32),
        np.where(constant, (2 * exact.first + 1) << (shift - 1), offsets).astype(np.int32),
        raised.astype(np.int32),
        np.where(is_short, starts, 0).astype(np.int32),
        exact.is_corrected,
    )


def _combined(
    exact: ExactResults, mantissas: Array, raised: Array, dropped: Array
) -> tuple[Array, Array]:
    """Start values and offsets that together replace 2^30 in the product.

    They also make up for the rounding of the mantissa, at the middle of the range of sums.
    """
    lost = exact.mantissas - (mantissas << dropped)
    wanted = lost * exact.middles + (0 if exact.rounds_once else 1 << 30)
    wanted = (wanted << raised) >> dropped
    starts = np.arange(-_MOST_START, _MOST_START)
    rest = wanted[:, None] - ((starts * mantissas[:, None]) << raised[:, None])
    offsets = (rest + (1 << 31)) >> 32
    best = abs(rest - (offsets << 32)).argmin(axis=1)
    return starts[best], offsets[np.arange(len(best)), best]


class ExactResults:
    """The exact results of sums in a range for each filter, and where they change."""

    def __init__(
        self, op: Requantize, mantissas: Array, shifts: Array, least: Array, most: Array
    ) -> None:
        self.op, self.mantissas, self.shifts = op, mantissas.astype(np.int64), shifts
        self.rounds_once = op.rule == "tflite_once"
        self.least, self.most = least.astype(np.int64), most.astype(np.int64)
        self.first = self.results(self.least[:, None])[:, 0]
        self.is_constant = self.first == self.results(self.most[:, None])[:, 0]
        self.right_shifts = np.where(self.is_constant, 0, -shifts.astype(np.int64))
        self.middles = (self.least + self.most) >> 1
        steps = self._steps()
        both = np.concatenate([steps, steps - 1], axis=1)
        self.sums = np.clip(both, self.least[:, None], self.most[:, None])
        self.wanted = self.results(self.sums)

    def only(self, filters: Array) -> ExactResults:
        """The exact results of some filters."""
        part = copy(self)
        for name in ("mantissas", "least", "most", "first", "is_constant", "right_shifts"):
            setattr(part, name, getattr(self, name)[filters])
        for name in ("shifts", "middles", "sums", "wanted"):
            setattr(part, name, getattr(self, name)[filters])
        return part

    @property
    def is_corrected(self) -> bool:
        """Whether negative sums halfway between two results can have a result that counts."""
        return self.op.rule == "tflite" and self.op.low < self.op.zero_point

    def tried_shifts(self, most_raised: int) -> list[int]:
        """The F that may be tried, in order, if no sum is shifted by more than `most_raised`."""
        lowest = int(self.right_shifts[~self.is_constant].min(initial=_MOST_LOWEST))
        shifts = range(lowest + LEAST_RAISED, lowest + most_raised)
        return sorted(shifts, key=lambda f: abs(f - _USUAL_SHIFT))

    def agreeing(self, factors: HighFactors) -> Array:
        """For each filter, whether the factors give the exact results for all of its sums."""
        is_free = self.is_constant & (factors.mantissas == 0)
        ends = self.least + factors.starts, self.most + factors.starts
        limits = np.maximum(*map(abs, ends))
        fits = is_free | (limits << factors.raised.astype(np.int64) < 1 << 31)
        found = np.clip(factors.results(self.sums), self.op.low, self.op.high)
        agree = is_free | (found == self.wanted).all(axis=1)
        return np.asarray(fits & agree)

    def _steps(self) -> Array:
        """[filters, results]: the least sum whose result is at least each possible result."""
        wanted = np.arange(self.op.low, self.op.high + 1)
        shape = (len(self.least), len(wanted))
        below = np.broadcast_to(self.least[:, None] - 1, shape).copy()
        above = np.broadcast_to(self.most[:, None], shape).copy()
        while (above - below > 1).any():
            middle = (above + below) >> 1
            reached = self.results(middle) >= wanted
            above, below = np.where(reached, middle, above), np.where(reached, below, middle)
        return above

    def results(self, sums: Array) -> Array:
        mantissas = self.mantissas[:, None].astype(np.int32)
        rule = _RULES[self.op.rule]
        product = rule(sums.astype(np.int32), mantissas, self.shifts[:, None])
        stored = product.astype(np.int64) + self.op.zero_point
        return np.asarray(np.clip(stored, self.op.low, self.op.high))


OfFilter = tuple[Operand, Operand, Operand]
"""A filter's mantissa, its offset, and `2^(k - 1)`."""


def apply_factors(
    b: KernelBuilder,
    op: Requantize,
    factors: HighFactors,
    total: Operand,
    of_filter: OfFilter,
    shift: Operand | None = None,
) -> Operand:
    """The result, in 8 bits, of a sum that already includes `starts` and is shifted left by k bits.

    A kernel of several layers passes F as `shift`; otherwise it is part of the code.
    """
    mantissa, offset, unit = of_filter
    high = b.op("dsp_smmla_w", total, mantissa, offset)
    if factors.corrected:
        high = b.sub(high, b.op("and", b.shift_right(total, 31), unit))
    result = b.shift_right(high, factors.shift) if shift is None else b.op("shr_by", high, shift)
    if op.dtype is DType.I8:
        result = b.op("dsp_ssat8_w", result)
    info = np.iinfo(op.dtype.numpy)
    if op.low > info.min or op.dtype is DType.U8:
        result = b.max(result, b.const(op.low, result))
    if op.high < info.max or op.dtype is DType.U8:
        result = b.min(result, b.const(op.high, result))
    return b.convert(result, Elem.of(op.dtype))
