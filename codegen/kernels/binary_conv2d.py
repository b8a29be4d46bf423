"""Binary convolution: exclusive or and population count on packed bits.

Each lane holds one filter. A step loads one word of a pixel (8 or 32 channels), broadcasts it to
all lanes, and counts the bits in which the word differs from each filter's word. If `differing` of
n bits differ, the sum of the n products of +-1 is (n - differing) - differing. Therefore

    result = base - 2 * differing,   base = products inside the image + contribution of the padding

No horizontal sum is needed. The loops skip taps outside the image as in a float convolution. Counts
in bytes are widened before they can overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.access import Access, bit_bytes
from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule, GemmTraffic, band_rows
from ellc.codegen.blocks.weights import constant, stored_array
from ellc.codegen.blocks.window import window_axes
from ellc.codegen.kernels.edge_table import EdgeTable
from ellc.codegen.kernels.implicit_gemm import (
    ConvShape,
    TileArithmetic,
    TileNest,
    TilePixel,
    TilePosition,
    pack_filters,
    split_bands,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.types import Array, DType

# The sizes of tiles. `tests/benchmarks/constants.py` printed the costs of other values, for 3x3,
# 128 channels, 28x28: millions of modelled cycles, and microseconds with AVX-512 on an AMD EPYC.
_VECTORS = 2
"""Vectors of filters in a tile. pi3_64 1: 7.14, 2: 6.31, 3: 6.85; AVX-512 1: 42.6, 2: 43.8,
3: 75.3."""
_PIXELS = 4
"""Pixels of a tile if words are bytes. pi3_64 2: 6.65, 3: 6.35, 4: 6.31, 6: 6.54; pi3 1: 9.13,
2: 7.52, 3: 7.35, 4: 7.01, 6: 6.99; with AVX2, 1 to 6 take the same time."""
_WORD_PIXELS = 8
"""Pixels of a tile if words have 32 bits. AVX-512 4: 42.0, 8: 42.2, 12: 42.8, 14: 51.6."""
_SCALAR_FILTERS, _SCALAR_PIXELS = 4, 2
"""The tile on scalar targets. Thousands of cycles of pi0's code on pi3's core, 64 channels, 7x7:
filters 2: 770, 4: 715, 8: 759; pixels 1: 752, 2: 715, 3: 772."""

BYTE_STEPS = 31  # 31 bytes differ in at most 248 bits, a count that fits in a byte


@dataclass(frozen=True, slots=True)
class Words:
    """Two element types: `word` for packed bits and for counts of bits, `total` for sums of counts.

    A total cannot overflow; a count in bytes can.
    """

    word: Elem
    total: Elem

    @property
    def is_narrow(self) -> bool:
        """Whether counts must be widened before they are added to the totals."""
        return self.word is Elem.U8


def choose_words(target: Target, bits: int, align_bytes: int) -> Words:
    """The words of a kernel whose sums have at most `bits` products.

    Words have 32 bits if the image is aligned to 4 bytes and the target is scalar or has the
    AVX-512 instruction that counts the bits of 32-bit lanes. In all other cases they have 8 bits:
    an image in the caller's memory, for instance, may start at any byte.
    """
    counts_words = target.vector_bytes <= 4 or target.has("avx512_vpopcntdq")
    if counts_words and align_bytes >= Elem.U32.bytes:
        return Words(Elem.U32, Elem.U32)
    return Words(Elem.U8, Elem.U16 if bits < 1 << 16 else Elem.U32)


def choose_schedule(target: Target, words: Words, filters: int, multiple: int) -> GemmSchedule:
    """A tile whose counts, totals, weights and image words fit in the registers.

    On scalar targets the number of filters in a block is a multiple of `multiple`.
    """
    lanes = target.lanes(words.word.bytes)
    many_registers = target.vector_registers >= 32
    if lanes == 1:
        vectors, pixels = max(_SCALAR_FILTERS, multiple), _SCALAR_PIXELS
    elif words.is_narrow:
        vectors = _VECTORS if many_registers and filters > lanes else 1
        pixels = _PIXELS
    else:
        vectors = _VECTORS if filters > lanes else 1
        pixels = _WORD_PIXELS
    by_lane = "neon" in target.features
    return GemmSchedule(pixels, vectors, lanes, 8 if by_lane else 4, by_lane, 1)


@lowers(BinaryConv2D)
def lower_binary_conv2d(node: PlacedNode) -> list[KernelCall]:
    """Kernels for every binary convolution. Its weights and its scale, if any, must be constant."""
    conv = node.anchor
    assert isinstance(conv, BinaryConv2D)
    x = node.inputs[0].access
    weights = node.constant(1, "weights")
    filters, window_rows, window_columns, depth = weights.shape
    bits = window_rows * window_columns * bit_bytes(depth) * 8
    words = choose_words(node.target, bits, x.align_bytes)
    images, rows, columns, _ = node.anchor_type().shape
    image = _in_words(x, words.word)
    axes = window_axes(
        image,
        (rows, columns),
        (window_rows, window_columns),
        conv.stride,
        (1, 1),
        conv.padding,
    )
    walk = (images, rows, columns, filters)
    shape = ConvShape(image, walk, *axes, image.shape[3], filters, 1)
    multiple = 8 if node.result.type.dtype is DType.BIT else 1
    schedule = choose_schedule(node.target, words, filters, multiple)
    schedule = split_bands(_banded(node.target, schedule, shape, words), shape, node.threads)
    return [_kernel(node, conv, shape, schedule, words, weights)]


def _in_words(x: Access, word: Elem) -> Access:
    """The packed bits as words. The stride between pixels must be a whole number of words."""
    size = word.bytes
    strides = tuple(1 if i == 3 else s // size for i, s in enumerate(x.strides))
    shape = (*x.shape[:3], x.shape[3] // size)
    return replace(x, elem=word, shape=shape, strides=strides, offset=x.offset // size)


def _banded(target: Target, schedule: GemmSchedule, shape: ConvShape, words: Words) -> GemmSchedule:
    filters = shape.filters
    traffic = GemmTraffic(
        shape.rows.outputs,
        shape.x.strides[1] * shape.rows.stride * words.word.bytes,
        shape.walk[2] * filters * 4,
        shape.rows.taps * shape.columns.taps * shape.channels * filters * words.word.bytes,
    )
    blocks = -(-filters // schedule.block)
    return replace(schedule, band_rows=band_rows(traffic, blocks, target))


def _kernel(
    node: PlacedNode,
    conv: BinaryConv2D,
    shape: ConvShape,
    schedule: GemmSchedule,
    words: Words,
    weights: Array,
) -> KernelCall:
    b = KernelBuilder(node.name)
    x = b.param("x", words.word, shape.x.align_bytes)
    w = b.param("w", words.word, 64)
    packed = partial(_packed, weights, words.word, schedule.block)
    size = -(-shape.filters // schedule.block) * schedule.block * words.word.bytes
    size *= shape.rows.taps * shape.columns.taps * shape.channels
    what = f"signs:{words.word.value}:{schedule.block}:{weights.shape}"
    args: list[Arg] = [access_arg(shape.x), node.inputs[1].derived(what, size, packed)]
    edges = not (shape.rows.is_interior and shape.columns.is_interior)
    base = partial(_base, weights, conv.padding.values[0])
    table = EdgeTable(b, shape, schedule, Elem.F32, base, by_class=edges)
    args += table.args
    scale: Param | None = None
    if len(node.inputs) > 2:
        factors = node.constant(2, "scale")  # padded to whole blocks of filters
        args.append(constant(np.pad(factors, (0, -len(factors) % schedule.block))))
        scale = b.param("scale", Elem.F32, 64)
    float_lanes = node.target.lanes(4)
    arithmetic = _Differences(b, shape, schedule, words, (x, w), table, scale, float_lanes)
    epilogue = Epilogue(node, b, shape.walk)
    extent = TileNest(b, shape, schedule, arithmetic, epilogue).write()
    note = f"signs {schedule.note} {words.word.value}"
    return KernelCall(b.finish(), (*args, *epilogue.args), extent, note)


def _packed(weights: Array, word: Elem, block: int) -> Array:
    """The signs [F, kh, kw, C], packed into words [1, blocks, kh, kw, words, block]."""
    return pack_filters(stored_array(weights, DType.BIT).view(word.numpy), 1, block)


def _base(weights: Array, outside: float, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """[F]: the number of products inside the image, plus the contribution of the padding.

    Window rows `rows` and window columns `columns`, both [first, end), are inside the image.
    `outside` is the value of the padding.
    """
    inside = np.zeros(weights.shape[1:3], bool)
    inside[rows[0] : rows[1], columns[0] : columns[1]] = True
    signs = np.where(weights[:, ~inside], 1.0, -1.0)
    products = float(inside.sum() * weights.shape[3])
    return np.asarray(products + outside * signs.sum(axis=(1, 2)))


class _Differences(TileArithmetic):
    """Counts differing bits; each pixel has one register of totals per vector of filters."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        words: Words,
        memory: tuple[Param, Param],
        table: EdgeTable,
        scale: Param | None,
        float_lanes: int,
    ) -> None:
        super().__init__(b, shape, schedule, *memory)
        self._words = words
        self._table, self._scale, self._float_lanes = table, scale, float_lanes

    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """A pixel's totals: 0."""
        zero = self._b.const(0, VType(self._words.total, self._schedule.lanes))
        return [zero] * self._schedule.vectors

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The totals plus the differences in `length` words of each pixel.

        Words of one byte are counted in chunks that are too short for a count to overflow.
        """
        if not self._words.is_narrow:
            return self.inner_loop(sums, inside, panel, length, pixels)
        b, block = self._b, self._schedule.block
        chunk = min(length, BYTE_STEPS - BYTE_STEPS % self._schedule.k_step)
        loop_end = length - length % chunk
        with b.loop("chunk", 0, loop_end, chunk, carry=sums) as part:
            image_index = b.add(inside, part.index)
            weight_index = b.add(panel, b.mul(part.index, block))
            part.carry(self._widened(list(part.carried), image_index, weight_index, chunk, pixels))
        sums = list(part.results)
        if length - loop_end:
            image_index, weight_index = b.add(inside, loop_end), b.add(panel, loop_end * block)
            sums = self._widened(sums, image_index, weight_index, length - loop_end, pixels)
        return sums

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """`base - 2 * total`, which is exact in float32, times the scale if there is one."""
        b, schedule = self._b, self._schedule
        lanes = min(self._float_lanes, schedule.lanes)
        bases = self._table.values(position, taps, lanes)
        results: list[Operand] = []
        for total in sums:
            for start in range(0, schedule.lanes, lanes):
                count = b.convert(b.part(total, start, lanes), Elem.F32)
                base = bases[len(results)]
                results.append(b.mul_add(count, b.const(-2.0, count), base))
        if self._scale is None:
            return results
        index = b.mul(position.block, schedule.block)
        factors = [b.load(self._scale, index, lanes, offset=i * lanes) for i in range(len(results))]
        return [b.mul(value, factor) for value, factor in zip(results, factors, strict=True)]

    def _widened(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The totals plus the differences in `length` bytes, at most `BYTE_STEPS`."""
        b, vectors = self._b, self._schedule.vectors
        zero = b.const(0, VType(Elem.U8, self._schedule.lanes))
        counts = self.inner_loop([zero] * len(sums), image_index, weight_index, length, pixels)
        for pixel in pixels:
            for index in range(pixel * vectors, (pixel + 1) * vectors):
                sums[index] = b.add(sums[index], b.convert(counts[index], self._words.total))
        return sums

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """The total plus the number of bits in which `weight` and `value` differ."""
        differs = self._b.op("popcount", self._b.op("xor", weight, value))
        return self._b.add(total, differs)
