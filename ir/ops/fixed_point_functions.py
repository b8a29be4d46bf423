"""Functions of 32-bit integers that normalisations of stored integers are made of.

`ir.fixed_point` says what each computes, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ir.fixed_point import inverse_root, log_of_sum
from ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ir.ops.common import want_operands
from ir.ops.quantised import want_type
from ir.types import Array, DType, TensorType

PARTS = ("mantissa", "shift")


def _whole(name: str, *inputs: TensorType) -> Types:
    """The result's type: 32-bit integers like the operand."""
    want_operands(name, inputs, 1)
    want_type(name, "x", inputs[0], DType.I32)
    return (TensorType(DType.I32, inputs[0].shape),)


def _drawn(rng: np.random.Generator, low: float, *shape: int) -> Array:
    """Numbers of every length from `low` to the largest."""
    powers = rng.uniform(np.log2(low), 31, shape)
    return np.minimum(np.exp2(powers), 2.0**31 - 1).astype(np.int32)


@register_op("log_of_sum")
@dataclass(frozen=True, slots=True)
class LogOfSum(Pointwise):
    """x i32 -> i32: the natural logarithm, as Q5, of sums from 1 up, which are Q12."""

    def infer(self, *inputs: TensorType) -> Types:
        return _whole("log_of_sum", *inputs)

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
    """x i32 -> i32: the mantissa or the shift of 1 / sqrt(x), a factor as `Requantize` takes it.

    Numbers up to 1 count as 1.
    """

    part: str

    def infer(self, *inputs: TensorType) -> Types:
        require(self.part in PARTS, f"inverse_root: has no part '{self.part}'")
        return _whole("inverse_root", *inputs)

    def reference(self, *inputs: Array) -> Arrays:
        return (inverse_root(inputs[0])[PARTS.index(self.part)],)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        ends = np.array([-5, 0, 1, 2, 3, 4, 5, 2**27, 2**29 - 1, 2**29, 2**31 - 1], np.int32)
        for part in PARTS:
            yield Case(cls(part), (_drawn(rng, 1, 1, 5, 7, 33),), label=f"{part} of numbers")
            yield Case(cls(part), (ends,), label=f"{part} of ends")
