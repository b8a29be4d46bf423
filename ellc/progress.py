"""Progress of long work: a status line on stderr, only if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ellc.ir.printable import shortened, visible

# A function that is called with the current stage, the number of finished parts, and the total
# number of parts (0 if it is unknown).
Progress = Callable[[str, int, int], None]


def silent(_stage: str, _done: int = 0, _total: int = 0) -> None:
    """A progress receiver that shows nothing."""


@contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """Yield a receiver that shows a status line while the block runs.

    Shows nothing if `quiet`, or if stderr is not a terminal, so that pipes and logs stay clean.
    """
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:

        def show(stage: str, done: int = 0, total: int = 0) -> None:
            text = escape(shortened(visible(stage)))  # stages name files
            status.update(f"{text} ({done}/{total})" if total else text)

        yield show
