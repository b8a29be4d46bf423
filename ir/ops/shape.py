"""Operators that move elements and compute nothing; they take all element types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation, picked, reshape_groups, resized, through_reshape
from ellc.ir.op import Arranged, Arrays, Case, Op, Range, Types, exact, register_op, require
from ellc.ir.ops.common import normal, want_axes, want_operands, want_same
from ellc.ir.ops.elementwise import want_broadcast, want_kind
from ellc.ir.reads import Along, PartOf, Reads, SameElements, View, broadcast
from ellc.ir.types import Array, DType, TensorType


def bits(rng: np.random.Generator, *shape: int) -> Array:
    """Random booleans."""
    drawn: Array = rng.random(shape) < 0.5
    return drawn


class Mover(Op):
    """An operator that moves elements and computes nothing."""

    own_error = exact

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return self.reference(*errors)[0]


@register_op("reshape")
@dataclass(frozen=True, slots=True)
class Reshape(Mover):
    """The elements of x in the same (row-major) order, with another shape; no extent is -1."""

    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("reshape", inputs, 1)
        (x,) = inputs
        good = min(self.shape, default=0) >= 0 and prod(self.shape) == x.elements
        require(good, f"reshape: {x.shape} cannot become {self.shape}")
        return (x.with_shape(*self.shape),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        result = through_reshape(operands[0].shape, self.shape, p)
        if result is None:
            return None
        return Arranged(Reshape(picked(self.shape, result)), (p,), (result,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].shape == results[0].shape

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        groups = reshape_groups(operands[0].shape, self.shape) or []
        result_axes = {a: b for (a, *rest), (b, *more) in groups if not rest and not more}
        return (
            tuple(
                Along(result_axes[a]) if a in result_axes else None for a in range(operands[0].rank)
            ),
        )

    def with_extent(self, axis: int, extent: int) -> Reshape:
        return Reshape(resized(self.shape, axis, extent))

    def view(self, operands: Types, index: int = 0) -> View:
        return SameElements()

    def reference(self, *inputs: Array) -> Arrays:
        return (inputs[0].reshape(self.shape),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls((1,)), (normal(rng, 1, 1, 1, 1),), label="one element")
        yield Case(cls((1, 105)), (normal(rng, 1, 5, 7, 3),), label="flatten")
        yield Case(cls((1, 4, 6, 2)), (normal(rng, 48),), label="to an image")
        yield Case(cls((3, 35)), (rng.integers(-9, 9, (5, 21), np.int32),), label="integers")
        yield Case(cls((1, 1, 1, 90)), (bits(rng, 1, 3, 3, 10),), dtypes=(DType.BIT,), label="bits")


@register_op("transpose")
@dataclass(frozen=True, slots=True)
class Transpose(Mover):
    """Axis i of the result is axis `permutation[i]` of x."""

    permutation: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("transpose", inputs, 1)
        (x,) = inputs
        good = sorted(self.permutation) == list(range(x.rank))
        require(good, f"transpose: {self.permutation} is not a permutation of {x.rank} axes")
        quant, shape = x.quant, tuple(x.shape[a] for a in self.permutation)
        if quant is not None and quant.axis is not None:
            quant = replace(quant, axis=self.permutation.index(quant.axis))
        return (TensorType(x.dtype, shape, quant=quant),)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return self.permutation == tuple(range(operands[0].rank))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (tuple(Along(self.permutation.index(a)) for a in range(operands[0].rank)),)

    def reference(self, *inputs: Array) -> Arrays:
        return (np.asarray(np.transpose(inputs[0], self.permutation), order="C"),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(permutation: tuple[int, ...], *shape: int, label: str) -> Case:
            return Case(cls(permutation), (normal(rng, *shape),), label=label)

        yield case((0, 1, 2, 3), 1, 1, 1, 1, label="one element")
        yield case((0, 3, 1, 2), 1, 5, 7, 3, label="to channels first")
        yield case((0, 2, 3, 1), 1, 16, 4, 9, label="to channels last")
        yield case((1, 0), 19, 33, label="matrix")
        yield case((4, 2, 0, 3, 1), 2, 3, 4, 5, 6, label="rank 5")
        x = rng.integers(-128, 128, (3, 5, 7), np.int8)
        yield Case(cls((2, 1, 0)), (x,), label="int8")


@register_op("slice")
@dataclass(frozen=True, slots=True)
class Slice(Mover):
    """A part of x with the shape `sizes`: index i along an axis is index start + i * step of x.

    A step may be negative, but not 0. Every index must be inside x.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("slice", inputs, 1)
        (x,) = inputs
        require(
            len(self.starts) == len(self.sizes) == len(self.steps) == x.rank,
            f"slice: starts, sizes and steps need {x.rank} entries each",
        )
        for axis, extent in enumerate(x.shape):
            first, size, step = self.starts[axis], self.sizes[axis], self.steps[axis]
            last = first + (size - 1) * step
            inside = 0 <= first < extent and 0 <= last < extent
            good = size >= 0 and step != 0 and (size == 0 or inside)
            part = f"{size} elements from index {first} on in steps of {step}"
            require(good, f"slice: {part} are not inside axis {axis} with {extent} elements")
        return (x.with_shape(*self.sizes),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        attributes = (picked(x, p) for x in (self.starts, self.sizes, self.steps))
        return Arranged(Slice(*attributes), (p,), (p,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].shape == results[0].shape and all(s == 1 for s in self.steps)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        pairs = enumerate(zip(self.starts, self.steps, strict=True))
        return (tuple(Along(axis, step, start) for axis, (start, step) in pairs),)

    def with_extent(self, axis: int, extent: int) -> Slice:
        return replace(self, sizes=resized(self.sizes, axis, extent))

    def view(self, operands: Types, index: int = 0) -> View | None:
        return PartOf(self.starts) if all(step == 1 for step in self.steps) else None

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        for axis, (first, size, step) in enumerate(
            zip(self.starts, self.sizes, self.steps, strict=True)
        ):
            x = np.take(x, first + step * np.arange(size), axis)
        return (np.array(x),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            starts: tuple[int, ...],
            sizes: tuple[int, ...],
            steps: tuple[int, ...],
            *shape: int,
            label: str,
        ) -> Case:
            return Case(cls(starts, sizes, steps), (normal(rng, *shape),), label=label)

        yield case((0, 0, 0, 0), (1, 1, 1, 1), (1, 1, 1, 1), 1, 1, 1, 1, label="one element")
        yield case((0, 1, 2, 0), (1, 3, 4, 3), (1, 1, 1, 1), 1, 5, 7, 3, label="crop")
        yield case((0, 0, 0, 5), (1, 4, 3, 8), (1, 1, 1, 1), 1, 4, 3, 20, label="channels")
        yield case((0, 1, 0, 0), (1, 4, 3, 4), (1, 2, 3, 1), 1, 9, 8, 4, label="steps")
        yield case((6, 0), (4, 9), (-2, 1), 7, 9, label="backwards")
        yield case((3,), (11,), (1,), 19, label="vector")
        yield case((0, 2), (6, 1), (1, 1), 6, 5, label="column")


@register_op("concat")
@dataclass(frozen=True, slots=True)
class Concat(Mover):
    """The concatenation of tensors along an axis; all other extents are equal."""

    # The kernels that compute the operands can write their parts into a buffer with a border.
    writes_bordered: ClassVar[bool] = True

    axis: int

    def infer(self, *inputs: TensorType) -> Types:
        require(len(inputs) >= 1, "concat: no operands")
        want_same("concat", *inputs)
        x = inputs[0]
        want_axes("concat", (self.axis,), x.rank)
        rests = {(*t.shape[: self.axis], 0, *t.shape[self.axis + 1 :]) for t in inputs}
        good = len(rests) == 1 and len({t.rank for t in inputs}) == 1
        require(good, f"concat: shapes {', '.join(str(t.shape) for t in inputs)} do not fit")
        total = sum(t.shape[self.axis] for t in inputs)
        shape = (*x.shape[: self.axis], total, *x.shape[self.axis + 1 :])
        same = len({t.quant for t in inputs}) == 1
        return (TensorType(x.dtype, shape, quant=x.quant if same else None),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(Concat(p.index(self.axis)), (p,) * len(operands), (p,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return len(operands) == 1

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        all_reads, begin = [], 0
        for type_ in operands:
            reads = [Along(axis) for axis in range(type_.rank)]
            reads[self.axis] = Along(self.axis, offset=-begin)
            begin += type_.shape[self.axis]
            all_reads.append(tuple(reads))
        return tuple(all_reads)

    @property
    def joined(self) -> int:
        return self.axis

    def reference(self, *inputs: Array) -> Arrays:
        return (np.concatenate(inputs, self.axis),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(axis: int, *shapes: tuple[int, ...], label: str) -> Case:
            return Case(cls(axis), tuple(normal(rng, *s) for s in shapes), label=label)

        yield case(3, (1, 1, 1, 1), label="one operand")
        yield case(3, (1, 5, 7, 3), (1, 5, 7, 6), label="channels")
        yield case(3, (1, 4, 4, 16), (1, 4, 4, 1), (1, 4, 4, 5), label="three of them")
        yield case(1, (1, 2, 5, 4), (1, 3, 5, 4), label="rows")
        yield case(2, (1, 3, 2, 4), (1, 3, 5, 4), label="columns")
        yield case(0, (7,), (12,), label="vectors")
        words = rng.integers(0, 256, (2, 9), np.uint8)
        yield Case(cls(1), (words, words[:, :4]), (1,), label="bytes with a constant")


@register_op("split")
@dataclass(frozen=True, slots=True)
class Split(Mover):
    """The inverse of `Concat`: consecutive parts of x along an axis, with these `sizes`."""

    axis: int
    sizes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("split", inputs, 1)
        (x,) = inputs
        want_axes("split", (self.axis,), x.rank)
        good = min(self.sizes, default=0) >= 1 and sum(self.sizes) == x.shape[self.axis]
        extent = x.shape[self.axis]
        require(good, f"split: the sizes {self.sizes} do not add up to {extent} elements")
        head, tail = x.shape[: self.axis], x.shape[self.axis + 1 :]
        return tuple(x.with_shape(*head, size, *tail) for size in self.sizes)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(Split(p.index(self.axis), self.sizes), (p,), (p,) * len(results))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return len(results) == 1

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        reads = [Along(axis) for axis in range(operands[0].rank)]
        reads[self.axis] = Along(self.axis, offset=sum(self.sizes[:index]))
        return (tuple(reads),)

    def view(self, operands: Types, index: int = 0) -> View:
        starts = [0] * operands[0].rank
        starts[self.axis] = sum(self.sizes[:index])
        return PartOf(tuple(starts))

    def reference(self, *inputs: Array) -> Arrays:
        ends = np.cumsum(self.sizes)[:-1]
        return tuple(p.copy() for p in np.split(inputs[0], ends, self.axis))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(axis: int, sizes: tuple[int, ...], *shape: int, label: str) -> Case:
            return Case(cls(axis, sizes), (normal(rng, *shape),), label=label)

        yield case(3, (1,), 1, 1, 1, 1, label="one result")
        yield case(3, (3, 6), 1, 5, 7, 9, label="channels")
        yield case(1, (1, 2, 3), 1, 6, 4, 5, label="rows")
        yield case(0, (7, 12), 19, label="vector")
        yield case(1, (1,) * 5, 3, 5, label="columns")


@register_op("expand")
@dataclass(frozen=True, slots=True)
class Expand(Mover):
    """x broadcast to `shape` as in numpy."""

    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("expand", inputs, 1)
        (x,) = inputs
        want_broadcast("expand", TensorType(x.dtype, self.shape), x)
        require(min(self.shape, default=0) >= 0, f"expand: {self.shape} is not a shape")
        return (x.with_shape(*self.shape),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        if operands[0].rank != results[0].rank:
            return None
        return Arranged(Expand(picked(self.shape, p)), (p,), (p,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].shape == results[0].shape

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (broadcast(operands[0].shape, self.shape),)

    def with_extent(self, axis: int, extent: int) -> Expand:
        return Expand(resized(self.shape, axis, extent))

    def reference(self, *inputs: Array) -> Arrays:
        return (np.broadcast_to(inputs[0], self.shape).copy(),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls((1, 1, 1, 1)), (normal(rng, 1),), label="one element")
        yield Case(cls((1, 5, 7, 3)), (normal(rng, 3),), label="per channel")
        yield Case(cls((1, 5, 7, 3)), (normal(rng, 1, 1, 7, 1),), label="columns")
        yield Case(cls((4, 16, 5)), (normal(rng, 4, 1, 5),), label="in the middle")
        yield Case(cls((19,)), (rng.integers(-9, 9, (1,), np.int32),), label="integer")


@register_op("gather")
@dataclass(frozen=True, slots=True)
class Gather(Mover):
    """(x, indices): the elements of x at these indices along an axis.

    The result has the shape x.shape[:axis] + indices.shape + x.shape[axis+1:]. Constant indices
    must be in 0..extent-1; computed ones are clamped to it. (Frontends resolve negative indices.)
    """

    axis: int

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("gather", inputs, 2)
        x, indices = inputs
        want_kind("gather", indices.dtype, "i")
        want_axes("gather", (self.axis,), x.rank)
        require(x.shape[self.axis] > 0, f"gather: axis {self.axis} of {x.shape} is empty")
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        return (x.with_shape(*shape),)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        return {1: Range("an index", 0, inputs[0].shape[self.axis] - 1)}

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        more = operands[1].rank - 1  # the axes of the indices replace a single axis of x
        result: list[int] = []
        for axis in p:
            if axis == self.axis:
                result += range(axis, axis + more + 1)
            else:
                result.append(axis + more if axis > self.axis else axis)
        return Arranged(Gather(p.index(self.axis)), (p, None), (tuple(result),))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        x, indices = operands
        of_x = [Along(a if a < self.axis else a + indices.rank - 1) for a in range(x.rank)]
        of_indices = tuple(Along(self.axis + a) for a in range(indices.rank))
        return (*of_x[: self.axis], None, *of_x[self.axis + 1 :]), of_indices

    def reference(self, *inputs: Array) -> Arrays:
        x, indices = inputs
        return (np.asarray(np.take(x, indices, self.axis, mode="clip")),)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return self.reference(errors[0], operands[1])[0]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(axis: int, x: tuple[int, ...], picked: object, label: str) -> Case:
            return Case(cls(axis), (normal(rng, *x), np.array(picked, np.int32)), (1,), label=label)

        yield case(0, (1,), [0], "one element")
        yield case(3, (1, 5, 7, 6), [5, 0, 0, 3], "channels")
        yield case(1, (1, 6, 3, 4), [[1, 2], [3, 0]], "rows by a matrix")
        far = np.array([8, -3, 40], np.int32)
        yield Case(cls(0), (normal(rng, 9, 5), far), label="outside, computed")
        wide = np.array([2, 0, 1], np.int64)
        yield Case(cls(0), (rng.integers(-9, 9, (3, 11), np.int32), wide), label="computed")
