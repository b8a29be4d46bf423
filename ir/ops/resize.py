"""Resizing by interpolation along any axes, and the operators to which it is lowered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar

import numpy as np

from ellc.ir.op import (
    Arrays,
    Case,
    Op,
    Pointwise,
    Range,
    Types,
    of_largest,
    register_op,
    require,
    sizes,
)
from ellc.ir.ops.common import normal, want_axes, want_operands, want_same, want_shape
from ellc.ir.ops.elementwise import want_kind
from ellc.ir.ops.resize_maps import (
    COORDINATES,
    FIXED_BITS,
    ROUNDINGS,
    AxisRule,
    AxisTable,
    fixed_point,
    interpolated,
    nearest,
    neighbours,
    taps,
)
from ellc.ir.reads import Along, Reads, apart_from
from ellc.ir.types import Array, DType, Quant, TensorType, type_of

MOST_WEIGHTS = 1 << 20
"""The largest number of weights along one axis that a `Resize` may need. The limit keeps a small
model file from taking much memory or time: 2^22 weights take more than 2 s."""
MODES = ("nearest", "linear", "cubic")
_SMALL_INTEGERS = (DType.I8, DType.U8, DType.I16)


@register_op("resize")
@dataclass(frozen=True, slots=True)
class Resize(Op):
    """x resized to the shape `sizes`.

    `scales` holds the quotient size / extent of every axis as stated by an ONNX model; without it,
    coordinates are multiples of extent / size, as in TFLite. The values of `coordinates` and of
    `rounding` (for mode `nearest`) are ONNX's. `cubic` is the coefficient a of mode `cubic`.
    Elements outside x are copies of the edge; with `exclude_outside`, their weight is 0 instead.
    With `antialias`, the interpolation kernel is wider along axes that shrink. `roi` holds the
    starts of all axes, then the ends, for the coordinates `tf_crop_and_resize`; with these, results
    whose coordinates are outside x are `extrapolation`.

    Mode `nearest` takes all element types, `cubic` floats, and `linear` floats, i8, u8 and i16.
    Integers are interpolated as in TFLite's reference kernels: i8 and i16 in fixed point, with
    weights of 10 fraction bits and a single rounding, halves away from zero; u8 in float32, term by
    term, along at most two axes.
    """

    sizes: tuple[int, ...]
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    scales: tuple[float, ...] = ()
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    roi: tuple[float, ...] = ()
    extrapolation: float = 0.0
    composite: ClassVar[bool] = True

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("resize", inputs, 1)
        (x,) = inputs
        good = len(self.sizes) == x.rank and min((*self.sizes, *x.shape), default=1) > 0
        require(good, f"resize: cannot change {x.shape} to {self.sizes}")
        for what, numbers, count in (("scales", self.scales, 1), ("roi", self.roi, 2)):
            good = len(numbers) in (0, count * x.rank)
            require(good, f"resize: {len(numbers)} {what}, expected {count * x.rank} or none")
        good = all(0 < s < inf for s in self.scales) and all(isfinite(r) for r in self.roi)
        require(good, f"resize: invalid scales {self.scales} or roi {self.roi}")
        for axis in range(x.rank):
            weights = self.sizes[axis] * self._taps(axis, x)
            good = weights <= MOST_WEIGHTS
            require(good, f"resize: axis {axis} needs {weights} weights, more than {MOST_WEIGHTS}")
        require(self.mode in MODES, f"resize: unknown mode '{self.mode}'")
        known = self.coordinates in COORDINATES
        require(known, f"resize: unknown coordinates '{self.coordinates}'")
        require(self.rounding in ROUNDINGS, f"resize: unknown rounding '{self.rounding}'")
        if self.mode == "linear" and x.dtype in _SMALL_INTEGERS:
            good = self.coordinates in ("half_pixel", "asymmetric", "align_corners")
            require(good, f"resize: {self.coordinates} is not supported for {x.dtype.value}")
            good = x.dtype is not DType.U8 or len(self.changed(x)) <= 2
            require(good, f"resize: u8 changes along {len(self.changed(x))} axes, more than 2")
        elif self.mode != "nearest":
            want_kind(f"resize: mode {self.mode}", x.dtype, "f")
        return (x.with_shape(*self.sizes),)

    def _taps(self, axis: int, x: TensorType) -> int:
        """The largest number of elements along an axis of x that an element of the result reads."""
        if self.mode == "nearest":
            return 1
        stretch = self._rule(axis, x).stretch
        return taps(self.mode == "cubic", min(1.0, stretch) if self.antialias else 1.0)

    def changed(self, x: TensorType) -> list[int]:
        """The axes along which the result differs from x."""
        return [a for a in range(x.rank) if not self.table(a, x).is_identity(x.shape[a])]

    def corners(self, x: TensorType) -> list[dict[int, AxisTable]]:
        """The terms that interpolate u8: each has one of the `neighbours` for each changed axis."""
        terms: list[dict[int, AxisTable]] = [{}]
        for axis in self.changed(x):
            pair = neighbours(self._rule(axis, x))
            terms = [{**term, axis: neighbour} for neighbour in pair for term in terms]
        return terms

    def table(self, axis: int, x: TensorType) -> AxisTable:
        """Indices and weights along an axis; weights for i8 and i16 are fixed-point integers."""
        rule = self._rule(axis, x)
        if self.mode == "nearest":
            return nearest(rule, self.rounding)
        if not x.dtype.is_float:
            return fixed_point(rule)
        return interpolated(
            rule,
            self.cubic if self.mode == "cubic" else None,
            exclude_outside=self.exclude_outside,
            antialias=self.antialias,
        )

    def outside(self, axis: int, x: TensorType) -> Array:
        """A mask of the elements along an axis of the result that are `extrapolation`."""
        return self._rule(axis, x).outside()

    def _rule(self, axis: int, x: TensorType) -> AxisRule:
        scale = self.scales[axis] if self.scales else None
        region = (self.roi[axis], self.roi[axis + x.rank]) if self.roi else (0.0, 1.0)
        return AxisRule(x.shape[axis], self.sizes[axis], scale, self.coordinates, region)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from(self.changed(operands[0]), operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        if self.mode == "nearest":
            result = self._chosen(x)
        elif x.dtype == np.uint8:
            result = self._blended(x)
        else:
            result = self._weighted(x)
        for axis in range(x.ndim):
            outside = self.outside(axis, type_of(x))
            if outside.any():
                mask = outside.reshape(-1, *(1,) * (x.ndim - axis - 1))
                result = np.where(mask, self.extrapolation, result)
        return (np.array(result, x.dtype),)

    def _chosen(self, x: Array) -> Array:
        result = x
        for axis in range(x.ndim):
            result = np.take(result, self.table(axis, type_of(x)).indices[:, 0], axis)
        return result

    def _weighted(self, x: Array) -> Array:
        type_ = type_of(x)
        result = x if type_.dtype.is_float else x.astype(np.int64)
        changed = self.changed(type_)
        for axis in changed:
            table = self.table(axis, type_)
            result = weighted_gather(result, axis, table.indices, table.weights)
        if type_.dtype.is_float or not changed:
            return result
        return RoundingShift(FIXED_BITS * len(changed), type_.dtype).reference(result)[0]

    def _blended(self, x: Array) -> Array:
        total = np.zeros((), np.float32)
        for term in self.corners(type_of(x)):
            part = x
            for axis, table in term.items():
                part = np.take(part, table.indices[:, 0], axis)
            part = part.astype(np.float32)
            for axis, table in term.items():
                part = part * table.weights.reshape(-1, *(1,) * (x.ndim - axis - 1))
            total = total + part
        return np.asarray((total + np.float32(0.5)).astype(np.uint8))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(op: Resize, *shape: int, label: str) -> Case:
            return Case(op, (normal(rng, *shape),), label=label)

        yield case(cls((1, 1, 1, 1)), 1, 1, 1, 1, label="one element")
        yield case(cls((1, 10, 14, 3)), 1, 5, 7, 3, label="nearest")
        yield case(cls((1, 9, 13, 19), "linear"), 1, 5, 7, 19, label="linear")
        yield case(cls((1, 8, 3, 5), "cubic"), 1, 5, 7, 5, label="cubic")
        for coordinates in COORDINATES:
            sizes, scales = (1, 7, 4, 3), (1.0, 1.4, 0.6, 1.0)
            roi = (0.0, -0.2, 0.25, 0.0, 1.0, 0.7, 1.3, 1.0)
            extra = {"roi": roi, "extrapolation": -7.0} if "crop" in coordinates else {}
            for mode in MODES:
                op = cls(sizes, mode, coordinates, scales, **extra)  # type: ignore[arg-type]
                yield case(op, 1, 5, 7, 3, label=f"{mode} {coordinates}")
        for rounding in ROUNDINGS:
            op = cls((1, 6, 4, 2), "nearest", "asymmetric", rounding=rounding)
            yield case(op, 1, 4, 6, 2, label=rounding)
        op = cls((1, 7, 4, 3), "cubic", exclude_outside=True, cubic=-0.5)
        yield case(op, 1, 5, 7, 3, label="outside excluded")
        yield case(cls((1, 3, 4, 5), "linear", antialias=True), 1, 8, 9, 5, label="antialias")
        yield case(cls((1, 3, 4, 5), "cubic", antialias=True), 1, 8, 9, 5, label="smooth cubic")
        yield case(cls((2, 3, 9, 5), "linear"), 1, 3, 4, 10, label="four axes")
        yield case(cls((7,), "linear", "align_corners"), 5, label="vector")
        for dtype in (np.int8, np.uint8, np.int16):
            info = np.iinfo(dtype)
            x = rng.integers(info.min, info.max, (1, 5, 7, 11), dtype, endpoint=True)
            for coordinates in ("half_pixel", "asymmetric", "align_corners"):
                op = cls((1, 9, 5, 11), "linear", coordinates)
                yield Case(op, (x,), label=f"{info.dtype} linear {coordinates}")
            yield Case(cls((1, 10, 14, 11)), (x,), label=f"{info.dtype} nearest")
        yield Case(cls((4, 9)), (rng.random((3, 6)) < 0.5,), label="booleans")


def weighted_gather(x: Array, axis: int, indices: Array, weights: Array) -> Array:
    """The sum over k of x[..., indices[o, k], ...] * weights[o, k], with indices clamped."""
    taps = np.take(x, indices, axis, mode="clip")
    factors = weights.reshape(*weights.shape, *(1,) * (x.ndim - axis - 1)).astype(x.dtype)
    return np.asarray((taps * factors).sum(axis + 1, dtype=x.dtype))


@register_op("resample")
@dataclass(frozen=True, slots=True)
class Resample(Op):
    """(x, indices [O,K] i32, weights [O,K]): along `axis`, O weighted sums of K elements of x.

    y[..., o, ...] = sum over k of weights[o, k] * x[..., indices[o, k], ...]. x is float or
    integer; integers wrap around. Indices and weights are constants.
    """

    axis: int

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("resample", inputs, 3)
        x, indices, weights = inputs
        want_kind("resample", want_same("resample", x, weights), "fi")
        want_axes("resample", (self.axis,), x.rank)
        good = indices.dtype is DType.I32 and indices.rank == 2 and indices.elements > 0
        require(good, f"resample: indices {indices.dtype.value}{indices.shape}, expected i32[O,K]")
        require(x.shape[self.axis] > 0, f"resample: axis {self.axis} of {x.shape} is empty")
        want_shape("resample", "weights", weights, *indices.shape)
        return (
            TensorType(
                x.dtype,
                (*x.shape[: self.axis], indices.shape[0], *x.shape[self.axis + 1 :]),
            ),
        )

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        return {1: Range("an index", 0, inputs[0].shape[self.axis] - 1)}

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        rows = (Along(self.axis), None)
        return apart_from((self.axis,), operands[0].rank), rows, rows

    def reference(self, *inputs: Array) -> Arrays:
        x, indices, weights = inputs
        return (weighted_gather(x, self.axis, indices, weights),)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        x, indices, weights = sizes(operands)
        return np.asarray((indices.shape[1] + 1) * self.reference(x, indices, weights)[0])

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        x, indices, weights = sizes(operands)
        (first,) = self.reference(errors[0], indices, weights + errors[2])
        return np.asarray(first + self.reference(x, indices, errors[2])[0])

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * inputs[1].shape[1]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(axis: int, x: Array, size: int, taps: int, label: str) -> Case:
            picked = rng.integers(0, x.shape[axis], (size, taps)).astype(np.int32)
            weights = (8 * normal(rng, size, taps)).astype(x.dtype)
            return Case(cls(axis), (x, picked, weights), (1, 2), label=label)

        yield case(0, normal(rng, 1), 1, 1, "one element")
        yield case(1, normal(rng, 1, 5, 7, 3), 9, 2, "rows")
        yield case(2, normal(rng, 1, 5, 7, 19), 4, 2, "columns")
        yield case(2, normal(rng, 2, 3, 6, 1), 11, 3, "columns of one channel")
        yield case(1, normal(rng, 9, 5), 6, 4, "last axis")
        yield case(0, rng.integers(-99, 99, (6, 33), np.int32), 5, 2, "integers")
        wide = rng.integers(-(2**40), 2**40, (4, 9), np.int64)
        yield case(0, wide, 5, 2, "wide integers")


@register_op("rounding_shift")
@dataclass(frozen=True, slots=True)
class RoundingShift(Pointwise):
    """x / 2^bits, rounded (halves away from zero), for x i32 or i64; its low bits, as `dtype`."""

    bits: int
    dtype: DType
    quant: Quant | None = None

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("rounding_shift", inputs, 1)
        (x,) = inputs
        good = x.dtype in (DType.I32, DType.I64) and self.dtype.is_integer
        require(good, f"rounding_shift: cannot convert {x.dtype.value} to {self.dtype.value}")
        require(0 < self.bits < 31, f"rounding_shift: {self.bits} bits, expected 1 to 30")
        return (TensorType(self.dtype, x.shape, quant=self.quant),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        below = (x < 0).astype(x.dtype)
        return (((x + (1 << self.bits >> 1) - below) >> self.bits).astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        halves = np.arange(-20, 21, dtype=np.int32) * 128
        yield Case(cls(8, DType.I8), (halves,), label="halves")
        x = rng.integers(-(2**26), 2**26, (1, 5, 7, 3), np.int32)
        yield Case(cls(20, DType.I8), (x,), label="bytes")
        yield Case(cls(20, DType.U8, Quant((0.5,), (3,))), (np.abs(x),), label="unsigned")
        wide = rng.integers(-(2**34), 2**34, (19,), np.int64)
        yield Case(cls(20, DType.I16), (wide,), label="from wide integers")
