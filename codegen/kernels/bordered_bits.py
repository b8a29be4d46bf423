"""Copies of packed images with pixels of a single sign around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.kernels.binary_window import REGISTER
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Padding


def with_border(name: str, x: Access, padding: Padding, *, ones: bool) -> tuple[Access, KernelCall]:
    """(scratch memory with the image `x` inside, the call that fills it).

    Around the image, `padding` tells how far, all bits are 1 with `ones`, else 0. The result has
    the padding as part of its shape, and no border. Pixels have whole words of 8 bytes.
    """
    images, rows, columns, bytes_ = x.shape
    shape = (
        images,
        rows + padding.top + padding.bottom,
        columns + padding.left + padding.right,
        bytes_,
    )
    copy = scratch(Elem.U8, shape)
    b = KernelBuilder(f"{name}_around")
    source = b.param("x", Elem.U8, x.align_bytes)
    result = b.param("y", Elem.U8, copy.align_bytes, writable=True)
    writer = _Writer(b, source, result, 255 if ones else 0)
    with b.loop("part", b.begin, b.end) as part:
        image, row = b.div(part.index, shape[1]), b.rem(part.index, shape[1])
        at = b.mul(part.index, copy.strides[1])
        inside = b.sub(row, padding.top)
        is_inside = b.op("and", b.compare("ge", inside, Imm(0)), b.compare("lt", inside, Imm(rows)))
        is_outside = b.op("or", b.compare("lt", inside, Imm(0)), b.compare("ge", inside, Imm(rows)))
        with b.when(is_outside):
            writer.fill(at, shape[2] * bytes_)
        with b.when(is_inside):
            index = b.add(b.mul(image, x.strides[0]), b.mul(inside, x.strides[1]))
            writer.fill(at, padding.left * bytes_)
            at = b.add(at, padding.left * bytes_)
            writer.copy(index, at, columns * bytes_)
            writer.fill(b.add(at, columns * bytes_), padding.right * bytes_)
    args = (access_arg(replace(x, border=None)), access_arg(copy))
    return copy, KernelCall(b.finish(), args, images * shape[1], "border of bits")


class _Writer:
    """Writes runs of bytes, whose lengths are multiples of 8."""

    def __init__(self, b: KernelBuilder, x: Param, y: Param, value: int) -> None:
        self._b, self._x, self._y, self._value = b, x, y, value

    def fill(self, at: Operand, count: int) -> None:
        """Fill `count` bytes from index `at` on."""
        b = self._b
        for start, lanes in self._runs(count):
            value = b.const(self._value, VType(Elem.U8, lanes))
            b.store(value, self._y, b.add(at, start))

    def copy(self, source: Operand, at: Operand, count: int) -> None:
        """Copy `count` bytes from index `source` on."""
        b = self._b
        for start, lanes in self._runs(count):
            value = b.load(self._x, b.add(source, start), lanes)
            b.store(value, self._y, b.add(at, start))

    def _runs(self, count: int) -> Iterator[tuple[Operand, int]]:
        """(first byte, bytes) of each load or store; those of whole registers are in a loop."""
        whole = count - count % REGISTER
        with self._b.loop("byte", 0, whole, REGISTER) as byte:
            if whole:
                yield byte.index, REGISTER
        if count > whole:
            yield Imm(whole), count - whole
