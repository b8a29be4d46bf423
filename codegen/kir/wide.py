"""Kernel IR for operations that vector units lack and for which compilers call a library.

These are division and powers of integers, remainders of floats, and conversions between floats and
64-bit integers. They are written as kernel IR so that an object needs no library.
"""

from __future__ import annotations

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import INDEX, Elem
from ellc.codegen.kir.vmath_formats import format_of

_UNSIGNED = {Elem.I8: Elem.U8, Elem.I16: Elem.U16, Elem.I32: Elem.U32, Elem.I64: Elem.U64}

# --- division of integers ------------------------------------------------------------------------


def divide(b: KernelBuilder, x: Operand, y: Operand) -> tuple[Operand, Operand]:
    """(quotient, remainder) of integers, truncated toward zero. Both are 0 if y is 0.

    The remainder has the sign of x. The quotient of the lowest number and -1 wraps to the lowest
    number.
    """
    elem = x.type.elem
    quotient, remainder = _divide_unsigned(b, _magnitude(b, x), _magnitude(b, y))
    if elem.is_signed:
        zero = b.const(0, x)
        quotient, remainder = b.bitcast(quotient, elem), b.bitcast(remainder, elem)
        differ = b.compare("lt", b.op("xor", x, y), zero)
        quotient = b.select(differ, b.sub(zero, quotient), quotient)
        below = b.compare("lt", x, zero)
        remainder = b.select(below, b.sub(zero, remainder), remainder)
    is_valid = b.compare("ne", y, b.const(0, y))
    none = b.const(0, x)
    return b.select(is_valid, quotient, none), b.select(is_valid, remainder, none)


def _magnitude(b: KernelBuilder, x: Operand) -> Operand:
    """|x| as an unsigned integer of the same width."""
    elem = x.type.elem
    if not elem.is_signed:
        return x
    negative = b.compare("lt", x, b.const(0, x))
    return b.bitcast(b.select(negative, b.sub(b.const(0, x), x), x), _UNSIGNED[elem])


def _divide_unsigned(b: KernelBuilder, x: Operand, y: Operand) -> tuple[Operand, Operand]:
    """(quotient, remainder) by long division, one bit per trip; undefined if y is 0."""
    bits = x.type.elem.bytes * 8
    one, zero = b.const(1, x), b.const(0, x)
    # Each trip moves the upper bit of `number` to `rest`. A bit of the quotient becomes the lowest
    # bit of `number`.
    with b.loop("bit", 0, bits, carry=(x, zero)) as loop:
        number, rest = loop.carried
        overflow = b.compare("ne", b.shift_right(rest, bits - 1), zero)
        rest = b.op("or", b.shift_left(rest, 1), b.shift_right(number, bits - 1))
        fits = b.op("or", overflow, b.compare("ge", rest, y))
        rest = b.select(fits, b.sub(rest, y), rest)
        number = b.op("or", b.shift_left(number, 1), b.select(fits, one, zero))
        loop.carry((number, rest))
    quotient, remainder = loop.results
    return quotient, remainder


