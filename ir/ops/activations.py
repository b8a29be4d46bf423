"""Activations: pointwise functions that networks apply to the result of a layer.

NaN and infinity are treated as in numpy unless a docstring says otherwise. HardTanh is
`Clip(-1, 1)`, ReLU6 is `Clip(0, 6)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ellc.ir.op import Case, Types, register_op, require
from ellc.ir.ops.elementwise import INTEGERS, Binary, Unary
from ellc.ir.types import Array, TensorType

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@register_op("relu")
@dataclass(frozen=True, slots=True)
class Relu(Unary):
    """max(x, 0); NaN gives NaN. For -0 the result may be 0 or -0."""

    kinds: ClassVar[str] = "fi"

    def value(self, x: Array) -> Array:
        result: Array = np.maximum(x, x.dtype.type(0))
        return result


@register_op("leaky_relu")
@dataclass(frozen=True, slots=True)
class LeakyRelu(Unary):
    """x >= 0 ? x : slope * x."""

    slope: float

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(0.1), cls(-0.5), cls(2.0))

    def value(self, x: Array) -> Array:
        return np.where(x >= 0, x, self.slope * x)


@register_op("clip")
@dataclass(frozen=True, slots=True)
class Clip(Unary):
    """min(max(x, low), high); NaN gives NaN. Infinite bounds are allowed.

    For integers, `low` is rounded up and `high` down, to integers of the element type.
    """

    low: float
    high: float
    kinds: ClassVar[str] = "fi"
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(0.0, 6.0), cls(-1.0, 1.0), cls(-math.inf, 0.5), cls(0.25, 0.25))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(Clip, cls).samples(rng)
        for bound in (math.inf, -math.inf, 2.0**40):
            yield Case(cls(bound, bound), (INTEGERS.copy(),), label=f"integers to {bound}")

    def infer(self, *inputs: TensorType) -> Types:
        require(self.low <= self.high, f"clip: low {self.low} is above high {self.high}")
        return Unary.infer(self, *inputs)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return (self.low, self.high) == (-math.inf, math.inf)

    def value(self, x: Array) -> Array:
        if x.dtype.kind == "f":
            return np.clip(x, self.low, self.high)
        return np.clip(x, *self.whole_bounds(x.dtype))

    def whole_bounds(self, dtype: np.dtype[Any]) -> tuple[int, int]:
        """(low, high) as integers within the range of an integer type; low may exceed high."""
        info = np.iinfo(dtype)
        low, high = (min(max(n, info.min), info.max) for n in (self.low, self.high))
        return math.ceil(low), math.floor(high)


@register_op("sigmoid")
@dataclass(frozen=True, slots=True)
class Sigmoid(Unary):
    """1 / (1 + e^-x), computed from e^-|x|, which cannot overflow."""

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
    """x >= 0 ? x : alpha * (e^x - 1)."""

    alpha: float = 1.0

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(0.3))

    def value(self, x: Array) -> Array:
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0)))


@register_op("selu")
@dataclass(frozen=True, slots=True)
class Selu(Unary):
    """scale * (x >= 0 ? x : alpha * (e^x - 1)), with `SELU_SCALE` and `SELU_ALPHA`."""

    def value(self, x: Array) -> Array:
        negative = SELU_ALPHA * np.expm1(np.minimum(x, 0))
        result: Array = SELU_SCALE * np.where(x >= 0, x, negative)
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
    """log(1 + e^x), computed as max(x, 0) + log(1 + e^-|x|)."""

    domain: ClassVar[tuple[float, float]] = (-30.0, 30.0)

    def value(self, x: Array) -> Array:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@register_op("gelu")
@dataclass(frozen=True, slots=True)
class Gelu(Unary):
    """x * (1 + erf(x / sqrt(2))) / 2; -infinity gives NaN.

    With `approximate`: x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2.
    """

    approximate: bool = False

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(True))

    def value(self, x: Array) -> Array:
        doubles = x.astype(np.float64)
        if self.approximate:
            inner = np.tanh(math.sqrt(2 / math.pi) * (doubles + 0.044715 * doubles**3))
        else:
            inner = np.vectorize(math.erf, otypes=[np.float64])(doubles / math.sqrt(2))
        result: Array = doubles * (1 + inner) / 2
        return result


@register_op("prelu")
@dataclass(frozen=True, slots=True)
class PRelu(Binary):
    """(x, alpha): x >= 0 ? x : alpha * x; alpha broadcasts to x, for example one per channel."""

    kinds: ClassVar[str] = "f"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(PRelu, cls).samples(rng)
        signs = np.tile(np.array([0.0, -0.0, 2.0, -2.0], np.float32), (3, 1))
        slopes = np.array([[math.inf], [-math.inf], [0.5]], np.float32)
        yield Case(cls(), (signs, slopes), (1,), label="special values, infinite slopes")

    def value(self, x: Array, y: Array) -> Array:
        return np.where(x >= 0, x, y * x)


@register_op("swish")
@dataclass(frozen=True, slots=True)
class Swish(Unary):
    """x / (1 + e^(-alpha x)); alpha = 1 is SiLU. -infinity (if alpha < 0, infinity) gives NaN."""

    alpha: float = 1.0

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(1.702), cls(-0.5))

    def value(self, x: Array) -> Array:
        result: Array = x * Sigmoid().value(x.dtype.type(self.alpha) * x)
        return result


@register_op("mish")
@dataclass(frozen=True, slots=True)
class Mish(Unary):
    """x * tanh(log(1 + e^x)); -infinity gives NaN."""

    domain: ClassVar[tuple[float, float]] = (-30.0, 30.0)

    def value(self, x: Array) -> Array:
        result: Array = x * np.tanh(Softplus().value(x))
        return result


@register_op("softsign")
@dataclass(frozen=True, slots=True)
class Softsign(Unary):
    """x / (1 + |x|); infinities give NaN."""

    def value(self, x: Array) -> Array:
        result: Array = x / (1 + np.abs(x))
        return result


@register_op("thresholded_relu")
@dataclass(frozen=True, slots=True)
class ThresholdedRelu(Unary):
    """x > alpha ? x : 0; NaN gives 0."""

    alpha: float = 1.0

    @property
    def jumps(self) -> bool:
        return self.alpha != 0

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(-2.0))

    def value(self, x: Array) -> Array:
        return np.where(x > self.alpha, x, 0)


@register_op("celu")
@dataclass(frozen=True, slots=True)
class Celu(Unary):
    """x > 0 ? x : alpha * (e^(x / alpha) - 1); alpha is positive."""

    alpha: float = 1.0

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(2.0), cls(0.25))

    def infer(self, *inputs: TensorType) -> Types:
        require(self.alpha > 0, f"celu: alpha {self.alpha} is not positive")
        return Unary.infer(self, *inputs)

    def value(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))


@register_op("shrink")
@dataclass(frozen=True, slots=True)
class Shrink(Unary):
    """x < -limit ? x + bias : x > limit ? x - bias : 0; NaN gives 0.

    Soft shrinkage has bias = limit, hard shrinkage bias = 0.
    """

    limit: float = 0.5
    bias: float = 0.0

    @property
    def jumps(self) -> bool:
        return self.bias != self.limit

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        return (cls(), cls(1.5, 1.5))

    def value(self, x: Array) -> Array:
        return np.where(x < -self.limit, x + self.bias, np.where(x > self.limit, x - self.bias, 0))
