"""Depthwise convolution: every filter reads a single channel.

Vectors run along the channels. A tile is a rectangle of output pixels. A kernel loads each input
value of a tile once and adds its products to the sums of all windows that contain the value; the
weights stay in registers. Weights are packed `[block][window row][window column][lane]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel, preferred_first
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import NodeOperand, PlacedNode
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.sliding import (
    Rectangle,
    RectanglePosition,
    Sliding,
    Taps,
    input_readers,
    origin,
    write_tiles,
)
from ellc.codegen.blocks.terms import ProductTypes, Terms, in_bytes
from ellc.codegen.blocks.vectors import joined
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import window_axes
from ellc.codegen.kernels.convolution import has_filter_per_channel, terms_of
from ellc.codegen.kernels.depthwise_cost import tile_cycles as in_cycles
from ellc.codegen.kernels.depthwise_fetches import Fetches, shares
from ellc.codegen.kernels.depthwise_tile import (
    Rectangles,
    is_looped,
    loads_take_offsets,
    tile_cycles,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import VType
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Array

Slot = tuple[int, int, int]  # output row, output pixel, vector

_LOADED_AT_ONCE = 7
"""How many vectors of inputs are loaded one after the other before they are multiplied. Thousands
of modelled cycles on pi3_64 for other values of this constant, by `tests/benchmarks/constants.py`:
3x3, 96 channels, 56x56: 1: 6,744, 3: 5,431, 5: 4,813, 7: 4,776, 9: 4,675, 14: 5,247;
5x5, 32 channels, 28x28: 5: 325, 7: 318, 9: 300; bytes, 3x3, 64 channels, 28x28: 7: 239, 9: 241."""
_LOADED_WITHOUT_OFFSETS = 3
"""The same for 32-bit Arm, where each load advances a pointer. On pi3, by the same script:
3x3, 96 channels, 56x56: 1: 7,056, 3: 5,759, 4: 5,718, 5: 5,523, 7: 6,591;
3x3, 256 channels, 14x14: 3: 550, 5: 647, 7: 670; 5x5: 3: 452, 5: 502, 7: 529;
7x7: 3: 804, 5: 943, 7: 1,052; bytes: 3: 347, 5: 359, 7: 371."""


@dataclass(frozen=True, slots=True)
class _FilterBlock:
    """How a block of filters is computed. `multiplier` filters read the same channel.

    A `looped` tile has one output row and a loop over the window's rows. With `late_start` a sum
    begins with its first product, and its start value is added at the end; this avoids copying the
    start values into all registers. `loaded_at_once` vectors of inputs are loaded before they are
    multiplied.
    """

    multiplier: int
    tile: Rectangle
    looped: bool
    late_start: bool
    loaded_at_once: int

    @property
    def channels(self) -> int:
        """The number of input channels that a block of filters reads."""
        return max(1, self.tile.block // self.multiplier)


@kernel(Conv2D, IntConv2D, name="depthwise")
def depthwise(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for convolutions whose groups have one channel; weights are [F, kh, kw, 1]."""
    conv = node.anchor
    if not has_filter_per_channel(node):
        return
    assert isinstance(conv, Conv2D | IntConv2D)
    terms = terms_of(node)
    x = reshaped(node.inputs[0].access, node.inputs[0].type.shape)
    images, rows, columns, filters = node.anchor_type().shape
    axes = window_axes(
        x, (rows, columns), terms.weights.shape[1:3], conv.stride, conv.dilation, terms.padding
    )
    shape = Sliding(x, (images, rows, columns, filters), *axes)
    terms = in_bytes(terms, node.target)
    multiplier = filters // conv.groups
    with_offsets = loads_take_offsets(node.target)
    loaded_at_once = _LOADED_AT_ONCE if with_offsets else _LOADED_WITHOUT_OFFSETS
    is_float = terms.types.total.is_float

    def candidate(tile: Rectangle) -> Candidate:
        looped = is_looped(node.target, shape, tile.rows * tile.pixels)
        late = node.target.as_written and not looped
        block = _FilterBlock(multiplier, tile, looped, late, loaded_at_once)
        cycles, _ = tile_cycles(node.target, shape, (tile.rows, tile.pixels), tile.vectors)
        vectors = images * -(-filters // tile.lanes)
        # A start value that is added last is rounded differently.
        order = "start last" if late else ""
        cycles *= vectors
        if is_float:
            cycles = in_cycles(node.target, shape, cycles)
        unrolled = tile.rows * tile.pixels * tile.vectors
        prediction = Prediction("depthwise", tile.note, cycles, order=order, unrolled=unrolled)
        return Candidate(prediction, partial(_call, node, shape, terms, block))

    tiles = Rectangles.of(node.target, node.result.type.dtype, shape, multiplier, terms.types)
    yield from preferred_first(candidate(tiles.usual()), map(candidate, tiles.every()))


def _call(node: PlacedNode, shape: Sliding, terms: Terms, block: _FilterBlock) -> list[KernelCall]:
    """Write the kernel, and return its call."""
    types, x = terms.types, shape.x
    b = KernelBuilder(node.name)
    source, panel = b.param("x", x.elem, x.align_bytes), b.param("w", types.weight, 64)
    args: list[Arg] = [access_arg(x), packed_windows(node.inputs[1], terms, block.tile.block)]
    start = _StartValues(b, shape, terms, block.tile.lanes, args)
    epilogue = Epilogue(node, b, shape.walk)
    blocks = (shape.walk[3] - epilogue.has_tail) // block.tile.block
    fetches = Fetches.of(node.target, shape, 0 if block.looped or block.multiplier > 1 else blocks)
    writer = _TileWriter(b, shape, block, types, source, panel, start, epilogue, fetches)
    extent = write_tiles(
        b,
        shape,
        block.tile,
        writer.tile,
        threads=node.threads,
        split_last=epilogue.has_tail,
        turns=fetches.turns,
    )
    note = f"depthwise {block.tile.note}"
    return [KernelCall(b.finish(), (*args, *epilogue.args), extent, note)]


# --- constants -----------------------------------------------------------------------------------


def packed_windows(
    stored: NodeOperand, terms: Terms, block: int, *, by_columns: bool = False
) -> Arg:
    """The weights, packed by `pack_windows`, or by columns of the window instead of rows."""
    weights = terms.weights
    filters, rows, columns, _ = weights.shape
    size = -(-filters // block) * block * rows * columns * weights.itemsize
    ordered = weights.swapaxes(1, 2) if by_columns else weights
    order = ":columns" if by_columns else ""
    make = partial(pack_windows, ordered, block)
    return stored.derived(f"depthwise{order}:{block}:{terms.key}{weights.shape}", size, make)


def pack_windows(weights: Array, block: int) -> Array:
    """[F, kh, kw, 1] -> [blocks, kh, kw, block], with zeros after the last filter."""
    filters = weights.shape[0]
    blocks = -(-filters // block)
    padded = np.zeros((blocks * block, *weights.shape[1:3]), weights.dtype)
    padded[:filters] = weights[..., 0]
    split = padded.reshape(blocks, block, *weights.shape[1:3])
    return np.asarray(np.moveaxis(split, 1, -1), order="C")


class _StartValues:
    """The start values of sums: the bias, if any, plus contributions of taps outside the image."""

    def __init__(
        self, b: KernelBuilder, shape: Sliding, terms: Terms, lanes: int, args: list[Arg]
    ) -> None:
        """Declares a parameter and appends its argument to `args`, unless all values are 0."""
        self._b = b
        self._param: Param | None = None
        edges = not (shape.rows.is_interior and shape.columns.is_interior)
        if terms.starts_at_zero(edges=edges):
            return
        self._param = b.param("start", terms.types.total, 64)
        self._classes = _classes(shape) if terms.depends_on_taps(edges=edges) else []
        classes: list[tuple[Taps, Taps] | None] = [*self._classes] or [None]
        tables = [_in_vectors(terms.start(shape.x.shape[3], taps), lanes) for taps in classes]
        self._width = tables[0].size
        args.append(constant(np.stack(tables)))

    def value(
        self, type_: VType, rows: Taps, columns: Taps, channel: Operand, shift: int
    ) -> Operand:
        """A vector of start values, from `channel + shift` on, for pixels that read these taps."""
        if self._param is None:
            return self._b.const(0.0, type_)
        table = self._classes.index((rows, columns)) if self._classes else 0
        offset = table * self._width + shift
        return self._b.load(self._param, channel, type_.lanes, offset=offset)


def _classes(shape: Sliding) -> list[tuple[Taps, Taps]]:
    """The different pairs (row taps, column taps) that outputs read."""
    rows = dict.fromkeys(shape.rows.valid(r) for r in range(shape.rows.outputs))
    columns = dict.fromkeys(shape.columns.valid(c) for c in range(shape.columns.outputs))
    return [(r, c) for r in rows for c in columns]


def _in_vectors(values: Array, lanes: int) -> Array:
    """The values, padded with zeros to a whole number of vectors."""
    return np.pad(values, (0, -values.size % lanes))


# --- the tile ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Input:
    """An input pixel of a tile; for each axis, the pairs (output, tap) that read it."""

    row: int
    column: int
    rows: list[Taps]
    columns: list[Taps]

    def uses(self) -> list[tuple[int, int, int, int]]:
        """(output row, output pixel, tap row, tap column) of every product of this pixel."""
        return [
            (r, p, tap_row, tap_column)
            for r, tap_row in self.rows
            for p, tap_column in self.columns
        ]

    def taps(self) -> list[Taps]:
        """The taps whose weights multiply this pixel."""
        return [(tap_row, tap_column) for _, _, tap_row, tap_column in self.uses()]


class _Sums:
    """Adds products to the sum of each slot; with `sums_products`, first to a sum of 16 bits."""

    def __init__(self, b: KernelBuilder, types: ProductTypes, sums: dict[Slot, Operand]) -> None:
        self._b, self._types, self._sums = b, types, sums
        self._short_sums: dict[Slot, tuple[int, Operand]] = {}

    def tap(self, products: Iterable[tuple[Slot, Operand, Operand]]) -> None:
        """Add the products (slot, image value, weight) of one tap, each to a different sum."""
        if not self._types.sums_products:
            for slot, value, weight in products:
                # A multiplication of short factors must first clear the upper half of its first
                # factor. Weights come first, because fewer of them have to be cleared.
                factors = (weight, value) if self._types.short else (value, weight)
                self._sums[slot] = self._types.multiply_add(self._b, *factors, self._sums.get(slot))
            return
        for slot, value, weight in products:
            count, short_sum = self._short_sums.get(slot, (0, None))
            self._short_sums[slot] = (
                count + 1,
                self._types.multiply_add(self._b, value, weight, short_sum),
            )
        # Full 16-bit sums are added to their totals only after all products of the tap, when no
        # addition has to wait for a product.
        for slot in [
            s for s, (count, _) in self._short_sums.items() if count == self._types.products_at_once
        ]:
            self._add(slot)

    def finish(self) -> None:
        """Add the remaining 16-bit sums to their totals."""
        for slot in list(self._short_sums):
            self._add(slot)

    def _add(self, slot: Slot) -> None:
        short_sum = self._b.convert(self._short_sums.pop(slot)[1], self._types.total)
        total = self._sums.get(slot)
        self._sums[slot] = short_sum if total is None else self._b.add(total, short_sum)


class _TileWriter:
    """Writes the code of a tile."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        block: _FilterBlock,
        types: ProductTypes,
        x: Param,
        w: Param,
        start: _StartValues,
        epilogue: Epilogue,
        fetches: Fetches,
    ) -> None:
        self._b, self._shape, self._block, self._types = b, shape, block, types
        self._x, self._w, self._start, self._epilogue = x, w, start, epilogue
        self._type = VType(types.total, block.tile.lanes)
        self._fetches = fetches
        # With prefetches, the first turn of a trip makes the bases that its other turns use, too.
        self._rows: dict[int, Operand] = {}

    def tile(self, position: RectanglePosition) -> None:
        """Write a rectangle of windows for one block of filters."""
        b, tile = self._b, self._block.tile
        vectors = range(-(-position.valid // tile.lanes))
        late = self._block.late_start
        sums = {} if late else self._starts(position, vectors)
        taps = self._shape.rows.taps * self._shape.columns.taps
        base = origin(b, self._shape, position, b.div(position.channel, self._block.multiplier))
        if self._fetches.turns > 1 and position.turn == 0:
            self._rows = self._rows_at(base, position)
        panel = b.mul(position.channel, taps)
        if self._block.looped:
            self._looped(position, base, panel, sums, vectors)
        else:
            self._unrolled(position, base, panel, sums, vectors)
        if late:
            starts = self._starts(position, vectors)
            sums = {k: self._sum(sums.get(k), start) for k, start in starts.items()}
        results = [
            ([sums[row, pixel, v] for v in vectors], (0, row, pixel, 0))
            for row in range(len(position.rows))
            for pixel in range(len(position.columns))
        ]
        at_once = self._types.stored_at_once
        self._epilogue.store_pixels(
            results, position.at, position.valid, last=position.last, at_once=at_once
        )

    def _rows_at(self, base: Operand, position: RectanglePosition) -> dict[int, Operand]:
        """The index of each image row: the base of loads and prefetches of all turns of a trip."""
        b, step = self._b, self._shape.x.strides[1]
        rows = input_readers(self._shape.rows, position.rows)
        return {row: b.op("opaque", b.add(base, row * step)) for row in rows}

    def _starts(self, position: RectanglePosition, vectors: range) -> dict[Slot, Operand]:
        """The start value of each slot's sum."""
        lanes = self._block.tile.lanes
        return {
            (row, pixel, v): self._start.value(
                self._type, row_taps, column_taps, position.channel, v * lanes
            )
            for row, row_taps in enumerate(position.rows)
            for pixel, column_taps in enumerate(position.columns)
            for v in vectors
        }

    def _sum(self, total: Operand | None, start: Operand) -> Operand:
        """`total + start`. A `total` of None is a sum without products."""
        if total is None:
            return start
        is_zero = isinstance(start, Imm) and start.value == 0
        return total if is_zero else self._b.add(total, start)

    def _unrolled(
        self,
        position: RectanglePosition,
        base: Operand,
        panel: Operand,
        sums: dict[Slot, Operand],
        vectors: range,
    ) -> None:
        """Write the whole window as straight-line code.

        Computing one vector of filters after the other needs fewer registers for weights. All
        vectors are computed together if one alone has too few independent sums to hide the latency
        of multiply-adds, or if several filters read the same channel.
        """
        together = len(position.rows) * len(position.columns) < 4 or self._block.multiplier > 1
        groups = [list(vectors)] if together else [[v] for v in vectors]
        inputs = [
            _Input(row, column, row_readers, readers)
            for row, row_readers in input_readers(self._shape.rows, position.rows).items()
            for column, readers in input_readers(self._shape.columns, position.columns).items()
        ]
        for group in groups:
            self._multiply_inputs(position, base, panel, inputs, sums, group)

    def _looped(
        self,
        position: RectanglePosition,
        base: Operand,
        panel: Operand,
        sums: dict[Slot, Operand],
        vectors: range,
    ) -> None:
        """Write one output row, with a loop over the window's rows."""
        b, shape = self._b, self._shape
        first, end = position.rows[0]
        keys = list(sums)
        with b.loop("window_row", first, end, carry=[sums[k] for k in keys]) as window_row:
            step = shape.rows.dilation * shape.x.strides[1]
            inside = b.add(base, b.mul(window_row.index, step))
            row_panel = b.add(
                panel, b.mul(window_row.index, shape.columns.taps * self._block.tile.block)
            )
            running = dict(zip(keys, window_row.carried, strict=True))
            inputs = [
                _Input(0, column, [(0, 0)], readers)
                for column, readers in input_readers(shape.columns, position.columns).items()
            ]
            self._multiply_inputs(position, inside, row_panel, inputs, running, list(vectors))
            window_row.carry([running[k] for k in keys])
        sums.update(zip(keys, window_row.results, strict=True))

    def _multiply_inputs(
        self,
        position: RectanglePosition,
        base: Operand,
        panel: Operand,
        inputs: list[_Input],
        sums: dict[Slot, Operand],
        vectors: list[int],
    ) -> None:
        """Add the products of every input value to the sums of all windows that contain the value.

        All weights are loaded first. Then inputs are loaded in groups, each followed by its
        products: the first value of a group arrives while the last ones are still being requested.
        A load between the products would make an in-order core wait, and so would a conversion that
        follows its load: bytes are converted when a group is loaded. Thousands of modelled cycles
        on pi3_64 of bytes, 3x3, with conversions between the loads and after them: 14x14x384 531
        and 452, 56x56x144 3,911 and 3,458, 112x112x96 with stride 2 4,954 and 3,695.
        """
        taps = dict.fromkeys(tap for x in inputs for tap in x.taps())
        weights = {(*tap, v): self._weight(panel, *tap, v) for tap in taps for v in vectors}
        added = _Sums(self._b, self._types, sums)
        size = max(1, self._block.loaded_at_once // len(vectors))
        pixels = [(x.row, x.column) for x in inputs]
        fetches = self._fetches.by_group(position, pixels, size) if vectors[0] == 0 else {}
        for first in range(0, len(inputs), size):
            group = inputs[first : first + size]
            stored = [self._stored(position, base, x, vectors) for x in group]
            loaded = [self._factors(values, vectors) for values in stored]
            products = [
                (use, values) for x, values in zip(group, loaded, strict=True) for use in x.uses()
            ]
            # Products of one tap belong to different sums, so that none waits for its predecessor.
            products.sort(key=lambda p: p[0][2:])
            of_taps = [(k, list(of_tap)) for k, of_tap in groupby(products, lambda p: p[0][2:])]
            fetched = shares(fetches.get(first // size, []), len(of_taps))
            for (tap, of_tap), next_pixels in zip(of_taps, fetched, strict=True):
                added.tap(
                    ((row, pixel, v), value, weights[*tap, v])
                    for (row, pixel, *_), values in of_tap
                    for v, value in zip(vectors, values, strict=True)
                )
                for row, offset in next_pixels:
                    self._b.prefetch(self._x, self._rows[row], offset=offset)
        added.finish()

    def _weight(self, panel: Operand, tap_row: int, tap_column: int, vector: int) -> Operand:
        tile, tap = self._block.tile, tap_row * self._shape.columns.taps + tap_column
        weight = self._b.load(
            self._w,
            panel,
            tile.lanes,
            offset=tap * tile.block + vector * tile.lanes,
            align_bytes=tile.lanes * self._w.elem.bytes,
        )
        return self._types.weight_factor(self._b, weight)

    def _stored(
        self, position: RectanglePosition, base: Operand, x: _Input, vectors: list[int]
    ) -> list[Operand]:
        """The stored values of an input pixel: one vector for each of `vectors`, or one for all."""
        b, lanes, multiplier = self._b, self._block.tile.lanes, self._block.multiplier
        strides, valid = self._shape.x.strides, position.valid
        offset = x.row * strides[1] + x.column * strides[2]
        if self._rows:
            base, offset = (
                self._rows[x.row],
                x.column * strides[2] + position.turn * self._block.tile.block,
            )
        if multiplier == 1:
            return [
                b.load_some(
                    self._x, base, lanes, min(lanes, valid - v * lanes), offset=offset + v * lanes
                )
                for v in vectors
            ]
        if multiplier % self._block.tile.block == 0:
            return [b.load(self._x, base, offset=offset)]
        channels, count = self._block.channels, -(-valid // multiplier)
        return [b.load_some(self._x, base, channels, count, offset=offset)]

    def _factors(self, stored: list[Operand], vectors: list[int]) -> list[Operand]:
        """Stored values as factors, one vector for each vector of filters."""
        lanes, multiplier = self._block.tile.lanes, self._block.multiplier
        factors = [self._types.image_factor(self._b, value) for value in stored]
        if multiplier == 1:
            return factors
        if multiplier % self._block.tile.block == 0:
            return [self._b.splat(factors[0], lanes)] * len(vectors)
        return [self._repeated(factors[0], v * lanes) for v in vectors]

    def _repeated(self, channels: Operand, first: int) -> Operand:
        """A vector for the filters from `first` on; each lane has its filter's input value."""
        b, lanes, multiplier = self._b, self._block.tile.lanes, self._block.multiplier
        pieces: list[Operand] = []
        filter_ = first
        while filter_ < first + lanes:
            channel = filter_ // multiplier
            count = min((channel + 1) * multiplier, first + lanes) - filter_
            if channels.type.lanes == 1:
                pieces.append(b.splat(channels, count))
            elif count == 1:
                pieces.append(b.lane(channels, channel))
            else:
                pieces.append(b.op("splat_lane", channels, attrs=(channel, count)))
            filter_ += count
        return joined(b, pieces)
