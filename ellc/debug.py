"""`ELLC_DEBUG`: words, separated by commas, that say what to print while compiling."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.text import print_graph

VARIABLE = "ELLC_DEBUG"
WORDS = {
    "traceback": "errors as Python shows them",
    "time": "seconds of every stage and every pass",
    "passes": "what every pass changed, as a difference of the graph's text",
    "plan": "the steps, their kernels' variants and all memory locations",
    "kernels": "the kernels in kernel IR",
}

Watch = Callable[[str, Callable[[], str]], None]
"""Called with a level (a word of `WORDS`) and a function that gives its text, if it is wanted."""


def unwatched(_level: str, _text: Callable[[], str]) -> None:
    """Print nothing."""


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
    """A watcher that shows the levels of these words."""

    def show_level(level: str, text: Callable[[], str]) -> None:
        if level in words:
            show(text())

    return show_level


def difference(name: str, before: Graph, after: Graph) -> str:
    """What a pass changed, as a unified diff; one line if it changed nothing."""
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
    """A line for each stage, and one for the sum."""
    width = max(map(len, (*seconds, "all")))
    rows = [*seconds.items(), ("all", sum(seconds.values()))]
    return "\n".join(f"{stage:<{width}} {s:8.3f} s" for stage, s in rows)
