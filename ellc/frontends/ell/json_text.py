"""Parses the variant of JSON that ELL writes.

Beyond JSON the parser accepts duplicate keys (all are kept, in order), the escape `\\'`, bare words
for NaN and infinity (`nan`, `inf`, `-inf` and other spellings), numbers such as `+1` and `.5`, and
integers of 64 bits. It works on bytes and uses an explicit stack instead of recursion. Flat arrays
of numbers, which are most of a large file, are read with numpy. Every error has the line, the
column and the path of the value.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from ellc.frontends.ell.typenames import is_single_precision
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue, NumberArray, gathered
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS, Limits

# Possessive quantifiers (`*+`) never backtrack, so a damaged file cannot make matching slow.
_TOKEN = re.compile(
    rb"""
    [ \t\r\n]*+
    (?:
      (?P<string> "[^"\\]*+(?:\\.[^"\\]*+)*+" )
    | (?P<array>  \[ [-+0-9.eEinfa, \t\r\n]*+ \] )
    | (?P<empty>  \{ [ \t\r\n]*+ \} )
    | (?P<punct>  [][{}:,] )
    | (?P<word>   [-+.\w]++ )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_INTEGER = re.compile(rb"[-+]?[0-9]+\Z")
_FLOAT = re.compile(rb"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")
_FRACTIONAL = re.compile(rb"[.eEinfa]|-0+(?![0-9])")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SIMPLE_ESCAPES = {
    "'": "'", '"': '"', "\\": "\\", "/": "/",
    "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f",
}  # fmt: skip
_LITERALS: dict[bytes, ArchiveValue] = {b"true": True, b"false": False, b"null": None}
_NON_FINITE = {
    b"nan": float("nan"), b"-nan": float("nan"), b"NaN": float("nan"),
    b"inf": float("inf"), b"-inf": float("-inf"),
    b"Infinity": float("inf"), b"-Infinity": float("-inf"),
}  # fmt: skip
_EMPTY = ArchiveObject(None, None)
# The number of digits of 2**64. A number with more characters than these digits and a sign is read
# as a float.
_LONGEST_INTEGER = 20


@dataclass(slots=True)
class _OpenContainer:
    """An object or array that is not closed yet."""

    is_object: bool
    pairs: list[tuple[str, ArchiveValue]] = field(default_factory=list)
    items: list[ArchiveValue] = field(default_factory=list)
    key: str | None = None


def parse_json_text(data: bytes, limits: Limits = DEFAULT_LIMITS, name: str = "") -> ArchiveValue:
    """Parse one document; `name` is the name of the file in messages.

    Raises `EllcError` E202 for a syntax error, and E203 for a document beyond the limits.
    """
    return _Parser(data, limits, name).document()


class _Parser:
    """Parses one document. The current token is from the offset `start` to `at`."""

    def __init__(self, data: bytes, limits: Limits, name: str) -> None:
        self.data = data
        self.limits = limits
        self.name = name
        self.at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.start = self.at
        self.stack: list[_OpenContainer] = []
        self.values = 0

    def document(self) -> ArchiveValue:
        value = self.value(*self.token())
        while self.stack:
            value = self.step()
        kind, _ = self.token()
        if kind != "end":
            self.fail("there is more text after the end of the document")
        return value

    def step(self) -> ArchiveValue:
        """Read one member of the innermost open container.

        Returns the container when it closes, else None.
        """
        container = self.stack[-1]
        kind, text = self.token()
        closing = b"}" if container.is_object else b"]"
        started = bool(container.pairs or container.items)
        if text == closing:
            return self.close()
        if started:
            if text != b",":
                self.fail(f"expected ',' or '{closing.decode()}', found {_shown(kind, text)}")
            kind, text = self.token()
        if container.is_object:
            kind, text = self.key(container, kind, text)
        value = self.value(kind, text)
        # A value that opens a container is added to its parent when the container closes.
        if self.stack[-1] is container:
            self.add_value(container, value)
        return None

    def key(self, container: _OpenContainer, kind: str, text: bytes) -> tuple[str, bytes]:
        """Read `"key":` and return the token of the value."""
        if kind != "string":
            self.fail(f"expected a key in quotes, found {_shown(kind, text)}")
        container.key = self.string(text)
        kind, text = self.token()
        if text != b":":
            self.fail(f"expected ':' after a key, found {_shown(kind, text)}")
        return self.token()

    def add_value(self, container: _OpenContainer, value: ArchiveValue) -> None:
        if container.is_object:
            container.pairs.append((container.key or "", value))
        else:
            container.items.append(value)

    def close(self) -> ArchiveValue:
        container = self.stack.pop()
        value = _object(container.pairs) if container.is_object else gathered(container.items)
        if self.stack:
            self.add_value(self.stack[-1], value)
        return value

    def token(self) -> tuple[str, bytes]:
        """Read the next token as (kind, text); the kind is `end` at the end of the document."""
        match = _TOKEN.match(self.data, self.at)
        if match is None:
            return self.no_token()
        kind = match.lastgroup or ""
        self.start, self.at = match.span(kind)
        # The text of an array may be huge, so it is not copied: `numbers` reads it from the data.
        return kind, b"[" if kind == "array" else match.group(kind)

    def no_token(self) -> tuple[str, bytes]:
        """Return the token for the end of the text, or raise for text that is not a token."""
        space = _SPACE.match(self.data, self.at)
        self.start = self.at = space.end() if space else self.at
        if self.at >= len(self.data):
            return "end", b""
        if self.data[self.at] == ord('"'):
            self.fail("this string has no closing quote")
        self.fail(f"unexpected character {chr(self.data[self.at])!r}")

    def value(self, kind: str, text: bytes) -> ArchiveValue:
        """The value of a token; None if the token opens a container."""
        self.values += 1
        if self.values > self.limits.values:
            self.beyond("values", f"the file holds more than {self.limits.values} values")
        match kind:
            case "array":
                return self.numbers()
            case "empty":
                return _EMPTY
            case "string":
                return self.string(text)
            case "word":
                return self.word(text)
            case "punct" if text in b"{[":
                if len(self.stack) >= self.limits.nesting_depth:
                    self.beyond(
                        "nesting_depth", f"nested deeper than {self.limits.nesting_depth} levels"
                    )
                self.stack.append(_OpenContainer(is_object=text == b"{"))
                return None
            case "end":
                self.fail("the file ends here, in the middle of a value")
            case _:
                self.fail(f"expected a value, found {_shown(kind, text)}")

    def word(self, text: bytes) -> ArchiveValue:
        """The value of a number or a bare word."""
        if text in _LITERALS:
            return _LITERALS[text]
        if text in _NON_FINITE:
            return _NON_FINITE[text]
        if (
            _INTEGER.match(text)
            and len(text) <= _LONGEST_INTEGER + 1
            and not text.startswith(b"-0")
        ):
            return int(text)
        if len(text) <= 1024 and _FLOAT.match(text):
            return float(text)
        self.fail(f"{_shown('word', text)} is neither a number nor true, false or null")

    def string(self, token: bytes) -> str:
        if len(token) > self.limits.string_bytes:
            self.beyond("string_bytes", f"a string is longer than {self.limits.string_bytes} bytes")
        try:
            text = token[1:-1].decode("utf-8")
        except UnicodeDecodeError:
            self.fail("this string is not UTF-8")
        if "\\" not in text:
            return text
        text = _ESCAPE.sub(self.escape, text)
        if _SURROGATES.search(text):
            # A surrogate pair, two \u escapes, encodes one character beyond the 16-bit range.
            try:
                text = text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self.fail("this string has half of a surrogate pair")
        return text

    def escape(self, match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) == 5:
            return chr(int(code[1:], 16))
        plain = _SIMPLE_ESCAPES.get(code)
        if plain is None:
            self.fail(f"unknown escape '\\{code}' in a string")
        return plain

    def numbers(self) -> ArchiveValue:
        """Read the flat array of numbers in the text from `start` to `at`."""
        start, end = self.start + 1, self.at - 1
        if _SPACE.match(self.data, start).end() == end:  # type: ignore[union-attr]
            return ()
        count = self.data.count(b",", start, end) + 1
        if count > self.limits.tensor_elements:
            self.beyond(
                "tensor_elements", f"an array has more than {self.limits.tensor_elements} numbers"
            )
        array = _numbers_at_once(self.data, start, end, count, self.floats())
        return self.numbers_one_by_one(start, end) if array is None else array

    def floats(self) -> type[np.number]:
        """The float type of numbers in the innermost object.

        It follows from the type name of the object, which ELL always writes as the first field. It
        is float64 if the first field is not a type name.
        """
        pairs = self.stack[-1].pairs if self.stack else []
        if pairs and pairs[0][0] == "_type":
            kind = pairs[0][1]
            return np.float32 if isinstance(kind, str) and is_single_precision(kind) else np.float64
        return np.float64

    def numbers_one_by_one(self, start: int, end: int) -> ArchiveValue:
        """Read an array number by number, which is slow but exact.

        This is needed to find the position of a syntax error, for integers with a plus sign, for
        integers at or beyond the limits of 64 bits, and for arrays that have both negative integers
        and integers of 2**63 or more.
        """
        items: list[ArchiveValue] = []
        offset = start
        for part in self.data[start:end].split(b","):
            self.start = offset + len(part) - len(part.lstrip())
            offset += len(part) + 1
            number = self.word(part.strip()) if part.strip() else None
            if number is None:
                self.fail("a number is missing between two commas")
            items.append(number)
        return gathered(items)

    def beyond(self, limit: str, message: str) -> NoReturn:
        """Raise `EllcError` E203 for a file that exceeds a field of `Limits`."""
        self.fail(message, code="E203", hint=f"the file is damaged, or raise Limits.{limit}")

    def fail(
        self,
        message: str,
        *,
        code: str = "E202",
        hint: str = "the file is damaged or is not an .ell archive",
    ) -> NoReturn:
        """Raise `EllcError` with the line, the column and the path of the current token."""
        line = self.data.count(b"\n", 0, self.start) + 1
        column = self.start - self.data.rfind(b"\n", 0, self.start)
        position = f"line {line}, column {column}"
        path = self.path()
        where = f"{self.name}, {position}" if self.name else position
        raise EllcError(
            f"{message} (in {path})" if path else message,
            code=code,
            where=where,
            hint=hint,
        )

    def path(self) -> str:
        parts = ""
        for container in self.stack:
            if not container.is_object:
                parts += f"[{len(container.items)}]"
            elif container.key is not None:
                parts += f".{container.key}" if parts else container.key
        return parts if len(parts) <= 300 else f"{parts[:297]}..."


def _shown(kind: str, text: bytes) -> str:
    if kind == "end":
        return "the end of the file"
    shown = text[:24].decode("utf-8", "replace")
    return f"'{shown}...'" if len(text) > 24 else f"'{shown}'"


def _object(pairs: list[tuple[str, ArchiveValue]]) -> ArchiveObject:
    """Make an object of its pairs; the first `_type` and `_version` do not become fields of it.

    A `_type` or `_version` that is not a string becomes a field.
    """
    type_name: str | None = None
    version: str | None = None
    fields: list[tuple[str, ArchiveValue]] = []
    for key, value in pairs:
        if key == "_type" and type_name is None and isinstance(value, str):
            type_name = value
        elif key == "_version" and version is None and isinstance(value, str):
            version = value
        else:
            fields.append((key, value))
    return ArchiveObject(type_name, version, tuple(fields))


def _numbers_at_once(
    data: bytes, start: int, end: int, count: int, floats: type[np.number]
) -> NumberArray | None:
    """Read comma-separated numbers with numpy; None if the result might not be exact."""
    if _FRACTIONAL.search(data, start, end):
        return _read_as(data, start, end, floats, count)
    if data.find(b"+", start, end) >= 0:
        return None
    if data.find(b"-", start, end) >= 0:
        array = _read_as(data, start, end, np.int64, count)
        edges = (-(2**63), 2**63 - 1)
    else:
        array = _read_as(data, start, end, np.uint64, count)
        edges = (2**64 - 1, 2**64 - 1)
    # numpy reads a number beyond 64 bits as the limit of the range. So an array that seems to
    # contain this limit is read number by number.
    if array is None or int(array.min()) == edges[0] or int(array.max()) == edges[1]:
        return None
    if array.dtype == np.uint64 and int(array.max()) < 2**63:
        array = _frozen(array.view(np.int64))
    return array


def _read_as(
    data: bytes, start: int, end: int, dtype: type[np.number], count: int
) -> NumberArray | None:
    body = data[start:end]
    with warnings.catch_warnings():
        # Older versions of numpy only warn if they cannot read the whole text.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            array: NumberArray = np.fromstring(body, dtype=dtype, sep=",")
        except (ValueError, DeprecationWarning, OverflowError):
            return None
    return _frozen(array) if array.size == count else None


def _frozen(array: NumberArray) -> NumberArray:
    array.flags.writeable = False
    return array
