"""The epilogue of most kernels: it applies pointwise stages to values in registers and stores them.

A kernel walks its result in a shape that it chooses, for instance (image, row, column, channel),
with vectors along the last axis. The epilogue loads the operands of the stages, which may broadcast
along this walk, and writes the result; bits are packed. If strides cannot express the walk over the
result or an operand, the epilogue uses a dense copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ellc.codegen.blocks.access import Access, bit_bytes
from ellc.codegen.blocks.calls import Arg, access_arg
from ellc.codegen.blocks.emission import emit_narrowed, emit_pointwise, narrows_pairs
from ellc.codegen.blocks.operands import Coordinates, Operands, address
from ellc.codegen.blocks.placed_node import NodeResult, PlacedNode
from ellc.codegen.blocks.scratch import dense_result
from ellc.codegen.blocks.vectors import joined, store_lanes
from ellc.codegen.blocks.views import viewed_as
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import has_high_products
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.errors import InternalError
from ellc.ir.ops.fused import Stage
from ellc.ir.types import DType

__all__ = ["Coordinates", "Epilogue"]

_SUMS = VType(Elem.I32, 4)
_NARROWED_AT_ONCE = 4
"""So many vectors of sums become one vector of bytes, which is stored at once. Thousands of
modelled cycles on pi3_64 of a 1x1 layer, 16 -> 96, 112x112, whose negative results are clamped:
8,141 with each vector on its own and sums corrected for negative halves, 6,809 now."""

Pixel = tuple[Sequence[Operand], Sequence[int]]
"""Vectors of consecutive channels of a pixel, and where it is."""


class Epilogue:
    """The stages and the stores of one kernel.

    The constructor declares kernel parameters; those of the kernel itself must come before them.
    """

    def __init__(
        self, node: PlacedNode, b: KernelBuilder, walk: tuple[int, ...], block: int = 0
    ) -> None:
        """The kernel walks its result in the shape `walk`, with vectors along the last axis.

        If the result consists of bits, the last axis of `walk` must be that of the result. `block`
        is that of `Operands`.
        """
        self._b = b
        b.high_products = has_high_products(node.target)
        self._stages = node.stages
        self._walk = walk
        self._narrows_pairs = bool(node.stages) and narrows_pairs(node.stages[-1].op)
        self._dtype = node.result.type.dtype
        self._result = _walked_result(node.result, walk)
        self._extras = Operands(b, node.extras, node.result, walk, "e", block)
        self.y = b.param("y", self._result.elem, self._result.align_bytes, writable=True)

    @property
    def args(self) -> list[Arg]:
        """The arguments of the epilogue's parameters; complete only after the last store."""
        return [*self._extras.args, access_arg(self._result)]

    @property
    def is_bits(self) -> bool:
        """Whether results are packed bits. Every block but the last must then fill whole bytes."""
        return self._dtype is DType.BIT

    @property
    def has_tail(self) -> bool:
        """Whether a pixel has bits after its last channel, which the last block must clear."""
        channels = self._walk[-1]
        return self.is_bits and bit_bytes(channels) * 8 != channels

    def hold(self, lanes: int) -> None:
        """Load the stages' constants that all blocks share into registers (`Operands.hold`)."""
        self._extras.hold(lanes)

    def fetch_ahead(self, delta: Sequence[int], *, constants: bool = False) -> None:
        """Prefetch operands of the stages, such as residuals (`Operands.fetch_ahead`)."""
        self._extras.fetch_ahead(delta, constants=constants)

    def apply(
        self, value: Operand, at: Coordinates, delta: Sequence[int] = (), count: int = 0
    ) -> Operand:
        """The result of all stages on one vector of consecutive channels at `at + delta`.

        Its first `count` lanes are valid (default: all).
        """
        delta = delta or (0,) * len(self._walk)
        return self._after(self._stages, value, at, delta, count)

    def _after(
        self,
        stages: Sequence[Stage],
        value: Operand,
        at: Coordinates,
        delta: Sequence[int],
        count: int = 0,
    ) -> Operand:
        """The result of the first stages."""
        lanes, used = value.type.lanes, 0
        for stage in stages:
            extras = self._loaded(stage, used, at, delta, lanes, min(count or lanes, lanes))
            used += stage.extras
            value = emit_pointwise(stage.op, self._b, value, *extras)
        return value

    def _loaded(
        self, stage: Stage, used: int, at: Coordinates, delta: Sequence[int], lanes: int, count: int
    ) -> list[Operand]:
        """The operands of a stage; those before it have `used` operands."""
        return [self._extras.load(used + i, at, delta, lanes, count) for i in range(stage.extras)]

    def _narrowed(
        self, values: Sequence[Operand], at: Coordinates, delta: Sequence[int]
    ) -> Operand:
        """The results of all stages on two or four vectors of valid channels, as one vector."""
        lanes = values[0].type.lanes
        if len(values) > 2:
            halves = [
                partial(self._narrowed, values[first : first + 2], at, self._shifted(delta, past))
                for first, past in ((0, 0), (2, 2 * lanes))
            ]
            return joined(self._b, self._b.interleaved(halves))
        *before, last = self._stages
        places = [self._shifted(delta, past) for past in (0, lanes)]
        pair = self._b.interleaved(
            [
                partial(self._after, before, value, at, place)
                for value, place in zip(values, places, strict=True)
            ]
        )
        used = sum(stage.extras for stage in before)
        loaded = [self._loaded(last, used, at, place, lanes, lanes) for place in places]
        return emit_narrowed(last.op, self._b, pair, *zip(*loaded, strict=True))

    def store(
        self,
        values: Sequence[Operand],
        at: Coordinates,
        delta: Sequence[int] = (),
        count: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Apply the stages to vectors of consecutive channels, and store them from `at + delta` on.

        The vectors together have `count` valid channels (default: all lanes). `last` says that the
        last axis of the walk ends with these channels.
        """
        self.store_pixels([(values, delta)], at, count, last=last)

    def store_pixels(
        self,
        pixels: Sequence[Pixel],
        at: Coordinates,
        count: int = 0,
        *,
        last: bool = False,
        at_once: int = 1,
        vectors_at_once: int = 0,
    ) -> None:
        """Like `store`, for several pixels. Each has its own vectors and its own `delta`.

        The stages of `at_once` pixels are interleaved. This needs more registers, but hides the
        latency of long stages. If `vectors_at_once` is not 0, only so many vectors of each pixel
        take part, unless results are bits: the pixels then share fewer operands of stages.
        """
        if vectors_at_once and not self.is_bits and not self._narrows(pixels[0][0]):
            for piece, valid in self._pieces(pixels, count, vectors_at_once):
                self.store_pixels(piece, at, valid, last=last, at_once=at_once)
            return
        for first in range(0, len(pixels), at_once):
            group = pixels[first : first + at_once]
            chains: list[Callable[[], Operand]] = []
            ends = []
            for values, delta in group:
                chains += self._chains(values, at, delta, count)
                ends.append(len(chains))
            finished = self._b.interleaved(chains)
            for (_, delta), start, end in zip(group, [0, *ends], ends, strict=False):
                self.write(finished[start:end], at, delta, count, last=last)

    def _pieces(
        self, pixels: Sequence[Pixel], count: int, vectors: int
    ) -> Iterator[tuple[list[Pixel], int]]:
        """So many vectors of each pixel at a time, and how many of their channels are valid."""
        lanes = [v.type.lanes for v in pixels[0][0]]
        count = count or sum(lanes)
        for first in range(0, len(lanes), vectors):
            done, end = sum(lanes[:first]), sum(lanes[: first + vectors])
            if done < count:
                piece: list[Pixel] = [
                    (values[first : first + vectors], self._shifted(delta, done))
                    for values, delta in pixels
                ]
                yield piece, min(end, count) - done

    def _shifted(self, delta: Sequence[int], channels: int) -> tuple[int, ...]:
        *outer, inner = delta or (0,) * len(self._walk)
        return (*outer, inner + channels)

    def _chains(
        self, values: Sequence[Operand], at: Coordinates, delta: Sequence[int], count: int
    ) -> list[Callable[[], Operand]]:
        """For each vector that has valid channels, a function that applies all stages."""
        delta = tuple(delta) or (0,) * len(self._walk)
        count = count or sum(v.type.lanes for v in values)
        done = first = 0
        chains: list[Callable[[], Operand]] = []
        while first < len(values) and done < count:
            lanes, shifted = values[first].type.lanes, self._shifted(delta, done)
            whole = min((count - done) // lanes, len(values) - first, _NARROWED_AT_ONCE)
            if whole > 1 and self._narrows(values):
                together = whole - whole % 2
                group = values[first : first + together]
                chains.append(partial(self._narrowed, group, at, shifted))
            else:
                together = 1
                chains.append(partial(self.apply, values[first], at, shifted, count - done))
            first, done = first + together, done + together * lanes
        return chains

    def _narrows(self, values: Sequence[Operand]) -> bool:
        """Whether the results of several vectors are narrowed together, to be stored together."""
        fills_register = values[0].type == _SUMS and self._b.high_products
        is_dense = self._result.strides[-1] == 1
        return fills_register and is_dense and self._narrows_pairs

    def write(
        self,
        finished: Sequence[Operand],
        at: Coordinates,
        delta: Sequence[int] = (),
        count: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Like `store`, for vectors that have already passed all stages."""
        *outer, inner = delta or (0,) * len(self._walk)
        count = count or sum(v.type.lanes for v in finished)
        if self.is_bits:
            self._store_bits(list(finished), at, (*outer, inner), count, last)
            return
        done = 0
        stride = self._result.strides[-1]
        for value in finished:
            stored = self._in_memory(value)
            index, offset = address(self._b, self._result.strides, at, (*outer, inner + done))
            store_lanes(self._b, stored, self.y, index, count - done, stride, offset)
            done += value.type.lanes

    def write_packed(self, packed: Operand, at: Coordinates, delta: Sequence[int]) -> None:
        """Like `write`, for bytes of bits that are all valid."""
        b = self._b
        byte_at = (*at[:-1], b.div(at[-1], 8))
        byte_delta = (*delta[:-1], delta[-1] // 8)
        index, offset = address(b, self._result.strides, byte_at, byte_delta)
        b.store(packed, self.y, index, offset=offset)

    def _in_memory(self, value: Operand) -> Operand:
        return self._b.convert(value, Elem.U8) if value.type.elem is Elem.MASK else value

    def _store_bits(
        self, masks: list[Operand], at: Coordinates, delta: Sequence[int], count: int, last: bool
    ) -> None:
        """Pack masks into bytes, and store the bytes.

        Bits after the first `count` are 0. If `last`, the remaining bytes of the pixel become 0.
        """
        b = self._b
        merged = joined(b, masks)
        lanes = -(-count // 8) * 8
        if merged.type.lanes < lanes:
            merged = b.op("join", merged, Imm(0, VType(Elem.MASK, lanes - merged.type.lanes)))
        packed = b.op("pack_bits", b.part(merged, 0, lanes))
        if count % 8:
            packed = self._masked(packed, count)
        byte_at = (*at[:-1], b.div(at[-1], 8))
        byte_delta = (*delta[:-1], delta[-1] // 8)
        index, offset = address(b, self._result.strides, byte_at, byte_delta)
        b.store_some(packed, self.y, index, packed.type.lanes, offset=offset)
        if last:
            full = bit_bytes(self._walk[-1]) - (self._walk[-1] - count) // 8
            for extra in range(packed.type.lanes, full):
                zero = Imm(0, VType(Elem.U8))
                b.store(zero, self.y, index, offset=offset + extra)

    def _masked(self, packed: Operand, count: int) -> Operand:
        """The packed bytes, with all bits after the first `count` cleared in the last byte."""
        b = self._b
        keep = (1 << count % 8) - 1
        if packed.type.lanes == 1:
            return b.op("and", packed, b.const(keep, packed))
        head = b.part(packed, 0, packed.type.lanes - 1)
        tail = b.lane(packed, packed.type.lanes - 1)
        return b.op("join", head, b.op("and", tail, b.const(keep, tail)))


def _walked_result(result: NodeResult, walk: tuple[int, ...]) -> Access:
    """The result in the shape of the walk, as a view or a dense copy.

    The last extent of a result of bits counts bytes. Raises `InternalError` if the walk does
    not have as many elements as the result.
    """
    access, is_bits = result.access, result.type.dtype is DType.BIT
    stored = (*walk[:-1], access.shape[-1]) if is_bits else walk
    walked = viewed_as(access, stored)
    if walked is None or (is_bits and walked.strides[-1] != 1):
        walked = viewed_as(dense_result(access, access.shape), stored)
    if walked is None:
        raise InternalError(
            f"{result.value}: a result of shape {result.type.shape} cannot be walked as {walk}"
        )
    return walked
