"""Sums, products and quotients of stored integers in TFLite's fixed-point arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ellc.ir.fixed_point import multiply, quantize_multiplier, quotient, wrapped
from ellc.ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ellc.ir.ops.common import want_operands, want_same
from ellc.ir.ops.elementwise import want_broadcast
from ellc.ir.ops.quantised import want_range, want_type
from ellc.ir.types import Array, DType, Quant, TensorType

_OPERANDS = (DType.I8, DType.U8, DType.I16)
# The largest shift of the factor of `QuantDiv`, by the operands' type: 32 bits, minus the 9 or 17
# bits of a difference of two operands.
_QUOTIENT_SHIFTS = {DType.I8: 23, DType.U8: 23, DType.I16: 15}


@register_op("quant_add")
@dataclass(frozen=True, slots=True)
class QuantAdd(Pointwise):
    """(x, y) -> x + y, or x - y with `subtract`, for real numbers stored as integers.

    First, x' is computed as (x - x_zero) * 2^left_shift times the factor (x_multiplier, x_shift),
    and y' in the same manner. The result is the sum x' + y' (with `subtract`, the difference) times
    the factor (out_multiplier, out_shift), plus the zero point, clamped to `low`..`high`. The
    factors are those of `ellc.ir.fixed_point.multiply`, with shifts of at most 0.
    """

    left_shift: int
    x_zero: int
    x_multiplier: int
    x_shift: int
    y_zero: int
    y_multiplier: int
    y_shift: int
    out_multiplier: int
    out_shift: int
    zero_point: int
    low: int
    high: int
    dtype: DType
    quant: Quant | None = None
    subtract: bool = False

    @classmethod
    def of(
        cls, x: Quant, y: Quant, dtype: DType, quant: Quant, low: int, high: int, subtract: bool
    ) -> Self:
        """The operator for these scales and zero points (per tensor) of operands and result.

        As in TFLite, operands are scaled such that the factor for the larger scale is 1/2. Raises
        `ValueError` if the factor of the result is not below 1.
        """
        left_shift = 15 if dtype is DType.I16 else 20
        twice = 2 * max(x.scale[0], y.scale[0])
        factors = (x.scale[0] / twice, y.scale[0] / twice, twice / (2**left_shift * quant.scale[0]))
        pairs = [quantize_multiplier(f) for f in factors]
        if any(shift > 0 for _, shift in pairs):
            scales = f"scales {x.scale[0]} and {y.scale[0]}"
            raise ValueError(f"{scales} with a result of scale {quant.scale[0]}")
        zeros = (x.zero_point[0], y.zero_point[0])
        return cls(
            left_shift, zeros[0], *pairs[0], zeros[1], *pairs[1], *pairs[2],
            quant.zero_point[0], low, high, dtype, quant, subtract,
        )  # fmt: skip

    def swapped(self) -> QuantAdd | None:
        """The operator for exchanged operands (y, x); None for a difference."""
        if self.subtract:
            return None
        return replace(
            self,
            x_zero=self.y_zero,
            x_multiplier=self.y_multiplier,
            x_shift=self.y_shift,
            y_zero=self.x_zero,
            y_multiplier=self.x_multiplier,
            y_shift=self.x_shift,
        )

    def infer(self, *inputs: TensorType) -> Types:
        shifts = (self.x_shift, self.y_shift, self.out_shift)
        good = 0 <= self.left_shift <= 22 and all(-31 <= s <= 0 for s in shifts)
        require(good, f"quant_add: left shift {self.left_shift} or one of {shifts} is out of range")
        want_multipliers("quant_add", self.x_multiplier, self.y_multiplier, self.out_multiplier)
        return _stored(self, *inputs)

    def reference(self, *inputs: Array) -> Arrays:
        x, y = (a.astype(np.int64) for a in inputs)
        raised = [
            wrapped((a - z) << self.left_shift) for a, z in ((x, self.x_zero), (y, self.y_zero))
        ]
        first = multiply(raised[0], self.x_multiplier, self.x_shift)
        second = multiply(raised[1], self.y_multiplier, self.y_shift)
        both = first - second if self.subtract else first + second
        return (_clamped(self, multiply(both, self.out_multiplier, self.out_shift)),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            label: str, dtype: DType, scales: tuple[float, float, float], *shapes: tuple[int, ...],
            zeros: tuple[int, int, int] = (0, 0, 0), subtract: bool = False, fixed: bool = False,
        ) -> Case:  # fmt: skip
            x, y, z = (Quant((s,), (p,)) for s, p in zip(scales, zeros, strict=True))
            info = np.iinfo(dtype.numpy)
            op = cls.of(x, y, dtype, z, info.min, info.max, subtract)
            return Case(op, _drawn(rng, dtype, *shapes), (1,) if fixed else (), label=label)

        image = (1, 5, 7, 3)
        zeros, near = (-3, 5, 10), (0.02, 0.05, 0.06)
        yield case("one element", DType.I8, near, (1, 1, 1, 1), (1,))
        yield case("int8", DType.I8, near, image, image, zeros=zeros)
        wide = (1, 4, 4, 16)
        yield case("uint8", DType.U8, (0.1, 0.003, 0.1), wide, wide, zeros=(128, 3, 140))
        yield case("per channel", DType.I8, near, image, (3,), zeros=zeros, fixed=True)
        yield case("difference", DType.I8, near, image, image, zeros=zeros, subtract=True)
        yield case("broadcast", DType.U8, near, (1, 6, 5, 4), (6, 1, 4), zeros=(9, 8, 7))
        yield case("int16", DType.I16, (1e-4, 2e-4, 2.5e-4), (19,), (19,), subtract=True)
        bounded = case("bounds", DType.I8, near, (2, 33), (2, 33), zeros=zeros)
        yield replace(bounded, op=replace(bounded.op, low=10, high=60))  # type: ignore[type-var]
        pairs = np.meshgrid(*[np.arange(256, dtype=np.uint8).view(np.int8)] * 2, indexing="ij")
        every = case("equal scales", DType.I8, (0.5, 0.5, 1.0), (1,), (1,))
        yield replace(every, inputs=(pairs[0][::4].copy(), pairs[1][::4].copy()))


@register_op("quant_mul")
@dataclass(frozen=True, slots=True)
class QuantMul(Pointwise):
    """(x, y) -> x * y for real numbers stored as integers.

    (x - x_zero) * (y - y_zero) times the factor (multiplier, shift) of
    `ellc.ir.fixed_point.multiply`, plus the zero point, clamped to `low`..`high`.
    """

    x_zero: int
    y_zero: int
    multiplier: int
    shift: int
    zero_point: int
    low: int
    high: int
    dtype: DType
    quant: Quant | None = None

    @classmethod
    def of(cls, x: Quant, y: Quant, dtype: DType, quant: Quant, low: int, high: int) -> Self:
        """The operator for these scales and zero points (per tensor) of operands and result.

        As in TFLite, the factor is computed in float32 from float32 scales.
        """
        scales = (np.float32(q.scale[0]) for q in (x, y, quant))
        first, second, last = scales
        multiplier, shift = quantize_multiplier(float(first * second / last))
        zeros = (x.zero_point[0], y.zero_point[0], quant.zero_point[0])
        return cls(zeros[0], zeros[1], multiplier, shift, zeros[2], low, high, dtype, quant)

    def swapped(self) -> QuantMul:
        """The operator for exchanged operands (y, x)."""
        return replace(self, x_zero=self.y_zero, y_zero=self.x_zero)

    def infer(self, *inputs: TensorType) -> Types:
        require(-31 <= self.shift <= 31, f"quant_mul: shift {self.shift}, expected -31 to 31")
        want_multipliers("quant_mul", self.multiplier)
        return _stored(self, *inputs)

    def reference(self, *inputs: Array) -> Arrays:
        x, y = (a.astype(np.int64) for a in inputs)
        product = wrapped((x - self.x_zero) * (y - self.y_zero))
        return (_clamped(self, multiply(product, self.multiplier, self.shift)),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            label: str, dtype: DType, scales: tuple[float, float, float], *shapes: tuple[int, ...],
            zeros: tuple[int, int, int] = (0, 0, 0), fixed: bool = False,
        ) -> Case:  # fmt: skip
            x, y, z = (Quant((s,), (p,)) for s, p in zip(scales, zeros, strict=True))
            info = np.iinfo(dtype.numpy)
            op = cls.of(x, y, dtype, z, info.min, info.max)
            return Case(op, _drawn(rng, dtype, *shapes), (1,) if fixed else (), label=label)

        image = (1, 5, 7, 3)
        zeros, near = (-3, 5, 10), (0.02, 0.05, 0.1)
        yield case("one element", DType.I8, near, (1, 1, 1, 1), (1,))
        yield case("int8", DType.I8, near, image, image, zeros=zeros)
        wide = (1, 4, 4, 16)
        yield case("uint8", DType.U8, (0.1, 0.003, 0.1), wide, wide, zeros=(128, 3, 140))
        yield case("per channel", DType.I8, near, image, (3,), zeros=zeros, fixed=True)
        yield case("large factor", DType.U8, (1.5, 2.0, 0.4), (2, 33), (33,), zeros=(1, 2, 3))
        yield case("no bit left", DType.I8, (2.0**50, 1.3 * 2.0**50, 0.25), (1, 7), (7,))
        yield case("int16", DType.I16, (1e-3, 2e-4, 2.5e-3), (19,), (19,))


@register_op("quant_div")
@dataclass(frozen=True, slots=True)
class QuantDiv(Pointwise):
    """(x, y) -> x / y for real numbers stored as integers.

    (x - x_zero) / (y - y_zero) times the factor (multiplier, shift) of
    `ellc.ir.fixed_point.quotient`, plus the zero point, clamped to `low`..`high`. A divisor of 0
    counts as y's smallest positive value.
    """

    x_zero: int
    y_zero: int
    multiplier: int
    shift: int
    zero_point: int
    low: int
    high: int
    dtype: DType
    quant: Quant | None = None

    @classmethod
    def of(cls, x: Quant, y: Quant, dtype: DType, quant: Quant, low: int, high: int) -> Self:
        """The operator for these scales and zero points (per tensor) of operands and result.

        As in TFLite, the factor is computed in float32 from float32 scales. Raises `ValueError` if
        the factor is so large that results would not be exact.
        """
        first, second, last = (np.float32(q.scale[0]) for q in (x, y, quant))
        multiplier, shift = quantize_multiplier(float(first / (second * last)))
        if shift > _QUOTIENT_SHIFTS.get(dtype, shift):  # `infer` refuses other types
            raise ValueError(f"scales {first} and {second} with a result of scale {last}")
        zeros = (x.zero_point[0], y.zero_point[0], quant.zero_point[0])
        return cls(zeros[0], zeros[1], multiplier, shift, zeros[2], low, high, dtype, quant)

    def infer(self, *inputs: TensorType) -> Types:
        want_multipliers("quant_div", self.multiplier)
        results = _stored(self, *inputs)
        limit = _QUOTIENT_SHIFTS[inputs[0].dtype]
        good = -31 <= self.shift <= limit
        require(good, f"quant_div: shift {self.shift}, expected -31 to {limit}")
        return results

    def reference(self, *inputs: Array) -> Arrays:
        x, y = (a.astype(np.int32) for a in inputs)
        scaled = quotient(x - self.x_zero, y - self.y_zero, self.multiplier, self.shift)
        return (_clamped(self, scaled),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            label: str, dtype: DType, scales: tuple[float, float, float], *shapes: tuple[int, ...],
            zeros: tuple[int, int, int] = (0, 0, 0), fixed: bool = False,
        ) -> Case:  # fmt: skip
            x, y, z = (Quant((s,), (p,)) for s, p in zip(scales, zeros, strict=True))
            info = np.iinfo(dtype.numpy)
            op = cls.of(x, y, dtype, z, info.min, info.max)
            return Case(op, _drawn(rng, dtype, *shapes), (1,) if fixed else (), label=label)

        image, near = (1, 5, 7, 3), (0.05, 0.03, 0.1)
        yield case("one element", DType.I8, near, (1, 1, 1, 1), (1,))
        yield case("int8", DType.I8, near, image, image, zeros=(-3, 5, 10))
        yield case("uint8", DType.U8, (0.1, 0.3, 0.02), (4, 99), (4, 99), zeros=(128, 3, 140))
        yield case("per channel", DType.I8, near, image, (3,), zeros=(3, 5, 1), fixed=True)
        yield case("small factor", DType.I8, (1e-9, 3.0, 1.0), (2, 33), (33,), zeros=(1, 2, 3))
        yield case("large factor", DType.U8, (0.9, 0.01, 0.02), (2, 33), (33,), zeros=(1, 2, 3))
        yield case("int16", DType.I16, (1e-3, 2e-4, 2.5e-3), (190,), (190,))
        ends = np.array([-128, 127, 0, 1, -1, 5], np.int8)
        pairs = np.meshgrid(ends, np.append(ends, np.int8(7)), indexing="ij")
        yield Case(
            case("", DType.I8, (1.0, 1.0, 1.0), (1,), (1,), zeros=(0, 5, 0)).op,
            tuple(p.reshape(-1) for p in pairs),
            label="ends and zero",
        )


def want_multipliers(name: str, *multipliers: int) -> None:
    """Raise `ShapeError` unless all multipliers fit into int32."""
    good = all(-(2**31) <= m < 2**31 for m in multipliers)
    require(good, f"{name}: multipliers {multipliers} have more than 32 bits")


def _stored(op: QuantAdd | QuantMul | QuantDiv, *inputs: TensorType) -> Types:
    """Check the operands and attributes of these operators; returns the result type."""
    want_operands(op.name, inputs, 2)
    dtype = want_same(op.name, *inputs)
    want_type(op.name, "x", inputs[0], *_OPERANDS)
    want_broadcast(op.name, *inputs)
    require(op.dtype in _OPERANDS, f"{op.name}: the result cannot be {op.dtype.value}")
    want_range(op.name, op.low, op.high, op.dtype)
    for zero, of in ((op.x_zero, dtype), (op.y_zero, dtype), (op.zero_point, op.dtype)):
        want_range(op.name, zero, zero, of)
    return (TensorType(op.dtype, inputs[0].shape, quant=op.quant),)


def _clamped(op: QuantAdd | QuantMul | QuantDiv, scaled: Array) -> Array:
    result = np.clip(scaled.astype(np.int64) + op.zero_point, op.low, op.high)
    return result.astype(op.dtype.numpy)


def _drawn(rng: np.random.Generator, dtype: DType, *shapes: tuple[int, ...]) -> Arrays:
    info = np.iinfo(dtype.numpy)
    return tuple(rng.integers(info.min, info.max, s, dtype.numpy, endpoint=True) for s in shapes)
