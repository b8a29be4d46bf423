"""Convolutions and dense layers, of floats and of bytes: an implicit matrix product of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.lowering import Arg, KernelCall, NodeContext, access_arg, lowers
from ellc.codegen.blocks.movement import placed_as
from ellc.codegen.blocks.schedule import (
    GemmSchedule,
    GemmTraffic,
    band_rows,
    gemm_tile,
    pixel_limit,
)
from ellc.codegen.blocks.terms import Numbers, Terms, float_terms, in_bytes, integer_terms
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.window import Axis, cut, fold_rows, window_axes
from ellc.codegen.kernels import byte_dots
from ellc.codegen.kernels.byte_dots import ByteDots, dot_tile, fits, pack_rows
from ellc.codegen.kernels.edge_table import EdgeTable
from ellc.codegen.kernels.implicit_gemm import (
    ConvShape,
    Heart,
    Nest,
    Place,
    pack_filters,
    split_bands,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array, DType, Padding


@lowers(Conv2D)
def lower_conv2d(ctx: NodeContext) -> list[KernelCall]:
    """Any convolution of floats."""
    conv = ctx.anchor
    assert isinstance(conv, Conv2D)
    return _lower(ctx, conv, float_terms(ctx, conv.padding))


@lowers(IntConv2D)
def lower_int_conv2d(ctx: NodeContext) -> list[KernelCall]:
    """Any convolution of bytes."""
    conv = ctx.anchor
    assert isinstance(conv, IntConv2D)
    terms = integer_terms(ctx, conv.input_zero, conv.weight_zero, conv.padding)
    return _lower(ctx, conv, terms)


def _lower(ctx: NodeContext, conv: Conv2D | IntConv2D, terms: Terms) -> list[KernelCall]:
    """A convolution with a filter per channel goes to the depthwise kernel."""
    x = placed_as(ctx, 0, ctx.inputs[0].type.shape)
    filters, window_rows, window_columns, depth = terms.weights.shape
    if conv.groups > 1 and depth == 1:
        from ellc.codegen.kernels.depthwise import lower_depthwise

        return lower_depthwise(ctx, conv, terms)
    groups = conv.groups
    if ctx.result_type().dtype is DType.BIT and filters // groups % 8:
        terms, groups = replace(terms, weights=_ungrouped(terms.weights, groups)), 1
        depth = terms.weights.shape[3]
    images, out_rows, out_columns, _ = ctx.anchor_type().shape
    axes = window_axes(
        x,
        (out_rows, out_columns),
        (window_rows, window_columns),
        conv.stride,
        conv.dilation,
        terms.padding,
    )
    walk = (images, out_rows, out_columns, filters)
    shape = ConvShape(x, walk, *axes, depth, filters // groups, groups)
    return [_convolution(ctx, shape, terms)]


def _ungrouped(weights: Array, groups: int) -> Array:
    """The same filters over all channels, 0 for those of other groups.

    For signs, where a byte of the result would otherwise belong to several groups.
    """
    filters, rows, columns, depth = weights.shape
    wide = np.zeros((filters, rows, columns, groups * depth), weights.dtype)
    for group, mine in enumerate(np.split(np.arange(filters), groups)):
        wide[mine, :, :, group * depth : (group + 1) * depth] = weights[mine]
    return wide


@lowers(Dense, IntDense)
def lower_dense(ctx: NodeContext) -> list[KernelCall]:
    """A dense layer is a convolution of 1x1 pixels: all leading axes are pixels."""
    if any(x.array is None for x in ctx.inputs[1:]):
        from ellc.codegen.kernels.matmul import lower_computed_dense

        return lower_computed_dense(ctx)
    op = ctx.anchor
    if isinstance(op, IntDense):
        terms = integer_terms(ctx, op.input_zero, op.weight_zero, Padding())
    else:
        terms = float_terms(ctx, Padding())
    filters, _, _, depth = terms.weights.shape
    pixels = ctx.inputs[0].type.elements // depth
    image = placed_as(ctx, 0, (1, 1, pixels, depth))
    rows = Axis(1, 1, 1, 1, 1, 0, True)
    columns = Axis(pixels, pixels, 1, 1, 1, 0, True)
    shape = ConvShape(image, (1, 1, pixels, filters), rows, columns, depth, filters, 1)
    return [_convolution(ctx, shape, terms)]


def _convolution(ctx: NodeContext, shape: ConvShape, terms: Terms) -> KernelCall:
    narrow = in_bytes(terms, ctx.target)
    by_dots = fits(ctx.target, shape, narrow)
    if by_dots:
        terms = narrow
        shape = _folded(ctx, shape, byte_dots.pixel_limit(ctx.target))
        tile = dot_tile(ctx.target, shape.columns.outputs)
    else:
        shape = _folded(ctx, shape, pixel_limit(ctx.target, terms.numbers.total))
        tile = gemm_tile(ctx.target, terms.numbers.total, shape.columns.outputs, shape.filters)
    schedule = _banded(ctx, shape, tile, terms.numbers)
    b = KernelBuilder(ctx.name)
    x = b.param("x", terms.numbers.image, shape.x.align_bytes)
    w = b.param("w", terms.numbers.weight, 64)
    args: list[Arg] = [access_arg(shape.x), _packed(ctx, shape, schedule, terms, by_dots=by_dots)]
    table = _start_table(ctx, b, shape, schedule, terms)
    kind = ByteDots if by_dots else _Products
    heart = kind(b, shape, schedule, (x, w), table, terms.numbers)
    args += table.args if table else []
    epilogue = Epilogue(ctx, b, shape.walk)
    extent = Nest(b, shape, schedule, heart, epilogue).write()
    note = f"{'dots' if by_dots else 'gemm'} {schedule.note}"
    return KernelCall(b.finish(), (*args, *epilogue.args), extent, note)


def _banded(
    ctx: NodeContext, shape: ConvShape, tile: GemmSchedule, numbers: Numbers
) -> GemmSchedule:
    """The tile with filters for whole bytes of signs, and bands."""
    columns = shape.columns
    taps = shape.rows.taps * columns.taps
    traffic = GemmTraffic(
        shape.rows.outputs,
        shape.x.strides[1] * shape.rows.stride * numbers.image.bytes,
        shape.walk[2] * shape.walk[3] * Elem.of(ctx.result_type().dtype).bytes,
        taps * shape.channels * shape.walk[3] * numbers.weight.bytes,
    )
    while tile.block % (8 if ctx.result_type().dtype is DType.BIT else 1):
        tile = replace(tile, vectors=tile.vectors + 1)
    if not columns.is_interior and not tile.by_lane:
        # A tile at an edge has several inner loops; one pixel less leaves registers to cross them.
        tile = replace(tile, pixels=max(1, tile.pixels - 1))
    blocks = -(-shape.filters // tile.block)
    schedule = replace(tile, band_rows=band_rows(traffic, blocks, ctx.target))
    return split_bands(schedule, shape, ctx.options.threads)


def _folded(ctx: NodeContext, shape: ConvShape, limit: int) -> ConvShape:
    """A 1x1 convolution with stride 1 over images without gaps walks one row of pixels."""
    rows, columns = shape.rows, shape.columns
    plain = (rows.taps, columns.taps, rows.stride, columns.stride) == (1, 1, 1, 1)
    if not plain or rows.before or columns.before or rows.size != rows.outputs:
        return shape
    if columns.size != columns.outputs or shape.walk[0] != 1:
        return shape
    pixels = rows.outputs * columns.outputs
    walk = (1, *fold_rows(pixels, limit), shape.walk[3])
    depth = shape.x.shape[3]
    strides = regrouped(shape.x.shape, shape.x.strides, (*walk[:3], depth))
    operands = [x.access for x in ctx.extras if x.access is not None]
    simple = all(_keeps_form(x.type.shape, ctx.anchor_type().shape) for x in ctx.extras)
    if strides is None or not simple:
        return shape
    targets = [a for a in (*operands, ctx.result()) if len(a.shape) == 4 and a.shape[1:3] != (1, 1)]
    if any(regrouped(a.shape, a.strides, (*walk[:3], a.shape[3])) is None for a in targets):
        return shape
    x = replace(shape.x, shape=(*walk[:3], depth), strides=strides, border=None)
    line = partial(Axis, taps=1, stride=1, dilation=1, before=0, bordered=True)
    return replace(
        shape, x=x, walk=walk, rows=line(walk[1], walk[1]), columns=line(walk[2], walk[2])
    )


def _keeps_form(operand: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether an operand covers the whole result, or repeats for every pixel."""
    return operand == result or all(n == 1 for n in operand[:-1])


