"""Random edits of decoded files: unusual numbers, other names; removed, copied and moved entries.

A function per format lists the locations in a structure. An edit chooses one of them at random and
changes the value there. An edit is determined by a seed, so a mutant is a base and a list of seeds;
to minimise it, seeds are removed.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import setitem
from typing import Any, NamedTuple

import numpy as np

ODD_INTEGERS = (
    *(-1, 0, 1, 2, 3, 4, 7, 16, 64, 100, 127, 128, 255, 256, 1000, 32767, 65536, 10**6),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**40, 2**63 - 1, -(2**63)),
)
ODD_FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 1e38, -1e38, 1e300, 1e-300),
    *(float("nan"), float("inf"), float("-inf"), 2.0**31, 2.0**63, 255.0, 1e9),
)
ODD_TEXTS = ("", "\0", "\n", "%s", "a\\b", '"""', "x *\\\n/", "../x", "é", "\u202e", "x" * 3000)


class Location(NamedTuple):
    """The location of a value in a structure: `key` in `owner`; `assign` replaces the value."""

    value: Any
    owner: Any
    key: Any
    assign: Callable[[Any, Any, Any], None] = setitem
    is_entry: bool = False
    """`owner` is a list, whose entries can be removed, copied and moved."""
    is_field: bool = False
    """`owner` is a dictionary, whose fields can be removed."""


Walk = Callable[[Any], list[Location]]


def edit(structure: Any, walk: Walk, seeds: Iterable[str]) -> None:
    """Change one location of a structure for each seed, in place.

    All edits choose from the locations of the unchanged structure, so that an edit does not
    depend on other edits.
    """
    locations = walk(structure)
    for seed in seeds if locations else ():
        rng = random.Random(seed)
        location = rng.choice(locations)
        try:
            if location.is_entry and rng.random() < 0.2:
                _move(location, rng)
            elif location.is_field and rng.random() < 0.1:
                del location.owner[location.key]
            else:
                location.assign(location.owner, location.key, other(location.value, locations, rng))
        except (TypeError, ValueError, OverflowError, LookupError):
            continue  # the format cannot express it, or another edit removed the location


def other(value: Any, locations: Sequence[Location], rng: random.Random) -> Any:
    """Another value of the same kind: an unusual one, or one from elsewhere in the structure."""
    if rng.random() < 0.3:
        same = [p.value for p in locations if type(p.value) is type(value)]
        return copy.deepcopy(rng.choice(same))  # a container must not contain itself
    match value:
        case bool():
            return not value
        case int():
            near = (value + 1, value - 1, value * 2, -value, value // 2)
            return rng.choice((*ODD_INTEGERS, *near, *near))
        case float():
            return rng.choice((*ODD_FLOATS, value * 2, -value, value / 3))
        case str():
            return rng.choice((*ODD_TEXTS, value + "x", value[:-1], value[::-1]))
        case bytes():
            return _other_bytes(value, rng)
    return value


def _other_bytes(value: bytes, rng: random.Random) -> bytes:
    match rng.randrange(5):
        case 0:
            return value[: rng.randrange(len(value) + 1)]
        case 1:
            return value + bytes(rng.choice((1, 4, 8)))
        case 2:
            return b"\xff" * len(value)
        case 3:
            return bytes(len(value))
    changed = bytearray(value)
    for _ in range(min(len(value), rng.randrange(1, 9))):
        changed[rng.randrange(len(value))] = rng.randrange(256)
    return bytes(changed)


def _move(location: Location, rng: random.Random) -> None:
    """Remove, copy or swap an entry of a list."""
    owner, index = location.owner, location.key
    match rng.randrange(3):
        case 0:
            del owner[index]
        case 1:
            owner.extend(copy.deepcopy(owner[index]) for _ in range(rng.choice((1, 1, 2, 20))))
        case 2:
            target = rng.randrange(len(owner))
            owner[index], owner[target] = owner[target], owner[index]


# ---- walkers ------------------------------------------------------------------------------------


def walk_json(tree: Any) -> list[Location]:
    """The locations of all values in nested dictionaries and lists, including containers."""
    locations, waiting = [], [tree]
    while waiting:
        owner = waiting.pop()
        is_list = isinstance(owner, list)
        for key, value in enumerate(owner) if is_list else owner.items():
            locations.append(Location(value, owner, key, is_entry=is_list, is_field=not is_list))
            if isinstance(value, dict | list):
                waiting.append(value)
    return locations


def walk_objects(root: Any) -> list[Location]:
    """The locations of all attributes of objects of the flatbuffers object API."""
    locations: list[Location] = []
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        is_list = isinstance(owner, list)
        for key, value in enumerate(owner) if is_list else list(vars(owner).items()):
            if isinstance(value, np.ndarray) and value.dtype == np.uint8:
                locations.append(Location(value.tobytes(), owner, key, _set_bytes))
                continue
            if isinstance(value, np.ndarray):
                value = value.tolist()
                setattr(owner, key, value)
            if is_list:
                locations.append(Location(value, owner, key, is_entry=True))
            elif isinstance(value, int | float | str | bytes):
                locations.append(Location(value, owner, key, setattr))
            if isinstance(value, list) or hasattr(value, "__dict__"):
                waiting.append(value)
    return locations


def _set_bytes(owner: Any, name: str, value: bytes) -> None:
    setattr(owner, name, np.frombuffer(value, np.uint8))


def walk_message(root: Any) -> list[Location]:
    """The locations of all fields of a protocol buffer that are set, and of unset scalar fields."""
    locations: list[Location] = []
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        for name, is_message, repeats in _fields(type(owner)):
            value = getattr(owner, name)
            if repeats:
                entries = _Messages(value) if is_message else value
                for index, entry in enumerate(value):
                    assign = _leave if is_message else setitem
                    shown = None if is_message else entry
                    locations.append(Location(shown, entries, index, assign, is_entry=True))
                waiting += value if is_message else ()
            elif not is_message:
                locations.append(Location(value, owner, name, setattr))
            elif owner.HasField(name):
                locations.append(Location(None, owner, name, _clear))
                waiting.append(value)
    return locations


@cache
def _fields(kind: Any) -> tuple[tuple[str, bool, bool], ...]:
    """(name, whether it holds messages, whether it is repeated) of each field of a message."""
    fields = kind.DESCRIPTOR.fields
    return tuple((f.name, f.message_type is not None, _repeats(f)) for f in fields)


def _leave(owner: Any, key: Any, value: Any) -> None:
    """Assign nothing: a message is edited by its fields."""


def _clear(owner: Any, name: str, value: Any) -> None:
    owner.ClearField(name)


def _repeats(descriptor: Any) -> bool:
    repeats = getattr(descriptor, "is_repeated", None)  # protobuf 5 does not have it
    return bool(descriptor.label == descriptor.LABEL_REPEATED if repeats is None else repeats)


class _Messages:
    """A repeated field of messages as a list; assigning an entry copies it."""

    def __init__(self, field: Any) -> None:
        self._field = field

    def __len__(self) -> int:
        return len(self._field)

    def __getitem__(self, index: int) -> Any:
        copied = type(self._field[index])()
        copied.CopyFrom(self._field[index])
        return copied

    def __setitem__(self, index: int, message: Any) -> None:
        self._field[index].CopyFrom(message)

    def __delitem__(self, index: int) -> None:
        del self._field[index]

    def extend(self, messages: Sequence[Any]) -> None:
        self._field.extend(messages)
