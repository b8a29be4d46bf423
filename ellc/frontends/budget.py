"""The budget of one import: how much a model file can make its reader compute, fill and walk."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.types import Array


class Budget:
    """What remains of an import's limits, counted in elements and in nodes.

    All emitters of an import share one budget, also those of graphs inside nodes. Code that makes
    an array larger than any array in the file calls `want` first, or `full` or `counted`. Every
    method raises `EllcError` E203 when the budget is spent.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.computed_elements
        self._nodes_left = limits.graph_nodes
        # By id. The dictionary keeps the array alive, so that no other array gets the same id.
        self._used: dict[int, Array] = {}

    def want(self, shape: tuple[int, ...], where: str) -> None:
        """Pay for a tensor of this shape, before it is filled."""
        self.pay(self.limits.product(shape, where=where, what="constant", filled=True), where)

    def pay(self, elements: int, where: str) -> None:
        """Pay for a number of elements or of multiply-adds."""
        self.left -= elements
        if self.left < 0:
            raise EllcError(
                f"computing its constants takes more than {self.limits.computed_elements} elements",
                code="E203",
                where=where,
                hint="the file is damaged, or raise Limits.computed_elements",
            )

    def pay_again(self, array: Array, where: str) -> None:
        """Pay for work on a whole stored array.

        The first time is free: that work is in proportion to the size of the file.
        """
        if id(array) in self._used:
            self.pay(array.size, where)
        self._used[id(array)] = array

    def pay_node(self, where: str) -> None:
        """Pay for one visit of a node; a node in a loop is visited on every trip."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise EllcError(
                f"more than {self.limits.graph_nodes} nodes, counting the nodes of a loop's body"
                " once for every trip",
                code="E203",
                where=where,
                hint="the file is damaged, or raise Limits.graph_nodes",
            )

    def full(
        self, shape: tuple[int, ...], value: float | np.floating, dtype: DTypeLike, where: str
    ) -> Array:
        """An array with all elements equal to `value`. Raises E212 if `dtype` cannot hold it."""
        self.want(shape, where)
        kind = np.dtype(dtype)
        if kind.kind in "iu" and not np.iinfo(kind).min <= value <= np.iinfo(kind).max:
            raise EllcError(f"{value} does not fit into {kind.name}", code="E212", where=where)
        return np.full(shape, value, dtype)

    def counted(self, shape: tuple[int, ...], dtype: DTypeLike, where: str) -> Array:
        """An array that holds 0, 1, 2, ... in row-major order."""
        self.want(shape, where)
        return np.arange(prod(shape)).astype(dtype, copy=False).reshape(shape)
