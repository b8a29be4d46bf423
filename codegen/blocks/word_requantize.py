"""Requantization of sums in general registers, with constants computed in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.high_factors import HighFactors, OfFilter, apply_factors
from ellc.codegen.blocks.packed_factors import MOST_RAISED_SUM, header, unpacked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.requantisation import first_requantisation
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array

_START, _MANTISSA, _OFFSET, _RAISED, _UNIT = range(5)
"""The constants of a filter, in the order of the table. The last one is there only if needed. If
factors are packed, there are only the first two, after those of the header."""


class WordRequantize:
    """The start values of sums, and the first stage of a node if it is such a requantization.

    `rest` is the node with the stages that are left. `arg` is the argument of the parameter that
    the constructor declares. Filters come in blocks of `block`. A kernel that layers share reads F:
    if it is `shared`, the numbers of `header` must be elsewhere (`reads_header`).
    """

    def __init__(
        self, node: PlacedNode, b: KernelBuilder, terms: Terms, block: int, *, shared: bool = False
    ) -> None:
        filters = terms.weights.shape[0]
        start = np.zeros(filters, np.int32)
        if not terms.starts_at_zero(edges=False):
            start = terms.start(1, None)
        self._b, self._block, self._is_shared = b, block, shared
        self.rest, self.header = node, np.zeros(0, np.int32)
        self._stage = first_requantisation(node, terms, MOST_RAISED_SUM)
        rows = [start]
        if self._stage:
            op, factors = self._stage
            self.header = header(op, factors) if factors.packed else self.header
            rows = _numbers(start, factors)
            extras = node.extras[node.stages[0].extras :]
            self.rest = replace(node, stages=node.stages[1:], extras=extras)
        self._width = len(rows)
        table = np.zeros((-(-filters // block) * block, self._width), np.int32)
        table[:filters] = np.stack(rows, axis=1)
        self._table = b.param("table", Elem.I32, 64)
        self._header_at = self._table, 0
        self._first = 0 if shared else len(self.header)
        flat = table.reshape(-1)
        self.arg: Arg = constant(flat if shared else np.concatenate([self.header, flat]))

    def reads_header(self, param: Param, first: int) -> None:
        """Let the kernel read the header from these numbers of a parameter."""
        self._header_at = param, first

    @property
    def takes_stage(self) -> bool:
        """Whether the first stage is computed here."""
        return self._stage is not None

    @property
    def is_packed(self) -> bool:
        """Whether the first stage is computed here, with packed factors."""
        return len(self.header) > 0

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
        if self._stage is None:
            return results
        b, (op, factors) = self._b, self._stage
        shift = self._header(1) if self._is_shared and self.is_packed else None
        for number in range(valid):
            raised, of_filter = self._of_filter(block, number)

            def result(total: Operand, k: Operand, own: OfFilter) -> Operand:
                shifted = b.op("shl_by", total, k)
                return apply_factors(b, op, factors, shifted, own, shift)

            indices = range(number, pixels * self._block, self._block)
            chains = [partial(result, sums[i], raised, of_filter) for i in indices]
            for index, value in zip(indices, b.interleaved(chains), strict=True):
                results[index] = value
        return results

    def _of_filter(self, block: Operand, number: int) -> tuple[Operand, OfFilter]:
        """k of a filter of the block, and the operand `of_filter` of `apply_factors`."""
        assert self._stage is not None
        mantissa = self._constant(block, number, _MANTISSA)
        if self.is_packed:
            return unpacked(self._b, self._stage[0], mantissa, self._header(0))
        numbers = range(_OFFSET, self._width)
        offset, raised, *unit = (self._constant(block, number, which) for which in numbers)
        return raised, (mantissa, offset, unit[0] if unit else raised)

    def _constant(self, block: Operand, number: int, which: int) -> Operand:
        index = self._b.mul(block, self._block * self._width)
        offset = self._first + number * self._width + which
        return self._b.load(self._table, index, offset=offset)

    def _header(self, number: int) -> Operand:
        """A number of the header: the common offset, or F."""
        param, first = self._header_at
        return self._b.load(param, 0, offset=first + number)


def _numbers(start: Array, factors: HighFactors) -> list[Array]:
    """The rows of the table, each with a number of every filter."""
    rows = [start + factors.starts, factors.mantissas]
    if factors.packed:
        return rows
    rows += [factors.offsets, factors.raised]
    if factors.corrected:
        rows.append(np.int32(1) << (factors.raised - 1))
    return rows
