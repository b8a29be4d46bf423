"""Text of a model or a user in generated files: every such text goes through this module.

Names of ports and layers, metadata and file names are *foreign*: they may have any characters. A
template does not take them. It takes integers and the types of this file, one for each language
(`render` rejects everything else). These functions convert a foreign text:

* `names.valid_name` and `names.distinct_names` to an `Identifier`, which every language takes;
* `comment` to a `Comment`, for comments of every language and for Python's docstrings;
* `c_string`, `python_literal` and `cmake_file` to literals, `html_text` to text of HTML and SVG.

`c_code` and `html_code` put such parts together. The functions for programming languages have a
list of allowed characters and escape all others.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

from ellc.ir.printable import visible


class CCode(str):
    """Text of C and C++, whole tokens."""

    __slots__ = ()


class PythonCode(str):
    """Text of Python, whole tokens."""

    __slots__ = ()


class CMakeCode(str):
    """Text of CMake, whole arguments."""

    __slots__ = ()


class HtmlCode(str):
    """Text of HTML or SVG: whole elements, or the text between them or in their attributes."""

    __slots__ = ()


class _EveryLanguage(CCode, PythonCode, CMakeCode):
    __slots__ = ()


class Identifier(_EveryLanguage):
    """ASCII letters, digits and underscores, no digit first. Raises `ValueError` for other text."""

    __slots__ = ()

    def __new__(cls, text: str) -> Identifier:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
            raise ValueError(f"{text!r} is not an identifier")
        return super().__new__(cls, text)


class Comment(_EveryLanguage):
    """One line that neither ends a comment or docstring nor begins another one.

    Raises `ValueError` for text that `comment` would change.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Comment:
        if comment_text(text) != text:
            raise ValueError(f"{text!r} is not safe in a comment")
        return super().__new__(cls, text)


_NOT_IN_COMMENTS = re.compile(r"[^ -~]|\\")
# Ends and beginnings of comments, and trigraphs: `??/` is a backslash.
_PAIRS = re.compile(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)")


def comment_text(text: str) -> str:
    """The text of `comment` as a plain string."""
    plain = _NOT_IN_COMMENTS.sub(lambda c: f"<U+{ord(c[0]):04X}>", text).replace('"', "'")
    return _PAIRS.sub(" ", plain)


def comment(text: str) -> Comment:
    r"""A foreign text for a comment: printable ASCII without backslash and double quote.

    >>> str(comment('a "b" *' + "/ é"))
    "a 'b' * / <U+00E9>"
    """
    return Comment(comment_text(text))


def c_string(text: str) -> CCode:
    r"""A string literal of C for any text, in UTF-8.

    >>> print(c_string('say "hi"'))
    "say \"hi\""
    """
    parts = []
    for byte in text.encode("utf-8", "surrogatepass"):
        char = chr(byte)
        if char in '"\\?':
            parts.append("\\" + char)
        elif 32 <= byte < 127:
            parts.append(char)
        else:
            parts.append(f"\\{byte:03o}")
    return CCode(f'"{"".join(parts)}"')


def c_double(value: float) -> CCode:
    """A constant of type double."""
    if math.isnan(value):
        return CCode("(0.0 / 0.0)")
    if math.isinf(value):
        return CCode("(1.0 / 0.0)" if value > 0 else "(-1.0 / 0.0)")
    return CCode(repr(float(value)))


def c_code(form: str, *parts: CCode | int) -> CCode:
    """C text with a part in place of each `{}`. Raises `TypeError` if a part is foreign text."""
    return CCode(form.format(*(checked(part, CCode) for part in parts)))


def joined(parts: Iterable[CCode | int], separator: str = ", ") -> CCode:
    """C text of several parts. Raises `TypeError` like `c_code`."""
    return CCode(separator.join(checked(part, CCode) for part in parts))


def python_literal(value: object) -> PythonCode:
    """A Python literal, in ASCII, for a text, a number, None, or tuples of these.

    >>> print(python_literal(("é", 1)))
    ('\\xe9', 1)
    """
    match value:
        case tuple():
            inside = ", ".join(python_literal(item) for item in value)
            return PythonCode(f"({inside},)" if len(value) == 1 else f"({inside})")
        case float() if not math.isfinite(value):
            return PythonCode(f'float("{value}")')
        case str():
            return PythonCode(ascii(str(value)))
        case bool() | int() | float() | None:
            return PythonCode(repr(value))
    raise TypeError(f"no literal of Python for {type(value).__name__}")


def cmake_file(name: str) -> CMakeCode:
    """The name of a generated file, for CMake. Raises `ValueError` for unusual characters."""
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name):
        raise ValueError(f"{name!r} is not the name of a generated file")
    return CMakeCode(name)


def html_text(text: str) -> HtmlCode:
    """A foreign text for HTML and SVG, between elements or in a quoted attribute.

    >>> print(html_text('a < "b"'))
    a &lt; &quot;b&quot;
    """
    return HtmlCode(html.escape(visible(text)))


def html_code(form: str, *parts: HtmlCode | int) -> HtmlCode:
    """HTML with a part in place of each `{}`. Raises `TypeError` if a part is foreign text."""
    return HtmlCode(form.format(*(checked(part, HtmlCode) for part in parts)))


def html_joined(parts: Iterable[HtmlCode], separator: str = "") -> HtmlCode:
    """HTML of several parts. Raises `TypeError` like `html_code`."""
    return HtmlCode(separator.join(checked(part, HtmlCode) for part in parts))


Language = type[CCode] | type[PythonCode] | type[CMakeCode] | type[HtmlCode]


def checked(value: object, language: Language) -> str:
    """The text of a value that is safe in a file of this language; `TypeError` for any other."""
    if type(value) is int:
        return str(value)
    if isinstance(value, language):
        return str(value)
    raise TypeError(
        f"{value!r} is {type(value).__name__}, not {language.__name__}:"
        " see codegen/languages/foreign_text.py"
    )
