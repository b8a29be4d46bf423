"""Fourier transforms of real signals and their inverses: decimation in time, a loop per stage.

The transform of `n` complex numbers is computed: each of them, called a pair, consists of two
neighbouring numbers of a row of `2 n` real numbers. The spectrum of the row is then computed from
the spectrum of the pairs. An inverse transform first computes the spectrum of the pairs from that
of the row. The operand `turns` has the twiddle factors of the stages; `joints` has the factors for
the conversion between the two spectra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.spectrum import Irfft, Rfft, radices

_Complex = tuple[Operand, Operand]


@lowers(Rfft, Irfft)
def lower_rfft(node: PlacedNode) -> list[KernelCall]:
    """A kernel in which one thread computes all rows.

    A row cannot be split, because each stage of its transform reads all results of the previous
    stage; and all rows use the same scratch memory, one after the other.
    """
    op = node.anchor
    node.refuse_stages()
    operands = [x.access for x in node.inputs]
    x, y = operands[0], node.result.access
    length = min(x.shape[1], y.shape[1])
    work = scratch(x.elem, (length,))
    b = KernelBuilder(node.name)
    names = ("x", "turns", "joints")
    signal, turns, joints = (
        b.param(n, a.elem, a.align_bytes) for n, a in zip(names, operands, strict=True)
    )
    work_memory = b.param("work", work.elem, work.align_bytes, writable=True)
    result = b.param("y", y.elem, y.align_bytes, writable=True)
    transform = _Transform(
        b, signal, turns, joints, work_memory, result, (*operands, y), length // 2
    )
    with b.loop("once", b.begin, b.end), b.loop("row", 0, x.shape[0]) as row:
        if isinstance(op, Irfft):
            transform.signal(row.index)
        else:
            transform.spectrum(row.index)
    args = tuple(access_arg(a) for a in (*operands, work, y))
    return [KernelCall(b.finish(), args, 1, op.name)]


@dataclass(frozen=True, slots=True)
class _Transform:
    """Writes the kernel. `work` holds the `half` pairs of one row."""

    b: KernelBuilder
    x: Param
    turns: Param
    joints: Param
    work: Param
    y: Param
    accesses: tuple[Access, ...]  # of x, turns, joints, y
    half: int

    def spectrum(self, row: Operand) -> None:
        """Write the spectrum of one row of the signal."""
        self._load_pairs(self.x, self.accesses[0], row)
        self._stages(inverse=False)
        self._unmix(row)

    def signal(self, row: Operand) -> None:
        """Write the signal of one row of the spectrum.

        `y` holds the spectrum of the pairs until the signal overwrites it.
        """
        self._mix(row)
        self._load_pairs(self.y, self.accesses[3], row)
        self._stages(inverse=True)
        self._store_signal(row)

    # --- memory ------------------------------------------------------------------------------

    def _load_pairs(self, source: Param, access: Access, row: Operand) -> None:
        """Copy the pairs of the row to `work`, in the order in which the stages read them."""
        b = self.b
        base = b.mul(row, access.strides[0])
        with b.loop("pair", 0, self.half) as pair:
            rest: Operand = pair.index
            position: Operand = Imm(0)
            size, step = self.half, 1
            for radix in radices(self.half):  # the digits of the index, the highest first
                size //= radix
                digit, rest = b.div(rest, size), b.rem(rest, size)
                position, step = b.add(position, b.mul(digit, step)), step * radix
            index = b.add(base, b.mul(position, 2 * access.strides[1]))
            for part in (0, 1):
                value = b.load(source, index, offset=part * access.strides[1])
                b.store(value, self.work, b.mul(pair.index, 2), offset=part)

    def _store_signal(self, row: Operand) -> None:
        """Copy `work` to the row of the result. Floats are divided by the length of the row."""
        b, access = self.b, self.accesses[3]
        base = b.mul(row, access.strides[0])
        with b.loop("number", 0, 2 * self.half) as number:
            value: Operand = b.load(self.work, number.index)
            if value.type.elem.is_float:
                value = b.mul(value, b.const(1 / (2 * self.half), value))
            b.store(value, self.y, b.add(base, b.mul(number.index, access.strides[1])))

    def _load(self, param: Param, index: Operand, step: int = 1) -> _Complex:
        """A complex number, loaded and widened to the element type of products."""
        real, imaginary = (self.b.load(param, index, offset=part * step) for part in (0, 1))
        return self.b.convert(real, self._product_elem), self.b.convert(
            imaginary, self._product_elem
        )

    def _store(self, value: _Complex, param: Param, index: Operand, step: int = 1) -> None:
        for part, number in enumerate(value):
            self.b.store(self.b.convert(number, param.elem), param, index, offset=part * step)

    def _twiddle(self, position: Operand) -> _Complex:
        access = self.accesses[1]
        return self._load(self.turns, self.b.mul(position, access.strides[0]), access.strides[1])

    # --- stages ------------------------------------------------------------------------------

    def _stages(self, *, inverse: bool) -> None:
        size = 1
        for radix in reversed(radices(self.half)):
            self._stage(size, radix, inverse=inverse)
            size *= radix

    def _stage(self, size: int, radix: int, *, inverse: bool) -> None:
        """Combine each group of `radix` neighbouring transforms of `size` pairs into one."""
        b = self.b
        step = self.half // (size * radix)
        with b.loop("block", 0, step) as block, b.loop("place", 0, size) as position:
            first = b.add(b.mul(block.index, size * radix), position.index)
            indices = [b.mul(b.add(first, size * q), 2) for q in range(radix)]
            parts = [self._scaled(self._load(self.work, index), radix) for index in indices]
            turned = [
                self._product(part, self._twiddle(b.mul(position.index, step * q)))
                for q, part in enumerate(parts[1:], 1)
            ]
            results = self._butterfly(parts[0], turned)
            if inverse and radix == 4:
                results[1], results[3] = results[3], results[1]
            for value, index in zip(results, indices, strict=True):
                self._store(value, self.work, index)

    def _butterfly(self, first: _Complex, turned: list[_Complex]) -> list[_Complex]:
        if len(turned) == 1:
            return [self._sum("add", first, turned[0]), self._sum("sub", first, turned[0])]
        low, high = (self._sum(how, first, turned[1]) for how in ("add", "sub"))
        both, difference = (self._sum(how, turned[0], turned[2]) for how in ("add", "sub"))
        b = self.b
        quarter = b.add(high[0], difference[1]), b.sub(high[1], difference[0])
        last = b.sub(high[0], difference[1]), b.add(high[1], difference[0])
        return [self._sum("add", low, both), quarter, self._sum("sub", low, both), last]

    def _mix(self, row: Operand) -> None:
        """Compute the spectrum of a row's pairs from the spectrum of the row; store it in `y`."""
        b, source, access = self.b, self.accesses[0], self.accesses[3]
        read, base = b.mul(row, source.strides[0]), b.mul(row, access.strides[0])
        step = access.strides[1]

        def pair(position: Operand | int) -> _Complex:
            index = b.add(read, b.mul(position, 2 * source.strides[1]))
            return self._load(self.x, index, source.strides[1])

        (first, _), (last, _) = pair(0), pair(self.half)
        ends = self._kept(b.add(first, last)), self._kept(b.sub(first, last))
        self._store(self._scaled(ends, 2), self.y, base, step)
        with b.loop("place", 1, self.half // 2 + 1) as position:
            other = b.sub(self.half, position.index)
            both, joined = self._joined(position.index, pair(position.index), pair(other))
            sums = self._sum("add", both, joined)
            self._store(sums, self.y, b.add(base, b.mul(position.index, 2 * step)), step)
            rest = b.sub(both[0], joined[0]), b.sub(joined[1], both[1])
            self._store(rest, self.y, b.add(base, b.mul(other, 2 * step)), step)

    def _joined(
        self, position: Operand, first: _Complex, second: _Complex
    ) -> tuple[_Complex, _Complex]:
        """(sum, difference) of the first pair and the conjugate of the second pair.

        The difference is multiplied by the factor of `position`. If the signal consists of
        integers, both pairs are halved first, because sums could overflow.
        """
        b, joints = self.b, self.accesses[2]
        real, imaginary = second
        front = self._scaled(first, 2)
        back = self._scaled((real, self._kept(b.op("neg", imaginary))), 2)
        both, difference = self._sum("add", front, back), self._sum("sub", front, back)
        factor_index = b.mul(b.sub(position, 1), joints.strides[0])
        return both, self._product(
            difference, self._load(self.joints, factor_index, joints.strides[1])
        )

    def _unmix(self, row: Operand) -> None:
        """Compute the row's spectrum from the spectrum of its pairs in `work`; store it in `y`.

        All results but the first and the last are halved, whether floats or integers.
        """
        b, access = self.b, self.accesses[3]
        base, step = b.mul(row, access.strides[0]), access.strides[1]
        zero = b.const(0, self._product_type)
        real, imaginary = self._scaled(self._load(self.work, Imm(0)), 2)
        self._store((b.add(real, imaginary), zero), self.y, base, step)
        middle = b.add(base, 2 * self.half * step)
        self._store((b.sub(real, imaginary), zero), self.y, middle, step)
        with b.loop("place", 1, self.half // 2 + 1) as position:
            other = b.sub(self.half, position.index)
            pairs = (
                self._load(self.work, b.mul(pair_index, 2))
                for pair_index in (position.index, other)
            )
            both, joined = self._joined(position.index, *pairs)
            sums = [b.add(p, q) for p, q in zip(both, joined, strict=True)]
            index = b.add(base, b.mul(position.index, 2 * step))
            self._store((self._halved(sums[0]), self._halved(sums[1])), self.y, index, step)
            rest = b.sub(both[0], joined[0]), b.sub(joined[1], both[1])
            index = b.add(base, b.mul(other, 2 * step))
            self._store((self._halved(rest[0]), self._halved(rest[1])), self.y, index, step)

    # --- arithmetic of the reference, `ellc.ir.ops.spectrum` ------------------------------------

    @property
    def _product_elem(self) -> Elem:
        """The element type of products."""
        return self.x.elem if self.x.elem.is_float else self.x.elem.wider

    @property
    def _product_type(self) -> VType:
        return VType(self._product_elem)

    def _kept(self, value: Operand) -> Operand:
        """The value, wrapped to the element type of the signal and widened again."""
        return self.b.convert(self.b.convert(value, self.x.elem), self._product_elem)

    def _rounded(self, product: Operand) -> Operand:
        """A fixed-point product, rounded to the scale of its factors; floats are unchanged."""
        if product.type.elem.is_float:
            return product
        bits = 8 * self.x.elem.bytes - 1
        product = self.b.add(product, self.b.const(1 << (bits - 1), product))
        return self._kept(self.b.shift_right(product, bits))

    def _scaled(self, value: _Complex, count: int) -> _Complex:
        """Integers divided by `count`, so that a sum of `count` of them fits; floats unchanged."""
        if self.x.elem.is_float:
            return value
        share = self.b.const(int(np.iinfo(self.x.elem.numpy).max) // count, value[0])
        real, imaginary = (self._rounded(self.b.mul(part, share)) for part in value)
        return real, imaginary

    def _product(self, x: _Complex, y: _Complex) -> _Complex:
        b = self.b
        real = b.sub(b.mul(x[0], y[0]), b.mul(x[1], y[1]))
        imaginary = b.add(b.mul(x[0], y[1]), b.mul(x[1], y[0]))
        return self._rounded(real), self._rounded(imaginary)

    def _sum(self, how: str, x: _Complex, y: _Complex) -> _Complex:
        real, imaginary = (self._kept(self.b.op(how, p, q)) for p, q in zip(x, y, strict=True))
        return real, imaginary

    def _halved(self, value: Operand) -> Operand:
        if value.type.elem.is_float:
            return self.b.mul(value, self.b.const(0.5, value))
        return self.b.shift_right(self.b.convert(value, Elem.I32), 1)
