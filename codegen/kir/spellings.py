"""A registry of functions that write operations of the kernel IR in LLVM IR or C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

SpellingT = TypeVar("SpellingT", bound=Callable[..., str])


class Spellings(dict[str, SpellingT]):
    """Functions by the name of the operation that they write; `spells` adds one."""

    def spells(self, *operations: str) -> Callable[[SpellingT], SpellingT]:
        """Decorator: the function writes these operations."""

        def register(function: SpellingT) -> SpellingT:
            self.update(dict.fromkeys(operations, function))
            return function

        return register
