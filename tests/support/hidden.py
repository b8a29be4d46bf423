"""Find mistakes in ellc that an `EllcError` hides.

If a reader catches `ValueError` or `LookupError` around much code, a mistake in this code becomes
an error about the file. These functions examine all exceptions that led to an `EllcError`.
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
# Exceptions about text encodings and nesting depth, which are always caught on purpose.
_OF_INPUT = (UnicodeError, json.JSONDecodeError, RecursionError)
# Libraries that raise such exceptions for damaged files.
_READERS = (zipfile.__file__, str(Path(PIL.__file__).parent))
_ROOT = Path(__file__).resolve().parents[2]
_OWN = tuple(f"{_ROOT / name}/" for name in ("ellc", "ir", "codegen"))


def hidden_cause(error: EllcError) -> BaseException | None:
    """The first exception before an error that was not raised on purpose; None if there is none.

    An exception counts as raised on purpose if a `raise` in ellc raised it, if the function that
    caught it also caused it, or if `zipfile` or Pillow raised it. `Nonsense`, an importer that did
    not check a number, never counts as raised on purpose.
    """
    after: BaseException = error
    for raised in _before(error):
        if not isinstance(raised, EllcError) and (isinstance(after, Nonsense) or _is_slip(raised)):
            return raised
        after = raised
    return None


def _before(error: BaseException) -> Iterator[BaseException]:
    """The exceptions before this one, latest first, also those that `from None` hides."""
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
