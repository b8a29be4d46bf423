"""Activations and elementwise arithmetic.

NaN and infinity go through as in numpy unless a docstring says otherwise. HardTanh is
`Clip(-1, 1)`, ReLU6 is `Clip(0, 6)`, a scale or bias per channel is `Mul`/`Add` with a vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ir.ops.common import dyadic, normal, want_operands, want_same
from ir.ops.elementwise import (
    SPECIAL,
    Binary,
    Comparison,
    Unary,
    spread,
    want_broadcast,
    want_kind,
)
from ir.types import Array, DType, TensorType

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805

# ---- activations --------------------------------------------------------------------------------


@register_op("relu")
@dataclass(frozen=True, slots=True)
class Relu(Unary):
    """x > 0 ? x : 0, so NaN gives 0."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.where(x > 0, x, 0)


@register_op("leaky_relu")
@dataclass(frozen=True, slots=True)
class LeakyRelu(Unary):
    """x > 0 ? x : slope * x."""

    slope: float

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(0.1), cls(-0.5), cls(2.0))

    def value(self, x: Array) -> Array:
        return np.where(x > 0, x, self.slope * x)


@register_op("clip")
@dataclass(frozen=True, slots=True)
class Clip(Unary):
    """min(max(x, low), high); NaN stays NaN. Infinite bounds are allowed.

    On integers the bounds are those integers that lie between low and high.
    """

    low: float
    high: float
    kinds: ClassVar[str] = "fi"

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(0.0, 6.0), cls(-1.0, 1.0), cls(-math.inf, 0.5), cls(0.25, 0.25))

    def infer(self, *inputs: TensorType) -> Types:
        require(self.low <= self.high, f"clip: low {self.low} above high {self.high}")
        return Unary.infer(self, *inputs)

    def value(self, x: Array) -> Array:
        if x.dtype.kind == "f":
            return np.clip(x, self.low, self.high)
        info = np.iinfo(x.dtype)
        low = info.min if self.low <= info.min else math.ceil(self.low)
        high = info.max if self.high >= info.max else math.floor(self.high)
        return np.clip(x, low, high)


@register_op("sigmoid")
@dataclass(frozen=True, slots=True)
class Sigmoid(Unary):
    """1 / (1 + e^-x), computed with the exponential that cannot overflow."""

    domain: ClassVar[tuple[float, float]] = (-30.0, 30.0)

    def value(self, x: Array) -> Array:
        small = np.exp(-np.abs(x))
        return np.where(x > 0, 1 / (1 + small), small / (1 + small))


@register_op("hard_sigmoid")
@dataclass(frozen=True, slots=True)
class HardSigmoid(Unary):
    """clip(slope * x + offset, 0, 1)."""

    slope: float = 0.2
    offset: float = 0.5

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(1 / 6, 0.5))

    def value(self, x: Array) -> Array:
        return np.clip(self.slope * x + self.offset, 0, 1)


@register_op("tanh")
@dataclass(frozen=True, slots=True)
class Tanh(Unary):
    """Hyperbolic tangent."""

    domain: ClassVar[tuple[float, float]] = (-12.0, 12.0)

    def value(self, x: Array) -> Array:
        return np.tanh(x)


@register_op("elu")
@dataclass(frozen=True, slots=True)
class Elu(Unary):
    """x > 0 ? x : alpha * (e^x - 1)."""

    alpha: float = 1.0

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(0.3))

    def value(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))


@register_op("selu")
@dataclass(frozen=True, slots=True)
class Selu(Unary):
    """scale * (x > 0 ? x : alpha * (e^x - 1)) with the constants of self-normalising networks."""

    def value(self, x: Array) -> Array:
        negative = SELU_ALPHA * np.expm1(np.minimum(x, 0))
        result: Array = SELU_SCALE * np.where(x > 0, x, negative)
        return result


@register_op("hard_swish")
@dataclass(frozen=True, slots=True)
class HardSwish(Unary):
    """x * clip(x + 3, 0, 6) / 6; -infinity gives NaN."""

    def value(self, x: Array) -> Array:
        result: Array = x * np.clip(x + 3, 0, 6) / 6
        return result


@register_op("softplus")
@dataclass(frozen=True, slots=True)
class Softplus(Unary):
    """log(1 + e^x), as max(x, 0) + log(1 + e^-|x|)."""

    domain: ClassVar[tuple[float, float]] = (-30.0, 30.0)

    def value(self, x: Array) -> Array:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@register_op("gelu")
@dataclass(frozen=True, slots=True)
class Gelu(Unary):
    """x * (1 + erf(x / sqrt(2))) / 2.

    With `approximate`: x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2.
    """

    approximate: bool = False
    special: ClassVar[bool] = False  # 0 * infinity, and 0 * something huge

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(True))

    def value(self, x: Array) -> Array:
        wide = x.astype(np.float64)
        if self.approximate:
            inner = np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
        else:
            inner = np.vectorize(math.erf, otypes=[np.float64])(wide / math.sqrt(2))
        result: Array = wide * (1 + inner) / 2
        return result


