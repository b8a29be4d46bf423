"""Call a compiled library in this process, with random bytes in its memory before every call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ellc.execute import Library
from ellc.ir.types import Array

Arrays = tuple[Array, ...]
INSTANCE_BYTES = 1024  # the largest instance that a header may declare
ARENA_ALIGN = 64


@dataclass(frozen=True)
class Pattern:
    """A pattern for uninitialised memory; `fill` makes as many bytes of it as asked."""

    name: str
    fill: Callable[[int], Array]


JUNK = (
    Pattern("zeros", lambda size: np.zeros(size, np.uint8)),
    Pattern("NaN", lambda size: np.full(size, 0xFF, np.uint8)),
    Pattern("large", lambda size: np.full(size, 0x7E, np.uint8)),
    Pattern("random", lambda size: np.random.default_rng(7).integers(0, 256, size, np.uint8)),
)


class JunkInstance:
    """An instance of a library in an arena that is filled with a pattern.

    Raises `RuntimeError` if a function of the library returns an error.
    """

    def __init__(self, library: Library, pattern: Pattern) -> None:
        self._library, self._pattern = library, pattern
        self._code = ctypes.CDLL(str(library.path))
        self._arena = _aligned(library.arena_bytes, pattern)
        self._instance = _aligned(INSTANCE_BYTES, pattern)
        abi = self._function("abi")
        abi.restype = ctypes.c_uint32
        size = ctypes.c_size_t(library.arena_bytes)
        self._call("init_abi", self._arena.ctypes, size, ctypes.c_uint32(abi()))

    def run(self, inputs: Arrays) -> Arrays:
        """The outputs of a call, which starts from the states that the previous call left."""
        made = tuple(
            self._pattern.fill(t.elements * t.dtype.item_bytes).view(t.dtype.numpy).reshape(t.shape)
            for _, t in self._library.network.outputs
        )
        ports = zip(inputs, self._library.network.inputs, strict=True)
        given = [np.asarray(x, t.dtype.numpy, order="C").reshape(t.shape) for x, (_, t) in ports]
        self._call("predict_v", _pointers(given), _pointers(made))
        return made

    def _function(self, what: str) -> ctypes._NamedFuncPointer:
        return self._code[f"{self._library.prefix}_{what}"]

    def _call(self, what: str, *arguments: object) -> None:
        words = [a.data_as(ctypes.c_void_p) if hasattr(a, "data_as") else a for a in arguments]
        code = self._function(what)(self._instance.ctypes.data_as(ctypes.c_void_p), *words)
        if code:
            raise RuntimeError(f"{self._library.prefix}_{what} returns {code}")


def _aligned(size: int, pattern: Pattern) -> Array:
    """Memory filled with the pattern, aligned like an arena."""
    room = pattern.fill(size + ARENA_ALIGN)
    start = -room.ctypes.data % ARENA_ALIGN
    return room[start : start + size]


def _pointers(arrays: list[Array] | Arrays) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(x.ctypes.data for x in arrays))
