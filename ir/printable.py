"""Text that others wrote, for a person's eyes: what a terminal would obey becomes visible."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    r"""Every character that is not printable as `\uXXXX`, but for those in `keep`.

    Controls, escape sequences, marks that turn the direction of writing, lone halves of surrogates
    and separators of lines are not printable. The escapes are those of JSON, so a JSON document
    means the same as before.

    >>> print(visible("a\x1b[31m\n"))
    a\u001b[31m\u000a
    """
    if text.isprintable():
        return text
    hidden = {c for c in set(text) if not c.isprintable() and c not in keep}
    return text.translate({ord(c): _escape(c) for c in hidden})


LONGEST_LINE = 1000
"""Characters of a line of a report; all that a person reads through."""
MOST_LINES = 200
"""Lines of one message that is quoted."""
_END_PART = 5
"""The end that stays is one of so many parts of what is shown."""


def shortened(line: str, longest: int = LONGEST_LINE) -> str:
    """A line that may quote a text of any length: without its middle if it is very long."""
    if len(line) <= longest:
        return line
    left_out = f" ... ({len(line):,} characters) ... "
    end = longest // _END_PART
    return line[: longest - end - len(left_out)] + left_out + line[-end:]


def readable(text: str) -> str:
    """A text for a terminal: its line ends and nothing else that obeys, no line very long."""
    lines = visible(text.expandtabs(), keep="\n").split("\n")
    return "\n".join(map(shortened, lines))


def indented(message: str) -> str:
    """A message that may quote a model or a compiler: its further lines do not begin as ours do."""
    lines = readable(message).rstrip("\n").split("\n")
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"... ({len(lines):,} lines) ...", *lines[-half:]]
    return "\n  ".join(lines)


def _escape(char: str) -> str:
    code = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i]:02x}{code[i + 1]:02x}" for i in range(0, len(code), 2))