# ---- functions of one operand -------------------------------------------------------------------


@register_op("exp")
@dataclass(frozen=True, slots=True)
class Exp(Unary):
    """e^x."""

    domain: ClassVar[tuple[float, float]] = (-80.0, 80.0)

    def value(self, x: Array) -> Array:
        return np.exp(x)


@register_op("log")
@dataclass(frozen=True, slots=True)
class Log(Unary):
    """Natural logarithm: -infinity at 0, NaN below."""

    domain: ClassVar[tuple[float, float]] = (1e-3, 50.0)

    def value(self, x: Array) -> Array:
        return np.log(x)


@register_op("log10")
@dataclass(frozen=True, slots=True)
class Log10(Unary):
    """Decimal logarithm: -infinity at 0, NaN below."""

    domain: ClassVar[tuple[float, float]] = (1e-3, 50.0)

    def value(self, x: Array) -> Array:
        return np.log10(x)


@register_op("sqrt")
@dataclass(frozen=True, slots=True)
class Sqrt(Unary):
    """Square root, NaN below 0."""

    domain: ClassVar[tuple[float, float]] = (0.0, 90.0)

    def value(self, x: Array) -> Array:
        return np.sqrt(x)


@register_op("square")
@dataclass(frozen=True, slots=True)
class Square(Unary):
    """x * x."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return x * x


@register_op("abs")
@dataclass(frozen=True, slots=True)
class Abs(Unary):
    """|x|; the lowest integer stays what it is."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.abs(x)


@register_op("neg")
@dataclass(frozen=True, slots=True)
class Neg(Unary):
    """-x; the lowest integer stays what it is."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.negative(x)


@register_op("sign")
@dataclass(frozen=True, slots=True)
class Sign(Unary):
    """-1, 0 or 1; NaN stays NaN."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.sign(x)


@register_op("sin")
@dataclass(frozen=True, slots=True)
class Sin(Unary):
    """Sine of an angle in radians."""

    domain: ClassVar[tuple[float, float]] = (-50.0, 50.0)
    special: ClassVar[bool] = False  # the sine of 1e15 is nothing a float32 formula knows

    def value(self, x: Array) -> Array:
        return np.sin(x)


@register_op("cos")
@dataclass(frozen=True, slots=True)
class Cos(Unary):
    """Cosine of an angle in radians."""

    domain: ClassVar[tuple[float, float]] = (-50.0, 50.0)
    special: ClassVar[bool] = False

    def value(self, x: Array) -> Array:
        return np.cos(x)


@register_op("floor")
@dataclass(frozen=True, slots=True)
class Floor(Unary):
    """The largest whole number that is not above x."""

    def value(self, x: Array) -> Array:
        return np.floor(x)


@register_op("ceil")
@dataclass(frozen=True, slots=True)
class Ceil(Unary):
    """The smallest whole number that is not below x."""

    def value(self, x: Array) -> Array:
        return np.ceil(x)


@register_op("round")
@dataclass(frozen=True, slots=True)
class Round(Unary):
    """The nearest whole number, halves to the even one."""

    def value(self, x: Array) -> Array:
        return np.rint(x)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(Round, cls).samples(rng)
        halves = np.arange(-11, 12, dtype=np.float32) / 2
        yield Case(cls(), (halves,), label="halves")


@register_op("not")
@dataclass(frozen=True, slots=True)
class Not(Unary):
    """Logical not of booleans."""

    kinds: ClassVar[str] = "b"

    def value(self, x: Array) -> Array:
        return np.logical_not(x)


