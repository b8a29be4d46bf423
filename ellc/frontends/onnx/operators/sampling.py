"""Imports GridSample, which samples images: a weighted gather for each neighbour of a position."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.registry import ONNX, no_integers, operand
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import (
    Add,
    And,
    Cast,
    Clip,
    Floor,
    FloorMod,
    GreaterEqual,
    Less,
    Minimum,
    Mul,
    Neg,
    Round,
    Select,
    Sub,
)
from ellc.ir.ops.shape import Gather
from ellc.ir.types import DType

_MODES = {"linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}
_PADDINGS = ("zeros", "border", "reflection")
_CUBIC = -0.75
# The weights of the neighbours -1, 0, 1, 2 as polynomials of the fraction, lowest power first.
_CUBIC_WEIGHTS = (
    (0.0, _CUBIC, -2 * _CUBIC, _CUBIC),
    (1.0, 0.0, -(_CUBIC + 3), _CUBIC + 2),
    (0.0, -_CUBIC, 2 * _CUBIC + 3, -(_CUBIC + 2)),
    (0.0, 0.0, _CUBIC, -_CUBIC),
)


@ONNX.imports(
    "GridSample",
    limits="2 and 3 spatial axes, cubic with 2",
    declines=(no_integers("images of integers; cast them to float32"),),
)
def grid_sample(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Sample an image at the coordinates in a grid; -1 and 1 stand for the ends of an axis."""
    x = operand(inputs, 0)
    grid = to_dtype(emitter, operand(inputs, 1), x.dtype)
    spatial = x.type.rank - 2
    name, padding = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    mode = _MODES.get(name, name)
    if mode not in ("nearest", "linear", "cubic") or padding not in _PADDINGS:
        raise Unsupported(f"mode '{name}' with padding '{padding}'")
    if spatial not in (2, 3) or (mode == "cubic" and spatial == 3):
        raise Unsupported(f"{spatial} spatial axes in mode '{name}'")
    sampler = _Sampler(emitter, mode, padding, node.flag("align_corners"))
    axes = [
        sampler.neighbours(
            # The grid's last axis lists the coordinates of the image's axes in reverse order.
            sampler.add(Gather(grid.type.rank - 1), grid, emitter.constant(np.array(position))),
            extent,
        )
        for position, extent in zip(reversed(range(spatial)), x.shape[2:], strict=True)
    ]
    return sampler.sampled(x, axes)


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """An element along one axis: its index inside the image, and its weight (None means 1)."""

    index: Value
    weight: Value | None


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Adds the operators of one node."""

    emitter: Emitter
    mode: str
    padding: str
    align_corners: bool

    def add(self, op: Op, *operands: Value) -> Value:
        """Add an operator with one result."""
        return self.emitter.add(op, *operands)

    def number(self, value: float, like: Value) -> Value:
        """A constant [1] with the element type of `like`."""
        return self.emitter.constant(np.array([value], like.dtype.numpy))

    def neighbours(self, grid: Value, extent: int) -> list[_Neighbour]:
        """The elements along an axis that contribute to each result element."""
        grown = self.add(Add(), grid, self.number(1.0, grid))
        scale = (extent - 1) / 2 if self.align_corners else extent / 2
        position = self.add(Mul(), grown, self.number(scale, grid))
        if not self.align_corners:
            position = self.add(Sub(), position, self.number(0.5, grid))
        if self.mode == "nearest":
            index = self.add(Cast(DType.I32), self.add(Round(), position))
            return [self._inside(index, None, extent, grid)]
        below = self.add(Floor(), position)
        part = self.add(Sub(), position, below)
        base = self.add(Cast(DType.I32), below)
        shifts: dict[int, tuple[float, ...]]
        if self.mode == "linear":
            shifts = {0: (1.0, -1.0), 1: (0.0, 1.0)}
        else:
            shifts = dict(zip((-1, 0, 1, 2), _CUBIC_WEIGHTS, strict=True))
        return [
            self._inside(
                self.add(Add(), base, self.number(shift, base)),
                self._polynomial(part, coefficients),
                extent,
                grid,
            )
            for shift, coefficients in shifts.items()
        ]

    def sampled(self, x: Value, axes: list[list[_Neighbour]]) -> Value:
        """Sum over all combinations of neighbours along the axes; x is [N,C,spatial...]."""
        rank = x.type.rank
        rows = transposed(self.emitter, x, (0, *range(2, rank), 1))
        batch, channels, extents = x.shape[0], x.shape[1], x.shape[2:]
        rows = reshaped(self.emitter, rows, (batch * prod(extents), channels))
        size = prod(extents)
        first = (size * self.emitter.counted(batch, dtype=np.int32)).reshape(
            -1, *(1,) * len(extents)
        )
        start = self.emitter.constant(first)
        terms = [self._corner(rows, start, extents, c) for c in itertools.product(*axes)]
        total = reduce(lambda a, b: self.add(Add(), a, b), terms)
        return transposed(self.emitter, total, (0, rank - 1, *range(1, rank - 1)))

    def _corner(
        self,
        rows: Value,
        start: Value,
        extents: tuple[int, ...],
        corner: tuple[_Neighbour, ...],
    ) -> Value:
        """Multiply the pixels at one combination of neighbours by the product of their weights."""
        steps = [prod(extents[axis + 1 :]) for axis in range(len(extents))]
        scaled = [
            self.add(Mul(), neighbour.index, self.number(step, neighbour.index))
            for neighbour, step in zip(corner, steps, strict=True)
        ]
        position = self.add(Add(), reduce(lambda a, b: self.add(Add(), a, b), scaled), start)
        pixels = self.add(Gather(0), rows, position)
        weights = [n.weight for n in corner if n.weight is not None]
        if not weights:
            return pixels
        weight = reduce(lambda a, b: self.add(Mul(), a, b), weights)
        return self.add(Mul(), pixels, reshaped(self.emitter, weight, (*weight.shape, 1)))

    def _polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        """Evaluate a polynomial of x by Horner's rule; the lowest power comes first."""
        *lower, highest = coefficients
        total = self.add(Mul(), x, self.number(highest, x))
        for coefficient in reversed(lower[1:]):
            total = self.add(Mul(), self.add(Add(), total, self.number(coefficient, x)), x)
        return self.add(Add(), total, self.number(lower[0], x))

    def _inside(self, index: Value, weight: Value | None, extent: int, grid: Value) -> _Neighbour:
        """The neighbour at an index; an index outside is moved inside or gets the weight 0."""
        if self.padding == "zeros":
            above = self.add(GreaterEqual(), index, self.number(0, index))
            inside = self.add(And(), above, self.add(Less(), index, self.number(extent, index)))
            if weight is None:
                weight = self.emitter.constant(self.emitter.full(index.shape, 1, grid.dtype.numpy))
            weight = self.add(Select(), weight, self.number(0.0, weight), inside)
        elif self.padding == "reflection":
            index = self._reflected(index, extent)
        return _Neighbour(self.add(Clip(0, extent - 1), index), weight)

    def _reflected(self, index: Value, extent: int) -> Value:
        """Reflect indices at the outermost elements, or half an element further out.

        `align_corners` chooses the former.
        """
        last = 2 * (extent - 1) if self.align_corners else 2 * extent - 1
        period = last if self.align_corners else last + 1
        forward = self.add(FloorMod(), index, self.number(max(period, 1), index))
        backward = self.add(Add(), self.add(Neg(), forward), self.number(last, forward))
        return self.add(Minimum(), forward, backward)