def power(b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    """x^y of integers, which wraps to their width. For a negative y, 1 / x^-y, truncated.

    A negative power of 0 is 0.
    """
    elem = x.type.elem
    one, zero = b.const(1, x), b.const(0, x)
    with b.loop("bit", 0, elem.bytes * 8 - elem.is_signed, carry=(one, x, y)) as loop:
        result, factor, exponent = loop.carried
        odd = b.compare("ne", b.op("and", exponent, one), zero)
        result = b.select(odd, b.mul(result, factor), result)
        loop.carry((result, b.mul(factor, factor), b.shift_right(exponent, 1)))
    result = loop.results[0]
    if not elem.is_signed:
        return result
    # For negative y, powers of 1 are 1, powers of -1 alternate, and all other powers truncate to 0.
    minus = b.const(-1, x)
    odd = b.compare("ne", b.op("and", y, one), zero)
    alternating = b.select(b.compare("eq", x, minus), b.select(odd, minus, one), zero)
    unit = b.select(b.compare("eq", x, one), one, alternating)
    return b.select(b.compare("lt", y, zero), unit, result)


# --- remainder of floats -------------------------------------------------------------------------


def fmod(b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    """The exact result of C's fmod, which has the sign of x. NaN if x is infinite or y is 0.

    Each trip subtracts |y| times a power of two, if the rest is large enough. The largest power
    comes first. The number of trips depends on the largest difference of exponents in the vector.
    """
    f = format_of(x.type.elem)
    size, divisor = b.op("abs", x), b.op("abs", y)
    infinity, zero = b.const(float("inf"), x), b.const(0.0, x)
    ordinary = b.op("and", b.compare("lt", size, infinity), b.compare("gt", divisor, zero))
    smaller = b.compare("lt", size, divisor)
    active = b.op("and", ordinary, b.op("xor", smaller, Imm(1, smaller.type)))
    # Lanes that are not active get operands for which no trips are needed.
    divisor = b.select(active, divisor, b.const(1.0, x))
    start = b.select(active, size, zero)
    # A denormal divisor is scaled to a normal number, whose exponent can be read from its bits.
    tiny = b.compare("lt", divisor, b.const(2.0 ** (1 - f.bias), x))
    lifted = b.select(tiny, b.mul(divisor, b.const(2.0**f.fraction_bits, x)), divisor)
    bits_type = x.type.with_elem(f.bits)
    above = b.shift_right(b.bitcast(start, f.bits), f.fraction_bits)
    above = b.max(above, b.const(1, bits_type))
    below = b.shift_right(b.bitcast(lifted, f.bits), f.fraction_bits)
    shift = b.sub(above, below)
    multiple = b.add(b.bitcast(lifted, f.bits), b.shift_left(shift, f.fraction_bits))
    extra = b.select(tiny, b.const(f.fraction_bits, bits_type), b.const(0, bits_type))
    trips = b.select(active, b.add(b.add(shift, extra), b.const(1, bits_type)), extra)
    most_trips = b.convert(b.convert(b.fold("max", trips), Elem.I32), Elem.INDEX)
    half = b.const(0.5, x)
    begin = (start, b.bitcast(multiple, x.type.elem))
    with b.loop("turn", Imm(0, INDEX), most_trips, carry=begin) as loop:
        rest, step = loop.carried
        rest = b.select(b.compare("ge", rest, step), b.sub(rest, step), rest)
        step = b.select(b.compare("gt", step, divisor), b.mul(step, half), step)
        loop.carry((rest, step))
    result = b.select(active, loop.results[0], size)
    # The sign bit is copied by bitwise operations, because arithmetic may flush denormal numbers.
    sign = b.op("and", b.bitcast(x, f.bits), b.const(-1 << (f.bits.bytes * 8 - 1), bits_type))
    signed = b.bitcast(b.op("or", b.bitcast(result, f.bits), sign), x.type.elem)
    # If y is infinite, the result is x. If either is NaN, x is infinite or y is 0, it is NaN.
    known = b.op("and", ordinary, b.compare("eq", y, y))
    return b.select(known, signed, b.const(float("nan"), x))


# --- conversions ---------------------------------------------------------------------------------


def convert(b: KernelBuilder, x: Operand, to: Elem) -> Operand:
    """Like `KernelBuilder.convert`, but converts 64-bit integers from and to floats in halves."""
    have = x.type.elem
    if have.is_float and to in (Elem.I64, Elem.U64):
        return _float_to_wide(b, x, to)
    if have in (Elem.I64, Elem.U64) and to.is_float:
        return _wide_to_float(b, x, to)
    return b.convert(x, to)


def _float_to_wide(b: KernelBuilder, x: Operand, to: Elem) -> Operand:
    """A float as a 64-bit integer, truncated and saturated. NaN gives 0."""
    size = b.op("abs", x)
    # Both halves are exact: `upper` is an integer below 2^32, and the difference has no rounding.
    upper = b.convert(b.mul(size, b.const(2.0**-32, x)), Elem.U32)
    upper_part = b.mul(b.convert(upper, x.type.elem), b.const(2.0**32, x))
    lower = b.convert(b.sub(size, upper_part), Elem.U32)
    number = b.op("or", b.shift_left(b.convert(upper, Elem.U64), 32), b.convert(lower, Elem.U64))
    below = b.compare("lt", x, b.const(0.0, x))
    none = b.const(0, number)
    if to is Elem.U64:
        top = b.compare("ge", x, b.const(2.0**64, x))
        number = b.select(below, none, b.select(top, b.const(2**64 - 1, number), number))
    else:
        number = b.select(below, b.sub(none, number), number)
        high = b.compare("ge", x, b.const(2.0**63, x))
        low = b.compare("le", x, b.const(-(2.0**63), x))
        number = b.select(high, b.const(2**63 - 1, number), number)
        number = b.select(low, b.const(2**63, number), number)
    is_valid = b.compare("eq", x, x)
    return b.bitcast(b.select(is_valid, number, none), to)


def _wide_to_float(b: KernelBuilder, x: Operand, to: Elem) -> Operand:
    """A 64-bit integer as a float, rounded once to nearest (halves to even)."""
    size = _magnitude(b, x)
    if to is Elem.F64:
        upper = b.convert(b.convert(b.shift_right(size, 32), Elem.U32), to)
        lower = b.convert(b.convert(size, Elem.U32), to)
        result = b.add(b.mul(upper, b.const(2.0**32, upper)), lower)
    else:
        result = _wide_to_single(b, size)
    if not x.type.elem.is_signed:
        return result
    return b.select(b.compare("lt", x, b.const(0, x)), b.op("neg", result), result)


def _wide_to_single(b: KernelBuilder, size: Operand) -> Operand:
    """An unsigned 64-bit integer as float32.

    The bits after the 32 leading bits become one sticky bit, so that halves are rounded correctly.
    """
    zero, one = b.const(0, size), b.const(1, size)
    factor: Operand = b.const(1.0, size.type.with_elem(Elem.F32))
    for bits in (16, 8, 4, 2, 1, 1):
        large = b.compare("ne", b.shift_right(size, 31 + bits), zero)
        lost = b.op("and", size, b.const((1 << bits) - 1, size))
        sticky = b.select(b.compare("ne", lost, zero), one, zero)
        shorter = b.op("or", b.shift_right(size, bits), sticky)
        size = b.select(large, shorter, size)
        factor = b.select(large, b.mul(factor, b.const(2.0**bits, factor)), factor)
    return b.mul(b.convert(b.convert(size, Elem.U32), Elem.F32), factor)