@register_op("cast")
@dataclass(frozen=True, slots=True)
class Cast(Pointwise):
    """The same numbers in another element type (`BIT` is neither source nor result).

    Float to integer truncates toward zero and saturates, NaN gives 0; integer to integer keeps
    the low bits; to bool: x != 0; from bool: 0 and 1. The reference keeps float64 operands in
    float64 when the result is `F32`, as every reference does.
    """

    dtype: DType

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("cast", inputs, 1)
        want_kind("cast", inputs[0].dtype, "fib")
        want_kind("cast", self.dtype, "fib")
        return (TensorType(self.dtype, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        if self.dtype.is_float and x.dtype == np.float64:
            return (x,)
        if x.dtype.kind == "f" and self.dtype.is_integer:
            return (_saturated(x, self.dtype.numpy),)
        return (x.astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        x = spread(rng, -300.0, 300.0, 1, 5, 7, 3)
        for dtype in (DType.I32, DType.U8, DType.I8, DType.I64, DType.F64, DType.BOOL):
            yield Case(cls(dtype), (x,), label=f"f32 to {dtype.value}")
        yield Case(cls(DType.I32), (SPECIAL.copy(),), label="special values")
        integers = rng.integers(-(2**31), 2**31, (1, 3, 5, 7), np.int32)
        for dtype in (DType.F32, DType.I8, DType.I64, DType.BOOL):
            yield Case(cls(dtype), (integers,), label=f"i32 to {dtype.value}")
        pixels = rng.integers(0, 256, (1, 5, 4, 3), np.uint8)
        yield Case(cls(DType.F32), (pixels,), label="u8 to f32")
        yield Case(cls(DType.F32), (pixels > 99,), label="bool to f32")


def _saturated(x: Array, dtype: np.dtype[np.generic]) -> Array:
    """Floats truncated to integers of `dtype`, without numpy's undefined overflow."""
    info = np.iinfo(dtype)  # type: ignore[type-var]
    whole = np.trunc(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf))
    low, high = whole <= info.min, whole >= info.max
    inside = np.where(low | high, 0, whole).astype(dtype)
    return np.where(low, dtype.type(info.min), np.where(high, dtype.type(info.max), inside))


# ---- arithmetic of two operands -----------------------------------------------------------------


@register_op("add")
@dataclass(frozen=True, slots=True)
class Add(Binary):
    """x + y."""

    def value(self, x: Array, y: Array) -> Array:
        return x + y


@register_op("sub")
@dataclass(frozen=True, slots=True)
class Sub(Binary):
    """x - y."""

    def value(self, x: Array, y: Array) -> Array:
        return x - y


@register_op("mul")
@dataclass(frozen=True, slots=True)
class Mul(Binary):
    """x * y."""

    def value(self, x: Array, y: Array) -> Array:
        return x * y


@register_op("div")
@dataclass(frozen=True, slots=True)
class Div(Binary):
    """x / y. Integers: truncated toward zero, 0 where y is 0, the lowest by -1 wraps to itself."""

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return normal(rng, *x), _away_from_zero(rng, y)

    def value(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return x / y
        divisor = np.where(y == 0, 1, y)
        floor = x // divisor
        inexact = x - floor * divisor != 0
        truncated = floor + (inexact & ((x < 0) != (divisor < 0)))
        return np.where(y == 0, 0, truncated)


def _away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers in 0.5..2 with either sign."""
    sign = rng.choice(np.array([-1, 1], np.float32), shape)
    return sign * spread(rng, 0.5, 2.0, *shape)


@register_op("mod")
@dataclass(frozen=True, slots=True)
class Mod(Binary):
    """The remainder with the sign of x: C's fmod and %. Integers: 0 where y is 0."""

    special: ClassVar[bool] = False  # 1e15 modulo 2.5 in float32 is a matter of taste

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        # Exact in float32, so that no remainder jumps from almost 0 to almost y.
        divisor = rng.choice(np.array([0.5, 0.75, 1.0, 1.5, -2.0, -3.0], np.float32), y)
        return dyadic(rng, *x, span=40), divisor

    def value(self, x: Array, y: Array) -> Array:
        return np.fmod(x, y)


@register_op("minimum")
@dataclass(frozen=True, slots=True)
class Minimum(Binary):
    """The smaller of x and y; NaN if either is NaN."""

    def value(self, x: Array, y: Array) -> Array:
        return np.minimum(x, y)


@register_op("maximum")
@dataclass(frozen=True, slots=True)
class Maximum(Binary):
    """The larger of x and y; NaN if either is NaN."""

    def value(self, x: Array, y: Array) -> Array:
        return np.maximum(x, y)


@register_op("pow")
@dataclass(frozen=True, slots=True)
class Pow(Binary):
    """x to the power y, as C's powf; a negative x with a fractional y gives NaN."""

    kinds: ClassVar[str] = "f"
    special: ClassVar[bool] = False

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return spread(rng, 0.1, 4.0, *x), spread(rng, -3.0, 3.0, *y)

    def value(self, x: Array, y: Array) -> Array:
        return np.power(x, y)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(Pow, cls).samples(rng)
        x = np.array([-2.0, -1.5, -1.0, 1.0, 2.0, 3.0], np.float32)
        for exponent in (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0):
            y = np.array([exponent], np.float32)
            base = np.abs(x) if exponent == 0.5 else x
            yield Case(cls(), (base, y), (1,), label=f"exponent {exponent}")
        zero = np.zeros(4, np.float32)
        yield Case(cls(), (zero, np.array([0, 1, 2, 0.5], np.float32)), (1,), label="base 0")


@register_op("and")
@dataclass(frozen=True, slots=True)
class And(Binary):
    """x and y: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"

    def value(self, x: Array, y: Array) -> Array:
        return x & y


@register_op("or")
@dataclass(frozen=True, slots=True)
class Or(Binary):
    """x or y: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"

    def value(self, x: Array, y: Array) -> Array:
        return x | y


@register_op("xor")
@dataclass(frozen=True, slots=True)
class Xor(Binary):
    """Either x or y: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"

    def value(self, x: Array, y: Array) -> Array:
        return x ^ y


@register_op("equal")
@dataclass(frozen=True, slots=True)
class Equal(Comparison):
    """x == y."""

    kinds: ClassVar[str] = "fib"

    def value(self, x: Array, y: Array) -> Array:
        return np.equal(x, y)


@register_op("not_equal")
@dataclass(frozen=True, slots=True)
class NotEqual(Comparison):
    """x != y; true where either is NaN."""

    kinds: ClassVar[str] = "fib"

    def value(self, x: Array, y: Array) -> Array:
        return np.not_equal(x, y)


@register_op("less")
@dataclass(frozen=True, slots=True)
class Less(Comparison):
    """x < y."""

    def value(self, x: Array, y: Array) -> Array:
        return x < y


@register_op("less_equal")
@dataclass(frozen=True, slots=True)
class LessEqual(Comparison):
    """x <= y."""

    def value(self, x: Array, y: Array) -> Array:
        return x <= y


@register_op("greater")
@dataclass(frozen=True, slots=True)
class Greater(Comparison):
    """x > y."""

    def value(self, x: Array, y: Array) -> Array:
        return x > y


@register_op("greater_equal")
@dataclass(frozen=True, slots=True)
class GreaterEqual(Comparison):
    """x >= y."""

    def value(self, x: Array, y: Array) -> Array:
        return x >= y


@register_op("prelu")
@dataclass(frozen=True, slots=True)
class PRelu(Binary):
    """(x, alpha): x > 0 ? x : alpha * x; alpha may be a number, per channel or a whole tensor."""

    kinds: ClassVar[str] = "f"

    def value(self, x: Array, y: Array) -> Array:
        return np.where(x > 0, x, y * x)


# ---- three operands -----------------------------------------------------------------------------


@register_op("mul_add")
@dataclass(frozen=True, slots=True)
class MulAdd(Pointwise):
    """(x, scale, offset): x * scale + offset, floats; the product may or may not be rounded."""

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("mul_add", inputs, 3)
        want_kind("mul_add", want_same("mul_add", *inputs), "f")
        want_broadcast("mul_add", *inputs)
        return (TensorType(inputs[0].dtype, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        x, scale, offset = inputs
        return (np.asarray(x * scale + offset, x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, *shapes: tuple[int, ...], fixed: tuple[int, ...] = (1, 2)) -> Case:
            return Case(cls(), tuple(normal(rng, *s) for s in shapes), fixed, label=label)

        yield case("one element", (1, 1, 1, 1), (1,), (1,))
        yield case("per channel", (1, 5, 7, 3), (3,), (3,))
        yield case("wide", (1, 4, 4, 16), (16,), (1, 1, 1, 16))
        yield case("scalar and image", (1, 3, 5, 9), (1,), (1, 3, 5, 9))
        yield case("computed", (1, 6, 5, 4), (1, 1, 1, 4), (6, 5, 4), fixed=())
        special = np.resize(SPECIAL, (5, SPECIAL.size))
        factors = np.array([[0.0], [1.0], [-2.0], [np.inf], [np.nan]], np.float32)
        yield Case(cls(), (special, factors, factors), (1, 2), label="special values")


@register_op("select")
@dataclass(frozen=True, slots=True)
class Select(Pointwise):
    """(x, other, condition): condition ? x : other; the condition is `BOOL`.

    `other` and the condition broadcast to x, which is the running value of an epilogue.
    """

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("select", inputs, 3)
        x, other, condition = inputs
        want_kind("select", want_same("select", x, other), "fib")
        require(condition.dtype is DType.BOOL, "select: the condition is not bool")
        want_broadcast("select", *inputs)
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        x, other, condition = inputs
        return (np.asarray(np.where(condition, x, other), x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def choice(*shape: int) -> Array:
            picked: Array = rng.random(shape) < 0.5
            return picked

        x = normal(rng, 1, 5, 7, 3)
        yield Case(cls(), (x[:, :1, :1, :1], normal(rng, 1), choice(1)), (1,), label="one element")
        yield Case(cls(), (x, normal(rng, *x.shape), choice(*x.shape)), label="images")
        yield Case(cls(), (x, normal(rng, 3), choice(5, 1, 1)), (1, 2), label="broadcast")
        numbers = rng.integers(-9, 10, (19,), np.int32)
        yield Case(cls(), (numbers, -numbers, choice(19)), label="integers")
        special = np.resize(SPECIAL, (2, SPECIAL.size))
        yield Case(cls(), (special, -special, choice(2, 1)), label="special values")
