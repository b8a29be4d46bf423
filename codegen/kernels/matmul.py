"""Products of two matrices of floats or bytes. Both may be computed, and neither is packed.

The sums of a tile stay in registers, in vectors along the result's columns. A right matrix that is
stored column by column is transposed first. If the result has few rows or one column, this would
cost too much: vectors then run along the depth, and each result is a dot product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel, lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.folding import index_of
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import dense_copy, reshaped
from ellc.codegen.blocks.terms import NO_ZEROS, ProductTypes, ZeroPoints
from ellc.codegen.blocks.vectors import fitted_lanes, joined, vector_lanes
from ellc.codegen.blocks.views import broadcast_strides
from ellc.codegen.blocks.walking import unraveled
from ellc.codegen.blocks.window import cut
from ellc.codegen.kernels.factors import Factors
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.quantised_conv import IntDense, IntMatMul
from ellc.ir.types import DType

_FEW_ROWS = 3
"""If the left matrix has at most this many rows, the right matrix is not transposed, provided that
both matrices are consecutive along the depth.

Measured by `tests/benchmarks/constants.py`, in thousands of modelled cycles without : with the
transposition, for 64 columns and a depth of 64. pi3_64: 2 rows 10.7 : 17.4, 4 rows 21.9 : 21.5,
6 rows 33.5 : 23.8; pi3: 4 rows 24.7 : 18.4."""
_MOST_ROWS = 12
"""The most rows of a tile. With two vectors of sums per row, 12 rows take 24 of 32 registers.
Thousands of modelled cycles (same script, 24 rows): pi3_64 4: 73.3, 6: 63.8, 8 and 12: 58.8,
because `_SHARE_OF_ROWS` allows no more than 8."""
_SHARE_OF_ROWS = 4
"""If one factor of a multiply-add is a lane of a vector from the left matrix, a tile has at most
`registers / _SHARE_OF_ROWS` rows, because each row needs a register for such a vector.

Thousands of modelled cycles for the divisors 2 to 5 (same script, 24 rows, 64 columns, depth 64):
on pi3_64 96.3, 59.2, 58.8, 63.3, on pi3 116.7, 80.1, 75.0, 91.8."""
_SHARE_OF_BYTE_ROWS = 3
"""The same divisor for bytes: on pi3 24 rows 2: 109.2, 3: 85.2, 4: 95.6, 5: 118.9, 6 rows 2: 26.7,
3 to 5: 29.8; on pi3_64 24 rows 2: 97.4, 3: 47.2, 4: 47.2, 5: 50.2."""
_DOTS = 4
"""The number of columns whose dot products are interleaved.

