"""Float convolutions and dense layers: an implicit matrix product of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from codegen.epilogue import Epilogue
from codegen.kernels.implicit_gemm import (
    ConvShape,
    EdgeTable,
    Heart,
    Nest,
    Place,
    pack_filters,
    split_bands,
)
from codegen.kernels.movement import placed_as
from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Operand, Param
from codegen.kir.types import Elem, VType
from codegen.lowering import Arg, KernelCall, NodeContext, access_arg, constant_weights, lowers
from codegen.schedule import GemmSchedule, GemmTraffic, gemm_schedule, pixel_limit
from codegen.views import regrouped
from codegen.window import Axis, cut, fold_rows, window_axes
from ir.errors import EllcError
from ir.ops.conv import Conv2D
from ir.ops.dense import Dense
from ir.types import Array, DType, Padding


@lowers(Conv2D)
def lower_conv2d(ctx: NodeContext) -> list[KernelCall]:
    """Any convolution; one with a filter per channel goes to the depthwise kernel."""
    conv = ctx.anchor
    assert isinstance(conv, Conv2D)
    weights = constant_weights(ctx)
    x, _ = placed_as(ctx, 0, ctx.inputs[0].type.shape)
    filters, window_rows, window_columns, depth = weights.shape
    if conv.groups > 1 and depth == 1:
        from codegen.kernels.depthwise import lower_depthwise

        return lower_depthwise(ctx, conv, weights)
    groups = conv.groups
    if ctx.result_type().dtype is DType.BIT and filters // groups % 8:
        weights, groups = _ungrouped(weights, groups), 1
        depth = weights.shape[3]
    images, out_rows, out_columns, _ = ctx.anchor_type().shape
    axes = window_axes(
        x,
        (out_rows, out_columns),
        (window_rows, window_columns),
        conv.stride,
        conv.dilation,
        conv.padding,
    )
    walk = (images, out_rows, out_columns, filters)
    shape = ConvShape(x, walk, *axes, depth, filters // groups, groups)
    return [_convolution(ctx, shape, weights, conv.padding)]


def _ungrouped(weights: Array, groups: int) -> Array:
    """The same filters over all channels, 0 for those of other groups.

    For signs, where a byte of the result would otherwise belong to several groups.
    """
    filters, rows, columns, depth = weights.shape
    wide = np.zeros((filters, rows, columns, groups * depth), weights.dtype)
    for group, mine in enumerate(np.split(np.arange(filters), groups)):
        wide[mine, :, :, group * depth : (group + 1) * depth] = weights[mine]
    return wide


@lowers(Dense)
def lower_dense(ctx: NodeContext) -> list[KernelCall]:
    """A dense layer is a convolution of 1x1 pixels: all leading axes are pixels."""
    if any(x.array is None for x in ctx.inputs[1:]):
        from codegen.kernels.matmul import lower_computed_dense

        return lower_computed_dense(ctx)
    x, weights = ctx.inputs[0], constant_weights(ctx)
    filters, depth = weights.shape
    pixels = x.type.elements // depth
    image, _ = placed_as(ctx, 0, (1, 1, pixels, depth))
    rows = Axis(1, 1, 1, 1, 1, 0, True)
    columns = Axis(pixels, pixels, 1, 1, 1, 0, True)
    shape = ConvShape(image, (1, 1, pixels, filters), rows, columns, depth, filters, 1)
    return [_convolution(ctx, shape, weights.reshape(filters, 1, 1, depth), Padding())]


def _convolution(
    ctx: NodeContext, shape: ConvShape, weights: Array, padding: Padding
) -> KernelCall:
    shape = _folded(ctx, shape)
    elem = shape.x.elem
    schedule = choose_schedule(ctx, shape, elem)
    b = KernelBuilder(ctx.name)
    x = b.param("x", elem, shape.x.align_bytes)
    w = b.param("w", elem, 64)
    args: list[Arg] = [access_arg(shape.x), _packed(ctx, weights, shape, schedule)]
    heart = _Products(
        b, shape, schedule, x, w, _start_table(ctx, b, shape, schedule, weights, padding)
    )
    args += heart.table.args if heart.table else []
    epilogue = Epilogue(ctx, b, shape.walk)
    extent = Nest(b, shape, schedule, heart, epilogue).write()
    return KernelCall(b.finish(), (*args, *epilogue.args), extent, f"gemm {schedule.note}")


def choose_schedule(ctx: NodeContext, shape: ConvShape, elem: Elem) -> GemmSchedule:
    """Tile and band for this shape on this target."""
    columns = shape.columns
    traffic = GemmTraffic(
        shape.rows.outputs,
        shape.x.strides[1] * shape.rows.stride * elem.bytes,
        shape.walk[2] * shape.walk[3] * elem.bytes,
        shape.rows.taps * columns.taps * shape.channels * shape.walk[3] * elem.bytes,
    )
    schedule = gemm_schedule(
        ctx.target,
        element_bytes=elem.bytes,
        pixels=columns.outputs,
        filters=shape.filters,
        traffic=traffic,
        multiple=8 if ctx.result_type().dtype is DType.BIT else 1,
    )
    if not columns.is_interior and not schedule.by_lane:
        # A tile at an edge has several inner loops; one pixel less leaves registers to cross them.
        schedule = replace(schedule, pixels=max(1, schedule.pixels - 1))
    return split_bands(schedule, shape, ctx.options.threads)


def _folded(ctx: NodeContext, shape: ConvShape) -> ConvShape:
    """A 1x1 convolution with stride 1 over images without gaps walks one row of pixels."""
    rows, columns = shape.rows, shape.columns
    plain = (rows.taps, columns.taps, rows.stride, columns.stride) == (1, 1, 1, 1)
    if not plain or rows.before or columns.before or rows.size != rows.outputs:
        return shape
    if columns.size != columns.outputs or shape.walk[0] != 1:
        return shape
    pixels = rows.outputs * columns.outputs
    limit = pixel_limit(ctx.target)
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


def _packed(ctx: NodeContext, weights: Array, shape: ConvShape, schedule: GemmSchedule) -> Arg:
    """`[group][block][kernel row][kernel column][channel][lane]`, the last block filled with 0."""
    block = schedule.block
    blocks = -(-shape.filters // block)
    size = shape.groups * blocks * block * int(np.prod(weights.shape[1:])) * weights.itemsize
    make = partial(pack_filters, weights, shape.groups, block)
    what = f"gemm:{shape.groups}:{block}:{weights.shape}"
    return ctx.lazy_weight(what, 1, size, make)


def _start_table(
    ctx: NodeContext,
    b: KernelBuilder,
    shape: ConvShape,
    schedule: GemmSchedule,
    weights: Array,
    padding: Padding,
) -> EdgeTable | None:
    """What the sums start from: the bias, and what taps outside the image would add.

    The share of a tap that is left out, `padding value * weight`, is a constant.
    """
    bias = ctx.inputs[2].array if len(ctx.inputs) > 2 else None
    if len(ctx.inputs) > 2 and bias is None:
        raise EllcError("a convolution's bias must be constant", code="E302", where=ctx.name)
    edges = not (shape.rows.is_interior and shape.columns.is_interior)
    by_class = edges and not padding.is_zero
    if bias is None and not by_class:
        return None
    filters, depth = weights.shape[0], weights.shape[3]
    frame = np.resize(np.array(padding.values, np.float64), shape.groups * depth)
    group_of = np.arange(filters) // shape.filters
    share = frame.reshape(shape.groups, depth)[group_of]

    def row(rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        total = np.zeros(filters) if bias is None else bias.astype(np.float64)
        if by_class:
            outside = np.ones(weights.shape[1:3], bool)
            outside[rows[0] : rows[1], columns[0] : columns[1]] = False
            taps = weights[:, outside].astype(np.float64)
            total = total + (taps * share[:, None, :]).sum(axis=(1, 2))
        return total

    return EdgeTable(ctx, b, shape, schedule, shape.x.elem, row, by_class=by_class)


CHAIN = 256
"""Products that one register sums before it is added to a total. The error of a long chain grows
with its length; chains of this length keep that of any sum near numpy's own, for one addition and
a trip to the stack in so many products."""


class _Products(Heart):
    """Sums of products: one vector register for each pixel and each vector of filters.

    More than `CHAIN` products are summed in parts: some window rows at once, or parts of one.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        x: Param,
        w: Param,
        table: EdgeTable | None,
    ) -> None:
        super().__init__(b, shape, schedule, x, w)
        self.table = table
        row = shape.columns.taps * shape.channels
        # A window row of less than two chains stays whole: at edges it has several short loops.
        self._in_parts = row >= 2 * CHAIN
        if not self._in_parts and shape.rows.taps > 1 and row * shape.rows.taps > CHAIN:
            self.rows_at_once = max(1, CHAIN // row)

    def start(self, place: Place, taps: tuple[int, int]) -> list[Operand]:
        """The bias and the share of taps outside, or 0."""
        if self.table is None:
            zero = self._b.const(0, VType(self._shape.x.elem, self._schedule.lanes))
            return [zero] * self._schedule.vectors
        return self.table.values(place, taps, self._schedule.lanes)

    def finish(self, place: Place, taps: tuple[int, int], sums: list[Operand]) -> list[Operand]:
        """The sums are the results."""
        return sums

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

    def meet(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """One multiply-add."""
        return self._b.mul_add(weight, value, total)
