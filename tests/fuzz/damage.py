"""Damage files: truncate them, or change random bytes (with a seed)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_STRUCTURE = re.compile(rb"\0\0|[A-Za-z_]{3}", re.DOTALL)


@dataclass(frozen=True)
class Damaged:
    """A damaged file, and a description of the damage."""

    label: str
    data: bytes


def cut_every(data: bytes, step: int) -> Iterator[Damaged]:
    """The file truncated to every multiple of `step` bytes, including an empty file."""
    for size in range(0, len(data), step):
        yield Damaged(f"cut at {size}", data[:size])


def cut_evenly(data: bytes, count: int) -> Iterator[Damaged]:
    """The file truncated to `count` different sizes."""
    for number in range(count):
        size = number * len(data) // count
        yield Damaged(f"cut at {size}", data[:size])


def mutants(data: bytes, seed: int, count: int) -> Iterator[Damaged]:
    """The file with one to four random changes, about half of which avoid the weights."""
    structure = [m.start() for m in _STRUCTURE.finditer(data)] or [0]
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        changed, done = bytearray(data), []
        for _ in range(rng.choice((1, 1, 2, 4))):
            if not changed:
                break
            place = rng.choice(structure) if rng.random() < 0.5 else rng.randrange(len(data))
            place = min(max(0, place + rng.randrange(-4, 5)), len(changed) - 1)
            change = rng.choice(_CHANGES)
            change(rng, changed, place)
            done.append(f"{change.__name__.strip('_')} at {place}")
        yield Damaged(f"mutant {number} ({', '.join(done)})", bytes(changed))


def _bits(rng: random.Random, data: bytearray, place: int) -> None:
    for _ in range(rng.randrange(1, 9)):
        spot = min(place + rng.randrange(8), len(data) - 1)
        data[spot] ^= 1 << rng.randrange(8)


def _bytes(rng: random.Random, data: bytearray, place: int) -> None:
    for spot in range(place, min(place + rng.randrange(1, 5), len(data))):
        data[spot] = rng.choice(_ODD_BYTES) if rng.random() < 0.5 else rng.randrange(256)


def _word(rng: random.Random, data: bytearray, place: int) -> None:
    """Change 32 bits, which may be an offset, a length or a dimension of a flatbuffer."""
    place = min(place & ~3, max(0, len(data) - 4))
    value = int.from_bytes(data[place : place + 4], "little")
    new = rng.choice(
        (
            *(0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**16)),
            *(value + 1, value - 1, value * 2, len(data), len(data) - place, -place),
        )
    )
    data[place : place + 4] = (new % 2**32).to_bytes(4, "little")


def _length(rng: random.Random, data: bytearray, place: int) -> None:
    """Change a number after a tag of wire type 2, which may be a length in a protocol buffer."""
    while place < len(data) - 1 and data[place] & 7 != 2:
        place += 1
    end = place + 1
    while end < len(data) - 1 and data[end] & 0x80:
        end += 1
    new = rng.choice((0, 1, rng.randrange(128), rng.randrange(2**16), 2**31 - 1, 2**63 - 1))
    data[place + 1 : end + 1] = _varint(new)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(digits) + bytes([value])


def _copy(rng: random.Random, data: bytearray, place: int) -> None:
    size = min(rng.choice((4, 16, 64, 1024)), len(data) - place)
    start = rng.randrange(len(data) - size + 1)
    data[place : place + size] = data[start : start + size]


def _move(rng: random.Random, data: bytearray, place: int) -> None:
    size = rng.choice((1, 4, 16, 64, 1024))
    block = data[place : place + size]
    del data[place : place + size]
    start = rng.randrange(len(data) + 1)
    data[start:start] = block


def _lose(rng: random.Random, data: bytearray, place: int) -> None:
    del data[place : place + rng.choice((1, 2, 4, 64, 1024))]


_CHANGES: tuple[Callable[[random.Random, bytearray, int], None], ...] = (
    _bits,
    _bytes,
    _word,
    _word,
    _length,
    _length,
    _copy,
    _move,
    _lose,
)
