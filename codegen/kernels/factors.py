"""Loads the operands of a matrix product as factors: widened, with zero points subtracted."""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.terms import ProductTypes, ZeroPoints
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import VType


class Factors:
    """Turns elements of both matrices into factors.

    `args` has the argument of the kernel parameter that the constructor declares if columns have
    different zero points.
    """

    def __init__(
        self, b: KernelBuilder, right: Param, types: ProductTypes, zeros: ZeroPoints
    ) -> None:
        self._b, self._right, self._types, self._zeros = b, right, types, zeros
        self._of_columns: Param | None = None
        self.args: list[Arg] = []
        if len(zeros.right) > 1:
            self._of_columns = b.param("zeros", types.factor, 64)
            self.args.append(constant(np.array(zeros.right, types.factor.numpy)))

    def left(self, value: Operand, count: int = 0) -> Operand:
        """Loaded values of the left matrix as factors.

        The first `count` lanes are valid (all if `count` is 0); the other lanes of the result are
        0.
        """
        b, lanes = self._b, value.type.lanes
        zero = b.const(self._zeros.left, value.type.with_elem(self._types.factor))
        factor = self._minus(value, zero)
        if not self._zeros.left or (count or lanes) >= lanes:
            return factor
        lane = b.iota(factor.type.elem, lanes)
        return b.select(b.compare("lt", lane, b.const(count, lane)), factor, b.const(0, factor))

    def right(self, index: Operand, offset: int, lanes: int, count: int, zero: Operand) -> Operand:
        """`count` adjacent elements of the right matrix as factors; other lanes are undefined."""
        value = self._b.load_some(self._right, index, lanes, count, offset=offset)
        return self._minus(value, zero)

    def zeros_of_columns(
        self, column: Operand, vectors: int, lanes: int, valid: int
    ) -> list[Operand]:
        """The zero points of `valid` neighbouring columns, in vectors."""
        if self._of_columns is None:
            zero = self._b.const(self._zeros.right[0], VType(self._types.factor, lanes))
            return [zero] * vectors
        counts = [min(lanes, valid - v * lanes) for v in range(vectors)]
        return [
            self._b.load_some(self._of_columns, column, lanes, count, offset=v * lanes)
            for v, count in enumerate(counts)
        ]

    def zeros_of_each(self, column: Operand, count: int, lanes: int) -> list[Operand]:
        """The zero points of `count` columns, each broadcast to a vector of its own."""
        b, of_columns = self._b, self._of_columns
        if of_columns is None:
            return self.zeros_of_columns(column, 1, lanes, lanes) * count
        return [b.splat(b.load(of_columns, column, offset=i), lanes) for i in range(count)]

    def _minus(self, value: Operand, zero: Operand) -> Operand:
        widened = self._types.widened(self._b, value)
        is_zero = isinstance(zero, Imm) and zero.value == 0
        return widened if is_zero else self._b.sub(widened, zero)
