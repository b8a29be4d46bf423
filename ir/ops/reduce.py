"""Reductions, arg-max, arg-min and softmax along axes. Negative axes are an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation, without
from ellc.ir.op import (
    Arranged,
    Arrays,
    Case,
    Op,
    Types,
    exact,
    of_largest,
    register_op,
    require,
    sizes,
)
from ellc.ir.ops.common import normal, want_axes, want_floats, want_operands
from ellc.ir.ops.elementwise import nan_ranked, want_kind
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, TensorType

_EXPONENTIALS = 8  # roundings of the exponentials of a softmax; those of its sum come on top
KINDS = ("sum", "mean", "max", "min", "prod", "l2sum")


@register_op("reduce")
@dataclass(frozen=True, slots=True)
class Reduce(Op):
    """Reduction of x along axes; with `keep_dims` the axes stay in the result, with extent 1.

    `kind` is sum, mean, max, min, prod or l2sum (the sum of squares). max and min are NaN if any
    element is NaN; of booleans, max is "any" and min is "all". Integers wrap around. The mean of
    integers is their sum divided by their number, truncated toward zero; it needs at least 32 bits.
    Without elements, sums are 0, products are 1, and `infer` refuses max, min and mean. `wide` is a
    larger integer type to which integers are converted first.
    """

    takes_stages: ClassVar[bool] = True

    kind: str
    axes: tuple[int, ...]
    keep_dims: bool = False
    wide: DType | None = None

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("reduce", inputs, 1)
        (x,) = inputs
        require(self.kind in KINDS, f"reduce: unknown kind '{self.kind}'")
        want_kind("reduce", x.dtype, "fib" if self.kind in ("max", "min") else "fi")
        if self.wide is not None:
            wider = x.dtype.is_integer and self.wide.is_integer
            wider = wider and self.wide.item_bytes > x.dtype.item_bytes
            require(wider, f"reduce: {x.dtype.value} cannot be widened to {self.wide.value}")
        dtype = self.wide or x.dtype
        narrow = self.kind == "mean" and dtype.item_bytes < 4
        require(not narrow, f"reduce: the sum in a mean of {dtype.value} could wrap around")
        want_axes("reduce", self.axes, x.rank)
        count = prod(x.shape[a] for a in self.axes)
        good = count > 0 or self.kind in ("sum", "prod", "l2sum")
        require(good, f"reduce: {self.kind} of no elements along axes {self.axes} of {x.shape}")
        quant = x.quant if self.kind in ("max", "min") and self.wide is None else None
        return (TensorType(dtype, _reduced(x.shape, self.axes, self.keep_dims), quant=quant),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        axes = tuple(sorted(p.index(a) for a in self.axes))
        kept = p if self.keep_dims else without(p, self.axes)
        return Arranged(replace(self, axes=axes), (p,), (kept,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from(self.axes, operands[0].rank, self.keep_dims),)

    def reference(self, *inputs: Array) -> Arrays:
        x = inputs[0] if self.wide is None else inputs[0].astype(self.wide.numpy)
        axes, keep = self.axes, self.keep_dims
        result: object
        match self.kind:
            case "sum":
                result = np.sum(x, axes, x.dtype, keepdims=keep)
            case "l2sum":
                result = np.sum(x * x, axes, x.dtype, keepdims=keep)
            case "prod":
                result = np.prod(x, axes, x.dtype, keepdims=keep)
            case "mean" if x.dtype.kind != "f":
                total, count = (
                    np.sum(x, axes, x.dtype, keepdims=keep),
                    prod(x.shape[a] for a in axes),
                )
                result = (total - np.fmod(total, x.dtype.type(count))) // x.dtype.type(count)
            case "mean":
                result = np.mean(x, axes, x.dtype, keepdims=keep)
            case "max":
                result = np.max(x, axes, keepdims=keep)
            case "min":
                result = np.min(x, axes, keepdims=keep)
            case _:
                raise ValueError(self.kind)
        return (np.asarray(result, x.dtype),)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        if self.kind in ("max", "min"):
            return exact(self, operands, result)
        if self.kind == "prod":
            return of_largest(self, operands, result)
        (terms,) = self.reference(*sizes(operands))
        return np.asarray((prod(operands[0].shape[a] for a in self.axes) + 1) * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array | None:
        if self.kind in ("sum", "mean", "max"):
            return self.reference(*errors)[0]
        return replace(self, kind="max").reference(*errors)[0] if self.kind == "min" else None

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        for kind in KINDS:
            x = normal(rng, 1, 5, 7, 3)
            if kind in ("sum", "mean"):
                x = x + np.float32(0.5)  # so that sums are not near 0, and the tolerance is strict
            yield Case(cls(kind, (1, 2), True), (x,), label=f"{kind} of an image")
            yield Case(cls(kind, (3,)), (x,), label=f"{kind} of channels")
        yield Case(cls("max", (0,)), (normal(rng, 1),), label="one element")
        yield Case(cls("l2sum", (0, 1)), (normal(rng, 6, 19),), label="to a scalar")
        yield Case(cls("sum", (0, 2)), (np.abs(normal(rng, 4, 5, 33)),), label="outer axes")
        yield Case(cls("mean", (1,), True), (np.abs(normal(rng, 3, 260)),), label="long rows")
        yield Case(cls("max", (), True), (normal(rng, 3, 4),), label="no axes")
        integers = rng.integers(-(2**31), 2**31, (3, 5, 7), np.int32)
        for kind in ("sum", "mean", "max", "min"):
            yield Case(cls(kind, (1,)), (integers,), label=f"{kind} of integers")
        for kind in ("max", "min"):
            booleans = rng.random((7, 3, 2)) < 0.5
            yield Case(cls(kind, (1, 2)), (booleans,), label=f"{kind} of booleans")
        yield Case(cls("mean", (1, 2), True), (integers[:1] % 999 - 500,), label="integer mean")
        octets = rng.integers(0, 256, (1, 5, 7, 19), np.uint8)
        for kind in ("max", "min"):
            yield Case(cls(kind, (1, 2)), (octets,), label=f"{kind} of bytes")
            yield Case(cls(kind, (3,)), (octets.view(np.int8),), label=f"{kind} of rows of bytes")
        wide = cls("sum", (1, 2), True, DType.I32)
        yield Case(wide, (octets,), label="wide sum of bytes")
        rows = cls("mean", (3,), wide=DType.I32)
        yield Case(rows, (octets.view(np.int8),), label="wide mean of rows of bytes")


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    if keep:
        return tuple(1 if a in axes else e for a, e in enumerate(shape))
    return tuple(e for a, e in enumerate(shape) if a not in axes)


class _Arg(Op):
    """Base of `ArgMax` and `ArgMin`."""

    axis: int
    keep_dims: bool
    last: bool

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 1)
        (x,) = inputs
        want_kind(self.name, x.dtype, "fi")
        want_axes(self.name, (self.axis,), x.rank)
        require(x.shape[self.axis] > 0, f"{self.name}: axis {self.axis} of {x.shape} is empty")
        return (TensorType(DType.I32, _reduced(x.shape, (self.axis,), self.keep_dims)),)

    def position(self, search: Callable[..., Array], x: Array) -> Array:
        """The index of the extremum that `search` finds: `np.argmax` or `np.argmin`."""
        ranked = nan_ranked(x, search is np.argmax)
        ahead = np.flip(ranked, self.axis) if self.last else ranked
        index = search(ahead, self.axis, keepdims=self.keep_dims)
        return np.asarray(x.shape[self.axis] - 1 - index if self.last else index, np.int32)

    @classmethod
    def _cases(cls, rng: np.random.Generator, make: type[ArgMax] | type[ArgMin]) -> Iterator[Case]:
        yield Case(make(0), (normal(rng, 1),), label="one element")
        yield Case(make(3), (normal(rng, 1, 5, 7, 3),), label="channels")
        yield Case(make(1, True), (normal(rng, 1, 1000),), label="classes")
        yield Case(make(1), (normal(rng, 1, 6, 5, 4),), label="rows")
        few = rng.integers(-2, 3, (7, 19))
        yield Case(make(1), (few.astype(np.float32),), label="first of equals")
        yield Case(make(0, True), (few.astype(np.int32),), label="integers")
        yield Case(make(1, last=True), (few.astype(np.float32),), label="last of equals")
        yield Case(make(0, last=True), (few.astype(np.int8),), label="last of rows")


@register_op("arg_max")
@dataclass(frozen=True, slots=True)
class ArgMax(_Arg):
    """The index along an axis of the largest element, i32.

    Of several largest elements it is the first, or, with `last`, the last. NaN counts as minus
    infinity.
    """

    axis: int
    keep_dims: bool = False
    last: bool = False

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        kept = p if self.keep_dims else without(p, (self.axis,))
        return Arranged(replace(self, axis=p.index(self.axis)), (p,), (kept,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((self.axis,), operands[0].rank, self.keep_dims),)

    def reference(self, *inputs: Array) -> Arrays:
        return (self.position(np.argmax, inputs[0]),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from cls._cases(rng, ArgMax)


@register_op("arg_min")
@dataclass(frozen=True, slots=True)
class ArgMin(_Arg):
    """The index along an axis of the smallest element; otherwise like `ArgMax`.

    NaN counts as infinity.
    """

    axis: int
    keep_dims: bool = False
    last: bool = False

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        kept = p if self.keep_dims else without(p, (self.axis,))
        return Arranged(replace(self, axis=p.index(self.axis)), (p,), (kept,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((self.axis,), operands[0].rank, self.keep_dims),)

    def reference(self, *inputs: Array) -> Arrays:
        return (self.position(np.argmin, inputs[0]),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from cls._cases(rng, ArgMin)


@register_op("softmax")
@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """e^(x - m) / sum of e^(x - m), float; the sum and the maximum m of x are along `axes`."""

    axes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        return _same_shape("softmax", self.axes, inputs)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        axes = tuple(sorted(p.index(a) for a in self.axes))
        return Arranged(Softmax(axes), (p,), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from(self.axes, operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        raised = np.exp(x - np.max(x, self.axes, keepdims=True))
        return (raised / np.sum(raised, self.axes, keepdims=True),)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        return np.asarray((prod(result.shape[a] for a in self.axes) + _EXPONENTIALS) * result)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        # |dy_i| <= y_i * sum over j of |delta_ij - y_j| |dx_j| <= 2 y_i * max |dx|
        widest = errors[0].max(self.axes, keepdims=True)
        return np.asarray(2.0 * self.reference(*operands)[0] * widest)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from _softmax_cases(cls, rng)


@register_op("log_softmax")
@dataclass(frozen=True, slots=True)
class LogSoftmax(Op):
    """x - m - log(sum of e^(x - m)), float; the sum and the maximum m of x are along `axes`."""

    axes: tuple[int, ...]

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        return _same_shape("log_softmax", self.axes, inputs)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        axes = tuple(sorted(p.index(a) for a in self.axes))
        return Arranged(LogSoftmax(axes), (p,), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from(self.axes, operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        shifted = x - np.max(x, self.axes, keepdims=True)
        return (shifted - np.log(np.sum(np.exp(shifted), self.axes, keepdims=True)),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from _softmax_cases(cls, rng)


def _same_shape(name: str, axes: tuple[int, ...], inputs: Types) -> Types:
    want_operands(name, inputs, 1)
    (x,) = inputs
    want_floats(name, x)
    want_axes(name, axes, x.rank)
    good = prod(x.shape[a] for a in axes) > 0
    require(good, f"{name}: no elements along axes {axes} of {x.shape}")
    return (TensorType(x.dtype, x.shape),)


def _softmax_cases(
    make: type[Softmax] | type[LogSoftmax], rng: np.random.Generator
) -> Iterator[Case]:
    yield Case(make((1,)), (normal(rng, 1, 1),), label="one element")
    yield Case(make((1,)), (4 * normal(rng, 1, 1000),), label="classes")
    yield Case(make((1, 2, 3)), (normal(rng, 1, 3, 5, 7),), label="whole image")
    yield Case(make((3,)), (normal(rng, 1, 5, 7, 3),), label="channels")
    yield Case(make((1,)), (normal(rng, 2, 6, 5),), label="in the middle")
    large = np.array([[1e4, 1e4 - 1, -1e4, 0, 9999.5], [-300, -301, -302, -1e30, -1e30]])
    yield Case(make((1,)), (large.astype(np.float32),), label="large numbers")
