"""The version that a user gives to a package."""

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
"""The normal form of PEP 440, with limited length. pip also accepts other forms, but file names of
wheels contain only the normal form."""


@dataclass(frozen=True, slots=True)
class PackageVersion:
    """A version in the normal form of PEP 440. `text` is empty if the user gave no version.

    Raises `EllcError` (E316) if the text has another form.
    """

    text: str = ""

    def __post_init__(self) -> None:
        if self.text and not _FORM.fullmatch(self.text):
            raise EllcError(
                f"{self.text!r} is not a package version in the normal form of PEP 440",
                code="E316",
                hint="for example 1.2.3, 2.0rc1 or 1.0.post2",
            )

    @classmethod
    def of(cls, text: str) -> PackageVersion:
        """The version that a user has written. Raises `EllcError` (E316) for an empty text, too."""
        if not text:
            raise EllcError("the package version is empty", code="E316", hint="for example 1.2.3")
        return cls(text)

    @property
    def release(self) -> str:
        """The release numbers, such as 1.2.3. CMake compares only these."""
        match = _FORM.fullmatch(self.text)
        assert match is not None
        return match["release"]

    @property
    def major(self) -> int:
        """The first release number. Packages with different major numbers are incompatible."""
        return int(self.release.split(".")[0])
