"""Collects the problems that a reader finds, and raises them as one error."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ellc.ir.errors import EllcError

_LISTED = 100


@dataclass(slots=True)
class Problems:
    """Collects problems as lines of the form `location: what is wrong`.

    A reader continues after a problem if it can, so that one run reports as many problems as
    possible. A damaged file may have a problem in every byte, so `lines` keeps only the first 100
    problems, and the others are only counted.
    """

    lines: list[str] = field(default_factory=list)
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    _count: int = 0

    def __bool__(self) -> bool:
        return bool(self._count)

    def __len__(self) -> int:
        return self._count

    def add(self, where: str, what: str) -> None:
        """Add one problem."""
        line = f"{where}: {what}" if where else what
        # Two checks can find the same problem: for example, two connected layers both check the
        # shape between them.
        if line in self._last:
            return
        self._last.append(line)
        self._count += 1
        if self._count <= _LISTED:
            self.lines.append(line)

    def raise_if_any(
        self,
        message: str,
        *,
        code: str,
        where: str = "",
        hint: str = "",
        cause: EllcError | None = None,
    ) -> None:
        """Raise one `EllcError` with the first 100 lines and the number of others, if any."""
        if not self.lines:
            return
        shown = list(self.lines)
        if self._count > _LISTED:
            shown.append(f"... and {self._count - _LISTED} more")
        raise EllcError(message, code=code, where=where, hint=hint, problems=shown) from cause
