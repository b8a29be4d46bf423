"""Operators that put a tensor inside a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.arrangement import Permutation, picked
from ellc.ir.op import Arranged, Arrays, Case, Types, register_op, require
from ellc.ir.ops.common import normal, padding_values, want_operands, want_same
from ellc.ir.ops.elementwise import want_kind
from ellc.ir.ops.shape import Mover
from ellc.ir.reads import Along, Reads, broadcast
from ellc.ir.types import Array, Padding, TensorType


@register_op("pad")
@dataclass(frozen=True, slots=True)
class Pad(Mover):
    """x with `before[i]` and `after[i]` elements added along axis i.

    Mode `constant` adds copies of `value` (rounded and saturated for integers; true for booleans
    unless it is 0), `edge` adds copies of the outermost element. `reflect` mirrors x at its
    outermost element, which is not repeated; so at most extent - 1 elements can be added per side.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0
    mode: str = "constant"

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("pad", inputs, 1)
        (x,) = inputs
        want_kind("pad", x.dtype, "fib")
        require(self.mode in ("constant", "edge", "reflect"), f"pad: unknown mode '{self.mode}'")
        amounts = (*self.before, *self.after)
        good = len(self.before) == len(self.after) == x.rank and min(amounts, default=0) >= 0
        require(good, f"pad: {self.before} before and {self.after} after do not fit {x.shape}")
        sides = list(zip(self.before, self.after, x.shape, strict=True))
        if self.mode == "reflect":
            good = all(max(a, b) < e for a, b, e in sides if a or b)
            added = f"{self.before} before and {self.after} after"
            require(good, f"pad: {x.shape} has too few elements to reflect {added}")
        if self.mode == "edge":
            good = all(e for a, b, e in sides if a or b)
            require(good, f"pad: {x.shape} has no edge to repeat")
        return (x.with_shape(*(a + e + b for a, b, e in sides)),)

    def with_border(self, border: Padding) -> Pad | None:
        if self.mode != "constant" or border.values != (self.value,) or len(self.before) != 4:
            return None
        widths = (0, border.top, border.left, 0), (0, border.bottom, border.right, 0)
        before, after = (
            tuple(a + b for a, b in zip(own, inner, strict=True))
            for own, inner in zip((self.before, self.after), widths, strict=True)
        )
        return replace(self, before=before, after=after)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        moved = replace(self, before=picked(self.before, p), after=picked(self.after, p))
        return Arranged(moved, (p,), (p,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].shape == results[0].shape

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        reads: list[Along | None] = []
        for axis, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            mirrored = self.mode != "constant" and (before or after)
            reads.append(None if mirrored else Along(axis, offset=-before))
        return (tuple(reads),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        amounts = list(zip(self.before, self.after, strict=True))
        match self.mode:
            case _ if not amounts:  # numpy refuses mode "edge" for scalars
                return (x.copy(),)
            case "edge":
                return (np.pad(x, amounts, mode="edge"),)
            case "reflect":
                return (np.pad(x, amounts, mode="reflect"),)
        value = padding_values(Padding(values=(self.value,)), x.dtype)[0]
        return (np.pad(x, amounts, constant_values=value),)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return replace(self, value=0.0).reference(*errors)[0]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        image = normal(rng, 1, 5, 7, 3)
        around, after = (0, 1, 2, 0), (0, 3, 1, 0)
        yield Case(cls((0,) * 4, (0,) * 4), (normal(rng, 1, 1, 1, 1),), label="nothing")
        yield Case(cls(around, after, -1.5), (image,), label="constant")
        yield Case(cls(around, after, mode="edge"), (image,), label="edge")
        yield Case(cls(around, after, mode="reflect"), (image,), label="reflect")
        yield Case(cls((0, 0, 0, 2), (0, 0, 0, 3)), (image,), label="channels")
        for mode in ("constant", "edge", "reflect"):
            yield Case(cls((), (), mode=mode), (normal(rng),), label=f"number {mode}")
        yield Case(cls((0, 4), (4, 0), mode="reflect"), (normal(rng, 5, 5),), label="far")
        yield Case(cls((3,), (2,), 1e9), (rng.integers(-9, 9, (19,), np.int8),), label="int8")


@register_op("embed")
@dataclass(frozen=True, slots=True)
class Embed(Mover):
    """(x, around): a copy of `around` with x written at index `offsets`; any element type."""

    offsets: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("embed", inputs, 2)
        x, around = inputs
        want_same("embed", x, around)
        good = x.rank == around.rank == len(self.offsets) and all(
            o >= 0 and o + a <= b
            for o, a, b in zip(self.offsets, x.shape, around.shape, strict=True)
        )
        require(good, f"embed: {x.shape} at {self.offsets} does not fit into {around.shape}")
        return (x.with_shape(*around.shape),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(Embed(picked(self.offsets, p)), (p, p), (p,))

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].shape == results[0].shape

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        inside = tuple(Along(axis, offset=-begin) for axis, begin in enumerate(self.offsets))
        return inside, broadcast(operands[1].shape, results[0].shape)

    def reference(self, *inputs: Array) -> Arrays:
        x, around = inputs
        result = around.copy()
        result[tuple(slice(o, o + e) for o, e in zip(self.offsets, x.shape, strict=True))] = x
        return (result,)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            offsets: tuple[int, ...], x: tuple[int, ...], border: tuple[int, ...], label: str
        ) -> Case:
            return Case(cls(offsets), (normal(rng, *x), normal(rng, *border)), (1,), label=label)

        yield case((0, 0, 0, 0), (1, 1, 1, 1), (1, 1, 1, 1), "one element")
        yield case((0, 1, 1, 0), (1, 5, 7, 3), (1, 7, 9, 3), "border")
        yield case((0, 0, 2, 1), (1, 3, 4, 5), (1, 6, 6, 8), "corner")
        yield case((4,), (11,), (19,), "vector")
