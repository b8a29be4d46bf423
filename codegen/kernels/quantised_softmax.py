"""Softmax of bytes. Exponentials come from tables; the reciprocal of their sum is computed.

Two numbers need no exponentials: each result is a function of their difference, and comes from a
table of 511 bytes.

The terms of the sum are the exponentials with fewer bits. They have a table of their own, unless
the code shares flash with the tables: there they are computed, with one instruction more for each
element and 1,024 bytes less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import AxisGroup, axis_group, combined, index_of, kept_axes, sweep
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir import fixed_point
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.ir.fixed_point import SOFTMAX_SUM_BITS, divide_by_power
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.types import Array, DType

_UNROLL = 4
"""How many elements are interleaved. Modelled cycles of the Cortex-A53
(`tests/benchmarks/constants.py`), 16 rows of 1,000: pi3_64 2: 410,253, 4: 286,733, 8: 268,133; pi3
2: 443,182, 4: 335,447, 8: 463,221."""


@lowers(QuantSoftmax)
def lower_quant_softmax(node: PlacedNode) -> list[KernelCall]:
    """A kernel without vectors: each element reads a table at its own index."""
    op = node.anchor
    assert isinstance(op, QuantSoftmax)
    node.refuse_stages()
    x = node.inputs[0].access
    result = node.result.access
    rank = len(x.shape)
    order = kept_axes(rank, (rank - 1,))
    rows = axis_group(x, order, [result.strides[a] for a in order])
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    steps = x.strides[-1], result.strides[-1]
    if x.shape[-1] == 2:
        shares = b.param("shares", result.elem, 64)
        target = b.param("y", result.elem, result.align_bytes, writable=True)
        pair = _Pair(b, source, shares, target, rows, steps)
        extent = ElementWalk(rows.extents, 1, node.threads).write(b, pair.write)
        args = access_arg(x), constant(_shares_of_differences(op)), access_arg(result)
        return [KernelCall(b.finish(), args, extent, f"{op.name} pairs")]
    powers = b.param("powers", Elem.I32, 64)
    has_terms = node.target.os != "none"
    terms = b.param("terms", Elem.I32, 64) if has_terms else None
    target = b.param("y", result.elem, result.align_bytes, writable=True)
    row = _Row(
        b, source, powers, terms, target, rows, x.shape[-1],
        steps, op.dtype, _UNROLL if node.code == "speed" else 1,
    )  # fmt: skip
    extent = ElementWalk(rows.extents, 1, node.threads).write(b, row.write)
    table = op.exponentials()
    tables = [constant(table)]
    if has_terms:
        tables.append(constant(divide_by_power(table, SOFTMAX_SUM_BITS)))
    return [KernelCall(b.finish(), (access_arg(x), *tables, access_arg(result)), extent, op.name)]


_MOST_DIFFERENCE = 255


def _shares_of_differences(op: QuantSoftmax) -> Array:
    """The result for the first of two numbers, for each difference -255..255 from the second."""
    differences = np.arange(-_MOST_DIFFERENCE, _MOST_DIFFERENCE + 1)
    pairs = np.stack([np.maximum(differences, 0), np.maximum(-differences, 0)], axis=-1)
    (results,) = op.reference(pairs)
    return np.asarray(results[:, 0], order="C")


@dataclass(frozen=True, slots=True)
class _Pair:
    """Writes the code of a row of two numbers."""

    b: KernelBuilder
    x: Param
    shares: Param
    y: Param
    rows: AxisGroup
    steps: tuple[int, int]

    def write(self, at: list[Operand], length: int, last: bool) -> None:
        """Write each result as a function of the difference from the other number."""
        b, (step, result_step) = self.b, self.steps
        base, target = index_of(b, 0, at, self.rows.x), index_of(b, 0, at, self.rows.y)
        first, second = (
            b.convert(b.load(self.x, base, offset=n * step), Elem.INDEX) for n in range(2)
        )
        for n, (own, other) in enumerate(((first, second), (second, first))):
            share = b.load(self.shares, b.sub(own, other), offset=_MOST_DIFFERENCE)
            b.store(share, self.y, target, offset=n * result_step)


@dataclass(frozen=True, slots=True)
class _Row:
    """Writes the code of one row.

    If the stored integer of an element is less by d than the largest one of the row, the element's
    exponential is at index d: in `powers` as a Q0 number, and in `terms` as a Q12 number. Without
    `terms`, the Q12 number is computed.
    """

    b: KernelBuilder
    x: Param
    powers: Param
    terms: Param | None
    y: Param
    rows: AxisGroup
    length: int
    steps: tuple[int, int]
    dtype: DType
    unroll: int

    def write(self, at: list[Operand], length: int, last: bool) -> None:
        """Write three passes: the largest element, the sum of exponentials, and the shares."""
        b = self.b
        base, target = index_of(b, 0, at, self.rows.x), index_of(b, 0, at, self.rows.y)
        top = self._folded("max", INDEX, partial(self._element, base), -128)

        def distance(position: Operand) -> Operand:
            return b.sub(top, self._element(base, position))

        def term(position: Operand) -> Operand:
            if self.terms is not None:
                return b.load(self.terms, distance(position))
            power = b.load(self.powers, distance(position))
            # Exponentials are not negative, so `shr_round` rounds halves up.
            return b.op("shr_round", power, b.const(SOFTMAX_SUM_BITS, power))

        total = self._folded("add", VType(Elem.I32), term, 0)
        scale, bits = self._reciprocal(total)

        def store(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            power = b.load(self.powers, distance(at[0]))
            # The product is not negative, so `shr_round` rounds halves up.
            product = b.op("mul_high", scale, power)
            share = self._stored(b.op("shr_round", product, bits))
            b.store(share, self.y, b.add(target, b.mul(at[0], self.steps[1])))

        sweep(b, (self.length,), 1, self.unroll, [], store)

    def _element(self, base: Operand, position: Operand) -> Operand:
        """One stored integer of the row, converted to an index."""
        b = self.b
        value = b.load(self.x, b.add(base, b.mul(position, self.steps[0])))
        return b.convert(value, Elem.INDEX)

    def _folded(
        self, name: str, type_: VType, value: Callable[[Operand], Operand], start: int
    ) -> Operand:
        """The combination, by `name`, of `value(position)` for all positions of the row.

        Several independent accumulators start from `start`.
        """
        b = self.b
        first: list[Operand] = [b.const(start, type_)] * self.unroll

        def visit(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            values[slot] = b.op(name, values[slot], value(at[0]))

        return combined(b, name, sweep(b, (self.length,), 1, self.unroll, first, visit))

    def _reciprocal(self, total: Operand) -> tuple[Operand, Operand]:
        """(scale, bits): the share of `power` in `total` is `mul_high(scale, power) / 2^bits`.

        If `bits` would be more than 31, the share is 0, and so is `scale`.
        """
        b = self.b
        zeros, highest = fixed_point.leading_zeros(b, b.bitcast(total, Elem.U32))
        one = b.const(1 << 31, highest)
        scale = fixed_point.one_over_one_plus(b, b.bitcast(b.sub(highest, one), Elem.I32))
        bits = b.sub(b.const(SOFTMAX_SUM_BITS + 31 - 8, scale), b.bitcast(zeros, Elem.I32))
        most_bits, zero = b.const(31, bits), b.const(0, bits)
        return b.select(b.compare("gt", bits, most_bits), zero, scale), b.min(bits, most_bits)

    def _stored(self, share: Operand) -> Operand:
        b, info = self.b, np.iinfo(self.dtype.numpy)
        low, high = b.const(info.min, share), b.const(info.max, share)
        return b.convert(b.min(b.add(share, low), high), Elem.of(self.dtype))