def _packed(
    ctx: NodeContext, shape: ConvShape, schedule: GemmSchedule, terms: Terms, *, by_dots: bool
) -> Arg:
    """`[group][block][kernel row][kernel column][channel][lane]`, the last block filled with 0.

    For dot products channels are the innermost, in steps.
    """
    block, weights = schedule.block, terms.weights
    blocks = -(-shape.filters // block)
    size = shape.groups * blocks * block * int(np.prod(weights.shape[1:])) * weights.itemsize
    make = partial(pack_rows if by_dots else pack_filters, weights, shape.groups, block)
    what = f"{'dots' if by_dots else 'gemm'}:{shape.groups}:{block}:{terms.key}{weights.shape}"
    return ctx.lazy_weight(what, 1, size, make)


def _start_table(
    ctx: NodeContext, b: KernelBuilder, shape: ConvShape, schedule: GemmSchedule, terms: Terms
) -> EdgeTable | None:
    """What the sums start from: the bias, and what taps outside the image would add."""
    edges = not (shape.rows.is_interior and shape.columns.is_interior)
    if terms.starts_at_zero(edges=edges):
        return None
    by_class = terms.depends_on_taps(edges=edges)

    def row(rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        return terms.start(shape.groups, (rows, columns) if by_class else None)

    return EdgeTable(ctx, b, shape, schedule, terms.numbers.total, row, by_class=by_class)


CHAIN = 256
"""Products that one register sums before it is added to a total. The error of a long chain grows
with its length; chains of this length keep that of any sum near numpy's own, for one addition and
a trip to the stack in so many products."""


class _Products(Heart):
    """Sums of products: one vector register for each pixel and each vector of filters.

    More than `CHAIN` products of floats are summed in parts: some window rows at once, or parts of
    one.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        memory: tuple[Param, Param],
        table: EdgeTable | None,
        numbers: Numbers,
    ) -> None:
        super().__init__(b, shape, schedule, *memory)
        self.table, self._numbers = table, numbers
        narrow = numbers.factor is Elem.I16 and schedule.block % 8 == 0
        self.weights_together = 8 if narrow else 0  # half a register of bytes, widened to a whole
        self.stored_together = numbers.stored_together
        row = shape.columns.taps * shape.channels
        # A window row of less than two chains stays whole: at edges it has several short loops.
        self._in_parts = numbers.total.is_float and row >= 2 * CHAIN
        long = numbers.total.is_float and row * shape.rows.taps > CHAIN
        if long and not self._in_parts and shape.rows.taps > 1:
            self.rows_at_once = max(1, CHAIN // row)

    def start(self, place: Place, taps: tuple[int, int]) -> list[Operand]:
        """The bias and the share of taps outside, or 0."""
        if self.table is None:
            zero = self._b.const(0, VType(self._numbers.total, self._schedule.lanes))
            return [zero] * self._schedule.vectors
        return self.table.values(place, taps, self._schedule.lanes)

    def finish(self, place: Place, taps: tuple[int, int], sums: list[Operand]) -> list[Operand]:
        """The sums are the results, in pairs where they will fill a register when narrowed."""
        if self.weights_together != 2 * self._schedule.lanes:
            return sums
        return [self._b.op("join", *pair) for pair in zip(sums[::2], sums[1::2], strict=True)]

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """Products of `length` values, added to the sums."""
        if not self._in_parts:
            return self.inner_loop(sums, inside, panel, length, pixels)
        b, block = self._b, self._schedule.block
        pieces = cut(length, CHAIN)
        whole = pieces.count * pieces.size
        with b.loop("part", 0, whole, pieces.size, carry=sums) as part:
            here, below = b.add(inside, part.index), b.add(panel, b.mul(part.index, block))
            part.carry(self._added(list(part.carried), here, below, pieces.size, pixels))
        sums = list(part.results)
        if pieces.rest:
            here, below = b.add(inside, whole), b.add(panel, whole * block)
            sums = self._added(sums, here, below, pieces.rest, pixels)
        return sums

    def _added(
        self,
        sums: list[Operand],
        here: Operand,
        below: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums after a chain of its own for each has been added."""
        zeros: list[Operand] = [self._b.const(0, s) for s in sums]
        fresh = self.inner_loop(zeros, here, below, length, pixels)
        vectors = self._schedule.vectors
        mine = {p * vectors + v for p in pixels for v in range(vectors)}
        return [
            self._b.add(s, f) if i in mine else s
            for i, (s, f) in enumerate(zip(sums, fresh, strict=True))
        ]

    def seen(self, value: Operand) -> Operand:
        """As it is multiplied."""
        return self._numbers.seen(self._b, value)

    def widened(self, weight: Operand) -> Operand:
        """As it is multiplied."""
        return self._numbers.widened(self._b, weight)

    def meet(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """One multiply-add."""
        return self._numbers.met(self._b, weight, value, total)
