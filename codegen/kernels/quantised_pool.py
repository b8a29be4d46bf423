"""Average pooling of 8- and 16-bit integers. Sums have 16 bits if they fit, else 32 bits."""

from __future__ import annotations

from ellc.codegen.blocks.calls import Arg, KernelCall
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.sliding import Sliding
from ellc.codegen.kernels.pool import Combination, Pool, lower_windows
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.quantised_pool import IntAvgPool2D

_NARROW_AREA = 255  # the sum of 255 elements of 8 bits fits in 16 bits: 255 * 255 < 2^16


@lowers(IntAvgPool2D)
def lower_int_pool(node: PlacedNode) -> list[KernelCall]:
    """Kernels for average pooling with windows of any size."""
    return lower_windows(node, _IntMean)


class _IntMean(Combination):
    """The sum of a window, divided by the number of its elements inside the image.

    The quotient is rounded to the nearest integer, halves away from zero, and then clamped.
    """

    operation = "add"

    def __init__(self, b: KernelBuilder, op: Pool, shape: Sliding, args: list[Arg]) -> None:
        super().__init__(b, op, shape, args)
        self._stored = shape.x.elem
        elem_16 = Elem.I16 if self._stored.is_signed else Elem.U16
        fits_16 = self._stored.bytes == 1 and self._area <= _NARROW_AREA
        self.elem = elem_16 if fits_16 else Elem.I32

    def identity(self, type_: VType) -> Operand:
        return self._b.const(0, type_)

    def finish(self, value: Operand, taps: int, channel: Operand, shift: int) -> Operand:
        b, op = self._b, self._op
        assert isinstance(op, IntAvgPool2D)
        total = b.convert(value, Elem.I32)
        mean = self._quotient(total, taps) if taps > 1 else total
        clamped = b.min(b.max(mean, b.const(op.low, mean)), b.const(op.high, mean))
        return b.convert(clamped, self._stored)

    def _quotient(self, total: Operand, count: int) -> Operand:
        """`total / count`, rounded to the nearest integer, halves away from 0.

        Because `div` truncates, half of `count` is first added, or subtracted if `total` is
        negative.
        """
        b, half = self._b, self._b.const(count // 2, total)
        if not self._stored.is_signed:
            return b.div(b.add(total, half), b.const(count, total))
        negative = b.compare("lt", total, b.const(0, total))
        adjusted = b.select(negative, b.sub(total, half), b.add(total, half))
        return b.div(adjusted, b.const(count, total))
