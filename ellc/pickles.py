"""Reads pickles that hold data, without running what they ask for.

A pickle may call any function that it names. A reader of this module knows a few names, which stand
for functions of its own; any other name is an error, and nothing is imported.

A pickle may refer to one object many times. So a few bytes can describe a tuple of 2^60 elements.
Therefore keys of dictionaries must not be tuples, and functions must not copy what they are given.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

_REFUSED = {
    word[0]
    for word in (
        *(pickle.BYTEARRAY8, pickle.EXT1, pickle.EXT2, pickle.EXT4),
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EMPTY_SET, pickle.FROZENSET, pickle.ADDITEMS),
    )
}


class DataReader(pickle._Unpickler):
    """An unpickler that accepts only the names in `known`.

    It derives from Python's unpickler that is written in Python: the one that is written in C would
    allocate gigabytes for a large memo index. It refuses opcodes that build objects or large empty
    arrays. Attributes of objects are ignored.
    """

    known: ClassVar[Mapping[tuple[str, str], Any]] = {}
    dispatch: ClassVar[dict[int, Callable[[pickle.Unpickler], None]]] = {
        word: action for word, action in pickle._Unpickler.dispatch.items() if word not in _REFUSED
    }

    def __init__(self, file: IO[bytes], encoding: str = "ASCII") -> None:
        """`encoding` is that of texts of Python 2; `bytes` leaves them as they are."""
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        if (found := self.known.get((module, name))) is not None:
            return found
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not data")


def checked_key(key: Any) -> Any:
    """Return the key of a dictionary or storage; raises an error if it is not a text or number."""
    if not isinstance(key, str | bytes | int | float | None):
        raise pickle.UnpicklingError(f"a key is a {type(key).__name__}")
    return key


def _without_attributes(reader: Any) -> None:
    """Ignore the attributes of an object: they are not data."""
    reader.stack.pop()


def _with_checked_keys(word: bytes, first_key: int) -> Callable[[Any], None]:
    """The action of the opcode `word`, with a check of the keys that it takes from the stack."""
    action: Callable[[Any], None] = pickle._Unpickler.dispatch[word[0]]

    def checked(reader: Any) -> None:
        for key in reader.stack[first_key::2]:
            checked_key(key)
        action(reader)

    return checked


DataReader.dispatch |= {
    pickle.BUILD[0]: _without_attributes,
    pickle.SETITEM[0]: _with_checked_keys(pickle.SETITEM, -2),
    pickle.SETITEMS[0]: _with_checked_keys(pickle.SETITEMS, 0),
    pickle.DICT[0]: _with_checked_keys(pickle.DICT, 0),
}
