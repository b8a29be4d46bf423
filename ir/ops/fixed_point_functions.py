"""Functions of 32-bit and 64-bit integers, from which importers build functions of stored integers.

`ellc.ir.fixed_point` and `ellc.ir.fixed_point_16` define most of their results, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from typing import ClassVar

import numpy as np

from ellc.ir import fixed_point_16
from ellc.ir.arrangement import Permutation, requantised
from ellc.ir.fixed_point import SOFTMAX_SUM_BITS, inverse_root, leading_zeros, log_of_sum, wrapped
from ellc.ir.op import (
    Arranged,
    Arrays,
    Case,
    Op,
    Pointwise,
    Range,
    Types,
    exact,
    register_op,
    require,
)
from ellc.ir.ops.common import want_operands
from ellc.ir.ops.quantised import want_type
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, TensorType

PARTS = ("mantissa", "shift")
_HIGHEST = 2**31 - 1


def _whole(name: str, *inputs: TensorType) -> Types:
    """Check that the operand is a 32-bit integer; returns the result's type, which is the same."""
    want_operands(name, inputs, 1)
    want_type(name, "x", inputs[0], DType.I32)
    return (TensorType(DType.I32, inputs[0].shape),)


def _drawn(rng: np.random.Generator, low: float, *shape: int) -> Array:
    """int32 numbers from `low` to the largest int32, with uniformly distributed logarithms."""
    powers = rng.uniform(np.log2(low), 31, shape)
    return np.minimum(np.exp2(powers), 2.0**31 - 1).astype(np.int32)


