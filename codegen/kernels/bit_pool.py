"""Whether any bit of a window is set: bytes of bits, combined like the elements of other pools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.operands import Coordinates, address
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import dense_result, reshaped
from ellc.codegen.blocks.sliding import Sliding, write_tiles
from ellc.codegen.blocks.vectors import store_lanes
from ellc.codegen.blocks.weights import constant, stored_array
from ellc.codegen.blocks.window import window_axes
from ellc.codegen.kernels.pool import Combination, TileWriter, has_short_code, rectangle
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.binary import BitPool2D
from ellc.ir.types import DType


@lowers(BitPool2D)
def lower_bit_pool2d(node: PlacedNode) -> list[KernelCall]:
    """A kernel for windows of any size."""
    op = node.anchor
    assert isinstance(op, BitPool2D)
    node.refuse_stages()
    x = reshaped(node.inputs[0].access, node.inputs[0].access.shape)
    images, rows, columns, _ = node.result.type.shape
    axes = window_axes(x, (rows, columns), op.window, op.stride, (1, 1), op.padding)
    shape = Sliding(x, (images, rows, columns, x.shape[3]), *axes)
    result = node.result.access
    if result.strides[3] != 1:
        result = dense_result(result, result.shape)
    b = KernelBuilder(node.name)
    source = b.param("x", Elem.U8, x.align_bytes)
    flips = b.param("flips", Elem.U8, 64)
    y = b.param("y", Elem.U8, result.align_bytes, writable=True)
    tile = rectangle(node.target, shape, Elem.U8, 1)
    is_small = has_short_code(node.target, shape)
    stores = _Bytes(b, y, result)
    writer = TileWriter(
        b, source, shape, tile, _Any(b, flips), stores, is_small=is_small, prefetches=False
    )
    extent = write_tiles(b, shape, tile, writer.tile, threads=node.threads, split_last=False)
    inverted = stored_array(node.constant(1, "inverted channels"), DType.BIT)
    # The last vector of a pixel may have more lanes than there are bytes.
    inverted = np.pad(inverted, (0, 64 + -inverted.size % 64))
    args: tuple[Arg, ...] = (access_arg(x), constant(inverted), access_arg(result))
    return [KernelCall(b.finish(), args, extent, f"window {tile.note}")]


class _Any(Combination):
    """Whether any bit is set, inverted where the channel's bit of `flips` is."""

    operation = "or"
    elem = Elem.U8

    def __init__(self, b: KernelBuilder, flips: Param) -> None:
        self._b, self._flips = b, flips

    def identity(self, type_: VType) -> Operand:
        return self._b.const(0, type_)

    def finish(self, value: Operand, taps: int, channel: Operand, shift: int) -> Operand:
        lanes = value.type.lanes
        return self._b.op("xor", value, self._b.load(self._flips, channel, lanes, offset=shift))


class _Bytes:
    """Stores bytes of bits."""

    def __init__(self, b: KernelBuilder, y: Param, result: Access) -> None:
        self._b, self._y, self._result = b, y, result

    def store(
        self,
        values: Sequence[Operand],
        at: Coordinates,
        delta: Sequence[int] = (),
        count: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Store vectors that together have `count` valid bytes."""
        *outer, inner = delta or (0,) * 4
        done = 0
        for value in values:
            place = (*outer, inner + done)
            index, offset = address(self._b, self._result.strides, at, place)
            store_lanes(self._b, value, self._y, index, count - done, 1, offset)
            done += value.type.lanes
