"""Range reduction of angles of any magnitude by multiples of pi/2, as kernel IR; see `vmath`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.kir.vmath_expression import Expression
from ellc.codegen.kir.vmath_formats import FloatFormat
from ellc.codegen.kir.vmath_parts import nearest

_DIGIT_BITS = 32
_HALF = 1 << (_DIGIT_BITS - 1)
_PIECE_BITS = 16  # digits become floats in pieces of 16 bits, which are exact in both formats
_TURNS_BITS = 1216
_TURNS = int(  # the first 1216 binary places of 1 / (2 pi), as an integer
    "28be60db9391054a7f09d5f47d4d377036d8a5664f10e4107f9458eaf7aef1586dc91b8e909374b801924bba82746487"
    "3f877ac72c4a69cfba208d7d4baed1213a671c09ad17df904e64758e60d4ce7d272117e2ef7e4a0ec7fe25fff7816603"
    "fbcbc462d6829b47db4d9fb3c9f2c26dd3d18fd9a797fa8b5d49eeb1faf97c5ecf41ce7de294a4ba9afed7ec47e35742"
    "1580cc11bf1edaea",
    16,
)


def of_reduced_angle(
    v: Expression, function: Callable[[Expression, Operand], Expression]
) -> Expression:
    """`function(r, n)`, where v = r + n pi/2, |r| <= pi/4 up to rounding, and n counts modulo 4.

    Infinities give NaN. A slower, exact reduction runs only if a lane exceeds `trig_limit`.
    """
    b, limit = v.b, v.format.trig_limit
    size = v.abs().bits()
    # The bits of non-negative floats have the same order as the floats. The search for the largest
    # lane is interleaved with the formula, whose instructions often wait for results.
    near, largest = b.interleaved([lambda: function(*_near(v)).operand, lambda: b.largest(size)])
    limit_bits = Imm(_bits_of(v.format, limit), largest.type)
    with b.rarely(largest, limit_bits, carry=(near,)) as loop:
        exact = function(*_far(v)).operand
        is_far = v.abs().test("gt", limit)
        loop.carry((b.select(is_far, exact, loop.carried[0]),))
    return v.like(loop.results[0])


def _bits_of(f: FloatFormat, value: float) -> int:
    return int(np.array(value, f.elem.numpy).view(f.bits.numpy))


def _near(v: Expression) -> tuple[Expression, Operand]:
    """(r, n) for lanes of magnitude up to `trig_limit`: n times each part of pi/2 is subtracted."""
    number, turns = nearest(v, 2 / math.pi)
    r = v
    for part in v.format.half_pi:
        r = number.fma(v.const(-part), r)
    return r, turns


def _far(v: Expression) -> tuple[Expression, Operand]:
    """(r, n) for lanes beyond `trig_limit` (Payne and Hanek, 1983).

    |v| / (2 pi) is the product of the significand, as an integer, and 1 / (2 pi), shifted by the
    exponent. Binary places of 1 / (2 pi) that contribute only whole turns are left out.
    """
    b, f = v.b, v.format
    significand, exponent = _parts(v)
    *lower, top = _product(v, significand, _places(v, exponent))
    # The product is rounded to quarter turns. The rest, from -1/8 to 1/8 of a turn, is represented
    # by its magnitude and sign.
    quarter, eighth = _HALF // 2, b.const(_HALF // 4, top)
    rounded = b.add(top, eighth)
    turns = b.convert(b.shift_right(rounded, _DIGIT_BITS - 2), f.bits)
    rest = b.sub(b.op("and", rounded, b.const(quarter - 1, top)), eighth)
    below = b.compare("ge", rest, b.const(_HALF, top))
    flip = b.select(below, b.const(2 * _HALF - 1, top), b.const(0, top))
    size = _angle(v, [b.op("xor", digit, flip) for digit in (*lower, rest)[-f.rest_digits :]])
    # For negative v, both results are negated. v - v is NaN for infinities, else 0.
    negative = v.test("lt", 0.0)
    turns = b.select(negative, b.sub(v.bits_const(0), turns), turns)
    r = size.select(b.op("xor", below, negative), -size, size)
    return r + (v - v), turns


def _parts(v: Expression) -> tuple[list[Operand], Operand]:
    """(digits of the significand, exponent minus the exponent of `trig_limit`).

    All are unsigned integers. The least significant digit comes first.
    """
    b, f = v.b, v.format
    starts = range(0, f.bits.bytes * 8, _DIGIT_BITS)
    *lower, top = (b.convert(b.shift_right(v.bits(), start), Elem.U32) for start in starts)
    upper_bits = f.fraction_bits % _DIGIT_BITS
    first = 1 << upper_bits  # the leading bit of the significand, which is not stored
    biased = b.shift_right(b.op("and", top, b.const(_HALF - 1, top)), upper_bits)
    exponent = b.sub(biased, b.const(f.bias + _limit_exponent(f), top))
    top = b.op("or", b.op("and", top, b.const(first - 1, top)), b.const(first, top))
    return [*lower, top], exponent


def _places(v: Expression, exponent: Operand) -> list[Operand]:
    """`turn_digits` digits of 1 / (2 pi), from a binary place that depends on v.

    The least significant digit comes first. The value of the first of these binary places, times
    the value of the last binary place of the significand, is half a turn.
    """
    b, f = v.b, v.format
    most = (f.bias - _limit_exponent(f)) // _DIGIT_BITS
    count = f.turn_digits + 1
    digits: list[Operand] = [b.const(_digit(f, i), exponent) for i in range(count + most)]
    # Whole digits are skipped by selects, one for each bit of their number. The remaining places
    # are skipped by shifts.
    for step in (1 << i for i in reversed(range(most.bit_length()))):
        skipped = b.op("and", exponent, b.const(step * _DIGIT_BITS, exponent))
        skips = b.compare("ne", skipped, b.const(0, exponent))
        pairs = zip(digits[: count + step - 1], digits[step:], strict=True)
        digits = [b.select(skips, after, digit) for digit, after in pairs]
    shift = b.op("and", exponent, b.const(_DIGIT_BITS - 1, exponent))
    back = b.op("xor", shift, b.const(_DIGIT_BITS - 1, exponent))  # 31 - shift
    return [
        b.op("or", b.op("shl_by", digit, shift), b.op("shr_by", b.shift_right(after, 1), back))
        for digit, after in reversed([*pairwise(digits)])
    ]


def _digit(f: FloatFormat, index: int) -> int:
    """Digit `index` of 1 / (2 pi), counted from the place that angles of `trig_limit` need."""
    # `first` is negative if the digits begin with places before the point, which are 0.
    first = _limit_exponent(f) - f.fraction_bits
    return (_TURNS >> (_TURNS_BITS - first - (index + 1) * _DIGIT_BITS)) % (1 << _DIGIT_BITS)


def _limit_exponent(f: FloatFormat) -> int:
    return math.frexp(f.trig_limit)[1] - 1


def _product(v: Expression, x: Sequence[Operand], y: Sequence[Operand]) -> list[Operand]:
    """The lowest digits of the product of x and y, as many as y has, least first."""
    b = v.b
    total: list[Operand] = [b.const(0, y[0])] * len(y)
    for shift, factor in enumerate(x):
        wide = b.convert(factor, Elem.U64)
        carry: Operand = b.const(0, wide)
        for index in range(shift, len(y)):
            term = b.mul(wide, b.convert(y[index - shift], Elem.U64))
            term = b.add(b.add(term, b.convert(total[index], Elem.U64)), carry)
            total[index] = b.convert(term, Elem.U32)
            carry = b.shift_right(term, _DIGIT_BITS)
    return total


def _angle(v: Expression, digits: Sequence[Operand]) -> Expression:
    """The angle in radians of a fraction of a turn below 1/8, given by its digits, least first."""
    b, f = v.b, v.format
    low_bits = b.const((1 << _PIECE_BITS) - 1, digits[0])
    pieces = [
        v.like(b.convert(piece, f.elem))
        for digit in digits
        for piece in (b.op("and", digit, low_bits), b.shift_right(digit, _PIECE_BITS))
    ]
    *lower, top = pieces
    below = v.const(0.0)
    for piece in lower:
        below = (below + piece) * 2.0**-_PIECE_BITS
    # `top * first` is exact, so that only the rounding of the last sum matters.
    first, rest = (4 * 2.0**-_PIECE_BITS * part for part in (f.half_pi[0], sum(f.half_pi[1:])))
    return top * first + (top * rest + below * (first + rest))
