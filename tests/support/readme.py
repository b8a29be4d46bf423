"""The commands and programs that README.md shows, section by section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"^## (.+)$")
_FENCE = re.compile(r"^```(\w*)$")
_MARKERS = re.compile(r"^<!-- test: ([\w ]+) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `markers` are the pytest markers named in a comment on the line before."""

    section: str
    line: int
    language: str
    text: str
    markers: tuple[str, ...] = ()


def fenced_blocks(markdown: str) -> Iterator[Block]:
    """Every fenced block of a page in order; raises `ValueError` for one that is never closed."""
    section, markers = "", ()
    opened: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is not None:
            if line == "```":
                start, language, text = opened
                yield Block(section, start, language, "\n".join([*text, ""]), tuple(markers))
                opened, markers = None, ()
            else:
                opened[2].append(line)
        elif fence:
            opened = (number, fence[1], [])
        elif heading := _HEADING.match(line):
            section, markers = heading[1], ()
        elif named := _MARKERS.match(line):
            markers = tuple(named[1].split())
    if opened is not None:
        raise ValueError(f"the block of line {opened[0]} is never closed")
