"""Extract commands and programs from a page of the documentation.

A comment on the line before a fenced block has notes for the test of the page, separated by `;`:

    <!-- test: slow -->                   the test of the page has this pytest marker
    <!-- test: needs cmake, cc -->        run the block only if these programs are installed
    <!-- test: not run (needs a board) -->
    <!-- test: install -->                the command that makes the environment of the test
    <!-- test: checkout -->               run the block in the environment of `make install`
    <!-- test: in out/host -->            run the block in this folder
    <!-- file: main.c -->                 the block is the content of this file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^```([\w+]*)$")
_COMMENT = re.compile(r"^<!-- (test|file): (.+) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, with the notes of the comment before it; `file` is the name of its file."""

    line: int
    language: str
    text: str
    notes: tuple[str, ...] = ()
    file: str = ""

    def after(self, word: str) -> str:
        """The text after a word in the notes (`cmake` in `needs cmake`); empty if there is none."""
        return next((n.removeprefix(word).strip() for n in self.notes if n.startswith(word)), "")


def fenced_blocks(markdown: str) -> Iterator[Block]:
    """All fenced blocks of a page in order; raises `ValueError` for a block that is not closed."""
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
