"""Loads rows of packed weights in the order in which an implicit matrix product uses them."""

from __future__ import annotations

from collections.abc import Callable

from ellc.codegen.kir.ir import Operand


class WeightRows:
    """Rows of weights, each loaded while the row `ahead` rows before it is multiplied.

    If `ahead` is 0, an in-order core waits for each load.
    """

    def __init__(
        self,
        load: Callable[[int], list[Operand]],
        widen: Callable[[list[Operand]], list[Operand]],
        count: int,
        ahead: int,
    ) -> None:
        self._load, self._widen, self._count, self._ahead = load, widen, count, ahead
        self._taken = 0
        self._loaded: list[list[Operand]] = []
        self._widened: list[list[Operand]] = []
        self._fill(ahead)

    def next(self) -> list[Operand]:
        """The next row, widened. First loads all rows up to the one `ahead` rows after it."""
        self._fill(self._taken + self._ahead + 1)
        if len(self._widened) == self._taken:
            self._widened.append(self._widen(self._loaded[self._taken]))
        self._taken += 1
        return self._widened[self._taken - 1]

    def widen_next(self) -> None:
        """Widen the row after the current one, if it is already loaded."""
        if self._ahead and self._taken < len(self._loaded) and len(self._widened) == self._taken:
            self._widened.append(self._widen(self._loaded[self._taken]))

    def _fill(self, count: int) -> None:
        for k in range(len(self._loaded), min(count, self._count)):
            self._loaded.append(self._load(k))
