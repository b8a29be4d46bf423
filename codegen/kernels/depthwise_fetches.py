"""Prefetches of depthwise convolutions of bytes, for images that leave the second-level cache.

A core that executes in order waits for each line at its first load. In a tile, the first block of
channels meets nearly all lines: 112x112x96 with stride 2 took 1,820 modelled cycles for the first
block of a tile and 215 for each other one. So the blocks of a tile prefetch what the next tile of
the row reads. Each trip of the loop over channels computes several blocks (turns), among which the
pixels are divided: one prefetch for each pixel and line then is enough, at a constant distance.

Thousands of modelled cycles on pi3_64 in MobileNet V2 without and with prefetches: 112x112x96 with
stride 2 3,606 and 2,079, 56x56x144 3,087 and 2,524, with stride 2 1,187 and 947, 112x112x32 2,200
and 2,020. Images that stay in the cache lose up to 8 % by the longer code: 14x14x192 255 and 276.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TypeVar

from ellc.codegen.blocks.sliding import RectanglePosition, Sliding
from ellc.codegen.machine.target import Target

_TURNS = 4
"""The most blocks in a trip of the loop over channels. Thousands of modelled cycles of the four
layers above for 2: 2,486, 2,535, 927, 2,021; 6: 2,153, 2,606, 952, 2,192."""
_L2_SHARE = 2
"""Images of at least 1 / `_L2_SHARE` of the second-level cache are prefetched."""
_STEP_BYTES = 8
"""Offsets of prefetches on AArch64 are multiples of this."""

Pixel = tuple[int, int]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Fetches:
    """The prefetches of tiles, divided among `turns` blocks; there are none if it is 1."""

    shape: Sliding
    turns: int

    @classmethod
    def of(cls, target: Target, shape: Sliding, blocks: int) -> Fetches:
        """For tiles with so many full blocks of channels."""
        image_bytes = prod(shape.x.shape[1:]) * shape.x.elem.bytes
        far = target.core.memory is not None and image_bytes * _L2_SHARE >= target.l2_bytes
        if not far or shape.x.elem.bytes > 1:
            return cls(shape, 1)
        turns = [n for n in range(2, min(_TURNS, blocks - 1) + 1) if blocks % n == 0]
        return cls(shape, max(turns, default=1))

    def by_group(
        self, position: RectanglePosition, pixels: Sequence[Pixel], size: int
    ) -> dict[int, list[Pixel]]:
        """(image row, offset in elements) of what is prefetched with each group of `size` pixels.

        `pixels` are (row, column) of the pixels that a tile loads, in order. A row is prefetched
        shortly before its last load: the pointer then is in use, and the cycle model, which sees no
        address of a prefetch, takes it from the next load with the same pointer.
        """
        if self.turns == 1:
            return {}
        axis, step = self.shape.columns, self.shape.x.strides[2]
        ahead = len(position.columns) * axis.stride
        columns = sorted({column for _, column in pixels})
        new = [column + ahead for column in columns if column + ahead > columns[-1]]
        share = shares(new, self.turns)[position.turn]
        last = {row: number // size for number, (row, _) in enumerate(pixels)}
        found: dict[int, list[Pixel]] = {}
        for row, group in last.items():
            offsets = [column * step // _STEP_BYTES * _STEP_BYTES for column in share]
            found.setdefault(max(0, group - 1), []).extend((row, offset) for offset in offsets)
        return found


def shares(values: Sequence[_Value], count: int) -> list[Sequence[_Value]]:
    """The values in `count` parts of about the same length."""
    bounds = [len(values) * n // count for n in range(count + 1)]
    return [values[first:end] for first, end in pairwise(bounds)]
