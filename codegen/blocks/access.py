"""Where the elements of a tensor are: buffers, constants, and accesses to them.

A *buffer* is a range of bytes: the caller's input or output, a state, or a part of the arena. An
*access* gives the position of each element of a tensor in a buffer or a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ellc.codegen.kir.types import Elem
from ellc.ir.errors import InternalError
from ellc.ir.ops.loop import Walk
from ellc.ir.types import Array, DType, Padding, TensorType

ARENA_ALIGN = 64
WEIGHT_ALIGN = 64
BufferKind = Literal["input", "output", "state", "arena", "scratch"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A range of bytes. `index` is that of the port or state; the plan assigns arena offsets."""

    id: str
    kind: BufferKind
    bytes: int
    index: int = 0

    @property
    def align_bytes(self) -> int:
        """Alignment that kernels may assume; of the caller's buffers only that of one element."""
        return ARENA_ALIGN if self.kind in ("arena", "state", "scratch") else 1


@dataclass(frozen=True, slots=True)
class Weight:
    """Constant bytes that the code reads. `array` is called only when the file is written.

    `key` identifies the content: equal keys are stored once.
    """

    key: str
    bytes: int
    make: Callable[[], Array] = field(compare=False)

    @property
    def align_bytes(self) -> int:
        """Alignment that kernels may assume."""
        return WEIGHT_ALIGN

    def array(self) -> Array:
        """The content. What is derived from weights may overflow, of which numpy shall not warn."""
        with np.errstate(all="ignore"):
            return self.make()


@dataclass(frozen=True, eq=False, slots=True)
class Scratch:
    """Dense memory that a kernel uses while its node runs; the planner gives it a buffer.

    Before the node runs, the elements of `source` are copied into it; afterwards its elements are
    copied to `target`.
    """

    bytes: int
    source: Access | None = None
    target: Access | None = None

    @property
    def align_bytes(self) -> int:
        """Alignment that kernels may assume."""
        return ARENA_ALIGN


@dataclass(frozen=True, slots=True)
class Access:
    """A tensor in memory: element `(i, j, ..)` is at `offset + i*strides[0] + j*strides[1] ..`.

    Inside a loop, `trip` elements are added for every trip. Counts are in elements of `elem`.
    Packed bits are stored as bytes: the last extent is the number of bytes per pixel, and all bits
    after the last channel are 0. The memory of a constant is its `Weight`, so that a kernel reads
    constants and buffers in the same way.
    """

    memory: Buffer | Weight | Scratch
    elem: Elem
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    border: Padding | None = None
    trip: int = 0

    @property
    def buffer(self) -> Buffer:
        """The buffer of a computed tensor. Raises `InternalError` for constants and scratch."""
        if not isinstance(self.memory, Buffer):
            raise InternalError(f"{self.memory} used as a buffer")
        return self.memory

    @property
    def is_dense(self) -> bool:
        """Whether the elements are consecutive in row-major order."""
        return all(
            s == d
            for s, d, n in zip(self.strides, dense(self.shape), self.shape, strict=True)
            if n > 1
        )

    @property
    def align_bytes(self) -> int:
        """Alignment of the tensor's first element, on every trip."""
        step = math.gcd(self.offset, self.trip) * self.elem.bytes
        return max(
            self.elem.bytes,
            math.gcd(step, self.memory.align_bytes) if step else self.memory.align_bytes,
        )


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def bit_bytes(channels: int) -> int:
    """Bytes that hold the bits of one pixel: whole 32-bit words, from 33 channels on 64-bit words.

    A kernel may then always read words of 32 bits, and words of 64 bits if there are more than 32
    channels. Targets are little endian, so the bytes are in the same order for every word size.
    """
    word = 4 if channels <= 32 else 8
    return -(-channels // (8 * word)) * word


def stored_shape(type_: TensorType) -> tuple[int, ...]:
    """The shape in stored elements: for bits, the last extent counts the bytes of a pixel."""
    if type_.dtype is DType.BIT:
        return (*type_.shape[:-1], bit_bytes(type_.shape[-1]))
    return type_.shape


def element_access(sequence: Access, walk: Walk, trips: int) -> Access:
    """The element of a sequence that the first trip visits; `trip` leads to the next ones."""
    axis, step = walk.axis, sequence.strides[walk.axis]
    return replace(
        sequence,
        shape=(*sequence.shape[:axis], *sequence.shape[axis + 1 :]),
        strides=(*sequence.strides[:axis], *sequence.strides[axis + 1 :]),
        offset=sequence.offset + walk.position(0, trips) * step,
        border=None,
        trip=-step if walk.reverse else step,
    )
