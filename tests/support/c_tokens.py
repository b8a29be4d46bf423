"""Split C source into tokens, after the translation phases that C defines before that."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRIGRAPHS = dict(zip("=/'()!<>-", "#\\^[]|{}~", strict=True))
_TRIGRAPH = re.compile(r"\?\?([=/'()!<>-])")
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<char>'(?:\\.|[^'\\\n])+')
  | (?P<number>\.?[0-9](?:[eEpP][+-]|[A-Za-z0-9_.])*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<punctuation>[][(){}.,;:?~!%^&*+=<>|/\#-])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `kind` is the name of a group of the pattern above."""

    kind: str
    text: str


def tokens(source: str, *, trigraphs: bool = True) -> list[Token]:
    """All tokens except comments. Raises `ValueError` for text that is not a token (half a string).

    Line ends are tokens of kind `end`, since they matter to the preprocessor.
    """
    text = _TRIGRAPH.sub(lambda m: _TRIGRAPHS[m[1]], source) if trigraphs else source
    text = re.sub(r"\\[ \t]*\n", "", text)
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"this is not a C token: {text[at : at + 40]!r}")
        at = match.end()
        kind = str(match.lastgroup)
        if kind == "space" and "\n" in match[0]:
            found.append(Token("end", ""))
        elif kind not in ("space", "comment"):
            found.append(Token(kind, match[0]))
    return found
