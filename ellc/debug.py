"""The environment variable `ELLC_DEBUG`: a comma-separated list of what to print."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.text import print_graph

VARIABLE = "ELLC_DEBUG"
WORDS = {
    "traceback": "errors with Python's traceback",
    "time": "seconds of every stage and every pass",
    "passes": "what every pass changed, as a difference of the graph's text",
    "plan": "the steps, their kernels' variants and all memory locations",
    "kernels": "the kernels in kernel IR",
}

Watch = Callable[[str, Callable[[], str]], None]
"""Called with a level (a key of `WORDS`) and a function that makes the level's text. The watcher
makes the text only if it prints the level."""


def unwatched(_level: str, _text: Callable[[], str]) -> None:
    """A watcher that prints nothing."""


def debug_words(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The words in the environment variable; raises `EllcError` (E314) for an unknown one."""
    words = frozenset(filter(None, map(str.strip, environment.get(VARIABLE, "").split(","))))
    if unknown := sorted(words - WORDS.keys()):
        raise EllcError(
            f"{VARIABLE}: unknown words: {', '.join(unknown)}",
            code="E314",
            hint="; ".join(f"{word}: {what}" for word, what in WORDS.items()),
        )
    return words


def watch(words: frozenset[str], show: Callable[[str], None]) -> Watch:
    """A watcher that calls `show` with the text of each level in `words`."""

    def show_level(level: str, text: Callable[[], str]) -> None:
        if level in words:
            show(text())

    return show_level


def difference(name: str, before: Graph, after: Graph) -> str:
    """A unified diff of a graph before and after a pass; one line if nothing changed."""
    if before == after:
        return f"--- {name}: nothing changed"
    lines = difflib.unified_diff(
        print_graph(before).splitlines(),
        print_graph(after).splitlines(),
        f"before {name}",
        f"after {name}",
        lineterm="",
        n=1,
    )
    return "\n".join(lines)


def seconds_table(seconds: Mapping[str, float]) -> str:
    """One line for each stage with its seconds, and a last line with their sum."""
    width = max(map(len, (*seconds, "all")))
    rows = [*seconds.items(), ("all", sum(seconds.values()))]
    return "\n".join(f"{stage:<{width}} {s:8.3f} s" for stage, s in rows)
