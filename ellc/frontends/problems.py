"""A list of problems that a reader collects and raises as one error."""

from __future__ import annotations

from dataclasses import dataclass, field

from ellc.ir.errors import EllcError

_LISTED = 100


@dataclass(slots=True)
class Problems:
    """Collects lines of the form `location: what is wrong`.

    Reading continues after a problem as long as possible, so that one run reports all of them.
    """

    lines: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, where: str, what: str) -> None:
        """Add one problem."""
        line = f"{where}: {what}" if where else what
        # Two readers can check one field: a layer and the next one both check the shape between.
        if line not in self.lines[-8:]:
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
        """Raise one `EllcError` with the first 100 lines, if there are any problems."""
        if not self.lines:
            return
        shown = self.lines[:_LISTED]
        if len(self.lines) > _LISTED:
            shown.append(f"... and {len(self.lines) - _LISTED} more")
        raise EllcError(message, code=code, where=where, hint=hint, problems=shown) from cause
