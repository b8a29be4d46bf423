"""What one import may compute, fill and walk on the word of its file: one account for all of it."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.types import Array


class Budget:
    """The account of one import, which all its emitters share, those of graphs in nodes too.

    An array that is larger than any array in the file must be asked for here first, or be made
    here. Everything raises `EllcError` E203 when the account is empty.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.computed_elements
        self._nodes_left = limits.graph_nodes
        self._used: dict[int, Array] = {}  # by identity; the array is kept so that it stays one

    def want(self, shape: tuple[int, ...], where: str) -> None:
        """Pay for a tensor of a shape that is about to be filled."""
        self.pay(self.limits.product(shape, where=where, what="constant", filled=True), where)

    def pay(self, elements: int, where: str) -> None:
        """Pay for so many elements or multiply-adds."""
        self.left -= elements
        if self.left < 0:
            raise EllcError(
                f"more than {self.limits.computed_elements} elements of constants are to be"
                " computed",
                code="E203",
                where=where,
                hint="the file is damaged, or raise Limits.computed_elements",
            )

    def pay_again(self, array: Array, where: str) -> None:
        """Pay for work on a whole stored array: once is free, as the file is as large."""
        if id(array) in self._used:
            self.pay(array.size, where)
        self._used[id(array)] = array

    def pay_node(self, where: str) -> None:
        """Pay for one node of a graph that is walked; one in a loop is walked again and again."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise EllcError(
                f"more than {self.limits.graph_nodes} nodes, those of graphs inside nodes counted"
                " on every trip",
                code="E203",
                where=where,
                hint="the file is damaged, or raise Limits.graph_nodes",
            )

    def full(
        self, shape: tuple[int, ...], value: float | np.floating, dtype: DTypeLike, where: str
    ) -> Array:
        """An array of one number. Raises E212 for one that the type does not hold."""
        self.want(shape, where)
        kind = np.dtype(dtype)
        if kind.kind in "iu" and not np.iinfo(kind).min <= value <= np.iinfo(kind).max:
            raise EllcError(f"{value} does not fit into {kind.name}", code="E212", where=where)
        return np.full(shape, value, dtype)

    def counted(self, shape: tuple[int, ...], dtype: DTypeLike, where: str) -> Array:
        """The numbers from 0 on, in the order of rows."""
        self.want(shape, where)
        return np.arange(prod(shape)).astype(dtype, copy=False).reshape(shape)
