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


def _escape(char: str) -> str:
    code = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i]:02x}{code[i + 1]:02x}" for i in range(0, len(code), 2))
