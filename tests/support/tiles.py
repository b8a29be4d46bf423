"""Kernels of register tiles, as the families of products write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Kernel, Operand
from ellc.codegen.kir.types import Elem, VType

F32X4 = VType(Elem.F32, 4)
COLUMNS = 64
"""The length of a row of results."""


@dataclass(frozen=True)
class Tile:
    """Tiles of a matrix product with bias and relu, of `rows` rows by `vectors` vectors.

    Each sum has `depth` products. It begins with the bias of its filter, or with `own_starts` with
    a number of its own, so that no two sums are the same value. If there are several chains, each
    of them sums from 0 and is then added to the total. With `residual`, the kernel also adds
    another tensor, which may be in the same buffer as the result.
    """

    rows: int
    vectors: int
    depth: int = 64
    chains: int = 1
    residual: bool = False
    own_starts: bool = False

    def kernel(self) -> Kernel:
        """The kernel: its outermost loop runs over panels of columns."""
        return _Writer(self).kernel()


class _Writer:
    def __init__(self, tile: Tile) -> None:
        b = self._b = KernelBuilder("tile")
        self._tile = tile
        self._x, self._w = b.param("x", Elem.F32), b.param("w", Elem.F32, 16)
        self._start = b.param("start", Elem.F32, 16)
        self._y = b.param("y", Elem.F32, writable=True)
        self._other = b.param("other", Elem.F32) if tile.residual else self._y
        if tile.residual:
            b.may_alias(self._other, self._y)

    def kernel(self) -> Kernel:
        b, rows = self._b, self._tile.rows
        with (
            b.loop("panel", b.begin, b.end) as panels,
            b.loop("row", 0, 6 * rows, rows) as tiles,
        ):
            sums = self._sums(panels.index, tiles.index)
            at = b.add(b.mul(tiles.index, COLUMNS), b.mul(panels.index, 4 * self._tile.vectors))
            self._finish(sums, at)
        return b.finish()

    def _sums(self, panel: Operand, row: Operand) -> list[Operand]:
        b, tile = self._b, self._tile
        first = b.mul(panel, 4 * tile.vectors)
        sums: list[Operand] = [
            b.load(
                self._start,
                first,
                4,
                offset=4 * (n if tile.own_starts else n % tile.vectors),
                align_bytes=16,
            )
            for n in range(tile.rows * tile.vectors)
        ]
        if tile.chains == 1:
            return self._chain(sums, panel, row, range(tile.depth))
        length = tile.depth // tile.chains
        for chain in range(tile.chains):
            zeros: list[Operand] = [b.const(0, F32X4)] * len(sums)
            part = range(chain * length, (chain + 1) * length)
            done = self._chain(zeros, panel, row, part)
            sums = [b.add(s, d) for s, d in zip(sums, done, strict=True)]
        return sums

    def _chain(
        self, sums: Sequence[Operand], panel: Operand, row: Operand, part: range
    ) -> list[Operand]:
        b, tile = self._b, self._tile
        with b.loop("k", part.start, part.stop, 4, carry=sums) as k:
            inside = b.add(b.mul(row, tile.depth), k.index)
            at = b.add(
                b.mul(panel, 4 * tile.vectors * tile.depth), b.mul(k.index, 4 * tile.vectors)
            )
            factors = [b.load(self._x, inside, 4, offset=tile.depth * r) for r in range(tile.rows)]
            weights = [
                b.load(self._w, at, 4, offset=4 * n, align_bytes=16)
                for n in range(4 * tile.vectors)
            ]
            k.carry(self._products(list(k.carried), factors, weights))
        return list(k.results)

    def _products(
        self, sums: list[Operand], factors: Sequence[Operand], weights: Sequence[Operand]
    ) -> list[Operand]:
        vectors = self._tile.vectors
        for step in range(4):
            for r, factor in enumerate(factors):
                value = self._b.op("splat_lane", factor, attrs=(step, 4))
                for v in range(vectors):
                    n = r * vectors + v
                    sums[n] = self._b.mul_add(weights[step * vectors + v], value, sums[n])
        return sums

    def _finish(self, sums: Sequence[Operand], at: Operand) -> None:
        b, vectors = self._b, self._tile.vectors
        for n, value in enumerate(sums):
            offset = COLUMNS * (n // vectors) + 4 * (n % vectors)
            if self._tile.residual:
                value = b.add(value, b.load(self._other, at, 4, offset=offset))
            b.store(b.op("max", value, b.const(0, F32X4)), self._y, at, offset=offset)
