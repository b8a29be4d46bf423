"""Errors that a user can fix, and a separate class for mistakes of ellc itself."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.ir.printable import indented, shortened, visible


class EllcError(Exception):
    """An error that the user can fix: it has a code, a location (`where`) and a next step (`hint`).

    If there are several problems, `problems` has one line for each, and the message sums them up.
    Codes are stable (`E212`), so scripts may test them; `ellc.error_codes` lists the cause and the
    remedy of each.
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

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle all attributes: by default, an error sent to another process keeps only `args`."""
        return (_unpickled, (type(self), self.args, dict(vars(self))))

    def report(self) -> str:
        """The report for a terminal.

        Quoted text in it can neither look like a line of ellc's own nor control the terminal.
        """
        location = f"{visible(self.where)}: " if self.where else ""
        lines = [f"error[{self.code}]: {location}{indented(self.message)}"]
        lines += [f"  {indented(problem)}" for problem in self.problems]
        if self.hint:
            lines.append(f"hint: {indented(self.hint)}")
        return "\n".join(map(shortened, "\n".join(lines).split("\n")))

    def __str__(self) -> str:
        return self.report()


def _unpickled(
    kind: type[EllcError], arguments: tuple[object, ...], attributes: dict[str, object]
) -> EllcError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class ShapeError(EllcError):
    """Operand types that an operator cannot take."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, code="E101", where=where, hint=hint)

    @property
    def reason(self) -> str:
        """The message without the operator's name, which may differ from that in the model."""
        name, _, rest = self.message.partition(": ")
        return rest if rest and name.isidentifier() else self.message


class InternalError(Exception):
    """A mistake in ellc. `reproducer` is the path of a file that reproduces it, or empty."""

    def __init__(self, message: str, *, reproducer: str = "") -> None:
        super().__init__(message)
        self.reproducer = reproducer
