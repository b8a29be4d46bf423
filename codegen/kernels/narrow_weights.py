"""Convolutions and dense layers of floats whose weights are stored in 16 or 8 bits.

The kernels are those of `gemm`, except that they widen weights after loading them, and multiply
finished sums by the factor of the filter if the coding has factors. Arithmetic stays float32. They
compute exactly the layer with the weights that are stored, and are used only if asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.narrow import CODINGS, CodedWeights, Coding
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import (
    LINE_BYTES,
    GemmSchedule,
    gemm_tile,
    gemm_tiles,
    pixel_limit,
)
from ellc.codegen.blocks.terms import ProductTypes, Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    TileInputs,
    folded,
    has_constant_operands,
    problem_of,
)
from ellc.codegen.kernels.gemm import Products, gemm_cycles
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePixel, TilePosition, pack_filters
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.types import Array

FAMILY_NAMES = MappingProxyType({name: f"{name}_weights" for name in CODINGS})
"""The family for each coding."""

_AHEAD_BYTES = 512
"""How far ahead of their use weights are prefetched."""


@dataclass(frozen=True, eq=False)
class NarrowTerms(Terms):
    """Terms whose weights are stored as the integers of a coding.

    `weights` are those integers if the coding has factors, because they are what the image is
    multiplied by; then the bias is divided by the factor of its filter. Otherwise `weights` are the
    numbers for which the integers stand.
    """

    coded: CodedWeights = field(default_factory=lambda: CodedWeights(np.zeros(0)))

    @property
    def stored(self) -> Array:
        """The integers."""
        return self.coded.stored


def _offer(coding: Coding, node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for layers of float32 whose constant weights the coding can store exactly."""
    if not has_constant_operands(node):
        return
    problem = problem_of(node)
    if problem.terms.types.factor is not Elem.F32:
        return
    coded = coding.coded(problem.terms.weights)
    if coded is None:
        return
    total = problem.terms.types.total
    shape = folded(node, problem.shape, pixel_limit(node.target, total, problem.shape.filters))
    pixels, filters = shape.columns.outputs, shape.filters
    usual = gemm_tile(node.target, total, pixels, filters)
    others = gemm_tiles(node.target, usual, pixels, filters)
    arithmetic = partial(NarrowProducts, coding, coded.scales, node.target)
    name = FAMILY_NAMES[coding.name]
    terms = _terms(problem.terms, coding, coded)
    product = Product(name, Problem(shape, terms), arithmetic, pack_filters)
    yield from product.candidates(node, gemm_cycles, usual, others)


def _terms(terms: Terms, coding: Coding, coded: CodedWeights) -> Terms:
    types = ProductTypes(Elem.F32, coding.elem, Elem.F32, Elem.F32)
    weights, exact = terms.weights, terms.exact
    if coded.scales is not None:
        weights = coded.stored
        exact = None if exact is None else exact / coded.scales
    key = f"{coding.name}:{terms.key}"
    return NarrowTerms(types, weights, exact, terms.padding, key, coded)


for _coding in CODINGS.values():
    kernel(Conv2D, Dense, name=FAMILY_NAMES[_coding.name], on_request=True)(
        partial(_offer, _coding)
    )


class NarrowProducts(Products):
    """The arithmetic of `gemm` for floats, with weights that are widened after they are loaded."""

    def __init__(
        self,
        coding: Coding,
        scales: Array | None,
        target: Target,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        self._coding = coding
        full = target.lanes(coding.elem.bytes)
        # x86 widens to a full register whatever it loads; NEON widens both halves of a register.
        fills = target.has_neon and schedule.block % full == 0
        self.weights_at_once = full if fills else 0
        self._scales = None
        if scales is not None:
            self._scales = b.param("scales", Elem.F32, 64)
            self.args = (constant(_by_block(scales, shape, schedule.block)),)

    def _steps(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        pixels: Sequence[int],
        steps: int,
        ahead: Sequence[Callable[[], None]] = (),
    ) -> list[Operand]:
        """As in every tile. Weights further on are prefetched: a single pixel waits for memory."""
        if self._schedule.pixels == 1:
            size = self._coding.elem.bytes
            for line in range(0, steps * self._schedule.block * size, LINE_BYTES):
                self._b.prefetch(self._w, weight_index, offset=(_AHEAD_BYTES + line) // size)
        return super()._steps(sums, image_index, weight_index, pixels, steps, ahead)

    def weight_factor(self, weight: Operand) -> Operand:
        """Stored integers as float32 numbers."""
        return self._coding.widen(self._b, weight)

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The sums, multiplied by the factors of their filters."""
        if self._scales is None:
            return sums
        b, schedule, lanes = self._b, self._schedule, self._schedule.lanes
        blocks = -(-self._shape.filters // schedule.block)
        panel = b.add(b.mul(position.group, blocks), position.block)
        first = b.mul(panel, schedule.block)
        align = lanes * Elem.F32.bytes
        factors = [
            b.load(self._scales, first, lanes, offset=v * lanes, align_bytes=align)
            for v in range(schedule.vectors)
        ]
        return [b.mul(total, factor) for total, factor in zip(sums, factors, strict=True)]


def _by_block(scales: Array, shape: ConvShape, block: int) -> Array:
    """The factors in blocks of filters, as the weights are; 0 where a block has no filter."""
    blocks = -(-shape.filters // block)
    padded = np.zeros((shape.groups, blocks * block), np.float32)
    padded[:, : shape.filters] = scales.reshape(shape.groups, shape.filters)
    return padded.reshape(-1)
