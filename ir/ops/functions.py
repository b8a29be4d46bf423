"""Functions of one operand: elementary functions, rounding, signs, predicates, and `Not`.

NaN and infinity are treated as in numpy unless a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ellc.ir.op import Case, exact, register_op
from ellc.ir.ops.elementwise import SPECIAL, Predicate, Unary
from ellc.ir.types import Array


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
    """Natural logarithm: -infinity at 0, NaN below 0."""

    domain: ClassVar[tuple[float, float]] = (1e-3, 50.0)

    def value(self, x: Array) -> Array:
        return np.log(x)


@register_op("log10")
@dataclass(frozen=True, slots=True)
class Log10(Unary):
    """Decimal logarithm: -infinity at 0, NaN below 0."""

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
    """|x|; the lowest integer is unchanged."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.abs(x)


@register_op("neg")
@dataclass(frozen=True, slots=True)
class Neg(Unary):
    """-x; the lowest integer is unchanged."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        return np.negative(x)


@register_op("sign")
@dataclass(frozen=True, slots=True)
class Sign(Unary):
    """-1, 0 or 1; NaN gives NaN."""

    kinds: ClassVar[str] = "fi"

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def value(self, x: Array) -> Array:
        return np.sign(x)


class Trigonometric(Unary):
    """A function of an angle in radians, however large; infinity gives NaN."""

    domain: ClassVar[tuple[float, float]] = (-50.0, 50.0)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super().samples(rng)
        sizes = np.exp2(rng.uniform(-24.0, 128.0, 61)) * rng.choice([-1.0, 1.0], 61)
        yield Case(cls(), (sizes.astype(np.float32),), label="angles of any size")


@register_op("sin")
@dataclass(frozen=True, slots=True)
class Sin(Trigonometric):
    """Sine of an angle in radians."""

    def value(self, x: Array) -> Array:
        return np.sin(x)


@register_op("cos")
@dataclass(frozen=True, slots=True)
class Cos(Trigonometric):
    """Cosine of an angle in radians."""

    def value(self, x: Array) -> Array:
        return np.cos(x)


@register_op("tan")
@dataclass(frozen=True, slots=True)
class Tan(Trigonometric):
    """Tangent of an angle in radians."""

    def value(self, x: Array) -> Array:
        return np.tan(x)


@register_op("floor")
@dataclass(frozen=True, slots=True)
class Floor(Unary):
    """The largest integer <= x."""

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def value(self, x: Array) -> Array:
        return np.floor(x)


@register_op("ceil")
@dataclass(frozen=True, slots=True)
class Ceil(Unary):
    """The smallest integer >= x."""

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def value(self, x: Array) -> Array:
        return np.ceil(x)


@register_op("round")
@dataclass(frozen=True, slots=True)
class Round(Unary):
    """The nearest integer; halves are rounded to even."""

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def value(self, x: Array) -> Array:
        return np.rint(x)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(Round, cls).samples(rng)
        halves = np.arange(-11, 12, dtype=np.float32) / 2
        yield Case(cls(), (halves,), label="halves")


@register_op("reciprocal")
@dataclass(frozen=True, slots=True)
class Reciprocal(Unary):
    """1 / x; infinity at 0, minus infinity at -0."""

    domain: ClassVar[tuple[float, float]] = (0.05, 20.0)

    def value(self, x: Array) -> Array:
        return np.reciprocal(x)


@register_op("rsqrt")
@dataclass(frozen=True, slots=True)
class Rsqrt(Unary):
    """1 / sqrt(x): infinity at 0, minus infinity at -0, NaN below 0."""

    domain: ClassVar[tuple[float, float]] = (0.001, 90.0)

    def value(self, x: Array) -> Array:
        return np.reciprocal(np.sqrt(x))


@register_op("expm1")
@dataclass(frozen=True, slots=True)
class Expm1(Unary):
    """e^x - 1, accurate near 0."""

    domain: ClassVar[tuple[float, float]] = (-30.0, 80.0)

    def value(self, x: Array) -> Array:
        return np.expm1(x)


@register_op("log1p")
@dataclass(frozen=True, slots=True)
class Log1p(Unary):
    """log(1 + x), accurate near 0; -infinity at -1, NaN below -1."""

    domain: ClassVar[tuple[float, float]] = (-0.99, 50.0)

    def value(self, x: Array) -> Array:
        return np.log1p(x)


@register_op("asin")
@dataclass(frozen=True, slots=True)
class Asin(Unary):
    """Arc sine in radians; NaN outside -1..1."""

    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def value(self, x: Array) -> Array:
        return np.arcsin(x)


@register_op("acos")
@dataclass(frozen=True, slots=True)
class Acos(Unary):
    """Arc cosine in radians; NaN outside -1..1."""

    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def value(self, x: Array) -> Array:
        return np.arccos(x)


@register_op("atan")
@dataclass(frozen=True, slots=True)
class Atan(Unary):
    """Arc tangent in radians."""

    domain: ClassVar[tuple[float, float]] = (-20.0, 20.0)

    def value(self, x: Array) -> Array:
        return np.arctan(x)


@register_op("sinh")
@dataclass(frozen=True, slots=True)
class Sinh(Unary):
    """Hyperbolic sine."""

    domain: ClassVar[tuple[float, float]] = (-12.0, 12.0)

    def value(self, x: Array) -> Array:
        return np.sinh(x)


@register_op("cosh")
@dataclass(frozen=True, slots=True)
class Cosh(Unary):
    """Hyperbolic cosine."""

    domain: ClassVar[tuple[float, float]] = (-12.0, 12.0)

    def value(self, x: Array) -> Array:
        return np.cosh(x)


@register_op("asinh")
@dataclass(frozen=True, slots=True)
class Asinh(Unary):
    """Inverse hyperbolic sine."""

    domain: ClassVar[tuple[float, float]] = (-50.0, 50.0)

    def value(self, x: Array) -> Array:
        return np.arcsinh(x)


@register_op("acosh")
@dataclass(frozen=True, slots=True)
class Acosh(Unary):
    """Inverse hyperbolic cosine; NaN below 1."""

    domain: ClassVar[tuple[float, float]] = (1.0, 50.0)

    def value(self, x: Array) -> Array:
        return np.arccosh(x)


@register_op("atanh")
@dataclass(frozen=True, slots=True)
class Atanh(Unary):
    """Inverse hyperbolic tangent: infinities at -1 and 1, NaN outside."""

    domain: ClassVar[tuple[float, float]] = (-0.999, 0.999)

    def value(self, x: Array) -> Array:
        return np.arctanh(x)


@register_op("erf")
@dataclass(frozen=True, slots=True)
class Erf(Unary):
    """The error function."""

    domain: ClassVar[tuple[float, float]] = (-5.0, 5.0)

    def value(self, x: Array) -> Array:
        return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


@register_op("is_nan")
@dataclass(frozen=True, slots=True)
class IsNan(Predicate):
    """Whether x is NaN; `BOOL`."""

    def value(self, x: Array) -> Array:
        return np.isnan(x)


@register_op("is_inf")
@dataclass(frozen=True, slots=True)
class IsInf(Predicate):
    """Whether x is infinity (if `positive`) or minus infinity (if `negative`); `BOOL`."""

    positive: bool = True
    negative: bool = True

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(negative=False), cls(positive=False))

    def value(self, x: Array) -> Array:
        is_inf: Array = (x == np.inf) & self.positive | (x == -np.inf) & self.negative
        return is_inf

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        for number, op in enumerate(cls.variants()):
            yield Case(op, (SPECIAL.copy(),), label=f"special values {number}")


@register_op("not")
@dataclass(frozen=True, slots=True)
class Not(Unary):
    """Logical not of booleans, bitwise not of integers."""

    kinds: ClassVar[str] = "ib"

    def value(self, x: Array) -> Array:
        inverted: Array = np.invert(x)
        return inverted