@register_op("log_of_sum")
@dataclass(frozen=True, slots=True)
class LogOfSum(Pointwise):
    """x i32 -> i32: the natural logarithm, as Q5, of x >= 1, as Q12."""

    def infer(self, *inputs: TensorType) -> Types:
        return _whole("log_of_sum", *inputs)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        return {0: Range("a sum", 1 << (31 - SOFTMAX_SUM_BITS), _HIGHEST)}

    def reference(self, *inputs: Array) -> Arrays:
        return (log_of_sum(inputs[0]),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        one = 1 << 19
        yield Case(cls(), (np.array([one], np.int32),), label="one")
        yield Case(cls(), (_drawn(rng, one, 3, 401),), label="numbers")
        ends = np.array([one + 1, 2 * one - 1, 2 * one, 2**30, 2**31 - 1], np.int32)
        yield Case(cls(), (ends,), label="ends")


@register_op("inverse_root")
@dataclass(frozen=True, slots=True)
class InverseRoot(Pointwise):
    """x i32 -> i32: a `part`, mantissa or shift, of the factor 1 / sqrt(x) for `Requantize`.

    Numbers up to 1 count as 1.
    """

    part: str

    def infer(self, *inputs: TensorType) -> Types:
        require(self.part in PARTS, f"inverse_root: unknown part '{self.part}'")
        return _whole("inverse_root", *inputs)

    def reference(self, *inputs: Array) -> Arrays:
        return (inverse_root(inputs[0])[PARTS.index(self.part)],)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        ends = np.array([-5, 0, 1, 2, 3, 4, 5, 2**27, 2**29 - 1, 2**29, 2**31 - 1], np.int32)
        for part in PARTS:
            yield Case(cls(part), (_drawn(rng, 1, 1, 5, 7, 33),), label=f"{part} of numbers")
            yield Case(cls(part), (ends,), label=f"{part} of ends")


@register_op("leading_zeros")
@dataclass(frozen=True, slots=True)
class LeadingZeros(Pointwise):
    """x i32 >= 0 -> i32: the number of leading zeros; 31 (not 32) for 0."""

    def infer(self, *inputs: TensorType) -> Types:
        return _whole("leading_zeros", *inputs)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        return {0: Range("a number", 0, _HIGHEST)}

    def reference(self, *inputs: Array) -> Arrays:
        return (leading_zeros(inputs[0].astype(np.int64)).astype(np.int32),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(), (_drawn(rng, 1, 1, 5, 7, 3),), label="numbers")
        ends = np.array([0, 1, 2, 3, 2**30 - 1, 2**30, 2**31 - 1], np.int32)
        yield Case(cls(), (ends,), label="ends")


@register_op("rounded_root")
@dataclass(frozen=True, slots=True)
class RoundedRoot(Pointwise):
    """x u64 -> u32: the integer nearest to the square root.

    It saturates at 2^16 - 1 for x < 2^32, and at 2^32 - 1 for larger x, as in the signal library of
    TensorFlow Lite Micro (`Sqrt64`).
    """

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("rounded_root", inputs, 1)
        want_type("rounded_root", "x", inputs[0], DType.U64)
        return (TensorType(DType.U32, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        return (np.array([_rounded_root(int(n)) for n in x.flat], np.uint32).reshape(x.shape),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        drawn = np.exp2(rng.uniform(0, 64, (3, 5, 7))).astype(np.uint64)
        yield Case(cls(), (drawn,), label="numbers")
        root = np.array([1, 2, 255, 65534, 65535, 65536, 99999, 2**32 - 1], np.uint64)
        halves = root * root + root  # the largest numbers that are rounded down
        ends = np.concatenate((halves, halves + np.uint64(1), root, root * root - np.uint64(1)))
        yield Case(cls(), (np.append(ends, np.array([0, 2**64 - 1], np.uint64)),), label="ends")


def _rounded_root(number: int) -> int:
    root = isqrt(number)
    largest = 2**16 - 1 if number < 2**32 else 2**32 - 1
    return min(root + (number - root * root > root), largest)


@register_op("function_16")
@dataclass(frozen=True, slots=True)
class Function16(Pointwise):
    """x i32 -> i32: the function `logistic` or `tanh` of 16-bit fixed-point numbers, as Q0.

    x has `integer_bits` integer bits; `ellc.ir.fixed_point_16` defines the result, bit for bit.
    """

    function: str
    integer_bits: int

    def infer(self, *inputs: TensorType) -> Types:
        known = self.function in fixed_point_16.FUNCTIONS
        require(known, f"function_16: unknown function '{self.function}'")
        limit = fixed_point_16.MOST_INTEGER_BITS
        good = 0 <= self.integer_bits <= limit
        require(good, f"function_16: {self.integer_bits} integer bits, expected 0 to {limit}")
        return _whole("function_16", *inputs)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        return {0: Range("a 16-bit number", -(1 << 15), (1 << 15) - 1)}

    def reference(self, *inputs: Array) -> Arrays:
        return (fixed_point_16.function_16(self.function, self.integer_bits, inputs[0]),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        every = np.arange(-(1 << 15), 1 << 15, 7).astype(np.int32)
        ends = np.array([-(1 << 15), 1 - (1 << 15), -2, -1, 0, 1, 2, (1 << 15) - 1], np.int32)
        for function, bits in (("logistic", 3), ("tanh", 3), ("tanh", 0), ("tanh", 6)):
            label = f"{function} of {bits} bits"
            yield Case(cls(function, bits), (every,), label=label)
            yield Case(cls(function, bits), (ends,), label=f"{label}, ends")
        x = rng.integers(-(1 << 15), 1 << 15, (1, 5, 7, 3)).astype(np.int32)
        yield Case(cls("tanh", 4), (x,), label="image")


@register_op("interpolate")
@dataclass(frozen=True, slots=True)
class Interpolate(Op):
    """(x i32, bases i32 [N], slopes i32 [N]) -> i32: a piecewise linear function.

    Segment p contains the 2^bits numbers from p * 2^bits on. Numbers below the first segment count
    as part of the first, and numbers above the last as part of the last. The result is
    `bases[p] + slopes[p] * (x modulo 2^bits)`, modulo 2^32.
    """

    takes_stages: ClassVar[bool] = True

    bits: int

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("interpolate", inputs, 3)
        for what, type_ in zip(("x", "a base", "a slope"), inputs, strict=True):
            want_type("interpolate", what, type_, DType.I32)
        x, bases, slopes = inputs
        good = bases.rank == 1 and bases.shape == slopes.shape and bases.elements > 0
        require(good, f"interpolate: bases {bases.shape} and slopes {slopes.shape} do not fit")
        require(0 <= self.bits < 31, f"interpolate: {self.bits} bits, expected 0 to 30")
        return (TensorType(DType.I32, x.shape),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(requantised(self, p), (p, *[None] * (len(operands) - 1)), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((), operands[0].rank), *[(None,)] * (len(operands) - 1))

    def reference(self, *inputs: Array) -> Arrays:
        x, bases, slopes = inputs
        piece = np.clip(x >> self.bits, 0, len(bases) - 1)
        rest = (x & ((1 << self.bits) - 1)).astype(np.int64)
        return (wrapped(bases[piece] + rest * slopes[piece]),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, bits: int, pieces: int, *shape: int) -> Case:
            x = rng.integers(0, (pieces + 2) << bits, shape).astype(np.int32)
            tables = (rng.integers(-9999, 9999, pieces).astype(np.int32) for _ in range(2))
            return Case(cls(bits), (x, *tables), (1, 2), label=label)

        yield case("one element", 3, 1, 1, 1, 1, 1)
        yield case("image", 7, 512, 1, 5, 7, 3)
        yield case("rows", 9, 256, 3, 101)
        yield replace(case("computed tables", 0, 19, 2, 33), constants=())
