"""Kernels that fill the border of a buffer, the constant pixels around an image.

Filling takes 0.35 % of MobileNet V1's modelled cycles on pi3_64, 0.6 % of its quarter width at
128x128 pixels and 0.8 % of visual wake words. Most of it is waiting: 22 to 29 cycles for a line of
a 48x48x8 image from L2, which the image's reader would wait for otherwise. Stores of four vectors
in a trip instead of one save 0.13 % of visual wake words and no more. Borders are filled in every
call because their memory is used again: in MobileNet V1 of quarter width, the five bordered images
of 8x8x128 share two places of 51,200 bytes, and depthwise layers in place overwrite a part of the
border.
"""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.access import Access, Weight
from ellc.codegen.blocks.calls import Arg, BufferArg, KernelCall, WeightArg
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.target import Target
from ellc.ir.errors import InternalError
from ellc.ir.weights import content_key


def fill_border(name: str, target: Target, access: Access) -> KernelCall:
    """The call that fills the border of an image `[1, rows, columns, channels]`.

    One thread fills it. In memory, the border consists of runs of pixels: a long run before the
    first row, a long run after the last row, and a short run between any two neighbouring rows,
    which is the right edge of the upper row and the left edge of the lower row. Raises
    `InternalError` if there is no border, or if there are several images.
    """
    border = access.border
    if border is None or access.shape[0] != 1:
        raise InternalError(f"{name}: the buffer has no border, or holds several images")
    _, rows, columns, channels = access.shape
    pitch = access.strides[2]
    row_pixels = access.strides[1] // pitch  # with the border on both sides
    b = KernelBuilder(name)
    y = b.param("y", access.elem, access.buffer.align_bytes, writable=True)
    args: list[Arg] = [BufferArg(access.buffer)]
    fill = _Fill(b, y, target, (channels, pitch), border.values, args)
    head = border.top * row_pixels + border.left
    between = row_pixels - columns
    with b.loop("part", b.begin, b.end):
        fill.pixels(b.const(0, b.begin), head)
        with b.loop("row", 0, rows - 1) as row:
            start = b.add(b.mul(row.index, row_pixels * pitch), (head + columns) * pitch)
            fill.pixels(start, between)
        tail = (border.bottom * row_pixels) + border.right
        fill.pixels(b.const((head + (rows - 1) * row_pixels + columns) * pitch, b.begin), tail)
    return KernelCall(b.finish(), tuple(args), 1, "border")


class _Fill:
    """Fills runs of pixels. If each channel has its own border value, a small table holds them."""

    def __init__(
        self,
        b: KernelBuilder,
        y: Param,
        target: Target,
        pixel: tuple[int, int],
        values: tuple[float, ...],
        args: list[Arg],
    ) -> None:
        """`pixel` has the number of channels, and the distance of neighbouring pixels."""
        self._b, self._y, self._values = b, y, values
        self._channels, self._pitch = pixel
        self._lanes = target.lanes(y.elem.bytes)
        self._table: Param | None = None
        if len(values) > 1:
            data = np.array(values, y.elem.numpy)
            self._table = b.param("values", y.elem, 64)
            args.append(WeightArg(Weight(content_key(data), data.nbytes, lambda: data)))

    def pixels(self, start: Operand, count: int) -> None:
        """Fill `count` pixels from element `start` on, and gaps between them."""
        if self._table is None:
            self._run(start, count * self._pitch, None)
            return
        with self._b.loop("pixel", 0, count) as pixel:
            at = self._b.add(start, self._b.mul(pixel.index, self._pitch))
            self._run(at, self._channels, self._table)

    def _run(self, start: Operand, length: int, table: Param | None) -> None:
        b, lanes = self._b, self._lanes
        loop_end = length - length % lanes
        with b.loop("element", 0, loop_end, lanes) as element:
            b.store(self._value(table, element.index, lanes), self._y, b.add(start, element.index))
        for rest in range(loop_end, length):
            b.store(self._value(table, b.const(rest, start), 1), self._y, b.add(start, rest))

    def _value(self, table: Param | None, index: Operand, lanes: int) -> Operand:
        if table is not None:
            return self._b.load(table, index, lanes)
        return self._b.const(self._values[0], VType(self._y.elem, lanes))
