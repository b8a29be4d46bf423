"""Print text from untrusted sources: characters that control a terminal become visible escapes."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    r"""The text with every unprintable character as `\uXXXX`, except those in `keep`.

    Control characters, escape sequences, marks that change the writing direction, lone surrogates
    and line separators are unprintable. The escapes are those of JSON, so the meaning of a JSON
    document does not change.

    >>> print(visible("a\x1b[31m\n"))
    a\u001b[31m\u000a
    """
    if text.isprintable():
        return text
    hidden = {c for c in set(text) if not c.isprintable() and c not in keep}
    return text.translate({ord(c): _escape(c) for c in hidden})


LONGEST_LINE = 1000
"""Most characters of one line of a report; longer lines are not readable."""
MOST_LINES = 200
"""Most lines of one quoted message."""
_END_PART = 5
"""Of a shortened line, the last 1/5 of the shown characters is the end of the original line."""


def shortened(line: str, longest: int = LONGEST_LINE) -> str:
    """The line without its middle part if it has more than `longest` characters."""
    if len(line) <= longest:
        return line
    left_out = f" ... ({len(line):,} characters) ... "
    end = longest // _END_PART
    return line[: longest - end - len(left_out)] + left_out + line[-end:]


def readable(text: str) -> str:
    """The text for a terminal: line ends are its only control characters, long lines shortened."""
    lines = visible(text.expandtabs(), keep="\n").split("\n")
    return "\n".join(map(shortened, lines))


def indented(message: str) -> str:
    """A message for a report: lines after the first are indented, so that quoted text cannot look
    like a line of ellc's own.
    """
    lines = readable(message).rstrip("\n").split("\n")
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"... ({len(lines):,} lines) ...", *lines[-half:]]
    return "\n  ".join(lines)


def _escape(char: str) -> str:
    code = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i]:02x}{code[i + 1]:02x}" for i in range(0, len(code), 2))
