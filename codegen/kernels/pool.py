"""Maximum and mean over windows.

For small windows, first the rows of each image column are combined, once for all windows that share
the column. Then the columns of each window are combined. The elements of a large window are
combined by loops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Protocol

import numpy as np

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.epilogue import Coordinates, Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.sliding import (
    Rectangle,
    RectanglePosition,
    Sliding,
    input_readers,
    origin,
    write_tiles,
)
from ellc.codegen.blocks.vectors import fitted_lanes, vector_lanes
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import window_axes
from ellc.codegen.kernels.depthwise_cost import has_strips, sizes, stream_cycles
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import SCALAR_BYTES, Target
from ellc.ir.ops.common import padding_values
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised_pool import IntAvgPool2D

Pool = MaxPool2D | AvgPool2D | IntAvgPool2D
_SMALL_WINDOW = 3
"""The code of a window has no loops if the window has at most this many taps per vector register,
and at most `_MOST_COLUMNS` columns. Thousands of modelled cycles for other limits, by
`tests/benchmarks/constants.py`, 32 channels, 28x28:
pi3_64: 9x9 2: 935, 3: 411; 7x7 1: 707, 2: 266, 4: 272; pi3: 7x7 2: 763, 4: 1,393."""

_REGISTERS = 12
"""The most image columns, each with its rows combined, that a tile keeps in registers, on targets
with 32 vector registers. Cycles for other limits on pi3_64, as above: 2x2 9: 59, 12: 61, 16: 64;
3x3 6: 136, 9: 122, 12: 117, 16: 117, 24: 121; 5x5 6: 342, 9: 232, 12: 201, 16: 185, 24: 191."""
_FEW_REGISTERS = 9
"""The same limit for targets with fewer registers. Cycles on pi3: 2x2 4: 96, 7: 87, 9: 86, 12: 90;
3x3 4: 153, 5: 135, 7: 124, 9: 127, 12: 137; 5x5 5: 744, 7: 400, 9: 348, 12: 311. Microseconds with
AVX2 on an AMD EPYC: 3x3 7: 3.8, 9: 3.5, 12: 3.3; 5x5 7: 8.5, 9: 6.9, 12: 5.9."""
_MOST_COLUMNS = 12
"""The most columns of a window that is straight-line code. Cycles on pi3_64: 7x7 6: 707, 12: 267;
9x9 6: 936, 12: 411."""
_BUSY = 4
"""A tile that loads fewer pixels than this at a time has several vectors of channels instead.
Tiles of common windows load more pixels, so other values give the same kernels."""


_SLOT, _LINE_WAIT = 1.85, 45.0
"""The cycles of an issue slot where another family computes the same pools, and the wait for a line
of image or result, because nothing is prefetched: 40x40x64, 2x2, 8,000 lines, 454 thousand modelled
cycles on pi3_64."""


_LINE_LOOP = 8
"""The slots of a loop over lines: 40x40x64, 2x2, takes 96 thousand modelled cycles on pi3_64."""


@kernel(MaxPool2D, AvgPool2D, name="pool")
def pool(node: PlacedNode) -> Iterator[Candidate]:
    """A candidate for the maximum and the mean over windows of any size."""
    combination = _Maximum if isinstance(node.anchor, MaxPool2D) else _Mean
    prediction = Prediction("pool", "", _cycles(node))
    yield Candidate(prediction, partial(lower_windows, node, combination))


def _cycles(node: PlacedNode) -> float | None:
    """The cycles of small windows of floats where another family computes them, too."""
    shape, target = windows_of(node), node.target
    if not has_strips(target) or shape.x.elem is not Elem.F32 or not has_short_code(target, shape):
        return None
    images, rows, columns, channels = shape.walk
    tile = rectangle(target, shape, Elem.F32, 1)
    if takes_lines(target, shape, Elem.F32):
        taps = shape.rows.taps * shape.columns.taps
        slots = tile.vectors * (taps * (target.core.load_cycles + 1) - 1)
        slots += taps + tile.vectors + _LINE_LOOP
        return slots * prod(shape.walk) / tile.block + stream_cycles(target, shape)
    image_columns = (tile.pixels - 1) * shape.columns.stride + shape.columns.taps
    slots = image_columns * (shape.rows.taps * (target.core.load_cycles + 1) - 1)
    slots += tile.pixels * shape.columns.taps
    slots *= images * rows * columns * channels / tile.lanes / tile.pixels
    return slots * _SLOT + images * sum(sizes(shape)) / _LINE_BYTES * _LINE_WAIT


def combination_of(
    node: PlacedNode, b: KernelBuilder, shape: Sliding, args: list[Arg]
) -> Combination:
    """How the maximum or mean of a node combines elements; adds to `args` what it reads."""
    op = node.anchor
    assert isinstance(op, MaxPool2D | AvgPool2D)
    return (_Maximum if isinstance(op, MaxPool2D) else _Mean)(b, op, shape, args)


def windows_of(node: PlacedNode) -> Sliding:
    """The windows of a pool over its image, whose border they read if it suits them."""
    op = node.anchor
    assert isinstance(op, Pool)
    x = reshaped(node.inputs[0].access, node.inputs[0].type.shape)
    if isinstance(op, IntAvgPool2D) or (isinstance(op, AvgPool2D) and not op.include_padding):
        x = replace(x, border=None)  # the mean leaves out elements outside the image
    images, rows, columns, channels = node.anchor_type().shape
    dilation = (1, 1) if isinstance(op, IntAvgPool2D) else op.dilation
    axes = window_axes(x, (rows, columns), op.window, op.stride, dilation, op.padding)
    return Sliding(x, (images, rows, columns, channels), *axes)


def lower_windows(node: PlacedNode, combination_type: CombinationType) -> list[KernelCall]:
    """The kernel calls of a pool; `combination_type` defines how elements are combined."""
    op = node.anchor
    assert isinstance(op, Pool)
    shape = windows_of(node)
    x = shape.x
    b = KernelBuilder(node.name)
    args: list[Arg] = [access_arg(x)]
    source = b.param("x", x.elem, x.align_bytes)
    combination = combination_type(b, op, shape, args)
    epilogue = Epilogue(node, b, shape.walk)
    tile = rectangle(node.target, shape, combination.elem, 8 if epilogue.is_bits else 1)
    lines = takes_lines(node.target, shape, combination.elem)
    pool = TileWriter(
        b,
        source,
        shape,
        tile,
        combination,
        epilogue,
        is_small=has_short_code(node.target, shape),
        prefetches=_prefetches(node.target),
        lines=lines,
    )
    split_last = lines or epilogue.has_tail
    extent = write_tiles(b, shape, tile, pool.tile, threads=node.threads, split_last=split_last)
    return [KernelCall(b.finish(), (*args, *epilogue.args), extent, f"window {tile.note}")]


def _prefetches(target: Target) -> bool:
    """Whether the loops of large windows prefetch: on in-order cores with 32 registers of vectors.

    On 32-bit Arm, where loads take no offsets, it made the same loops slower by 5 to 40 %.
    """
    has_vectors = target.vector_bytes > SCALAR_BYTES and target.vector_registers >= 32
    return target.core.in_order and has_vectors


def has_short_code(target: Target, shape: Sliding) -> bool:
    """Whether the code of a window is straight-line code instead of loops.

    A single window with many taps is computed by loops if these prefetch.
    """
    is_single = shape.rows.outputs == shape.columns.outputs == 1
    if is_single and _prefetches(target) and shape.rows.taps * shape.columns.taps > _FEW_TAPS:
        return False
    limit = _SMALL_WINDOW * target.vector_registers
    return shape.rows.taps * shape.columns.taps <= limit and shape.columns.taps <= _MOST_COLUMNS


def rectangle(target: Target, shape: Sliding, elem: Elem, multiple: int) -> Rectangle:
    """The tile: as many pixels of one row as fit in registers with all their window columns.

    For a large window it is a single pixel. If the windows have few columns, several vectors of
    channels are interleaved. The number of channels in a tile is a multiple of `multiple`.
    """
    channels = shape.walk[3]
    lanes = fitted_lanes(vector_lanes(target, elem), channels)
    registers = _REGISTERS if target.vector_registers >= 32 else _FEW_REGISTERS
    columns = shape.columns
    if takes_lines(target, shape, elem):
        return Rectangle(1, 1, _LINE_BYTES // elem.bytes // lanes, lanes)
    pixels = 1
    if has_short_code(target, shape):
        pixels = max(1, min((registers - columns.taps) // columns.stride + 1, columns.outputs))
    busy = max(1, pixels * min(columns.stride, columns.taps))
    most = _BUSY // busy
    if not has_short_code(target, shape) and _prefetches(target):
        most = target.vector_registers // 2
    vectors = max(1, min(most, channels // lanes))
    while vectors * lanes % multiple:
        vectors += 1
    return Rectangle(1, pixels, vectors, lanes)


def takes_lines(target: Target, shape: Sliding, elem: Elem) -> bool:
    """Whether a tile is a cache line of channels of one pixel.

    Windows then share no columns, so that nothing would stay in registers between pixels. The lines
    of the next tile are prefetched, and whole lines are stored at once. The last tile of a pixel
    has code of its own, as what the next one reads is not beside it. Thousands of modelled cycles
    on pi3_64 for 2x2, 40x40x64: rows of pixels 454, the family `pool_columns` 152, lines 96. In a
    network, from memory, 80x80x64 takes 1,206, and 1,580 if the lines of two tiles are prefetched:
    eight are all that a Cortex-A53 can wait for, and it drops further requests.
    """
    columns, is_whole = shape.columns, shape.walk[3] * elem.bytes % _LINE_BYTES == 0
    is_small = shape.rows.taps * columns.taps <= _LINE_TAPS and elem is Elem.F32
    return columns.stride >= columns.taps and is_small and is_whole and _prefetches(target)


_LINE_TAPS = 4
"""The most taps of a window that is computed for a whole line: all its values are in registers."""
_LINE_BYTES = 64
_FEW_TAPS = 16
"""A window with more taps than this, of which there is only one, is computed by loops."""
_TAPS_AHEAD = 2
"""How many taps ahead the loops of a large window prefetch. A tile then has as many vectors as half
of the registers: the lines of two taps are as many as a Cortex-A53 can wait for, and it drops
further requests. Thousands of modelled cycles on pi3_64 for the mean of 13x13x1000: 351; without
prefetch, with 4 vectors, 1,082; bytes alone take 340. 7x7x1280: 63 and 149."""


class Combination(ABC):
    """How a pool combines the elements of a window. It computes in the element type `elem`."""

    operation: str
    elem: Elem

    def __init__(
        self,
        b: KernelBuilder,
        op: Pool,
        shape: Sliding,
        args: list[Arg],
    ) -> None:
        self._b, self._op, self._area = b, op, op.window[0] * op.window[1]
        self.elem = shape.x.elem
        self._outside: Param | None = None
        values = padding_values(op.padding, self.elem.numpy)
        self._value = values[0].item()
        if values.size > 1 and not (shape.rows.is_interior and shape.columns.is_interior):
            self._outside = b.param("frame", self.elem, 64)
            args.append(constant(np.pad(values, (0, 64 + -values.size % 16))))

    @abstractmethod
    def identity(self, type_: VType) -> Operand:
        """The identity element in all lanes."""

    @abstractmethod
    def finish(self, value: Operand, taps: int, channel: Operand, shift: int) -> Operand:
        """The results of a window, for the channels from `channel + shift` on.

        `value` is the combination of the `taps` elements of the window that are inside the image.
        """

    def loaded(self, value: Operand) -> Operand:
        """An element of the image, converted to `elem`."""
        return self._b.convert(value, self.elem)

    def outside(self, type_: VType, channel: Operand, shift: int) -> Operand:
        """The values of the padding in the channels from `channel + shift` on."""
        if self._outside is None:
            return self._b.const(self._value, type_)
        return self._b.load(self._outside, channel, type_.lanes, offset=shift)


CombinationType = Callable[[KernelBuilder, Pool, Sliding, list[Arg]], Combination]


class _Maximum(Combination):
    """The largest element of a window, including the padding."""

    operation = "max"

    def identity(self, type_: VType) -> Operand:
        elem = type_.elem
        low = -np.inf if elem.is_float else np.iinfo(elem.numpy).min
        return self._b.const(low, type_)

    def finish(self, value: Operand, taps: int, channel: Operand, shift: int) -> Operand:
        if taps == self._area:
            return value
        return self._b.max(value, self.outside(value.type, channel, shift))


class _Mean(Combination):
    """The sum of a window, divided by the number of elements that the operator counts."""

    operation = "add"

    def identity(self, type_: VType) -> Operand:
        return self._b.const(0.0, type_)

    def finish(self, value: Operand, taps: int, channel: Operand, shift: int) -> Operand:
        b, op = self._b, self._op
        assert isinstance(op, AvgPool2D)
        if not op.include_padding:
            if taps == 0:
                return b.const(float("nan"), value)
            return b.mul(value, b.const(1 / taps, value))
        if taps < self._area and not op.padding.is_zero:
            outside = self.outside(value.type, channel, shift)
            value = b.mul_add(outside, b.const(self._area - taps, value), value)
        return b.mul(value, b.const(1 / self._area, value))


def tree(
    b: KernelBuilder, combination: Combination, values: Sequence[Operand], type_: VType
) -> Operand:
    """The combination of all values, as a balanced tree; of no values, the identity element."""
    if not values:
        return combination.identity(type_)
    items = list(values)
    while len(items) > 1:
        pairs = [
            b.op(combination.operation, items[i], items[i + 1]) for i in range(0, len(items) - 1, 2)
        ]
        items = pairs + items[len(items) & ~1 :]
    return items[0]


class Stores(Protocol):
    """What stores the results of windows, such as an `Epilogue`."""

    def store(
        self,
        values: Sequence[Operand],
        at: Coordinates,
        delta: Sequence[int] = (),
        count: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Store vectors of consecutive channels from `at + delta` on."""


