"""Tensors in memory: buffers, constants, and accesses to them.

A *buffer* is a range of bytes: an input or output of the caller, a state, or a part of the arena.
An *access* gives the offset of each element of a tensor in a buffer or a constant.
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
BufferKind = Literal["input", "output", "state", "arena", "scratch"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A range of bytes.

    `index` is the number of the input, output or state that the buffer holds, if any. The plan
    assigns the offsets of buffers in the arena.
    """

    id: str
    kind: BufferKind
    bytes: int
    index: int = 0

    @property
    def align_bytes(self) -> int:
        """The alignment that kernels may assume. The caller's buffers may start at any byte."""
        return ARENA_ALIGN if self.kind in ("arena", "state", "scratch") else 1


@dataclass(frozen=True, slots=True)
class Weight:
    """Constant bytes that kernels read. `array` is called only when the output file is written.

    `key` identifies the content: weights with equal keys are stored once.
    """

    key: str
    bytes: int
    make: Callable[[], Array] = field(compare=False)

    @property
    def align_bytes(self) -> int:
        """The alignment for which kernels are written.

        Code may assume no more than `Target.constant_align_bytes`.
        """
        return ARENA_ALIGN

    def array(self) -> Array:
        """The content. numpy's warnings are off: values derived from weights may overflow."""
        with np.errstate(all="ignore"):
            return self.make()


@dataclass(frozen=True, eq=False, slots=True)
class Scratch:
    """Dense memory that a kernel uses while its node runs. The planner assigns it a buffer.

    If there is a `source`, its elements are copied to this memory before the node runs. If there is
    a `target`, the elements of this memory are copied to it after the node has run.
    """

    bytes: int
    source: Access | None = None
    target: Access | None = None

    @property
    def align_bytes(self) -> int:
        """The alignment that kernels may assume."""
        return ARENA_ALIGN


@dataclass(frozen=True, slots=True)
class Access:
    """A tensor in memory: element `(i, j, ..)` is at `offset + i*strides[0] + j*strides[1] ..`.

    Inside a loop of the graph, every trip adds `trip`, which may be negative, to the offset.
    Offsets and strides count elements of type `elem`. Packed bits are stored as bytes: the last
    extent is the number of bytes per pixel, and all bits after the last channel are 0. The memory
    of a constant is its `Weight`, so that a kernel reads constants and buffers in the same way. If
    an image is surrounded by constant pixels in memory, `border` describes them.
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
            raise InternalError(f"a tensor in {type(self.memory).__name__} memory has no buffer")
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
        """The alignment that the tensor's first element has on every trip."""
        step = math.gcd(self.offset, self.trip) * self.elem.bytes
        return max(
            self.elem.bytes,
            math.gcd(step, self.memory.align_bytes) if step else self.memory.align_bytes,
        )


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The row-major strides, in elements, of a tensor of this shape without gaps."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def bit_bytes(channels: int) -> int:
    """The number of bytes that hold the bits of one pixel.

    The bytes make up words of 32 bits, or of 64 bits for more than 32 channels, so that a kernel
    may read such words. Targets are little endian, so the order of the bytes does not depend on the
    size of the words.
    """
    word = 4 if channels <= 32 else 8
    return -(-channels // (8 * word)) * word


def stored_shape(type_: TensorType) -> tuple[int, ...]:
    """The shape in stored elements: for bits, the last extent counts the bytes of a pixel."""
    if type_.dtype is DType.BIT:
        return (*type_.shape[:-1], bit_bytes(type_.shape[-1]))
    return type_.shape


def element_access(sequence: Access, walk: Walk, trips: int) -> Access:
    """The access to the element of a sequence that the first trip of a loop visits.

    Its `trip` leads to the elements that the other trips visit.
    """
    axis, step = walk.axis, sequence.strides[walk.axis]
    return replace(
        sequence,
        shape=(*sequence.shape[:axis], *sequence.shape[axis + 1 :]),
        strides=(*sequence.strides[:axis], *sequence.strides[axis + 1 :]),
        offset=sequence.offset + walk.position(0, trips) * step,
        border=None,
        trip=-step if walk.reverse else step,
    )
