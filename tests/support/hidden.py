"""Mistakes of the program that an error for the user hides.

A reader that catches `ValueError` or `LookupError` round a lot of code turns a slip of its own into
an error about the file. Here every exception in the history of an `EllcError` is looked at again.
"""

from __future__ import annotations

import json
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import PIL

from ellc.frontends.graph_import.values import Nonsense
from ellc.ir.errors import EllcError

_SLIPS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(NameError, RuntimeError, TypeError, ValueError),
)
# What is said of bytes, and of depth: those who catch these mean them.
_OF_INPUT = (UnicodeError, json.JSONDecodeError, RecursionError)
# Libraries that say such things of damaged files.
_READERS = (zipfile.__file__, str(Path(PIL.__file__).parent))
_ROOT = Path(__file__).resolve().parents[2]
_OWN = tuple(f"{_ROOT / name}/" for name in ("ellc", "ir", "codegen"))


def hidden_cause(error: EllcError) -> BaseException | None:
    """The first exception before an error that nobody meant to raise, None if there is none.

    Meant is what a `raise` of ours raised, what came of the function itself that caught it, and
    what `zipfile` and Pillow say of a file. An importer that leaves numbers unchecked (`Nonsense`)
    never means it.
    """
    after: BaseException = error
    for raised in _before(error):
        if not isinstance(raised, EllcError) and (isinstance(after, Nonsense) or _is_slip(raised)):
            return raised
        after = raised
    return None


def _before(error: BaseException) -> Iterator[BaseException]:
    """What was raised before, the latest first: `from None` hides it only from the reader."""
    at = error.__cause__ or error.__context__
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _is_slip(raised: BaseException) -> bool:
    if not isinstance(raised, _SLIPS) or isinstance(raised, _OF_INPUT):
        return False
    frames = traceback.extract_tb(raised.__traceback__)
    if not frames or frames[-1].filename.startswith(_READERS):
        return False
    own = [i for i, frame in enumerate(frames) if frame.filename.startswith(_OWN)]
    is_meant = not own or own[-1] == 0 or (frames[own[-1]].line or "").startswith("raise ")
    return not is_meant
