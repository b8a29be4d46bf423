"""Untrusted text: its lines, control characters made visible, long texts shortened."""

from __future__ import annotations

import re


def lines_of(text: str) -> list[str]:
    """The lines of a text, which end with a line feed, a carriage return, or both.

    Unlike `str.splitlines`, this does not cut at other separators of Unicode, such as U+2028 within
    the name of a class.
    """
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def visible(text: str, keep: str = "") -> str:
    r"""The text with every unprintable character, except those in `keep`, replaced by `\uXXXX`.

    Control characters (as in escape sequences), marks that change the writing direction, lone
    surrogates and line separators are unprintable. JSON has the same escapes, so a JSON document
    keeps its meaning.

    >>> print(visible("a\x1b[31m\n"))
    a\u001b[31m\u000a
    """
    if text.isprintable():
        return text
    hidden = {c for c in set(text) if not c.isprintable() and c not in keep}
    return text.translate({ord(c): _escape(c) for c in hidden})


LONGEST_LINE = 1000
"""The maximum number of characters of a line in a report; longer lines are shortened."""
MOST_LINES = 200
"""The maximum number of lines of a quoted message; the middle of a longer one is left out."""
_END_PART = 5
"""A shortened line shows the start and the end of the original; the end takes 1/5 of the line."""


def shortened(line: str, longest: int = LONGEST_LINE) -> str:
    """The line without its middle part if it has more than `longest` characters."""
    if len(line) <= longest:
        return line
    left_out = f" ... ({len(line):,} characters) ... "
    end = longest // _END_PART
    return line[: longest - end - len(left_out)] + left_out + line[-end:]


def readable(text: str) -> str:
    """The text for a terminal: no control characters except line ends, long lines shortened."""
    lines = visible(text.expandtabs(), keep="\n").split("\n")
    return "\n".join(map(shortened, lines))


def indented(message: str) -> str:
    """The message with all lines but the first indented: quoted lines cannot look like ellc's."""
    lines = readable(message).rstrip("\n").split("\n")
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"... ({len(lines):,} lines) ...", *lines[-half:]]
    return "\n  ".join(lines)


def _escape(char: str) -> str:
    code = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i]:02x}{code[i + 1]:02x}" for i in range(0, len(code), 2))
