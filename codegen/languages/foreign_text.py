"""Converts texts of a model or a user for generated files; all such texts go through this module.

Names of ports and layers, metadata and file names are *foreign* texts: they may contain any
character. A template accepts only integers and texts of the types below, one type for each
language; `render` rejects everything else. These functions convert a foreign text:

* `names.valid_name` and `names.port_names` make `Identifier`s, which are valid names in every
  language;
* `comment` makes a `Comment`, for comments of every language and for Python's docstrings;
* `c_string`, `python_literal`, `js_literal` and `cmake_file` make literals;
* `html_text` makes text for HTML and SVG.

`c_code`, `joined`, `html_code` and `html_joined` combine converted texts. The functions for
programming languages keep the characters of a fixed list, and replace, escape or reject all others.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable

from ellc.ir.printable import visible


class CCode(str):
    """Text of C and C++ that consists of whole tokens."""

    __slots__ = ()


class PythonCode(str):
    """Text of Python that consists of whole tokens."""

    __slots__ = ()


class CMakeCode(str):
    """Text of CMake that consists of whole arguments."""

    __slots__ = ()


class HtmlCode(str):
    """Text of HTML or SVG: whole elements, text between elements, or text in attributes."""

    __slots__ = ()


class JsCode(str):
    """Text of JavaScript and TypeScript that consists of whole tokens."""

    __slots__ = ()


class _EveryLanguage(CCode, PythonCode, CMakeCode, JsCode):
    __slots__ = ()


class Identifier(_EveryLanguage):
    """ASCII letters, digits and underscores, not beginning with a digit.

    Raises `ValueError` for other text.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Identifier:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
            raise ValueError(f"{text!r} is not an identifier")
        return super().__new__(cls, text)


class Comment(_EveryLanguage):
    """One line of text that neither ends a comment or docstring nor begins one.

    Raises `ValueError` for text that `comment` would change.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Comment:
        if comment_text(text) != text:
            raise ValueError(f"{text!r} is not safe in a comment")
        return super().__new__(cls, text)


_NOT_IN_COMMENTS = re.compile(r"[^ -~]|\\")
# Where to split the ends and beginnings of comments, and trigraphs (`??/` means a backslash).
_PAIRS = re.compile(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)")


def comment_text(text: str) -> str:
    """The result of `comment` as a plain string."""
    plain = _NOT_IN_COMMENTS.sub(lambda c: f"<U+{ord(c[0]):04X}>", text).replace('"', "'")
    return _PAIRS.sub(" ", plain)


def comment(text: str) -> Comment:
    r"""A foreign text, converted for a comment: printable ASCII without backslash and double quote.

    >>> str(comment('a "b" *' + "/ é"))
    "a 'b' * / <U+00E9>"
    """
    return Comment(comment_text(text))


def c_string(text: str) -> CCode:
    r"""The C string literal for any text, in UTF-8.

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
    """The C constant expression for a value of type double."""
    if math.isnan(value):
        return CCode("(0.0 / 0.0)")
    if math.isinf(value):
        return CCode("(1.0 / 0.0)" if value > 0 else "(-1.0 / 0.0)")
    return CCode(repr(float(value)))


def c_code(form: str, *parts: CCode | int) -> CCode:
    """`form` with each `{}` replaced by a part. Raises `TypeError` if a part is foreign text."""
    return CCode(form.format(*(checked(part, CCode) for part in parts)))


def joined(parts: Iterable[CCode | int], separator: str = ", ") -> CCode:
    """The parts, joined by a separator. Raises `TypeError` if a part is foreign text."""
    return CCode(separator.join(checked(part, CCode) for part in parts))


def python_literal(value: object) -> PythonCode:
    """The Python literal, in ASCII, for a text, a number, None, or a tuple of these.

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
    raise TypeError(f"there is no Python literal for type {type(value).__name__}")


def js_literal(value: object) -> JsCode:
    r"""The JavaScript literal, in ASCII, for a value of JSON.

    Raises `ValueError` for a number that is not finite.

    >>> print(js_literal({"é": [1, None]}))
    {"\u00e9": [1, null]}
    """
    return JsCode(json.dumps(value, allow_nan=False))


def cmake_file(name: str) -> CMakeCode:
    """The name of a generated file as an argument of CMake.

    Raises `ValueError` if it contains characters that names of generated files never contain.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name):
        raise ValueError(f"{name!r} is not the name of a generated file")
    return CMakeCode(name)


def html_text(text: str) -> HtmlCode:
    """A foreign text, escaped for HTML and SVG, between elements or in a quoted attribute.

    >>> print(html_text('a < "b"'))
    a &lt; &quot;b&quot;
    """
    return HtmlCode(html.escape(visible(text)))


def html_code(form: str, *parts: HtmlCode | int) -> HtmlCode:
    """`form` with each `{}` replaced by a part. Raises `TypeError` if a part is foreign text."""
    return HtmlCode(form.format(*(checked(part, HtmlCode) for part in parts)))


def html_joined(parts: Iterable[HtmlCode], separator: str = "") -> HtmlCode:
    """The parts, joined by a separator. Raises `TypeError` if a part is foreign text."""
    return HtmlCode(separator.join(checked(part, HtmlCode) for part in parts))


Language = type[CCode] | type[PythonCode] | type[CMakeCode] | type[JsCode] | type[HtmlCode]


def checked(value: object, language: Language) -> str:
    """The text of a value that is safe in a file of this language.

    Raises `TypeError` if the value is neither an integer nor text of the language.
    """
    if type(value) is int:
        return str(value)
    if isinstance(value, language):
        return str(value)
    raise TypeError(
        f"{value!r} is {type(value).__name__}, not {language.__name__}:"
        " see codegen/languages/foreign_text.py"
    )
