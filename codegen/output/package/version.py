"""The version of a package, as the user gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ellc.ir.errors import EllcError

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_RELEASE = rf"{_NUMBER}(?:\.{_NUMBER}){{0,5}}"
_LOCAL = r"[a-z0-9]{1,40}(?:\.[a-z0-9]{1,40}){0,5}"
_FORM = re.compile(
    rf"(?:[1-9][0-9]{{0,8}}!)?(?P<release>{_RELEASE})(?:(?:a|b|rc){_NUMBER})?"
    rf"(?:\.post{_NUMBER})?(?:\.dev{_NUMBER})?(?:\+{_LOCAL})?"
)
"""The normal form of PEP 440, of a bounded length: pip reads others, too, but names no file so."""


@dataclass(frozen=True, slots=True)
class PackageVersion:
    """A version in the normal form of PEP 440; `text` is empty if the user gave none.

    Raises `EllcError` (E316) for another text.
    """

    text: str = ""

    def __post_init__(self) -> None:
        if self.text and not _FORM.fullmatch(self.text):
            raise EllcError(
                f"{self.text!r} is not a version of a package in the normal form of PEP 440",
                code="E316",
                hint="for example 1.2.3, 2.0rc1 or 1.0.post2",
            )

    @property
    def release(self) -> str:
        """Its numbers, such as 1.2.3, which is all that CMake compares."""
        match = _FORM.fullmatch(self.text)
        assert match is not None
        return match["release"]

    @property
    def major(self) -> int:
        """The first number: networks that differ in it do not stand for each other."""
        return int(self.release.split(".")[0])
