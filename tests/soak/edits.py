"""Edits of decoded structures: odd numbers, other names, entries lost, doubled and moved.

A format's walker lists the places of a structure; an edit draws one and changes what is there. An
edit is made again from its seed, so a mutant is a base and a few seeds, and is minimised by leaving
seeds out.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ODD_INTEGERS = (
    *(-1, 0, 1, 2, 3, 4, 7, 16, 64, 100, 127, 128, 255, 256, 1000, 32767, 65536, 10**6),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**40, 2**63 - 1, -(2**63)),
)
ODD_FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 1e38, -1e38, 1e300, 1e-300),
    *(float("nan"), float("inf"), float("-inf"), 2.0**31, 2.0**63, 255.0, 1e9),
)
ODD_TEXTS = ("", "\0", "\n", "%s", "a\\b", '"""', "x *\\\n/", "../x", "é", "\u202e", "x" * 3000)


@dataclass(frozen=True)
class Place:
    """One value of a structure; `owner` is the list it is an entry of, if it is."""

    value: Any
    put: Callable[[Any], None]
    owner: Any = None
    index: int = 0


Walk = Callable[[Any], Iterator[Place]]


def edit(structure: Any, walk: Walk, seed: str) -> None:
    """Change one place of a structure, in place."""
    rng = random.Random(seed)
    places = list(walk(structure))
    if not places:
        return
    place = rng.choice(places)
    try:
        if place.owner is not None and rng.random() < 0.2:
            _move(place, rng)
        else:
            place.put(other(place.value, places, rng))
    except (TypeError, ValueError, OverflowError):  # the format cannot say it
        return


def other(value: Any, places: Sequence[Place], rng: random.Random) -> Any:
    """Another value of a kind, or one found elsewhere in the structure."""
    if rng.random() < 0.3:
        same = [p.value for p in places if type(p.value) is type(value)]
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


def _move(place: Place, rng: random.Random) -> None:
    """Lose, double or swap an entry of a list."""
    owner, index = place.owner, place.index
    match rng.randrange(3):
        case 0:
            del owner[index]
        case 1:
            owner.extend(copy.deepcopy(owner[index]) for _ in range(rng.choice((1, 1, 2, 20))))
        case 2:
            target = rng.randrange(len(owner))
            owner[index], owner[target] = owner[target], owner[index]


# ---- walkers ------------------------------------------------------------------------------------


def walk_json(tree: Any) -> Iterator[Place]:
    """Every value of nested dictionaries and lists, containers too."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        is_list = isinstance(tree, list)

        def put(new: Any, tree: Any = tree, key: Any = key) -> None:
            tree[key] = new

        yield Place(value, put, tree if is_list else None, key if is_list else 0)
        if isinstance(value, dict | list):
            yield from walk_json(value)


def walk_objects(owner: Any) -> Iterator[Place]:
    """Every attribute of the objects that flatbuffers' object interface makes."""
    for name, value in list(vars(owner).items()):

        def put(new: Any, name: str = name) -> None:
            setattr(owner, name, new)

        if isinstance(value, int | float | str | bytes):
            yield Place(value, put)
        elif isinstance(value, list):
            yield from _walk_list(value)
        elif hasattr(value, "__dict__"):
            yield from walk_objects(value)
        elif value is not None and hasattr(value, "tolist"):
            listed = value.tolist()
            put(listed)
            yield from _walk_list(listed)


def _walk_list(values: list[Any]) -> Iterator[Place]:
    for index, value in enumerate(values):

        def put(new: Any, index: int = index) -> None:
            values[index] = new

        yield Place(value, put, values, index)
        if hasattr(value, "__dict__"):
            yield from walk_objects(value)


def walk_message(message: Any) -> Iterator[Place]:
    """Every field of a protocol buffer that is set, and the scalar ones that are not."""
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        value = getattr(message, name)
        if descriptor.message_type is None and not _repeats(descriptor):
            yield Place(value, lambda new, name=name: setattr(message, name, new))
        elif descriptor.message_type is None:
            for index, entry in enumerate(value):

                def put(new: Any, value: Any = value, index: int = index) -> None:
                    value[index] = new

                yield Place(entry, put, value, index)
        elif _repeats(descriptor):
            for index, entry in enumerate(value):
                yield Place(None, lambda new: None, _Messages(value), index)
                yield from walk_message(entry)
        elif message.HasField(name):
            yield Place(None, lambda new, name=name: message.ClearField(name))
            yield from walk_message(value)


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
