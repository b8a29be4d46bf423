"""Normalisation, and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, of_largest, register_op, require
from ellc.ir.ops.common import along_last, normal, want_axes, want_floats, want_operands, want_shape
from ellc.ir.ops.elementwise import Unary, spread
from ellc.ir.reads import Along, Reads, apart_from
from ellc.ir.types import Array, TensorType


@register_op("lrn")
@dataclass(frozen=True, slots=True)
class LRN(Op):
    """Local response normalisation across the last axis, float, as in Caffe and ONNX.

    y[c] = x[c] / (bias + alpha / size * s[c])^beta, where s[c] is the sum of the squares of those
    channels from c - floor((size-1)/2) to c + ceil((size-1)/2) that exist.
    """

    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("lrn", inputs, 1)
        (x,) = inputs
        want_floats("lrn", x)
        good = x.rank >= 1 and self.size >= 1
        require(good, f"lrn: size {self.size} and rank {x.rank}, expected at least 1 for both")
        return (TensorType(x.dtype, x.shape),)

    def reach(self, channels: int) -> tuple[int, int]:
        """How many channels before c and after c are in s[c]; each is at most `channels`."""
        return min((self.size - 1) // 2, channels), min(self.size // 2, channels)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        return along_last(self, operands, p)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((operands[0].rank - 1,), operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        before, after = self.reach(x.shape[-1])
        amounts = [(0, 0)] * (x.ndim - 1) + [(before, after)]
        squares = np.pad(x * x, amounts)
        total = np.zeros_like(x)
        for offset in range(before + after + 1):
            total += squares[..., offset : offset + x.shape[-1]]
        return (x / np.power(self.bias + self.alpha / self.size * total, self.beta),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(op: LRN, *shape: int, label: str, scale: float = 1.0) -> Case:
            return Case(op, (normal(rng, *shape) * np.float32(scale),), label=label)

        yield case(cls(5), 1, 1, 1, 1, label="one element")
        yield case(cls(5, 1e-4, 0.75, 1.0), 1, 5, 7, 19, label="AlexNet", scale=100.0)
        yield case(cls(5, 1.0, 0.75, 2.0), 1, 4, 4, 32, label="strong")
        yield case(cls(4, 0.5, 0.5, 1.0), 1, 3, 4, 10, label="even size")
        yield case(cls(1, 2.0, 1.0, 0.5), 1, 3, 3, 6, label="size 1")
        yield case(cls(9, 0.3, 0.6, 1.5), 1, 2, 3, 4, label="wider than the channels")


@register_op("dropout")
@dataclass(frozen=True, slots=True)
class Dropout(Unary):
    """x, unchanged: dropout has an effect only in training."""

    composite: ClassVar[bool] = True

    def value(self, x: Array) -> Array:
        return x.copy()

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(), (spread(rng, -2.0, 2.0, 1, 5, 7, 3),), label="odd sizes")


@register_op("batch_norm")
@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """(x [...,C], gamma [C], beta [C], mean [C], variance [C]) -> [...,C], float.

    y = x * scale + (beta - mean * scale) with scale = gamma / sqrt(variance + epsilon), in ONNX
    Runtime's order of operations, so that infinite parameters give the same infinities and NaN.
    """

    epsilon: float = 1e-5
    composite: ClassVar[bool] = True

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("batch_norm", inputs, 5)
        dtype = want_floats("batch_norm", *inputs)
        x, *vectors = inputs
        require(x.rank >= 1, "batch_norm: operand of rank 0")
        for what, vector in zip(("gamma", "beta", "mean", "variance"), vectors, strict=True):
            want_shape("batch_norm", what, vector, x.shape[-1])
        return (TensorType(dtype, x.shape),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        x, *vectors = operands
        return (apart_from((), x.rank), *[(Along(x.rank - 1),)] * len(vectors))

    def reference(self, *inputs: Array) -> Arrays:
        x, gamma, beta, mean, variance = inputs
        scale = gamma / np.sqrt(variance + self.epsilon)
        return (x * scale + (beta - mean * scale),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(op: BatchNorm, *shape: int, label: str) -> Case:
            channels = shape[-1]
            spreads = rng.uniform(0.05, 3.0, channels).astype(np.float32)
            vectors = (normal(rng, channels) for _ in range(3))
            return Case(op, (normal(rng, *shape), *vectors, spreads), (1, 2, 3, 4), label=label)

        yield case(cls(), 1, 1, 1, 1, label="one element")
        yield case(cls(1e-3), 1, 5, 7, 3, label="image")
        yield case(cls(), 1, 19, label="vector")


@register_op("normalize")
@dataclass(frozen=True, slots=True)
class Normalize(Op):
    """(x - m) / sqrt(mean((x - m)^2) + epsilon), float; m is the mean of x; means are over `axes`.

    Without `centered`, m is 0 (RMS norm). Importers turn instance, layer and group norm into this
    operator, a scale and an offset.
    """

    axes: tuple[int, ...]
    epsilon: float = 1e-5
    centered: bool = True
    composite: ClassVar[bool] = True

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("normalize", inputs, 1)
        (x,) = inputs
        want_floats("normalize", x)
        want_axes("normalize", self.axes, x.rank)
        require(self.epsilon >= 0, f"normalize: epsilon {self.epsilon} is negative")
        count = prod(x.shape[a] for a in self.axes)
        require(count > 0, f"normalize: no elements along axes {self.axes} of {x.shape}")
        return (TensorType(x.dtype, x.shape),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from(self.axes, operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        centre = np.mean(x, self.axes, keepdims=True) if self.centered else x.dtype.type(0)
        rest = x - centre
        spread = np.mean(rest * rest, self.axes, keepdims=True)
        return (rest / np.sqrt(spread + x.dtype.type(self.epsilon)),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls((0,)), (normal(rng, 1),), label="one element")
        yield Case(cls((1, 2)), (3 * normal(rng, 1, 5, 7, 3) + 1,), label="instances")
        yield Case(cls((2,), 1e-3), (normal(rng, 2, 5, 19),), label="layer")
        yield Case(cls((2, 3)), (normal(rng, 2, 3, 4, 5),), label="groups")
        yield Case(cls((2,), 1e-6, False), (normal(rng, 2, 5, 19),), label="root mean square")
