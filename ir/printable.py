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
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


LONGEST_LINE = 1000
"""Characters of a line of a report; all that a person reads through."""
_END = 200


def shortened(line: str) -> str:
    """A line that may quote a text of any length: without its middle if it is very long."""
    if len(line) <= LONGEST_LINE:
        return line
    left_out = f" ... ({len(line):,} characters) ... "
    return line[: LONGEST_LINE - _END - len(left_out)] + left_out + line[-_END:]


def _escape(char: str) -> str:
    code = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i]:02x}{code[i + 1]:02x}" for i in range(0, len(code), 2))
