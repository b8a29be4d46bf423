"""Conversions between real numbers, sums of 32 or 64 bits, and stored integers of 8 or 16 bits.

`Lookup` computes any function of stored 8-bit integers by a table.

A stored integer stands for scale * (stored - zero point). The operators have the scales or zero
points that they need as attributes or operands; `quant` only documents the result
(`TensorType.quant`). All results are exact: every kernel gives the same bits as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation, requantised
from ellc.ir.fixed_point import multiply, multiply_once, multiply_reduced, quantize_multiplier
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
from ellc.ir.ops.common import want_operands, want_shape
from ellc.ir.ops.elementwise import want_broadcast
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, Quant, TensorType

STORED = (DType.I8, DType.U8, DType.I16, DType.U16)
BYTES = (DType.I8, DType.U8)
AFFINE_RULES = ("affine", "affine_apart")
RULES = ("tflite", "tflite_once", "tflite_reduced", "half_even", *AFFINE_RULES)
ROUNDINGS = ("half_even", "half_away")


def want_type(name: str, what: str, type_: TensorType, *allowed: DType) -> None:
    """Raise `ShapeError` unless an operand has one of the `allowed` element types."""
    wanted = " or ".join(d.value for d in allowed)
    require(type_.dtype in allowed, f"{name}: {what} is {type_.dtype.value}, not {wanted}")


def want_range(name: str, low: int, high: int, dtype: DType) -> None:
    """Raise `ShapeError` unless low <= high and both fit into `dtype`."""
    info = np.iinfo(dtype.numpy)
    good = info.min <= low <= high <= info.max
    require(good, f"{name}: {low} to {high} is not a range of {dtype.value}")


_MULTIPLIERS = {
    "tflite": multiply,
    "tflite_once": multiply_once,
    "tflite_reduced": multiply_reduced,
}


@register_op("requantize")
@dataclass(frozen=True, slots=True)
class Requantize(Pointwise):
    """A sum times a real factor, rounded, plus the zero point, clamped to `low`..`high`.

    The rule defines the operands and the rounding:

    * `tflite`: (x i32, multiplier i32, shift i32); the product is `ellc.ir.fixed_point.multiply`.
    * `tflite_once` and `tflite_reduced`: the same with `multiply_once` and `multiply_reduced`.
      Multipliers are at least 0, and x may be i64.
    * `half_even`: (x i32, scale f32); the product in float32 is rounded to the nearest integer,
      halves to even. NaN counts as 0.
    * `affine` and `affine_apart`: (x i32, factor f32, offset f32); x * factor + offset in float32
      is rounded like this. Such rules stand for those of TFLite where they give the same results
      (`ellc.ir.affine_factors`): the sum must be between -2^21 and 2^21, and its result must not
      depend on whether the product is rounded first. `affine_apart` gives the offset x's sign.

    With TFLite's rules, the result can also have 32 bits, for further arithmetic; its zero point is
    then 0.
    """

    rule: str
    zero_point: int
    low: int
    high: int
    dtype: DType
    quant: Quant | None = None

    def infer(self, *inputs: TensorType) -> Types:
        require(self.rule in RULES, f"requantize: unknown rule '{self.rule}'")
        want_operands("requantize", inputs, 2 if self.rule == "half_even" else 3)
        x, factor, *shift = inputs
        long_sums = (DType.I64,) if self.rule in ("tflite_once", "tflite_reduced") else ()
        want_type("requantize", "x", x, DType.I32, *long_sums)
        wanted = DType.F32 if self._in_floats else DType.I32
        for type_ in (factor, *shift):
            want_type("requantize", "a factor", type_, wanted)
        want_broadcast("requantize", *inputs)
        to_32 = self.dtype is DType.I32 and not self._in_floats and not self.zero_point
        require(
            self.dtype in STORED or to_32, f"requantize: the result cannot be {self.dtype.value}"
        )
        want_range("requantize", self.low, self.high, self.dtype)
        want_range("requantize", self.zero_point, self.zero_point, self.dtype)
        return (TensorType(self.dtype, x.shape, quant=self.quant),)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        if self._in_floats:
            return {}
        lowest, highest = 0, 31
        match self.rule:
            case "tflite":
                lowest = -(2**31)
            case "tflite_reduced":
                highest = -2
            case "tflite_once" if inputs[0].dtype is DType.I64:
                highest = 14
        return {
            1: Range("a multiplier", lowest, 2**31 - 1),
            2: Range("a shift", -31, highest),
        }

    def reference(self, *inputs: Array) -> Arrays:
        x, factor, *shift = inputs
        if self.rule == "half_even":
            real = np.nan_to_num(x.astype(np.float32) * factor.astype(np.float32), nan=0.0)
            scaled = np.rint(np.clip(real, -(2.0**24), 2.0**24)).astype(np.int32)
        elif self.rule in AFFINE_RULES:
            scaled = self._moved(x, factor, shift[0])
        else:
            scaled = _MULTIPLIERS[self.rule](x, factor, shift[0])
        result = np.clip(scaled.astype(np.int64) + self.zero_point, self.low, self.high)
        return (result.astype(self.dtype.numpy),)

    @property
    def _in_floats(self) -> bool:
        return self.rule == "half_even" or self.rule in AFFINE_RULES

    def _moved(self, x: Array, factor: Array, offset: Array) -> Array:
        """The rounded result of an affine rule."""
        real, constant = x.astype(np.float32), offset.astype(np.float32)
        if self.rule == "affine_apart":
            constant = np.copysign(constant, real)
        total = real * factor.astype(np.float32) + constant
        return np.asarray(np.rint(np.clip(total, -(2.0**24), 2.0**24)), np.int32)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from _scaled_down(rng)
        yield from _scaled_at_halves()
        yield from _scaled_once(rng)
        yield from _scaled_to_even(rng)
        yield from _scaled_and_moved()


_BYTE = Requantize("tflite", 3, -128, 127, DType.I8)
_WIDE = replace(_BYTE, low=-(2**15), high=2**15 - 1, dtype=DType.I16)
_SUMS = np.resize(np.arange(-700, 701, dtype=np.int32), (4, 1401)).T.copy()
_HALF = np.array([1 << 30], np.int32)
_SHIFTS = np.array([0, -1, -2, -8], np.int32)
"""Multiplying `_SUMS` by 1/2 (`_HALF`) with these shifts gives halves of both signs."""
_EXTREME = np.array([-(2**31), 2**31 - 1, -(2**31) + 1, 0, -1, 1], np.int32)


def _factors(*factors: float) -> tuple[Array, Array]:
    """(multipliers, shifts) of real factors."""
    pairs = np.array([quantize_multiplier(f) for f in factors], np.int32)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _scaled_down(rng: np.random.Generator) -> Iterator[Case]:
    """Sums of typical sizes, with a single factor and with a factor per channel."""
    unsigned = Requantize("tflite", 128, 130, 255, DType.U8, Quant((0.02,), (128,)))
    for op, factors, label in (
        (_BYTE, (0.0005,), "one factor"),
        (unsigned, tuple(0.0001 * (i + 1) for i in range(11)), "per channel"),
        (replace(_BYTE, dtype=DType.I16), (3.7, 0.9, 0.0, 1e-9, 200.0), "factors above one"),
    ):
        drawn = rng.integers(-300_000, 300_000, (1, 4, 5, len(factors) if factors[1:] else 9))
        yield Case(op, (drawn.astype(np.int32), *_factors(*factors)), (1, 2), label=label)


def _scaled_at_halves() -> Iterator[Case]:
    """Sums that are ties in rounding, and the ends of the range."""
    # Kernels have different code for constant shifts with different signs.
    for ends, label in (
        (_SHIFTS, "halves"),
        (_SHIFTS - 1, "halves, all shifted right"),
        (_SHIFTS[2:3], "halves, one shift"),
        (-_SHIFTS // 2, "none shifted right"),
        (_SHIFTS + 2, "halves, both ways"),
    ):
        yield Case(_WIDE, (_SUMS, _HALF, ends), (1, 2), label=label)
    yield Case(_BYTE, (_SUMS, _HALF, _SHIFTS), (1, 2), label="halves as bytes")
    mantissas = np.array([-(2**31), 2**31 - 1, 1 << 30, -(1 << 30), 0, 5], np.int32)
    grid = np.meshgrid(_EXTREME, mantissas, np.array([0, -1, -30, -31, 3]), indexing="ij")
    every = tuple(a.reshape(-1).astype(np.int32) for a in grid)
    yield Case(_WIDE, every, (1, 2), label="extremes")
    to_32_bits = Requantize("tflite", 0, -(2**31), 2**31 - 1, DType.I32)
    yield Case(to_32_bits, every, (1, 2), label="32 bits")
    bounded = replace(to_32_bits, low=-9, high=2**17)
    yield Case(bounded, (_SUMS * 999, _HALF, _SHIFTS), (1, 2), label="32 bits, bounds")
    computed = (_SUMS[:40] * 1000, np.resize(mantissas, (40, 1)), _SHIFTS)
    yield Case(_BYTE, computed, label="computed factors")


def _scaled_once(rng: np.random.Generator) -> Iterator[Case]:
    """The rules that round once, for sums of 32 and of 64 bits."""
    once, short = (replace(_WIDE, rule=rule) for rule in ("tflite_once", "tflite_reduced"))
    yield Case(once, (_SUMS, _HALF, _SHIFTS), (1, 2), label="halves, rounded once")
    scattered = rng.integers(-300_000, 300_000, (1, 4, 5, 6)).astype(np.int32)
    per_channel = (scattered, *_factors(5e-4, 0.9, 0, 1e-9, 3.7, 40))
    yield Case(once, per_channel, (1, 2), label="per channel, rounded once")
    yield Case(once, per_channel, label="computed factors, rounded once")
    multipliers, shifts = _factors(5e-4, 0.2, 0, 1e-7, 3e-3, 9e-6)
    of_sums = (multipliers, np.minimum(shifts, -2))  # `tflite_reduced` needs shifts of at most -2
    far = scattered.astype(np.int64) * rng.integers(1, 2**20, scattered.shape)
    for op in (once, short):
        label = f"{op.rule}, 64 bits"
        yield Case(op, (far, *of_sums), (1, 2), label=label)
        yield Case(op, (far, *of_sums), label=f"{label}, computed")
        one = (multipliers[:1], shifts[:1])
        yield Case(op, (far, *one), (1, 2), label=f"{label}, one factor")
    yield Case(short, (scattered * 5000, *of_sums), (1, 2), label="reduced")
    yield Case(short, (scattered * 5000, *of_sums), label="reduced, computed")
    narrow = replace(short, dtype=DType.I8, low=-9, high=9)
    ends = np.resize(_EXTREME, (1, 4, 5, 6))
    yield Case(narrow, (ends, *of_sums), (1, 2), label="reduced ends")


def _scaled_to_even(rng: np.random.Generator) -> Iterator[Case]:
    """The rule `half_even`."""
    even = Requantize("half_even", -7, -128, 127, DType.I8)
    yield Case(even, (_SUMS, np.array([0.5], np.float32)), (1,), label="even halves")
    scales = (rng.random(4) / 5).astype(np.float32)
    yield Case(replace(even, low=-7), (_SUMS, scales), (1,), label="scale per channel")
    large = np.array([[1e20], [1.0], [-3e-9]], np.float32)
    plain = Requantize("half_even", 0, 0, 255, DType.U8)
    yield Case(plain, (np.tile(_EXTREME, (3, 1)), large), label="large sums")


def _scaled_and_moved() -> Iterator[Case]:
    """The affine rules. The products need at most 24 bits, so that they are never rounded."""
    factors = np.array([0.5, 0.75, 0.03125, 2.0], np.float32)
    offsets = np.array([0.25, 0.0, 0.5, 100.125], np.float32)
    for rule in AFFINE_RULES:
        op = Requantize(rule, -7, -128, 127, DType.I8)
        yield Case(op, (_SUMS, factors, offsets), (1, 2), label=f"{rule}, per channel")
        unsigned = replace(op, zero_point=3, low=3, high=200, dtype=DType.U8)
        one = (factors[1:2], offsets[3:] - 100)
        yield Case(unsigned, (_SUMS, *one), (1, 2), label=f"{rule}, one factor")


@register_op("quantize")
@dataclass(frozen=True, slots=True)
class Quantize(Pointwise):
    """(x f32, scale f32, zero i32) -> round(x / scale) + zero, saturated; NaN gives zero.

    The quotient is a float32. `half_even` rounds halves to the even integer, as in ONNX;
    `half_away` rounds halves away from zero, as in TFLite.
    """

    rounding: str
    dtype: DType
    quant: Quant | None = None

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        require(self.rounding in ROUNDINGS, f"quantize: unknown rounding '{self.rounding}'")
        want_operands("quantize", inputs, 3)
        for what, type_ in zip(("x", "the scale"), inputs, strict=False):
            want_type("quantize", what, type_, DType.F32)
        want_type("quantize", "the zero point", inputs[2], DType.I32)
        want_broadcast("quantize", *inputs)
        require(self.dtype in STORED, f"quantize: the result cannot be {self.dtype.value}")
        return (TensorType(self.dtype, inputs[0].shape, quant=self.quant),)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        info = np.iinfo(self.dtype.numpy)
        return {2: Range("a zero point", int(info.min), int(info.max))}

    def reference(self, *inputs: Array) -> Arrays:
        x, scale, zero = inputs
        # float32 also in a float64 evaluation: the result is defined by the rounded quotient.
        real = np.nan_to_num(x.astype(np.float32) / scale.astype(np.float32), nan=0.0)
        real = np.clip(real, -(2.0**24), 2.0**24).astype(np.float64)
        rounded = np.rint(real)
        if self.rounding == "half_away":
            rounded = np.copysign(np.floor(np.abs(real) + 0.5), real)
        info = np.iinfo(self.dtype.numpy)
        result = np.clip(rounded.astype(np.int64) + zero, info.min, info.max)
        return (result.astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def numbers(scale: float, zero: int, *shape: int) -> tuple[Array, Array, Array]:
            x = (scale * 90 * rng.standard_normal(shape)).astype(np.float32)
            return x, np.array([scale], np.float32), np.array([zero], np.int32)

        signed, unsigned = cls("half_even", DType.I8), cls("half_away", DType.U8)
        yield Case(signed, numbers(0.1, 0, 1, 1, 1, 1), (1, 2), label="one element")
        described = replace(signed, quant=Quant((0.02,), (-5,)))
        yield Case(described, numbers(0.02, -5, 1, 5, 7, 3), (1, 2), label="int8")
        yield Case(unsigned, numbers(1.7, 128, 1, 4, 4, 16), (1, 2), label="uint8")
        wide = cls("half_away", DType.I16)
        yield Case(wide, numbers(3e-4, 0, 1, 3, 3, 9), (1, 2), label="int16")
        x = numbers(1.0, 0, 1, 3, 5, 4)[0]
        scales = np.array([0.3, 1.0, 2.5, 40.0], np.float32)
        zeros = np.array([0, -3, 7, 100], np.int32)
        yield Case(signed, (x, scales, zeros), (1, 2), label="per channel")
        yield Case(unsigned, (x, scales[:1], zeros), label="computed scale")
        halves = np.arange(-600, 601, dtype=np.float32) / 2
        one, none = np.ones(1, np.float32), np.zeros(1, np.int32)
        below_half = np.nextafter(np.float32(0.5), np.float32(0))
        odd = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, below_half, -below_half], np.float32)
        for rounding in ROUNDINGS:
            for dtype in (DType.I8, DType.U16):
                op, label = cls(rounding, dtype), f"{rounding} {dtype.value}"
                yield Case(op, (halves, one, none), (1, 2), label=f"halves {label}")
                yield Case(op, (odd, one, none + 9), (1, 2), label=f"special values {label}")


@register_op("dequantize")
@dataclass(frozen=True, slots=True)
class Dequantize(Pointwise):
    """(x i8|u8|i16|u16|i32, scale f32, zero i32) -> (x - zero) * scale, f32.

    The difference is an int32, which is converted to float32 and then multiplied.
    """

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("dequantize", inputs, 3)
        want_type("dequantize", "x", inputs[0], *STORED, DType.I32)
        want_type("dequantize", "the scale", inputs[1], DType.F32)
        want_type("dequantize", "the zero point", inputs[2], DType.I32)
        want_broadcast("dequantize", *inputs)
        return (TensorType(DType.F32, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        x, scale, zero = inputs
        difference = x.astype(np.int32) - zero
        return (np.asarray(difference.astype(scale.dtype) * scale),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, dtype: DType, channels: int, *shape: int) -> Case:
            info = np.iinfo(dtype.numpy)
            x = rng.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)
            scale = (0.01 + rng.random(channels)).astype(np.float32)
            zero = rng.integers(max(-99, info.min), 100, channels).astype(np.int32)
            return Case(cls(), (x, scale, zero), (1, 2), label=label)

        yield case("one element", DType.I8, 1, 1, 1, 1, 1)
        yield case("int8", DType.I8, 1, 1, 5, 7, 3)
        yield case("uint8", DType.U8, 1, 1, 4, 4, 16)
        yield case("uint16", DType.U16, 1, 19)
        yield case("per channel", DType.I8, 5, 2, 3, 5)
        yield case("sums", DType.I32, 6, 1, 3, 6)
        yield replace(case("computed", DType.I16, 4, 3, 5, 4), constants=())


@register_op("lookup")
@dataclass(frozen=True, slots=True)
class Lookup(Op):
    """(x i8|u8, table [256]) -> table[x - lowest], where lowest is -128 (i8) or 0 (u8)."""

    takes_stages: ClassVar[bool] = True

    dtype: DType
    quant: Quant | None = None

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("lookup", inputs, 2)
        want_type("lookup", "x", inputs[0], *BYTES)
        want_type("lookup", "the table", inputs[1], self.dtype)
        want_shape("lookup", "the table", inputs[1], 256)
        return (TensorType(self.dtype, inputs[0].shape, quant=self.quant),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(requantised(self, p), (p, *[None] * (len(operands) - 1)), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((), operands[0].rank), *[(None,)] * (len(operands) - 1))

    def reference(self, *inputs: Array) -> Arrays:
        x, table = inputs
        return (table[x.astype(np.int32) - np.iinfo(x.dtype).min],)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, of: DType, to: DType, *shape: int) -> Case:
            info = np.iinfo(of.numpy)
            x = rng.integers(info.min, info.max, shape, of.numpy, endpoint=True)
            table = rng.permutation(256).astype(np.uint8).view(np.int8).astype(to.numpy)
            return Case(cls(to), (x, table), (1,), label=label)

        yield case("one element", DType.I8, DType.I8, 1, 1, 1, 1)
        yield case("int8", DType.I8, DType.I8, 1, 5, 7, 3)
        yield case("uint8", DType.U8, DType.U8, 1, 4, 4, 17)
        yield case("to int8", DType.U8, DType.I8, 2, 19)
        yield case("to float", DType.I8, DType.F32, 1, 3, 3, 9)
        yield case("to int16", DType.U8, DType.I16, 300)
        yield replace(case("computed table", DType.I8, DType.U8, 2, 33), constants=())