class TileWriter:
    """Writes the code of a tile."""

    def __init__(
        self,
        b: KernelBuilder,
        x: Param,
        shape: Sliding,
        tile: Rectangle,
        combination: Combination,
        epilogue: Stores,
        *,
        is_small: bool,
        prefetches: bool,
        lines: bool = False,
    ) -> None:
        self._b, self._x, self._shape, self._tile = b, x, shape, tile
        self._combination, self._epilogue = combination, epilogue
        self._is_small_window, self._takes_lines = is_small, lines
        self._prefetches = prefetches and tile.block * x.elem.bytes >= _LINE_BYTES

    def tile(self, position: RectanglePosition) -> None:
        """Write a row of neighbouring windows for one block of channels."""
        base = origin(self._b, self._shape, position, position.channel)
        windows = self._small_windows if self._is_small_window else self._large_window
        values = windows(position, base)
        first, end = position.rows[0]
        for pixel, vectors in enumerate(values):
            taps = (end - first) * (position.columns[pixel][1] - position.columns[pixel][0])
            finished = [
                self._combination.finish(v, taps, position.channel, i * self._tile.lanes)
                for i, v in enumerate(vectors)
            ]
            self._epilogue.store(
                finished, position.at, (0, 0, pixel, 0), position.valid, last=position.last
            )

    def _small_windows(self, position: RectanglePosition, base: Operand) -> list[list[Operand]]:
        """Values [pixel][vector]. Each image column is combined once for all windows."""
        assert self._tile.rows == 1
        chains = [
            partial(self._row_of_windows, position, base, vector)
            for vector in range(self._vectors(position))
        ]
        if self._takes_lines:
            self._fetch_lines(position, base)
            made = self._b.interleaved(chains)
        else:
            made = [chain() for chain in chains]
        return [list(values) for values in zip(*made, strict=True)]

    def _row_of_windows(
        self, position: RectanglePosition, base: Operand, vector: int
    ) -> list[Operand]:
        """The values of one vector of channels, by pixel."""
        columns = input_readers(self._shape.columns, position.columns)
        rows = range(*position.rows[0])
        combined = self._combined_columns(base, list(columns), rows, vector, position)
        return [
            self._tree(
                [
                    combined[column]
                    for column, readers in columns.items()
                    if any(output == pixel for output, _ in readers)
                ]
            )
            for pixel in range(len(position.columns))
        ]

    def _fetch_lines(self, position: RectanglePosition, base: Operand) -> None:
        """Prefetch what the next tile reads: the next channels, or the first ones of a pixel."""
        strides, channels = self._shape.x.strides, self._shape.walk[3]
        offset = self._tile.block
        if position.last:
            offset += self._shape.columns.stride * strides[2] - channels
        for row in range(*position.rows[0]):
            for column in input_readers(self._shape.columns, position.columns):
                inside = row * self._shape.rows.dilation * strides[1] + column * strides[2]
                self._b.prefetch(self._x, base, offset=inside + offset)

    def _combined_columns(
        self,
        base: Operand,
        columns: list[int],
        rows: range,
        vector: int,
        position: RectanglePosition,
    ) -> dict[int, Operand]:
        """For each column, the combination of its rows.

        Each column is loaded before its left neighbour is combined, so that no instruction waits
        for a load.
        """
        combined: dict[int, Operand] = {}
        following: list[Operand] = []
        for index, column in enumerate([*columns, None]):
            loaded = following
            if column is not None:
                following = [self._load(base, row, column, vector, position) for row in rows]
            if index:
                combined[columns[index - 1]] = self._tree(loaded)
        return combined

    def _vectors(self, position: RectanglePosition) -> int:
        """How many vectors of the block contain channels that exist."""
        return -(-position.valid // self._tile.lanes)

    def _load(
        self, base: Operand, row: int, column: int, vector: int, position: RectanglePosition
    ) -> Operand:
        strides, lanes = self._shape.x.strides, self._tile.lanes
        input_row = row * self._shape.rows.dilation
        offset = input_row * strides[1] + column * strides[2] + vector * lanes
        count = min(lanes, position.valid - vector * lanes)
        stored = self._b.load_some(self._x, base, lanes, count, offset=offset)
        return self._combination.loaded(stored)

    def _tree(self, values: Sequence[Operand]) -> Operand:
        type_ = VType(self._combination.elem, self._tile.lanes)
        return tree(self._b, self._combination, values, type_)

    # --- windows that are too large for straight-line code ---------------------------------------

    def _large_window(self, position: RectanglePosition, base: Operand) -> list[list[Operand]]:
        """Values [pixel][vector] of a single pixel, computed by loops over the window.

        Each vector has several accumulators, so that no instruction waits for the previous result.
        """
        b, shape = self._b, self._shape
        (top, bottom), (left, right) = position.rows[0], position.columns[0]
        rows, columns = bottom - top, right - left
        row_step = shape.x.strides[1] * shape.rows.dilation
        step = shape.x.strides[2] * shape.columns.dilation
        base = b.add(base, top * row_step + left * step)
        if row_step == columns * step:  # there are no gaps between the rows: treat them as one row
            rows, columns = 1, rows * columns
        vectors, unroll = self._vectors(position), max(1, 8 // self._tile.vectors)
        unroll = max(1, min(unroll, columns))
        identity = self._combination.identity(VType(self._combination.elem, self._tile.lanes))
        start = [identity] * (vectors * unroll)
        with b.loop("window_row", 0, rows, carry=start) as window_row:
            row_base = b.add(base, b.mul(window_row.index, row_step))
            loop_end = columns - columns % unroll
            with b.loop("tap", 0, loop_end, unroll, carry=window_row.carried) as tap:
                inside = b.add(row_base, b.mul(tap.index, step))
                tap.carry(self._combine_taps(list(tap.carried), inside, unroll, vectors, position))
            sums = list(tap.results)
            if columns - loop_end:
                rest = b.add(row_base, loop_end * step)
                sums = self._combine_taps(sums, rest, columns - loop_end, vectors, position)
            window_row.carry(sums)
        totals = window_row.results
        return [[self._tree(totals[v::vectors]) for v in range(vectors)]]

    def _prefetch(self, inside: Operand, taps: int, vectors: int) -> None:
        """Prefetch the lines of `taps` elements that lie `_TAPS_AHEAD` taps ahead."""
        step = self._shape.x.strides[2] * self._shape.columns.dilation
        line = _LINE_BYTES // self._x.elem.bytes
        for tap in range(taps):
            for channel in range(0, vectors * self._tile.lanes, line):
                offset = (tap + _TAPS_AHEAD) * step + channel
                self._b.prefetch(self._x, inside, offset=offset)

    def _combine_taps(
        self,
        sums: list[Operand],
        inside: Operand,
        taps: int,
        vectors: int,
        position: RectanglePosition,
    ) -> list[Operand]:
        """Combine `taps` neighbouring elements with the sums. Each tap has its own accumulators."""
        if self._prefetches:
            inside = self._b.op("opaque", inside)
            self._prefetch(inside, taps, vectors)
        values = [
            self._load(inside, 0, tap * self._shape.columns.dilation, vector, position)
            for tap in range(taps)
            for vector in range(vectors)
        ]
        for slot, value in enumerate(values):
            sums[slot] = self._b.op(self._combination.operation, sums[slot], value)
        return sums
