"""The stages of a Winograd convolution as kernel code: transform data, multiply, transform sums.

Of an image, every tile of n x n pixels becomes n * n values per channel, one in each *plane* of V;
the planes of a tile are neighbours, so that one address reaches all of them.
Plane by plane, a product of matrices [tiles x channels] x [channels x filters] makes a plane of M.
The n * n sums of a tile and a filter then become a tile of m x m results. V and M hold a band of
tiles at a time, so that they stay in the second-level cache.

A tile that reaches beyond the pixels in memory is first copied to a *patch* between zeros, one
vector of channels at a time; so are the last channels if they do not fill a vector. Patches lie in
the memory of M, which holds nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.blocks.window import Axis
from ellc.codegen.kernels.convolution import TileInputs
from ellc.codegen.kernels.gemm import Products
from ellc.codegen.kernels.implicit_gemm import ConvShape
from ellc.codegen.kernels.winograd_passes import Passes, Square
from ellc.codegen.kernels.winograd_transform import Winograd, data_transform, sum_transform
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import VType

LINE = 16
"""The floats of a cache line."""


def odd_lines(floats: int) -> int:
    """The least odd number of cache lines that hold this many floats, in floats.

    Vectors at such a distance reach all sets of a cache, whatever their number.
    """
    return (-(-floats // LINE) | 1) * LINE


def apart(floats: int) -> int:
    """The distance between planes of so many floats.

    If planes were a multiple of eight lines apart, those of a tile would meet in few sets.
    """
    return odd_lines(floats) if floats % (8 * LINE) == 0 else floats


@dataclass(frozen=True, slots=True)
class Layout:
    """How a convolution is cut into tiles and bands, and where V and M lie in scratch memory.

    `grid` has the numbers of (images, rows of tiles, tiles of a row). A band has `band` tiles; the
    last one may have fewer. With `panels_first`, M holds one block of filters at a time, which is
    transformed at once; otherwise all of a band's products come before its results. V and M exist
    once for each of `parts` ranges of bands, which several threads compute. `in_memory` and
    `at_once` say how the passes of transforms are written (`winograd_passes.py`).
    """

    transform: Winograd
    grid: tuple[int, int, int]
    channels: int
    filters: int
    schedule: GemmSchedule
    band: int
    panels_first: bool
    parts: int
    in_memory: bool
    at_once: int

    @property
    def tiles(self) -> int:
        """The number of tiles of all images."""
        images, rows, columns = self.grid
        return images * rows * columns

    @property
    def bands(self) -> int:
        """The number of bands."""
        return -(-self.tiles // self.band)

    @property
    def blocks(self) -> int:
        """The number of blocks of filters."""
        return -(-self.filters // self.schedule.block)

    @property
    def depth(self) -> int:
        """The channels of V: those of the image, and zeros up to a whole vector."""
        return -(-self.channels // self.schedule.lanes) * self.schedule.lanes

    @property
    def rows(self) -> int:
        """The tiles of a plane: those of a band, up to a whole tile of the product."""
        return -(-self.band // self.schedule.pixels) * self.schedule.pixels

    @property
    def v_row(self) -> int:
        """The distance between two tiles in V, in floats."""
        return apart(self.depth)

    @property
    def v_plane(self) -> int:
        """The distance between two planes of V, in floats."""
        return odd_lines(self.rows * self.v_row)

    @property
    def m_plane(self) -> int:
        """The distance between two planes of M at the same tile, in floats."""
        return apart(self.schedule.block * (1 if self.panels_first else self.blocks))

    @property
    def m_row(self) -> int:
        """The distance between two tiles in M, in floats."""
        return odd_lines(self.transform.products * self.m_plane)

    @property
    def order(self) -> str:
        """The order of products: block by block, or plane by plane."""
        return "panels" if self.panels_first else "planes"

    @property
    def note(self) -> str:
        """A short name for reports, such as `2x2_planes`."""
        results = self.transform.results
        return f"{results}x{results}_{self.order}"

    @property
    def v_floats(self) -> int:
        """The size of V for one part, in floats."""
        return self.transform.products * self.v_plane

    @property
    def patch(self) -> int:
        """The size of a patch, in floats. M has room for one for each tile of a band."""
        return self.transform.products * self.schedule.lanes

    @property
    def m_floats(self) -> int:
        """The size of M for one part, in floats."""
        return self.rows * self.m_row

    def product_shape(self, v: Access) -> ConvShape:
        """The products of all planes of all bands, as a 1x1 convolution of V."""
        planes = self.transform.products
        shape, strides = (planes, 1, self.rows, self.depth), (self.v_plane, 0, self.v_row, 1)
        access = replace(v, shape=shape, strides=strides)
        one = Axis(1, 1, 1, 1, 1, 0, True)
        row = Axis(self.rows, self.rows, 1, 1, 1, 0, True)
        walk = (planes * self.bands, 1, self.rows, self.filters)
        return ConvShape(access, walk, one, row, self.depth, self.filters, 1)


@dataclass(frozen=True, slots=True)
class Tiled:
    """An image and its result: the image, the window's axes, and the result's walk."""

    x: Access
    walk: tuple[int, int, int, int]
    rows: Axis
    columns: Axis

    def readable(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The rows and columns [first, end) that are in memory, with the border if it is read."""
        border = self.x.border if self.rows.bordered else None
        top, left, bottom, right = border.amounts if border else (0, 0, 0, 0)
        return (-top, self.rows.size + bottom), (-left, self.columns.size + right)

    def has_edges(self, layout: Layout) -> bool:
        """Whether some tiles reach beyond the pixels that are in memory."""
        _, rows, columns = layout.grid
        step, reach = layout.transform.results, layout.transform.points
        axes = zip((self.rows, self.columns), (rows, columns), self.readable(), strict=True)
        return any(
            -axis.before < first or (count - 1) * step - axis.before + reach > end
            for axis, count, (first, end) in axes
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """The first pixel of a tile's data: image, row and column, which may lie before the image."""

    image: Operand
    row: Operand
    column: Operand


class DataStage:
    """Writes the transform of tiles of data into V."""

    def __init__(
        self, b: KernelBuilder, tiled: Tiled, layout: Layout, params: tuple[Param, Param, Param]
    ) -> None:
        """`params` are the parameters of the image, of V, and of M, where patches lie."""
        self._b, self._tiled, self._layout = b, tiled, layout
        self._x, self._v, self._m = params
        self._n, self._lanes = layout.transform.points, layout.schedule.lanes

    def write(self, tile: Operand, number: Operand, part: Operand, patch: Operand) -> None:
        """Transform `tile` of all tiles, which is tile `number` of the band.

        `part` is the start of V, `patch` that of the tile's patch in M.
        """
        b, layout = self._b, self._layout
        place = self._place(tile)
        into = b.add(part, b.mul(number, layout.v_row))
        whole = layout.channels - layout.channels % self._lanes
        if not self._tiled.has_edges(layout):
            self._inside(place, into, whole)
        else:
            outside = self._is_outside(place)
            with b.when(b.compare("eq", outside, Imm(0))):
                self._inside(place, into, whole)
            with b.when(b.compare("ne", outside, Imm(0))):
                self._clear(patch)
                with b.loop("channel", 0, whole, self._lanes) as channel:
                    self._patched(place, into, patch, channel.index, self._lanes)
        if layout.channels > whole:
            self._clear(patch)
            self._patched(place, into, patch, Imm(whole), layout.channels - whole)

    def _place(self, tile: Operand) -> _Place:
        b, step = self._b, self._layout.transform.results
        _, rows, columns = self._layout.grid
        column, rest = b.rem(tile, columns), b.div(tile, columns)
        row, image = b.rem(rest, rows), b.div(rest, rows)
        return _Place(
            image,
            b.sub(b.mul(row, step), self._tiled.rows.before),
            b.sub(b.mul(column, step), self._tiled.columns.before),
        )

    def _index(self, place: _Place, channel: Operand) -> Operand:
        b, strides = self._b, self._tiled.x.strides
        index = b.add(b.mul(place.row, strides[1]), b.mul(place.column, strides[2]))
        return b.add(b.add(index, b.mul(place.image, strides[0])), channel)

    def _is_outside(self, place: _Place) -> Operand:
        """How many rows and columns of the tile are not in memory; 0 if all are."""
        b = self._b
        missing: Operand = Imm(0)
        for at, (first, end) in zip((place.row, place.column), self._tiled.readable(), strict=True):
            missing = b.add(missing, b.max(b.sub(first, at), 0))
            missing = b.add(missing, b.max(b.sub(b.add(at, self._n), end), 0))
        return missing

    def _inside(self, place: _Place, into: Operand, whole: int) -> None:
        b, strides = self._b, self._tiled.x.strides
        with b.loop("channel", 0, whole, self._lanes) as channel:
            # The neighbouring tile is next. Its pixels may come from memory.
            ahead = (
                self._layout.transform.results if self._layout.schedule.ahead.weight_bytes else 0
            )
            index = self._index(place, channel.index)
            pixels = Square(self._x, index, strides[1], strides[2], ahead)
            self._transform(pixels, b.add(into, channel.index))

    def _clear(self, patch: Operand) -> None:
        b, lanes = self._b, self._lanes
        with b.loop("clear", 0, self._n**2 * lanes, lanes) as clear:
            b.store(b.const(0, VType(self._m.elem, lanes)), self._m, b.add(patch, clear.index))

    def _patched(
        self, place: _Place, into: Operand, patch: Operand, channel: Operand, count: int
    ) -> None:
        """Transform a vector of channels, of which `count` exist, through the patch."""
        b, lanes, strides = self._b, self._lanes, self._tiled.x.strides
        index = self._index(place, channel)
        ranges = []
        for at, (first, end) in zip((place.row, place.column), self._tiled.readable(), strict=True):
            stop = b.min(b.sub(end, at), self._n)
            ranges.append((b.max(b.sub(first, at), 0), stop))
        with b.loop("patch_row", *ranges[0]) as row:
            source = b.add(index, b.mul(row.index, strides[1]))
            target = b.add(patch, b.mul(row.index, self._n * lanes))
            with b.loop("patch_column", *ranges[1]) as column:
                at = b.add(source, b.mul(column.index, strides[2]))
                value = b.load_some(self._x, at, lanes, count)
                b.store(value, self._m, b.add(target, b.mul(column.index, lanes)))
        pixels = Square(self._m, patch, self._n * lanes, lanes)
        self._transform(pixels, b.add(into, channel))

    def _transform(self, pixels: Square, into: Operand) -> None:
        """B^T d B of one tile and one vector of channels, stored in the planes of V."""
        plane, n = self._layout.v_plane, self._n
        planes = Square(self._v, into, n * plane, plane)
        one = partial(data_transform, self._b, self._layout.transform.data)
        passes = Passes(self._b, n, self._lanes, self._layout.at_once)
        if not self._layout.in_memory:
            columns = passes.turned(passes.of(pixels, one))
            for j, column in enumerate(passes.over(columns, one)):
                planes.turned.store(self._b, j, column)
            return
        passes.loop(pixels, n, one, lambda at, made: planes.moved(self._b, at).fill(self._b, made))
        turned = planes.turned
        passes.loop(turned, n, one, lambda at, made: turned.moved(self._b, at).fill(self._b, made))


class ProductStage:
    """Writes the products of a plane of V and a block of filters into M."""

    def __init__(
        self, b: KernelBuilder, layout: Layout, v: Access, params: tuple[Param, Param, Param]
    ) -> None:
        """`params` are the parameters of V, which is accessed by `v`, of the filters, and of M."""
        self._b, self._layout, self._m = b, layout, params[2]
        self._types = ProductTypes.floats(v.elem)
        inputs = TileInputs(params[0], params[1], None, self._types)
        self._products = Products(b, layout.product_shape(v), layout.schedule, inputs)

    def write(
        self, plane: Operand, block: Operand, count: Operand | int, parts: tuple[Operand, Operand]
    ) -> None:
        """The products of `count` tiles. `parts` has the starts of V and M."""
        b, layout, schedule = self._b, self._layout, self._layout.schedule
        column: Operand = Imm(0)
        if layout.panels_first:
            panel = b.add(b.mul(block, layout.transform.products), plane)
        else:
            panel = b.add(b.mul(plane, layout.blocks), block)
            column = b.mul(block, schedule.block)
        weights = b.mul(panel, layout.depth * schedule.block)
        source = b.add(parts[0], b.mul(plane, layout.v_plane))
        target = b.add(b.add(parts[1], b.mul(plane, layout.m_plane)), column)
        zero = b.const(0, VType(self._types.total, schedule.lanes))
        with b.loop("pixel", 0, count, schedule.pixels) as pixel:
            inside = b.add(source, b.mul(pixel.index, layout.v_row))
            sums = self._products.depth(
                [zero] * (schedule.pixels * schedule.vectors),
                inside,
                weights,
                layout.depth,
                range(schedule.pixels),
            )
            at = b.add(target, b.mul(pixel.index, layout.m_row))
            for place, value in enumerate(sums):
                row, vector = divmod(place, schedule.vectors)
                b.store(value, self._m, at, offset=row * layout.m_row + vector * schedule.lanes)


class SumStage:
    """Writes the transform of sums in M to results, with bias and epilogue."""

    def __init__(
        self,
        b: KernelBuilder,
        layout: Layout,
        m: Param,
        bias: Param | None,
        epilogue: Epilogue,
        walk: Sequence[int],
    ) -> None:
        self._b, self._layout, self._m, self._bias = b, layout, m, bias
        self._epilogue, self._walk = epilogue, walk

    def write(
        self, tile: Operand, number: Operand, part: Operand, block: Operand | None = None
    ) -> None:
        """The results of `tile`, which is tile `number` of the band; of one or of all blocks."""
        b, layout, lanes = self._b, self._layout, self._layout.schedule.lanes
        index = b.add(part, b.mul(number, layout.m_row))
        whole = layout.filters - layout.filters % lanes
        at = self._at(tile)
        first: Operand = Imm(0)
        stop: Operand = Imm(whole)
        inside = index
        if block is not None:
            first = b.mul(block, layout.schedule.block)
            stop = b.min(b.add(first, layout.schedule.block), whole)
            inside = b.sub(index, first)
        with b.loop("filter", first, stop, lanes) as filters:
            self._tile(at, filters.index, b.add(inside, filters.index), lanes)
        if layout.filters == whole:
            return
        with self._in_last_block(block):
            self._tile(at, Imm(whole), b.add(inside, whole), layout.filters - whole)

    @contextmanager
    def _in_last_block(self, block: Operand | None) -> Iterator[None]:
        if block is None:
            yield
        else:
            last = Imm(self._layout.blocks - 1)
            with self._b.when(self._b.compare("eq", block, last)):
                yield

    def _at(self, tile: Operand) -> tuple[Operand, Operand, Operand]:
        """The image, row and column of a tile's first result."""
        b, step = self._b, self._layout.transform.results
        _, rows, columns = self._layout.grid
        column, rest = b.rem(tile, columns), b.div(tile, columns)
        return b.div(rest, rows), b.mul(b.rem(rest, rows), step), b.mul(column, step)

    def _tile(
        self, at: tuple[Operand, Operand, Operand], channel: Operand, index: Operand, count: int
    ) -> None:
        """The results of one tile and one vector of filters, of which `count` exist.

        Tiles at the right edge may have fewer columns; they have their own code.
        """
        b, m, columns = self._b, self._layout.transform.results, self._walk[2]
        rest = columns % m
        if not rest:
            self._transform(at, channel, index, (count, m))
            return
        if columns > m:
            with b.when(b.compare("le", at[2], Imm(columns - m))):
                self._transform(at, channel, index, (count, m))
        with b.when(b.compare("gt", at[2], Imm(columns - m))):
            self._transform(at, channel, index, (count, rest))

    def _transform(
        self,
        at: tuple[Operand, Operand, Operand],
        channel: Operand,
        index: Operand,
        valid: tuple[int, int],
    ) -> None:
        """A^T m A of one tile and one vector; `valid` are the numbers of filters and columns."""
        b, layout, transform = self._b, self._layout, self._layout.transform
        n, m, lanes = transform.points, transform.results, layout.schedule.lanes
        bias = None
        if self._bias is not None:
            bias = b.load(self._bias, channel, lanes, align_bytes=lanes * self._bias.elem.bytes)
        first = partial(sum_transform, b, transform.sums)
        last = partial(sum_transform, b, transform.sums, start=bias)
        passes = Passes(b, n, lanes, layout.at_once)
        planes = Square(self._m, index, n * layout.m_plane, layout.m_plane)
        turned = planes.turned
        image, row, column = at

        def store(line: Operand, made: Sequence[Sequence[Operand]]) -> None:
            place = (image, b.add(row, line), column, channel)
            for i, values in enumerate(made):
                pixels = [([v], (0, i, j, 0)) for j, v in enumerate(values[: valid[1]])]
                self._epilogue.store_pixels(pixels, place, valid[0], at_once=len(pixels))

        if layout.in_memory:
            passes.loop(turned, n, first, lambda line, made: turned.moved(b, line).fill(b, made))
            rows = self._walk[1]
            exist: Operand | int = b.min(b.sub(rows, row), m) if rows % m else m
            passes.loop(planes, exist, last, store, step=2 - rows % m % 2)
            return
        rows_of = passes.over(passes.turned(passes.of(turned, first)), last)
        for i, values in enumerate(rows_of):
            with self._if_exists(i, row):
                store(Imm(i), [values])

    @contextmanager
    def _if_exists(self, place: int, first: Operand) -> Iterator[None]:
        """A condition, unless every tile has this row."""
        b, m, rows = self._b, self._layout.transform.results, self._walk[1]
        if place < (rows - 1) % m + 1:
            yield
        else:
            with b.when(b.compare("lt", first, Imm(rows - place))):
                yield