Thousands of modelled cycles (same script, 3 rows, depth 256, 32 columns): on pi3_64 62.2 for 1,
45.1 for 2, 31.9 for 4, 27.0 for 8; on pi3, which has half the registers, 46.9 for 2, 37.9 for 4,
40.7 for 8."""


@dataclass(frozen=True, slots=True)
class _MatrixProduct:
    """A product of `a` [batch.., row, depth] and `b` [batch.., depth, column], of any strides."""

    a: Access
    b: Access
    walk: tuple[int, ...]  # of the result: [batch.., row, column]
    types: ProductTypes
    zeros: ZeroPoints = NO_ZEROS

    @property
    def rows(self) -> int:
        """Rows of the left matrix."""
        return self.walk[-2]

    @property
    def columns(self) -> int:
        """Columns of the right matrix."""
        return self.walk[-1]

    @property
    def depth(self) -> int:
        """The number of products in each sum."""
        return self.a.shape[-1]


@lowers(MatMul, IntMatMul)
def lower_matmul(node: PlacedNode) -> list[KernelCall]:
    """Kernels for a product of any two matrices.

    Earlier passes turn most products with a constant matrix into dense layers.
    """
    op = node.anchor
    assert isinstance(op, MatMul | IntMatMul)
    a, b = (x.access for x in node.inputs)
    walk = node.result.type.shape
    a = _exchanged(a) if op.transpose_a else a
    b = _exchanged(b) if op.transpose_b else b
    product = _MatrixProduct(a, b, walk, ProductTypes.floats(a.elem))
    if isinstance(op, IntMatMul):
        types = ProductTypes.integers(a.elem, b.elem, node.target)
        product = _MatrixProduct(a, b, walk, types, ZeroPoints(op.a_zero, op.b_zero))
    return _lower(node, product, None)


@kernel(Dense, IntDense, name="matmul")
def computed_dense(node: PlacedNode) -> Iterator[Candidate]:
    """The candidate for a dense layer whose weights or bias are computed and cannot be packed."""
    if any(x.array is None for x in node.inputs[1:]):
        yield Candidate(Prediction("matmul"), partial(_computed_dense, node))


def _computed_dense(node: PlacedNode) -> list[KernelCall]:
    op = node.anchor
    weights = node.inputs[1].access
    filters, depth = node.inputs[1].type.shape
    pixels = node.inputs[0].type.elements // depth
    x = reshaped(node.inputs[0].access, (pixels, depth))
    bias = reshaped(node.inputs[2].access, (filters,)) if len(node.inputs) > 2 else None
    walk = (pixels, filters)
    product = _MatrixProduct(x, _exchanged(weights), walk, ProductTypes.floats(x.elem))
    if isinstance(op, IntDense):
        types = ProductTypes.integers(x.elem, weights.elem, node.target)
        zeros = ZeroPoints(op.input_zero, op.weight_zero)
        product = replace(product, types=types, zeros=zeros)
    return _lower(node, product, bias)


def _exchanged(access: Access) -> Access:
    """The access with its last two axes exchanged."""
    shape, strides = access.shape, access.strides
    return replace(
        access,
        shape=(*shape[:-2], shape[-1], shape[-2]),
        strides=(*strides[:-2], strides[-1], strides[-2]),
        border=None,
    )


def _lower(node: PlacedNode, product: _MatrixProduct, bias: Access | None) -> list[KernelCall]:
    a, b = product.a, product.b
    along_depth = a.strides[-1] == 1 and b.strides[-2] == 1
    by_dots = along_depth and (product.rows <= _FEW_ROWS or product.columns == 1)
    if not by_dots and b.strides[-1] != 1 and product.columns > 1:
        b = dense_copy(b)
        product = replace(product, b=b)
    builder = KernelBuilder(node.name)
    args = [access_arg(a), access_arg(b)]
    params = [builder.param(n, m.elem, m.align_bytes) for n, m in (("a", a), ("b", b))]
    start: Param | None = None
    if bias is not None:
        start = builder.param("bias", bias.elem, bias.align_bytes)
        args.append(access_arg(bias))
    factors = Factors(builder, params[1], product.types, product.zeros)
    args += factors.args
    epilogue = Epilogue(node, builder, product.walk)
    lanes = vector_lanes(node.target, product.types.total)
    kernel = _ProductWriter(builder, product, params[0], params[1], start, factors, epilogue, lanes)
    multiple = 8 if node.result.type.dtype is DType.BIT else 1
    if by_dots:
        kernel = replace(kernel, lanes=vector_lanes(node.target, product.types.factor))
        extent, note = kernel.dots(max(_DOTS, multiple))
    else:
        kernel = replace(kernel, lanes=fitted_lanes(lanes, product.columns))
        extent, note = kernel.tiles(*_tile(node.target, product, kernel.lanes, multiple))
    return [KernelCall(builder.finish(), (*args, *epilogue.args), extent, f"matmul {note}")]


def _tile(
    target: Target, product: _MatrixProduct, lanes: int, multiple: int
) -> tuple[int, int, int]:
    """(rows, vectors, steps of depth in one trip) of a tile.

    A tile has `vectors * lanes` columns, a multiple of `multiple`. Its sums, a row of the right
    matrix, and a few values of the left matrix must fit in the registers.
    """
    vectors = max(1, min(2 if lanes > 1 else 4, -(-product.columns // lanes)))
    while vectors * lanes % multiple:
        vectors += 1
    spare = vectors + (3 if target.vector_registers >= 32 else 2)
    rows = max(1, min(_MOST_ROWS, (target.vector_registers - spare) // vectors))
    in_lanes = target.lane_fma if product.types.total.is_float else target.has("neon")
    by_lane = in_lanes and lanes == 4 and product.a.strides[-1] == 1
    if by_lane:  # each row has a register of left values
        share = _SHARE_OF_ROWS if product.types.total.is_float else _SHARE_OF_BYTE_ROWS
        rows = min(rows, target.vector_registers // share)
    return cut(product.rows, rows).size, vectors, 4 if by_lane else 2


@dataclass(frozen=True, slots=True)
class _ProductWriter:
    """Writes the loops and the tiles of one product."""

    builder: KernelBuilder
    product: _MatrixProduct
    a: Param
    b: Param
    bias: Param | None
    factors: Factors
    epilogue: Epilogue
    lanes: int

    # --- vectors along the columns ---------------------------------------------------------------

    def tiles(self, rows: int, vectors: int, steps: int) -> tuple[int, str]:
        """Write the loops over all tiles.

        Returns (extent of the parallel loop, note). The parallel loop visits (batch, block of
        columns, tile of rows).
        """
        b, product = self.builder, self.product
        block = vectors * self.lanes
        pieces = cut(product.rows, rows)
        row_tiles = pieces.count + (pieces.rest > 0)
        blocks = -(-product.columns // block)
        rest = product.columns - (blocks - 1) * block
        even = rest == block and not self.epilogue.has_tail

        def columns(batch: list[Operand], row: Operand, height: int, index: Operand) -> None:
            def tile(number: Operand, valid: int, last: bool) -> None:
                column = b.mul(number, block)
                self._tile(batch, row, column, (height, vectors, steps), valid, last)

            if even:
                tile(index, block, False)
            elif blocks == 1:
                tile(Imm(0), rest, True)
            else:
                with b.when(b.compare("lt", index, Imm(blocks - 1))):
                    tile(index, block, False)
                with b.when(b.compare("eq", index, Imm(blocks - 1))):
                    tile(Imm(blocks - 1), rest, True)

        with b.loop("part", b.begin, b.end) as part:
            row_tile, others = b.rem(part.index, row_tiles), b.div(part.index, row_tiles)
            index, number = b.rem(others, blocks), b.div(others, blocks)
            batch = unraveled(b, number, product.walk[:-2])
            if not pieces.rest:
                columns(batch, b.mul(row_tile, pieces.size), pieces.size, index)
            else:
                with b.when(b.compare("lt", row_tile, Imm(pieces.count))):
                    columns(batch, b.mul(row_tile, pieces.size), pieces.size, index)
                with b.when(b.compare("eq", row_tile, Imm(pieces.count))):
                    columns(batch, Imm(pieces.count * pieces.size), pieces.rest, index)
        return prod(product.walk[:-2]) * row_tiles * blocks, f"{rows}x{block}"

    def _tile(
        self,
        batch: list[Operand],
        row: Operand,
        column: Operand,
        tile: tuple[int, int, int],
        valid: int,
        last: bool,
    ) -> None:
        b, product = self.builder, self.product
        height, _, steps = tile
        vectors = -(-valid // self.lanes)
        a_base, b_base = self._bases(batch)
        a_base = b.add(a_base, b.mul(row, product.a.strides[-2]))
        b_base = b.add(b_base, b.mul(column, product.b.strides[-1]))
        sums = self._start(column, vectors, valid) * height
        zeros = self.factors.zeros_of_columns(column, vectors, self.lanes, valid)
        loop_end = product.depth - product.depth % steps
        a_step, b_step = product.a.strides[-1], product.b.strides[-2]
        with b.loop("k", 0, loop_end, steps, carry=sums) as k:
            left = b.add(a_base, b.mul(k.index, a_step))
            right = b.add(b_base, b.mul(k.index, b_step))
            carried = list(k.carried)
            k.carry(self._steps(carried, left, right, height, zeros, steps, valid))
        sums = list(k.results)
        if product.depth - loop_end:
            left = b.add(a_base, loop_end * a_step)
            right = b.add(b_base, loop_end * b_step)
            rest = product.depth - loop_end
            sums = self._steps(sums, left, right, height, zeros, rest, valid)
        for line in range(height):
            of_row = sums[line * vectors : (line + 1) * vectors]
            delta = (*[0] * len(batch), line, 0)
            self.epilogue.store(of_row, (*batch, row, column), delta, valid, last=last)

    def _steps(
        self,
        sums: list[Operand],
        left: Operand,
        right: Operand,
        height: int,
        zeros: list[Operand],
        steps: int,
        valid: int,
    ) -> list[Operand]:
        """The sums of a tile plus the products of `steps` more indices along the depth.

        Each step multiplies a column of the left matrix by a row of the right one. `zeros` has the
        zero points of each vector of columns.
        """
        b, lanes, a, types = self.builder, self.lanes, self.product.a, self.product.types
        by_lane = steps == 4 and a.strides[-1] == 1
        lines: Sequence[Operand] = ()
        if by_lane:
            loaded = [
                b.load(self.a, left, steps, offset=line * a.strides[-2]) for line in range(height)
            ]
            lines = [self.factors.left(value) for value in loaded]
        for step in range(steps):
            offset = step * self.product.b.strides[-2]
            weights = [
                self.factors.right(
                    right, offset + v * lanes, lanes, min(lanes, valid - v * lanes), zero
                )
                for v, zero in enumerate(zeros)
            ]
            for line in range(height):
                if by_lane:
                    value = b.op("splat_lane", lines[line], attrs=(step, lanes))
                else:
                    offset = line * a.strides[-2] + step * a.strides[-1]
                    value = b.splat(self.factors.left(b.load(self.a, left, offset=offset)), lanes)
                for v, weight in enumerate(weights):
                    slot = line * len(weights) + v
                    sums[slot] = types.multiply_add(b, weight, value, sums[slot])
        return sums

    # --- vectors along the depth -----------------------------------------------------------------

    def dots(self, at_once: int) -> tuple[int, str]:
        """Write the loops over all dot products.

        Returns (extent of the parallel loop, note). The parallel loop visits (batch, row, group of
        `at_once` columns).
        """
        b, product = self.builder, self.product
        pieces, rest = divmod(product.columns, at_once)
        if not rest and self.epilogue.has_tail:
            pieces, rest = pieces - 1, at_once
        groups = pieces + (rest > 0)
        with b.loop("part", b.begin, b.end) as part:
            index, others = b.rem(part.index, groups), b.div(part.index, groups)
            row, number = b.rem(others, product.rows), b.div(others, product.rows)
            batch = unraveled(b, number, product.walk[:-2])
            if pieces and rest:
                with b.when(b.compare("lt", index, Imm(pieces))):
                    self._dots(batch, row, b.mul(index, at_once), at_once, at_once, False)
                with b.when(b.compare("eq", index, Imm(pieces))):
                    self._dots(batch, row, Imm(pieces * at_once), rest, at_once, True)
            elif pieces:
                self._dots(batch, row, b.mul(index, at_once), at_once, at_once, False)
            else:
                self._dots(batch, row, Imm(0), rest, at_once, True)
        return prod(product.walk[:-2]) * product.rows * groups, f"1x{at_once} sums"

    def _dots(
        self,
        batch: list[Operand],
        row: Operand,
        column: Operand,
        count: int,
        at_once: int,
        last: bool,
    ) -> None:
        b, product, lanes = self.builder, self.product, self.lanes
        a_base, b_base = self._bases(batch)
        a_base = b.add(a_base, b.mul(row, product.a.strides[-2]))
        step = product.b.strides[-1]
        b_base = b.add(b_base, b.mul(column, step))
        zero = b.const(0, VType(product.types.total, lanes))
        zeros = self.factors.zeros_of_each(column, count, lanes)

        def step_of_depth(at: Operand, length: int, sums: Sequence[Operand]) -> list[Operand]:
            left = self.factors.left(b.load_some(self.a, b.add(a_base, at), lanes, length), length)
            right = b.add(b_base, at)
            values = [
                self.factors.right(right, i * step, lanes, length, zeros[i]) for i in range(count)
            ]
            types = product.types
            return [
                types.multiply_add(b, v, left, total) for v, total in zip(values, sums, strict=True)
            ]

        loop_end = product.depth - product.depth % lanes
        with b.loop("k", 0, loop_end, lanes, carry=[zero] * count) as k:
            k.carry(step_of_depth(k.index, lanes, k.carried))
        sums = list(k.results)
        if product.depth - loop_end:
            sums = step_of_depth(Imm(loop_end), product.depth - loop_end, sums)
        scalars = [b.fold("add", total) for total in sums]
        scalars += [b.const(0, scalars[0])] * (at_once - count)
        value = joined(b, scalars)
        if self.bias is not None:
            value = b.add(value, b.load_some(self.bias, column, at_once, count))
        self.epilogue.store([value], (*batch, row, column), (), count, last=last)

    # --- shared by tiles and dot products --------------------------------------------------------

    def _bases(self, batch: list[Operand]) -> tuple[Operand, Operand]:
        """The indices of the first elements of both matrices at the batch coordinates `batch`."""
        outer = self.product.walk[:-2]
        bases = []
        for access in (self.product.a, self.product.b):
            steps = broadcast_strides(access.shape[:-2], access.strides[:-2], outer)
            bases.append(index_of(self.builder, 0, batch, steps))
        return bases[0], bases[1]

    def _start(self, column: Operand, vectors: int, valid: int) -> list[Operand]:
        """The start values of the sums of one row: the bias, or 0."""
        b, lanes = self.builder, self.lanes
        if self.bias is None:
            return [b.const(0, VType(self.product.types.total, lanes))] * vectors
        return [
            b.load_some(self.bias, column, lanes, min(lanes, valid - v * lanes), offset=v * lanes)
            for v in range(vectors)
        ]
