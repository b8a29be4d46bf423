"""Reads and applies the quantisation parameters (scales and zero points) of operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.registry import operand, optional
from ellc.ir.ops.quantised import Dequantize, Quantize, Requantize
from ellc.ir.types import Array, DType, Quant

_LISTED_SCALES = 4096
_ZERO: Array = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """Constant parameters of a quantised tensor: real = scale * (stored - zero).

    `scale` (float32) and `zero` (int64) have one element, or one element for each index of an axis.
    `dtype` is the type of the stored integers, or None if it is not known.
    """

    scale: Array
    zero: Array
    dtype: DType | None

    @property
    def one_scale(self) -> np.float32:
        """The only scale; raises `Unsupported` if there are several parameters, or if it is 0."""
        if self.scale.size != 1 or self.zero.size != 1:
            raise Unsupported(f"{self.scale.size} scales where one is supported")
        if self.scale[0] == 0:
            raise Unsupported("its scale is 0")
        scale: np.float32 = self.scale[0]
        return scale

    @property
    def one_zero(self) -> int:
        """The only zero point; raises `Unsupported` if there are several."""
        if self.zero.size != 1:
            raise Unsupported(f"{self.zero.size} zero points where one is supported")
        return int(self.zero[0])

    @property
    def stored(self) -> DType:
        """The type of the stored integers; uint8 if it is not known."""
        return self.dtype or DType.U8

    def quant(self, axis: int | None = None) -> Quant | None:
        """The parameters as a `Quant` along `axis`.

        The result is None if there are too many parameters, or several but no axis.
        """
        count = max(self.scale.size, self.zero.size)
        if count > _LISTED_SCALES or (count > 1 and axis is None):
            return None
        scales, zeros = np.broadcast_arrays(*map(np.atleast_1d, (self.scale, self.zero)))
        return Quant(
            tuple(scales.tolist()), tuple(int(z) for z in zeros), axis if count > 1 else None
        )


def unsound(scale: Array, zero: Array) -> str:
    """Describe the first error in the parameters of a file; '' if they are valid."""
    if scale.dtype.kind != "f" or not scale.size or not np.isfinite(scale).all():
        return "its scale is not a finite floating-point number"
    if scale.min() < 0:
        return f"its scale {scale.min()} is negative"
    if (
        not zero.size
        or not np.isfinite(zero).all()
        or (np.abs(zero.astype(np.float64)) > 2**31).any()
    ):
        return "its zero point is not an integer of 32 bits"
    if zero.size not in (1, scale.size) and scale.size != 1:
        return f"the number of its scales is {scale.size}, that of its zero points {zero.size}"
    return ""


def one_quant_of(scale: Array, zero: Array = _ZERO) -> Quant | None:
    """Convert the first elements of `scale` and `zero` to a `Quant`; None if these are invalid."""
    if unsound(scale, zero):
        return None
    return Quant((float(scale.reshape(-1)[0]),), (int(zero.reshape(-1)[0]),))


def affine(inputs: Inputs, scale: int, zero: int) -> Quantisation:
    """Read the parameters in the operands with the indices `scale` and `zero`.

    The zero point may be absent. Raises `Unsupported` if the parameters are invalid, or not known
    at import.
    """
    factors = known(operand(inputs, scale), "the scale")
    given = optional(inputs, zero)
    zeros = _ZERO if given is None else known(given, "the zero point")
    fault = unsound(factors, zeros)
    if fault:
        raise Unsupported(fault)
    dtype = None if given is None else given.dtype
    if dtype is not None and not dtype.is_integer:
        raise Unsupported(f"its zero point is {dtype.value}, not an integer")
    return Quantisation(_flat(factors).astype(np.float32), _flat(zeros).astype(np.int64), dtype)


def _flat(array: Array) -> Array:
    return np.asarray(array).reshape(-1)


def dequantised(emitter: Emitter, x: Value, by: Quantisation, axis: int | None = None) -> Value:
    """Convert stored integers to float32; several parameters apply along `axis`."""
    return emitter.add(Dequantize(), x, *_operands(emitter, by, x.type.rank, axis))


def quantised(emitter: Emitter, x: Value, by: Quantisation, axis: int | None = None) -> Value:
    """Convert real values to the nearest stored integers, saturated; ties round to even."""
    op = Quantize("half_even", by.stored, by.quant(axis))
    return emitter.add(op, x, *_operands(emitter, by, x.type.rank, axis))


def _operands(
    emitter: Emitter, by: Quantisation, rank: int, axis: int | None
) -> tuple[Value, Value]:
    if max(by.scale.size, by.zero.size) == 1:
        shape: tuple[int, ...] = () if rank == 0 else (1,)
    elif axis is None:
        raise Unsupported(f"{by.scale.size} scales where one is supported")
    else:
        shape = (-1, *(1,) * (rank - axis - 1))
    zero = by.zero.astype(np.int32).reshape(shape if by.zero.size > 1 else (1,) * len(shape))
    scale = by.scale.reshape(shape if by.scale.size > 1 else (1,) * len(shape))
    return emitter.constant(scale), emitter.constant(zero)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of real values after the activation that precedes the quantisation."""

    low: float = -np.inf
    high: float = np.inf


def one_quant(by: Quantisation) -> Quant:
    """The only scale and zero point as a `Quant`; raises `Unsupported` if there are several."""
    return Quant((float(by.one_scale),), (by.one_zero,))


def requantised(
    emitter: Emitter, total: Value, factor: Array, by: Quantisation, bounds: Bounds
) -> Value:
    """Multiply 32-bit sums by `factor`, quantise with the parameters `by`, clamp to `bounds`.

    `factor` has one element, or one element for each index of the last axis.
    """
    zero = by.one_zero
    low, high = stored_bounds(by, bounds)
    op = Requantize("half_even", zero, low, high, by.stored, by.quant())
    shape = () if total.type.rank == 0 else (-1,)
    return emitter.add(op, total, emitter.constant(np.asarray(factor, np.float32).reshape(shape)))


def stored_bounds(by: Quantisation, bounds: Bounds) -> tuple[int, int]:
    """Convert real bounds to stored integers.

    Rounding is monotonic, so clamping the stored integers has the same effect as clamping the real
    values.
    """
    info = np.iinfo(by.stored.numpy)
    ends = np.array([bounds.low, bounds.high], np.float32) / by.one_scale
    inside = np.clip(np.rint(ends.astype(np.float64)) + by.one_zero, info.min, info.max)
    return int(inside[0]), int(inside[1])


def same(a: Quantisation, b: Quantisation) -> bool:
    """Whether both sets of parameters convert every real value to the same stored integer."""
    return (
        a.stored is b.stored and np.array_equal(a.scale, b.scale) and np.array_equal(a.zero, b.zero)
    )


def zeros_of(by: Quantisation) -> tuple[int, ...]:
    """The zero points as an attribute of an operator: a single number if all are equal."""
    zeros: Sequence[int] = by.zero.tolist()
    return (int(zeros[0]),) if len(set(zeros)) == 1 else tuple(int(z) for z in zeros)
