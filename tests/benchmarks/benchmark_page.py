"""Write the tables of docs/reference/benchmarks.md, each between two comments."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "benchmarks.md"


def write_table(name: str, text: str, path: Path = PAGE) -> None:
    """Replace the text between `<!-- benchmark: NAME -->` and the next `<!-- end of benchmark -->`.

    Exits with a message if the page does not have these comments.
    """
    begin = f"<!-- benchmark: {name} -->"
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + r".*?<!-- end of benchmark -->", re.DOTALL)
    if not pattern.search(page):
        sys.exit(f"{path.name} has no {begin} ... <!-- end of benchmark -->")
    section = f"{begin}\n\n{text.strip()}\n\n<!-- end of benchmark -->"
    path.write_text(pattern.sub(lambda _: section, page), encoding="utf-8")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; the first `texts` columns are text, the others are numbers."""
    under = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, under, *rows))
