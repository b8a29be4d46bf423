"""The budget of one import: how much work and memory a model file can demand of its reader."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.types import Array


class Budget:
    """What remains of an import's limits, counted in elements and in nodes.

    All emitters of an import share one budget, including the emitters of graphs inside nodes. Code
    that makes an array larger than any array in the file must first pay for it with `want`, or make
    the array with `full` or `counted`. Every method raises `EllcError` E203 if the budget does not
    suffice.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.computed_elements
        self._nodes_left = limits.graph_nodes
        # The keys are ids. The dictionary keeps the arrays alive, so that no id is used again.
        self._used: dict[int, Array] = {}

    def want(self, shape: tuple[int, ...], where: str) -> None:
        """Pay for a tensor of this shape; call this before the tensor is allocated."""
        self.pay(self.limits.product(shape, where=where, what="a constant", filled=True), where)

    def pay(self, elements: int, where: str) -> None:
        """Pay for a number of elements or of multiply-adds."""
        self.left -= elements
        if self.left < 0:
            raise EllcError(
                f"computing the constants of the model takes more than "
                f"{self.limits.computed_elements} elements",
                code="E203",
                where=where,
                hint="the file is damaged, or raise Limits.computed_elements",
            )

    def pay_again(self, array: Array, where: str) -> None:
        """Pay for work on a whole stored array.

        The first time is free, because this work is proportional to the size of the file.
        """
        if id(array) in self._used:
            self.pay(array.size, where)
        self._used[id(array)] = array

    def pay_node(self, where: str) -> None:
        """Pay for one visit of a node; a node in a loop is visited on every trip."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise EllcError(
                f"the model has more than {self.limits.graph_nodes} nodes, if the nodes of a loop's"
                " body are counted once for every trip",
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
            raise EllcError(f"{kind.name} cannot hold {value}", code="E212", where=where)
        return np.full(shape, value, dtype)

    def counted(self, shape: tuple[int, ...], dtype: DTypeLike, where: str) -> Array:
        """An array that holds 0, 1, 2, ... in row-major order."""
        self.want(shape, where)
        return np.arange(prod(shape)).astype(dtype, copy=False).reshape(shape)
