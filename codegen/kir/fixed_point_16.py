"""Functions of 16-bit fixed-point numbers; `ellc.ir.fixed_point_16` defines their results.

They are computed in 32-bit lanes, which can hold a product of two 16-bit numbers. A Qn number has n
integer bits.
"""

from __future__ import annotations

import math

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.fixed_point import divide_by_power
from ellc.codegen.kir.ir import Operand
from ellc.ir.fixed_point_16 import ONE, QUARTER_BITS, constant, deepest, exponential_factors


def function_16(b: KernelBuilder, x: Operand, function: str, integer_bits: int) -> Operand:
    """The logistic function or the hyperbolic tangent of x, as a Q0 number.

    x has 16 bits, of which `integer_bits` are integer bits. `function` "logistic" means the
    logistic function, any other the hyperbolic tangent.
    """
    zero = b.const(0, x)
    negative = b.sub(zero, b.op("abs", x))
    if function == "logistic":
        above = _one_over_one_plus(b, _exp_of_negative(b, negative, integer_bits))
        below, middle = b.sub(b.const(ONE, x), above), b.const(1 << 14, x)
    else:
        above = _one_minus_over_one_plus(b, _exp_of_negative(b, negative, integer_bits + 1))
        below, middle = b.sub(zero, above), zero
    result = b.select(b.compare("gt", x, zero), above, below)
    return b.select(b.compare("eq", x, zero), middle, result)


def _product(b: KernelBuilder, first: Operand, second: Operand | int) -> Operand:
    """`first * second / 2^15`, rounded to nearest (halves up)."""
    return b.op("shr_round", b.mul(first, second), b.const(15, first))


def _exp_of_negative(b: KernelBuilder, x: Operand, integer_bits: int) -> Operand:
    """e^x for x <= 0, as a Q0 number. x has `integer_bits` integer bits."""
    zero, quarter = b.const(0, x), 1 << (QUARTER_BITS - integer_bits)
    inside = b.sub(b.op("and", x, b.const(quarter - 1, x)), b.const(quarter, x))
    result = _exp_of_quarter(b, b.shift_left(inside, integer_bits))
    quarters = b.sub(inside, x)
    for bit, factor in exponential_factors(integer_bits):
        has = b.compare("ne", b.op("and", quarters, b.const(bit, x)), zero)
        result = b.select(has, _product(b, result, b.const(factor, x)), result)
    least = deepest(integer_bits)
    if least is not None:
        result = b.select(b.compare("lt", x, b.const(least, x)), zero, result)
    return b.select(b.compare("eq", x, zero), b.const(ONE, x), result)


def _exp_of_quarter(b: KernelBuilder, x: Operand) -> Operand:
    """e^x for -1/4 <= x < 0, in Q0 numbers."""
    d = b.add(x, b.const(1 << 12, x))
    square = _product(b, d, d)
    cube, fourth = _product(b, square, d), _product(b, square, square)
    sum_ = b.add(divide_by_power(b, fourth, 2), cube)
    last = _product(b, sum_, b.const(constant(1 / 3), x))
    centre = b.const(constant(math.exp(-1 / 8)), x)
    rest = b.add(d, divide_by_power(b, b.add(last, square), 1))
    return b.min(b.add(centre, _product(b, rest, centre)), b.const(ONE, x))


def _reciprocal(b: KernelBuilder, x: Operand) -> Operand:
    """2 / (1 + x) for 0 <= x <= 1. x is a Q0 number, and the result is a Q2 number."""
    half = b.shift_right(b.add(x, b.const(ONE + 1, x)), 1)
    first = _product(b, half, b.const(constant(-32 / 17, 2), x))
    guess = b.add(b.const(constant(48 / 17, 2), x), first)
    for _ in range(3):
        error = b.sub(b.const(1 << 13, x), _product(b, half, guess))
        guess = b.add(guess, b.shift_left(_product(b, guess, error), 2))
    return guess


def _one_over_one_plus(b: KernelBuilder, x: Operand) -> Operand:
    """1 / (1 + x) for 0 <= x <= 1, in Q0 numbers."""
    return b.min(b.shift_left(_reciprocal(b, x), 1), b.const(ONE, x))


def _one_minus_over_one_plus(b: KernelBuilder, x: Operand) -> Operand:
    """(1 - x) / (1 + x) for 0 <= x <= 1, in Q0 numbers."""
    rest = b.sub(_reciprocal(b, x), b.const(1 << 13, x))
    return b.min(b.shift_left(rest, 2), b.const(ONE, x))
