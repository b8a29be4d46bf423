"""TFLite's requantization of sums in general registers, with constants computed in advance.

With a mantissa m and n bits to shift right, TFLite rounds twice: r is `x * m / 2^31`, halves up,
and the result is `r / 2^n`, halves away from zero, plus the zero point z. If 2x fits in a register,
`smmulr` computes r from it. Then

    (r + (r < 0 ? -1 : 0) + 2^(n-1) + z * 2^n) >> n

is the result, where `2^(n-1) + z * 2^n` is a constant of each filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import Array

_START, _MANTISSA, _OFFSET, _BITS = range(4)
"""The constants of a filter, in the order of the table."""
_SIGN = 31


class WordRequantize:
    """The start values of sums, and the first stage of a node if it is such a requantization.

    `rest` is the node with the stages that are left. `arg` is the argument of the parameter that
    the constructor declares. Filters come in blocks of `block`.
    """

    def __init__(self, node: PlacedNode, b: KernelBuilder, terms: Terms, block: int) -> None:
        filters = terms.weights.shape[0]
        start = np.zeros(filters, np.int32)
        if not terms.starts_at_zero(edges=False):
            start = terms.start(1, None)
        factors = _factors(node, terms, start)
        self._b, self._block, self._op = b, block, None
        rows, self.rest = [start], node
        if factors is not None:
            stage = node.stages[0]
            assert isinstance(stage.op, Requantize)
            self._op = stage.op
            rows += factors
            extras = node.extras[stage.extras :]
            self.rest = replace(node, stages=node.stages[1:], extras=extras)
        self._width = len(rows)
        table = np.zeros((-(-filters // block) * block, self._width), np.int32)
        table[:filters] = np.stack(rows, axis=1)
        self._table = b.param("table", Elem.I32, 64)
        self.arg: Arg = constant(table)

    def starts(self, block: Operand) -> list[Operand]:
        """The start value of the sum of each filter of a block."""
        return [self._constant(block, f, _START) for f in range(self._block)]

    def results(
        self, sums: Sequence[Operand], block: Operand, pixels: int, valid: int
    ) -> list[Operand]:
        """The requantized sums. Sums and results are ordered by pixel, then filter of the block.

        Only the first `valid` filters are computed. Sums of other nodes are returned unchanged.
        """
        results = list(sums)
        if self._op is None:
            return results
        for number in range(valid):
            factor, offset, bits = (
                self._constant(block, number, which) for which in (_MANTISSA, _OFFSET, _BITS)
            )
            indices = range(number, pixels * self._block, self._block)
            chains = [partial(self._result, sums[i], factor, offset, bits) for i in indices]
            for index, result in zip(indices, self._b.interleaved(chains), strict=True):
                results[index] = result
        return results

    def _result(self, x: Operand, factor: Operand, offset: Operand, bits: Operand) -> Operand:
        b, op = self._b, self._op
        assert op is not None
        product = b.op("dsp_smmulr", b.shift_left(x, 1), factor)
        moved = b.add(offset, b.shift_right(product, _SIGN))
        divided = b.op("shr_by", b.add(product, moved), bits)
        clamped = b.min(b.max(divided, b.const(op.low, x)), b.const(op.high, x))
        return b.convert(clamped, Elem.of(op.dtype))

    def _constant(self, block: Operand, number: int, which: int) -> Operand:
        index = self._b.mul(block, self._block * self._width)
        return self._b.load(self._table, index, offset=number * self._width + which)


def _factors(node: PlacedNode, terms: Terms, start: Array) -> list[Array] | None:
    """(mantissas, offsets, bits) of all filters, if the first stage is such a requantization."""
    op = node.stages[0].op if node.stages else None
    if not isinstance(op, Requantize) or op.rule != "tflite" or op.dtype.numpy.itemsize > 1:
        return None
    filters, arrays = terms.weights.shape[0], [x.array for x in node.extras[:2]]
    if any(a is None or a.size not in (1, filters) for a in arrays):
        return None
    mantissa, shift = (np.broadcast_to(np.reshape(a, -1), filters) for a in arrays if a is not None)
    bits = np.where(mantissa == 0, 1, -shift.astype(np.int64))
    if bits.min() < 1:
        return None
    offset = (np.int64(1) << (bits - 1)) + (np.int64(op.zero_point) << bits)
    largest = _largest_sum(terms, start)
    if largest >= 1 << 30 or largest + np.abs(offset).max() >= (1 << 31) - 1:
        return None
    return [mantissa, offset.astype(np.int32), bits.astype(np.int32)]


def _largest_sum(terms: Terms, start: Array) -> int:
    """A bound of the magnitudes of all sums."""
    info = np.iinfo(terms.types.image.numpy)
    most = max(-int(info.min), int(info.max))
    weights = np.abs(terms.weights.reshape(terms.weights.shape[0], -1).astype(np.int64))
    return int((np.abs(start.astype(np.int64)) + most * weights.sum(axis=1)).max())
