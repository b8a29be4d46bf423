"""Convolution as an implicit matrix product: packed weights, register tiles, no im2col.

A tile holds `pixels` x `block` sums in registers and runs over the window's taps and channels.
Weights are packed `[group][block][kernel row][kernel column][channel][lane]`, so the inner loop
reads them in order. Taps that are consecutive in memory (a window row of an image without gaps)
are one inner loop. Loops: band of rows and filter block (parallel) > row > tile > window row >
taps and channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from codegen.epilogue import Epilogue
from codegen.kernels.movement import placed_as
from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand, Param
from codegen.kir.types import Elem, VType
from codegen.lowering import Arg, KernelCall, NodeContext, access_arg, lowers
from codegen.schedule import GemmSchedule, GemmTraffic, gemm_schedule
from codegen.storage import Access
from codegen.views import regrouped
from codegen.window import Axis, Tiles, column_tiles, fold_rows, window_axes
from ir.errors import EllcError
from ir.ops.conv import Conv2D
from ir.ops.dense import Dense
from ir.types import Array, DType, Padding


@dataclass(frozen=True, slots=True)
class ConvShape:
    """What a convolution kernel is specialised on. `filters` and `channels` are per group."""

    x: Access
    walk: tuple[int, int, int, int]  # the result as (images, rows, columns, channels)
    rows: Axis
    columns: Axis
    channels: int
    filters: int
    groups: int

    @property
    def consecutive_taps(self) -> bool:
        """Whether neighbouring taps of a window row lie side by side in memory."""
        return self.columns.dilation == 1 and self.x.strides[2] == self.channels


@lowers(Conv2D)
def lower_conv2d(ctx: NodeContext) -> list[KernelCall]:
    """Any convolution; one with a filter per channel goes to the depthwise kernel."""
    conv = ctx.anchor
    assert isinstance(conv, Conv2D)
    weights = _constant_weights(ctx)
    x, _ = placed_as(ctx, 0, ctx.inputs[0].type.shape)
    filters, window_rows, window_columns, depth = weights.shape
    if conv.groups > 1 and depth == 1:
        from codegen.kernels.depthwise import lower_depthwise

        return lower_depthwise(ctx, conv, weights)
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
    shape = ConvShape(x, walk, *axes, depth, filters // conv.groups, conv.groups)
    return [_convolution(ctx, shape, weights, conv.padding)]


@lowers(Dense)
def lower_dense(ctx: NodeContext) -> list[KernelCall]:
    """A dense layer is a convolution of 1x1 pixels: all leading axes are pixels."""
    if any(x.array is None for x in ctx.inputs[1:]):
        from codegen.kernels.matmul import lower_computed_dense

        return lower_computed_dense(ctx)
    x, weights = ctx.inputs[0], _constant_weights(ctx)
    filters, depth = weights.shape
    pixels = x.type.elements // depth
    image, _ = placed_as(ctx, 0, (1, 1, pixels, depth))
    rows = Axis(1, 1, 1, 1, 1, 0, True)
    columns = Axis(pixels, pixels, 1, 1, 1, 0, True)
    shape = ConvShape(image, (1, 1, pixels, filters), rows, columns, depth, filters, 1)
    return [_convolution(ctx, shape, weights.reshape(filters, 1, 1, depth), Padding())]


def _constant_weights(ctx: NodeContext) -> Array:
    weights = ctx.inputs[1].array
    if weights is None:
        raise EllcError(
            f"'{ctx.anchor.name}' needs constant weights",
            code="E302",
            where=", ".join(ctx.node.source) or ctx.name,
        )
    return weights


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
    start = _Start(ctx, b, shape, schedule, weights, padding, args)
    epilogue = Epilogue(ctx, b, shape.walk)
    nest = _Nest(b, shape, schedule, x, w, start, epilogue)
    extent = nest.write()
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
    blocks = -(-shape.filters // schedule.block) * shape.groups
    threads = ctx.options.threads
    if blocks * -(-shape.rows.outputs // schedule.band_rows) < 4 * threads > 4:
        schedule = replace(schedule, band_rows=max(1, shape.rows.outputs * blocks // (4 * threads)))
    return schedule


def _folded(ctx: NodeContext, shape: ConvShape) -> ConvShape:
    """A 1x1 convolution with stride 1 over images without gaps walks one row of pixels."""
    rows, columns = shape.rows, shape.columns
    plain = (rows.taps, columns.taps, rows.stride, columns.stride) == (1, 1, 1, 1)
    if not plain or rows.before or columns.before or rows.size != rows.outputs:
        return shape
    if columns.size != columns.outputs or shape.walk[0] != 1:
        return shape
    pixels = rows.outputs * columns.outputs
    limit = 8 if ctx.target.lane_fma else 14
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


def pack_filters(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C, block], zeros behind the last filter."""
    filters = weights.shape[0] // groups
    blocks = -(-filters // block)
    packed = np.zeros((groups, blocks, *weights.shape[1:], block), weights.dtype)
    for group in range(groups):
        for index in range(blocks):
            part = weights[
                group * filters + index * block : group * filters
                + min(filters, (index + 1) * block)
            ]
            packed[group, index, ..., : len(part)] = np.moveaxis(part, 0, -1)
    return packed


class _Start:
    """What the sums start from: 0 or the bias, and what taps outside the image would add.

    Where a padding value is not 0 and the image has no border, outputs near the edge leave taps
    out; their share, `value * weight` summed, is a constant for each set of missing taps.
    """

    def __init__(
        self,
        ctx: NodeContext,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        weights: Array,
        padding: Padding,
        args: list[Arg],
    ) -> None:
        self._b, self._shape, self._schedule = b, shape, schedule
        self._type = VType(shape.x.elem, schedule.lanes)
        bias = ctx.inputs[2].array if len(ctx.inputs) > 2 else None
        if len(ctx.inputs) > 2 and bias is None:
            raise EllcError("a convolution's bias must be constant", code="E302", where=ctx.name)
        edges = not (shape.rows.is_interior and shape.columns.is_interior)
        self._by_class = edges and not padding.is_zero
        self._param: Param | None = None
        self._classes: Param | None = None
        if bias is None and not self._by_class:
            return
        self._param = b.param("start", shape.x.elem, 64)
        row_taps = list(dict.fromkeys(shape.rows.valid(r) for r in range(shape.rows.outputs)))
        self._column_taps = list(
            dict.fromkeys(shape.columns.valid(c) for c in range(shape.columns.outputs))
        )
        tables = [
            self._table(weights, bias, padding, rows, columns)
            for rows in (row_taps if self._by_class else row_taps[:1])
            for columns in (self._column_taps if self._by_class else self._column_taps[:1])
        ]
        args.append(ctx.constant(np.stack(tables)))
        self._stride = tables[0].size
        if self._by_class and len(row_taps) > 1:
            self._classes = b.param("row_class", Elem.I32, 64)
            places = [row_taps.index(shape.rows.valid(r)) for r in range(shape.rows.outputs)]
            args.append(ctx.constant(np.array(places, np.int32)))

    def _table(
        self,
        weights: Array,
        bias: Array | None,
        padding: Padding,
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> Array:
        """Start values [groups, blocks * block] for outputs that read these taps only."""
        shape, block = self._shape, self._schedule.block
        total = np.zeros(weights.shape[0]) if bias is None else bias.astype(np.float64)
        if self._by_class:
            outside = np.ones(weights.shape[1:3], bool)
            outside[rows[0] : rows[1], columns[0] : columns[1]] = False
            depth = weights.shape[3]
            values = np.resize(np.array(padding.values, np.float64), shape.groups * depth)
            for group in range(shape.groups):
                mine = slice(group * shape.filters, (group + 1) * shape.filters)
                share = values[group * depth : (group + 1) * depth]
                taps = weights[mine][:, outside].astype(np.float64)
                total[mine] += (taps * share).sum(axis=(1, 2))
        grouped = total.reshape(shape.groups, shape.filters)
        width = -(-shape.filters // block) * block - shape.filters
        return np.pad(grouped, ((0, 0), (0, width))).astype(weights.dtype)

    def values(self, place: _Place, taps: tuple[int, int]) -> list[Operand]:
        """The start of one pixel's sums, one vector after the other."""
        if self._param is None:
            return [self._b.const(0, self._type)] * self._schedule.vectors
        b, schedule = self._b, self._schedule
        width = -(-self._shape.filters // schedule.block) * schedule.block
        index = b.add(b.mul(place.group, width), b.mul(place.block, schedule.block))
        if self._by_class:
            kind: Operand = Imm(self._column_taps.index(taps))
            if self._classes is not None:
                row = b.convert(b.load(self._classes, place.row), Elem.INDEX)
                kind = b.add(b.mul(row, len(self._column_taps)), kind)
            index = b.add(index, b.mul(kind, self._stride))
        align = schedule.lanes * self._type.elem.bytes
        return [
            b.load(self._param, index, schedule.lanes, offset=v * schedule.lanes, align_bytes=align)
            for v in range(schedule.vectors)
        ]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the nest stands: everything a tile needs to know but its column."""

    image: Operand
    group: Operand
    block: Operand
    row: Operand
    row_taps: tuple[Operand, Operand]
    valid: int
    last_block: bool


class _Nest:
    """Writes the loops around the tile, and the tile."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        x: Param,
        w: Param,
        start: _Start,
        epilogue: Epilogue,
    ) -> None:
        self._b, self._shape, self._schedule = b, shape, schedule
        self._x, self._w, self._start, self._epilogue = x, w, start, epilogue

    def write(self) -> int:
        """Write the nest; returns the extent of the parallel loop (image, group, band, block)."""
        b, shape, schedule = self._b, self._shape, self._schedule
        blocks = -(-shape.filters // schedule.block)
        bands = -(-shape.rows.outputs // schedule.band_rows)
        uneven = shape.filters % schedule.block != 0 or self._epilogue.has_tail
        with b.loop("part", b.begin, b.end) as part:
            block, rest = b.rem(part.index, blocks), b.div(part.index, blocks)
            band, rest = b.rem(rest, bands), b.div(rest, bands)
            group, image = b.rem(rest, shape.groups), b.div(rest, shape.groups)
            first = b.mul(band, schedule.band_rows)
            last = b.min(b.add(first, schedule.band_rows), shape.rows.outputs)
            if not uneven:
                self._rows(image, group, block, first, last, schedule.block, last_block=False)
            elif blocks == 1:
                self._rows(image, group, Imm(0), first, last, shape.filters, last_block=True)
            else:
                is_last = b.compare("eq", block, Imm(blocks - 1))
                with b.when(b.compare("lt", block, Imm(blocks - 1))):
                    self._rows(image, group, block, first, last, schedule.block, last_block=False)
                with b.when(is_last):
                    valid = shape.filters - (blocks - 1) * schedule.block
                    self._rows(image, group, Imm(blocks - 1), first, last, valid, last_block=True)
        return shape.walk[0] * shape.groups * bands * blocks

    def _rows(
        self,
        image: Operand,
        group: Operand,
        block: Operand,
        first: Operand,
        last: Operand,
        valid: int,
        *,
        last_block: bool,
    ) -> None:
        """Rows [first, last) of one block: tiles away from the edges are a loop, others are not."""
        b, columns = self._b, self._shape.columns
        with b.loop("row", first, last) as row:
            taps = self._shape.rows.dynamic_taps(b, row.index)
            place = _Place(image, group, block, row.index, taps, valid, last_block)
            for tiles in column_tiles(columns, self._schedule.pixels):
                stop = tiles.start + tiles.count * tiles.size
                with b.loop("column", tiles.start, stop, tiles.size) as column:
                    self._tile(place, column.index, tiles)

    def _tile(self, place: _Place, column: Operand, tiles: Tiles) -> None:
        """Sums of neighbouring pixels for one block of filters, then the epilogue."""
        b, shape, schedule = self._b, self._shape, self._schedule
        sums: list[Operand] = []
        for taps in tiles.taps:
            sums += self._start.values(place, taps)
        base = self._pixel(place, column)
        weights = self._panel(place)
        first, last = place.row_taps
        with b.loop("window_row", first, last, carry=sums) as down:
            inside = b.add(base, b.mul(down.index, shape.rows.dilation * shape.x.strides[1]))
            step = shape.columns.taps * shape.channels * schedule.block
            panel = b.add(weights, b.mul(down.index, step))
            running = list(down.carried)
            for taps, pixels in tiles.tap_groups():
                running = self._taps(running, inside, panel, taps, pixels)
            down.carry(running)
        channel = b.add(b.mul(place.group, shape.filters), b.mul(place.block, schedule.block))
        at = (place.image, place.row, column, channel)
        for pixel in range(tiles.size):
            mine = list(down.results[pixel * schedule.vectors : (pixel + 1) * schedule.vectors])
            self._epilogue.store(mine, at, (0, 0, pixel, 0), place.valid, last=place.last_block)

    def _pixel(self, place: _Place, column: Operand) -> Operand:
        """Index of the first pixel's first value for window row 0 and tap 0."""
        b, shape, strides = self._b, self._shape, self._shape.x.strides
        rows, columns = shape.rows, shape.columns
        index = b.mul(b.sub(b.mul(place.row, rows.stride), rows.before), strides[1])
        across = b.sub(b.mul(column, columns.stride), columns.before)
        index = b.add(index, b.mul(across, strides[2]))
        index = b.add(index, b.mul(place.image, strides[0]))
        return b.add(index, b.mul(place.group, shape.channels))

    def _panel(self, place: _Place) -> Operand:
        """Index of the weights of window row 0."""
        b, shape, schedule = self._b, self._shape, self._schedule
        taps = shape.rows.taps * shape.columns.taps
        size = taps * shape.channels * schedule.block
        blocks = -(-shape.filters // schedule.block)
        return b.mul(b.add(b.mul(place.group, blocks), place.block), size)

    def _taps(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        taps: tuple[int, int],
        pixels: Sequence[int],
    ) -> list[Operand]:
        """Neighbouring taps of one window row, for the pixels that have them."""
        b, shape, schedule = self._b, self._shape, self._schedule
        first, end = taps
        tap_step = shape.columns.dilation * shape.x.strides[2]
        panel_step = shape.channels * schedule.block
        here, below = b.add(inside, first * tap_step), b.add(panel, first * panel_step)
        if shape.consecutive_taps and shape.groups == 1:
            return self._depth(sums, here, below, (end - first) * shape.channels, pixels)
        with b.loop("tap", 0, end - first, carry=sums) as across:
            moved = b.add(here, b.mul(across.index, tap_step))
            lower = b.add(below, b.mul(across.index, panel_step))
            across.carry(self._depth(list(across.carried), moved, lower, shape.channels, pixels))
        return list(across.results)

    def _depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """`length` consecutive values of every pixel times as many rows of weights."""
        b, schedule = self._b, self._schedule
        whole = length - length % schedule.k_step
        with b.loop("k", 0, whole, schedule.k_step, carry=sums) as k:
            here = b.add(inside, k.index)
            below = b.add(panel, b.mul(k.index, schedule.block))
            k.carry(self._steps(list(k.carried), here, below, pixels, schedule.k_step))
        sums = list(k.results)
        if length - whole:
            here = b.add(inside, whole)
            below = b.add(panel, whole * schedule.block)
            sums = self._steps(sums, here, below, pixels, length - whole)
        return sums

    def _steps(
        self,
        sums: list[Operand],
        here: Operand,
        below: Operand,
        pixels: Sequence[int],
        steps: int,
    ) -> list[Operand]:
        """The straight-line heart: `steps` values of each pixel, multiplied and added."""
        b, shape, schedule = self._b, self._shape, self._schedule
        vectors, lanes = schedule.vectors, schedule.lanes
        apart = shape.columns.stride * shape.x.strides[2]
        by_lane = schedule.by_lane and steps == schedule.k_step
        values: dict[int, Operand] = {}
        if by_lane:
            values = {p: b.load(self._x, here, steps, offset=p * apart) for p in pixels}
        align = lanes * shape.x.elem.bytes
        at_once = vectors * steps if by_lane else vectors
        weights: list[Operand] = []
        for k in range(steps):
            if not weights:
                start = k * schedule.block
                weights = [
                    b.load(self._w, below, lanes, offset=start + v * lanes, align_bytes=align)
                    for v in range(at_once)
                ]
            now, weights = weights[:vectors], weights[vectors:]
            for pixel in pixels:
                if by_lane:
                    value = b.op("splat_lane", values[pixel], attrs=(k, lanes))
                else:
                    value = b.splat(b.load(self._x, here, offset=pixel * apart + k), lanes)
                for v in range(vectors):
                    place = pixel * vectors + v
                    sums[place] = b.mul_add(now[v], value, sums[place])
        return sums
