"""Updates of a tensor at given coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, register_op, require, sizes
from ellc.ir.ops.common import normal, want_operands, want_same, want_shape
from ellc.ir.ops.elementwise import want_kind
from ellc.ir.reads import Along, Reads
from ellc.ir.types import Array, TensorType

_COMBINED: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "none": lambda old, new: new,
        "add": np.add,
        "mul": np.multiply,
        "max": np.maximum,
        "min": np.minimum,
    }
)
"""For each reduction, the function of (old element, update) that gives the new element. Integers
wrap around; the maximum and minimum are NaN if either operand is."""


@register_op("scatter")
@dataclass(frozen=True, slots=True)
class Scatter(Op):
    """(x, indices, updates) -> x, with updates at the coordinates in `indices`.

    The last axis of `indices` holds coordinates along the first n axes of x: n numbers a, b, ..
    choose the part x[a, b, ..]. `updates` has the shape indices.shape[:-1] + x.shape[n:].
    `reduction` says what an update does to a part: none (replace it), add, mul, max or min. Updates
    are applied in order, so a later one replaces an earlier one of the same part. An update outside
    x is ignored. (Frontends resolve negative indices.)
    """

    reduction: str = "none"
    reductions: ClassVar[tuple[str, ...]] = tuple(_COMBINED)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("scatter", inputs, 3)
        x, indices, updates = inputs
        require(self.reduction in _COMBINED, f"scatter: unknown reduction {self.reduction!r}")
        want_same("scatter", x, updates)
        want_kind("scatter", x.dtype, "fi" if self.reduction in ("add", "mul") else "fib")
        want_kind("scatter", indices.dtype, "i")
        depth = indices.shape[-1] if indices.rank else 0
        good = 1 <= depth <= x.rank
        require(good, f"scatter: coordinates {indices.shape} do not fit {x.shape}")
        wanted = (*indices.shape[:-1], *x.shape[depth:])
        want_shape("scatter", "updates", updates, *wanted)
        same = self.reduction == "none" and x.quant == updates.quant
        return (TensorType(x.dtype, x.shape, quant=x.quant if same else None),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        _, indices, updates = operands
        depth, lead = indices.shape[-1], indices.rank - 1
        if p[:depth] != tuple(range(depth)):
            return None
        of_updates = (*range(lead), *(lead + a - depth for a in p[depth:]))
        return Arranged(self, (p, None, of_updates if updates.rank else None), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        x, indices, _ = operands
        depth, lead = indices.shape[-1], indices.rank - 1
        inner = [Along(axis) for axis in range(depth, x.rank)]
        # Coordinates are relative to all of x, so a part along their axes cannot be computed alone.
        return (*[None] * depth, *inner), (None,) * indices.rank, (*[None] * lead, *inner)

    def reference(self, *inputs: Array) -> Arrays:
        x, indices, updates = inputs
        result, depth = x.copy(), indices.shape[-1]
        axes = x.shape[:depth]
        parts = updates.reshape(-1, *x.shape[depth:]) if updates.size else ()
        for place, part in zip(indices.reshape(-1, depth).tolist(), parts, strict=False):
            if all(0 <= i < extent for i, extent in zip(place, axes, strict=True)):
                at = tuple(place)
                result[at] = _COMBINED[self.reduction](result[at], part)
        return (result,)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """One rounding per update of an element, relative to the sum or product of magnitudes."""
        if self.reduction not in ("add", "mul"):
            return np.zeros(result.shape)
        x, indices, updates = operands
        (times,) = Scatter("add").reference(np.zeros_like(x), indices, np.ones_like(updates))
        (size,) = self.reference(*sizes(operands))
        return np.asarray(times * size)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        x, indices, updates = sizes(operands)
        of_x, _, of_updates = errors
        if self.reduction == "mul":
            (largest,) = self.reference(x + of_x, indices, updates + of_updates)
            return np.asarray(largest - self.reference(x, indices, updates)[0])
        # The error of a maximum or minimum is at most the larger of the two errors.
        kind = "max" if self.reduction == "min" else self.reduction
        return replace(self, reduction=kind).reference(of_x, indices, of_updates)[0]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(op: Scatter, x: Array, places: object, label: str, dtype: type = np.int32) -> Case:
            indices: Array = np.array(places, dtype)
            drawn = normal(rng, *indices.shape[:-1], *x.shape[indices.shape[-1] :])
            updates = 3 * drawn > 0 if x.dtype == np.bool_ else (3 * drawn).astype(x.dtype)
            return Case(op, (x, indices, updates), label=label)

        yield case(cls(), normal(rng, 1), [[0]], "one element")
        yield case(cls(), normal(rng, 6, 19), [[4], [0], [4]], "rows, one twice", np.int64)
        far = [[[1, 4], [2, 0]], [[-1, 2], [1, 5]], [[3, 0], [2, 4]]]
        yield case(cls(), normal(rng, 3, 5, 2, 3), far, "coordinates, some outside")
        yield case(cls(), bits(rng, 17), [[3], [16], [0], [3]], "booleans")
        for reduction in cls.reductions[1:]:
            op, many = cls(reduction), rng.integers(-1, 8, (9, 1))
            yield case(op, normal(rng, 7, 4), many, f"{reduction} of rows", np.int64)
            numbers = rng.integers(-(2**31), 2**31, (7,), np.int32)
            yield case(op, numbers, many, f"{reduction} of integers")
        yield case(cls("max"), bits(rng, 5, 3), [[2], [2]], "any of booleans")
        wide = rng.integers(-(2**62), 2**62, (4, 3), np.int64)
        yield case(cls("mul"), wide, [[1], [1], [3]], "wide integers")
        known = case(cls("add"), normal(rng, 5, 3), [[4], [1], [4]], "known indices")
        yield replace(known, constants=(1,))
        kept = case(cls(), normal(rng, 4, 5), [[1, 1], [0, 4]], "known operands")
        yield replace(kept, constants=(0, 2))
        yield case(cls("add"), normal(rng, 4, 3), np.zeros((0, 1)), "no updates")


def bits(rng: np.random.Generator, *shape: int) -> Array:
    """Random booleans."""
    drawn: Array = rng.random(shape) < 0.5
    return drawn
