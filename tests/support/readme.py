"""The commands and programs that a page of documentation shows.

A comment on the line before a fenced block says what a test needs to know of it, `;` between
several:

    <!-- test: slow -->                   the page's test has this pytest marker
    <!-- test: needs cmake, cc -->        is run where these programs are there, and told otherwise
    <!-- test: not run (needs a board) -->
    <!-- test: install -->                what the environment of the test is made by
    <!-- test: checkout -->               is run in the environment of `make install`
    <!-- test: in out/host -->            is run in this folder
    <!-- file: main.c -->                 is the content of a file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^```([\w+]*)$")
_COMMENT = re.compile(r"^<!-- (test|file): (.+) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `notes` are what the comment before it says; `file` the file it is."""

    line: int
    language: str
    text: str
    notes: tuple[str, ...] = ()
    file: str = ""

    def after(self, word: str) -> str:
        """What follows a word in the notes, `cmake` of `needs cmake`; empty if it is not there."""
        return next((n.removeprefix(word).strip() for n in self.notes if n.startswith(word)), "")


def fenced_blocks(markdown: str) -> Iterator[Block]:
    """Every fenced block of a page in order; raises `ValueError` for one that is never closed."""
    notes: tuple[str, ...] = ()
    file = ""
    opened: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is not None:
            if line == "```":
                start, language, text = opened
                yield Block(start, language, "\n".join([*text, ""]), notes, file)
                opened, notes, file = None, (), ""
            else:
                opened[2].append(line)
        elif fence:
            opened = (number, fence[1], [])
        elif comment := _COMMENT.match(line):
            if comment[1] == "file":
                file = comment[2]
            else:
                notes = tuple(map(str.strip, comment[2].split(";")))
    if opened is not None:
        raise ValueError(f"the block of line {opened[0]} is never closed")
