"""Sums of stored integers in floating point, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from ellc.ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ellc.ir.ops.common import want_operands, want_same
from ellc.ir.ops.elementwise import want_broadcast
from ellc.ir.ops.quantised import BYTES
from ellc.ir.types import Array, DType, Quant, TensorType


@register_op("scaled_add")
@dataclass(frozen=True, slots=True)
class ScaledAdd(Pointwise):
    """(x, y), both i8 or both u8 -> round(y * y_factor + (x * x_factor + offset)), saturated.

    Each of the two sums is a float32 fused multiply-add, which rounds once. Halves are rounded to
    the even integer.
    """

    x_factor: float
    y_factor: float
    offset: float
    dtype: DType
    quant: Quant | None = None

    @classmethod
    def of(
        cls, x: Quant, y: Quant, result: Quant, dtype: DType, quant: Quant | None = None
    ) -> Self:
        """The operator for these scales and zero points (per tensor) of operands and result."""
        scales = [np.float32(q.scale[0]) for q in (x, y, result)]
        zeros = [np.float32(q.zero_point[0]) for q in (x, y, result)]
        ratios = scales[0] / scales[2], scales[1] / scales[2]
        shifted = _fused(zeros[0], ratios[0], ratios[1] * zeros[1])
        offset = np.float32(zeros[2] - shifted)
        return cls(float(ratios[0]), float(ratios[1]), float(offset), dtype, quant)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("scaled_add", inputs, 2)
        dtype = want_same("scaled_add", *inputs)
        good = dtype in BYTES and self.dtype in BYTES
        require(good, f"scaled_add: {dtype.value} to {self.dtype.value}, expected i8 or u8")
        want_broadcast("scaled_add", *inputs)
        return (TensorType(self.dtype, inputs[0].shape, quant=self.quant),)

    def reference(self, *inputs: Array) -> Arrays:
        x, y = inputs
        first = _fused(x, self.x_factor, np.float32(self.offset))
        both = _fused(y, self.y_factor, first)
        info = np.iinfo(self.dtype.numpy)
        return (np.clip(np.rint(both), info.min, info.max).astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            label: str, dtype: DType, scales: tuple[float, float, float], *shapes: tuple[int, ...],
            zeros: tuple[int, int, int] = (0, 0, 0), fixed: bool = False,
        ) -> Case:  # fmt: skip
            info = np.iinfo(dtype.numpy)
            a, b, y = (Quant((s,), (z,)) for s, z in zip(scales, zeros, strict=True))
            op = cls.of(a, b, y, dtype)
            drawn = [
                rng.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)
                for shape in shapes
            ]
            return Case(op, tuple(drawn), (1,) if fixed else (), label=label)

        image, near = (1, 5, 7, 3), (0.02, 0.05, 0.06)
        yield case("one element", DType.I8, near, (1, 1, 1, 1), (1,))
        yield case("int8", DType.I8, near, image, image, zeros=(-3, 5, 10))
        wide = (1, 4, 4, 16)
        yield case("uint8", DType.U8, (0.1, 0.003, 0.1), wide, wide, zeros=(128, 3, 140))
        yield case("per channel", DType.I8, near, image, (3,), zeros=(-3, 5, 10), fixed=True)
        yield case("broadcast", DType.U8, near, (1, 6, 5, 4), (6, 1, 4), zeros=(9, 8, 7))
        bytes_ = np.arange(-128, 128, 2, dtype=np.int8)  # only even bytes, for a smaller case
        pairs = np.meshgrid(bytes_, bytes_ + np.int8(1), indexing="ij")
        for scales in ((0.5, 0.5, 1.0), (0.1, 0.2, 0.4), (0.3, 0.1, 0.2)):
            every = case("pairs", DType.I8, scales, (1,), (1,), zeros=(1, -1, 3))
            yield Case(every.op, (pairs[0].copy(), pairs[1].copy()), label=f"halves {scales}")


def _fused(x: Array | np.float32, factor: float | np.float32, addend: Array | np.float32) -> Array:
    """x * factor + addend, rounded to float32; in float64, the product is exact."""
    doubles = [np.asarray(v, np.float64) for v in (x, factor, addend)]
    return np.asarray(doubles[0] * doubles[1] + doubles[2], np.float32)
