"""Errors a user can act on, and the separate class for our own mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.ir.printable import indented, shortened, visible


class EllcError(Exception):
    """Anything the user can fix: it has a code, a place and a next step.

    `problems` holds one line per problem when several were found at once; the message is then the
    summary. Codes are stable (`E212`), so scripts may test them; `ellc.error_codes` has the cause
    and the remedy of each.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        where: str = "",
        hint: str = "",
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.where = where
        self.hint = hint
        self.problems = tuple(problems)

    def report(self) -> str:
        """The whole report, as it is shown on a terminal: only the first word of a line is ours."""
        place = f"{visible(self.where)}: " if self.where else ""
        lines = [f"error[{self.code}]: {place}{indented(self.message)}"]
        lines += [f"  {indented(problem)}" for problem in self.problems]
        if self.hint:
            lines.append(f"hint: {indented(self.hint)}")
        return "\n".join(map(shortened, "\n".join(lines).split("\n")))

    def __str__(self) -> str:
        return self.report()


class ShapeError(EllcError):
    """Operand types that an operator cannot take."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, code="E101", where=where, hint=hint)

    @property
    def reason(self) -> str:
        """The message without the operator's name, for users: a model has other operators."""
        name, _, rest = self.message.partition(": ")
        return rest if rest and name.isidentifier() else self.message


class InternalError(Exception):
    """A mistake of ours. `reproducer` is the path of a file that shows it, if one was written."""

    def __init__(self, message: str, *, reproducer: str = "") -> None:
        super().__init__(message)
        self.reproducer = reproducer
