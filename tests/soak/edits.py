"""Edits of decoded structures: odd numbers, other names, entries lost, doubled and moved.

A format's walker lists the locations of a structure; an edit draws one and changes what is there.
An edit is made again from its seed, so a mutant is a base and a few seeds, and is minimised by
leaving seeds out.
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
    """One value of a structure: what `owner` has at `key`; `assign` puts another there."""

    value: Any
    owner: Any
    key: Any
    assign: Callable[[Any, Any, Any], None] = setitem
    is_entry: bool = False
    """`owner` is a list, in which entries can be lost, doubled and moved."""
    is_field: bool = False
    """`owner` is a dictionary, of which fields can be lost."""


Walk = Callable[[Any], list[Location]]


def edit(structure: Any, walk: Walk, seeds: Iterable[str]) -> None:
    """Change one location of a structure for each seed, in place.

    The locations are those at the start, so that an edit is the same whatever others are made.
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
    """Another value of a kind, or one found elsewhere in the structure."""
    if rng.random() < 0.3:
        same = [p.value for p in locations if type(p.value) is type(value)]
        return copy.deepcopy(rng.choice(same))  # a container must not get into itself
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
    """Lose, double or swap an entry of a list."""
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
    """Every value of nested dictionaries and lists, containers too."""
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
    """Every attribute of the objects that flatbuffers' object interface makes."""
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
    """Every field of a protocol buffer that is set, and the scalar ones that are not."""
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
    """The fields of a kind of message: name, whether it is of messages, whether it repeats."""
    fields = kind.DESCRIPTOR.fields
    return tuple((f.name, f.message_type is not None, _repeats(f)) for f in fields)


def _leave(owner: Any, key: Any, value: Any) -> None:
    """A message is edited by its fields."""


def _clear(owner: Any, name: str, value: Any) -> None:
    owner.ClearField(name)


def _repeats(descriptor: Any) -> bool:
    repeats = getattr(descriptor, "is_repeated", None)  # newer than protobuf 5
    return bool(descriptor.label == descriptor.LABEL_REPEATED if repeats is None else repeats)


class _Messages:
    """A repeated field of messages as a list: entries are copied, not assigned."""

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
