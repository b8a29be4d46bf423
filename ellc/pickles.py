"""Reads pickles that hold data, without calling the functions that they name.

Python's own reader calls any function that a pickle names. A reader in this module knows only a few
names, and maps each of them to its own function. Any other name is an error, and nothing is
imported.

A pickle may refer to one object many times, so a few bytes can describe a tuple of 2^60 elements.
Therefore the keys of dictionaries must not be tuples (which would be hashed), and the functions
must not copy their arguments.
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

    Its base class is the unpickler written in Python, because the unpickler written in C would
    allocate gigabytes for a large memo index. This reader refuses opcodes that build objects, sets
    or large empty arrays, and ignores the attributes of objects.
    """

    known: ClassVar[Mapping[tuple[str, str], Any]] = {}
    dispatch: ClassVar[dict[int, Callable[[pickle.Unpickler], None]]] = {
        word: action for word, action in pickle._Unpickler.dispatch.items() if word not in _REFUSED
    }

    def __init__(self, file: IO[bytes], encoding: str = "ASCII") -> None:
        """Read `file`. `encoding` is for texts of Python 2; "bytes" leaves them undecoded."""
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        if (found := self.known.get((module, name))) is not None:
            return found
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not data")


def checked_key(key: Any) -> Any:
    """Return the key of a dictionary or storage; raise unless it is text, bytes, number or None."""
    if not isinstance(key, str | bytes | int | float | None):
        raise pickle.UnpicklingError(f"a key is a {type(key).__name__}")
    return key


def _without_attributes(reader: Any) -> None:
    """Ignore the attributes of an object: they are not data."""
    reader.stack.pop()


def _with_checked_keys(word: bytes, first_key: int) -> Callable[[Any], None]:
    """The action of the opcode `word`, after a check of the keys that it takes from the stack."""
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
