"""Requantization of sums in general registers, with constants computed in advance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.high_factors import HighFactors, apply_factors
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.requantisation import first_requantisation
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised import Requantize

_START, _MANTISSA, _OFFSET, _RAISED, _UNIT = range(5)
"""The constants of a filter, in the order of the table. The last one is there only if needed."""


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
        self._b, self._block = b, block
        self._stage: tuple[Requantize, HighFactors] | None = first_requantisation(node, terms)
        rows, self.rest = [start], node
        if self._stage:
            _, factors = self._stage
            rows = [start + factors.starts, factors.mantissas, factors.offsets, factors.raised]
            if factors.corrected:
                rows.append(np.int32(1) << (factors.raised - 1))
            extras = node.extras[node.stages[0].extras :]
            self.rest = replace(node, stages=node.stages[1:], extras=extras)
        self._width = len(rows)
        table = np.zeros((-(-filters // block) * block, self._width), np.int32)
        table[:filters] = np.stack(rows, axis=1)
        self._table = b.param("table", Elem.I32, 64)
        self.arg: Arg = constant(table)

    @property
    def takes_stage(self) -> bool:
        """Whether the first stage is computed here."""
        return self._stage is not None

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
        numbers = (_MANTISSA, _OFFSET, _RAISED, *range(_UNIT, self._width))
        for number in range(valid):
            own = [self._constant(block, number, which) for which in numbers]
            indices = range(number, pixels * self._block, self._block)
            chains = [partial(self._result, sums[i], own) for i in indices]
            for index, result in zip(indices, self._b.interleaved(chains), strict=True):
                results[index] = result
        return results

    def _result(self, total: Operand, numbers: Sequence[Operand]) -> Operand:
        assert self._stage is not None
        op, factors = self._stage
        mantissa, offset, raised, *unit = numbers
        shifted = self._b.op("shl_by", total, raised)
        of_filter = (mantissa, offset, unit[0] if unit else raised)
        return apply_factors(self._b, op, factors, shifted, of_filter)

    def _constant(self, block: Operand, number: int, which: int) -> Operand:
        index = self._b.mul(block, self._block * self._width)
        return self._b.load(self._table, index, offset=number * self._width + which)
