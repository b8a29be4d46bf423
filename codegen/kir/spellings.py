"""A registry of functions that write operations of the kernel IR as LLVM IR or C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

SpellingT = TypeVar("SpellingT", bound=Callable[..., str])


class Spellings(dict[str, SpellingT]):
    """By the name of an operation: the function that writes it. `spells` registers a function."""

    def spells(self, *operations: str) -> Callable[[SpellingT], SpellingT]:
        """Decorator: registers a function that writes these operations."""

        def register(function: SpellingT) -> SpellingT:
            self.update(dict.fromkeys(operations, function))
            return function

        return register
