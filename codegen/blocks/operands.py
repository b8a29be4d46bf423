"""Loads operands that a kernel reads element by element along its walk, as vectors."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from math import lcm, prod
from operator import mul

import numpy as np

from ellc.codegen.blocks.access import Access, dense, stored_shape
from ellc.codegen.blocks.calls import Arg, access_arg
from ellc.codegen.blocks.placed_node import NodeOperand, NodeResult
from ellc.codegen.blocks.scratch import dense_copy
from ellc.codegen.blocks.vectors import load_lanes
from ellc.codegen.blocks.views import broadcast_strides, broadcast_to, regrouped
from ellc.codegen.blocks.walking import merged
from ellc.codegen.blocks.weights import constant, stored_array
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array, DType, TensorType

Coordinates = Sequence[Operand | int]

_ROW_ELEMENTS = 4096
"""A constant may be repeated if it then has at most this many elements, so that a kernel can walk
longer rows. A larger limit would cost small boards too much memory, if the constant does not stay
in registers. Thousands of modelled cycles, by `tests/benchmarks/constants.py`, for a factor per
channel: 6 channels, 28x28 take 6.2 on pi3_64 with this limit and 15.0 with 1 (on pi3 8.4 and 15.9);
64 channels, 9x9 take 5.7 on pi3_64 with this limit and 5.6 with 1 (on pi3 11.0 and 10.9)."""


@dataclass(frozen=True, eq=False, slots=True)
class _Walked:
    """A constant as a kernel walks it; `steps` has its stride along each axis of the walk."""

    data: Array
    steps: tuple[int, ...]
    padded: bool  # vectors may extend beyond the last channel; zeros follow the constant
    span: tuple[int, int] | None  # (smallest, largest) integer
    is_block: bool = False  # all blocks of the walk read these elements, which are one block

    def arg(self, beyond: int) -> Arg:
        """The argument for the constant followed by `beyond` zeros."""
        return constant(np.pad(self.data, (0, beyond)))


@dataclass(frozen=True, eq=False, slots=True)
class _Source:
    """Where one operand comes from: a literal, a walked constant, or other memory.

    `strides` has one stride for each axis of the walk.
    """

    operand: NodeOperand
    literal: float | int | None = None
    param: Param | None = None
    strides: tuple[int, ...] = ()
    access: Access | None = None
    walked: _Walked | None = None


class Operands:
    """Operands that broadcast to the result of a kernel. The kernel walks the result as `walk`.

    Every operand in memory becomes a kernel parameter, named by `prefix` and the operand's index;
    `args` has the arguments. An operand in the same buffer as the result may alias parameter `y`.

    If `block` is not 0, the kernel loads vectors from blocks that start at multiples of `block`
    along the last axis, and `delta` is the place in the block. `hold` then loads the constants that
    are the same for all blocks once, before the loops.
    """

    def __init__(
        self,
        b: KernelBuilder,
        operands: Sequence[NodeOperand],
        result: NodeResult,
        walk: tuple[int, ...],
        prefix: str,
        block: int = 0,
    ) -> None:
        self._b, self._result, self._walk, self._block = b, result, walk, block
        self._shape = result.type.shape
        self._sources = [self._source(x, f"{prefix}{i}") for i, x in enumerate(operands)]
        # For each operand, the number of elements that its vectors read after the constant's end.
        self._beyond = [0] * len(operands)
        self._held: dict[tuple[int, int, int], Operand] = {}
        self._ahead: tuple[int, ...] = ()
        self._constants_ahead = False

    @property
    def args(self) -> list[Arg]:
        """The arguments; complete only after the last load.

        A constant is followed by as many zeros as its vectors read beyond it.
        """
        args: list[Arg] = []
        for source, beyond in zip(self._sources, self._beyond, strict=True):
            if source.access is not None:
                args.append(access_arg(source.access))
            elif source.walked is not None:
                key = (*self._key(source.operand), beyond)
                args.append(source.operand.once(key, partial(source.walked.arg, beyond)))
        return args

    def hold(self, lanes: int) -> None:
        """Load the constants that all blocks share into registers, as vectors of `lanes`."""
        for index, source in enumerate(self._sources):
            if source.walked is not None and source.walked.is_block:
                for start in range(0, self._block, lanes):
                    at = (Imm(0),) * len(self._walk)
                    delta = (*[0] * (len(self._walk) - 1), start)
                    self._held[index, start, lanes] = self.load(index, at, delta, lanes, lanes)

    def fetch_ahead(self, delta: Sequence[int], *, constants: bool = False) -> None:
        """Let loads of computed operands also prefetch what lies `delta` further in the walk.

        Each pair of vectors prefetches once, as vectors of a block share lines. With `constants`,
        those that differ from pixel to pixel are prefetched as well.
        """
        self._ahead, self._constants_ahead = tuple(delta), constants

    def load(
        self, index: int, at: Coordinates, delta: Sequence[int], lanes: int, count: int
    ) -> Operand:
        """A vector of operand `index`, along the last axis of the walk from `at + delta` on.

        Only the first `count` lanes are valid.
        """
        b, source = self._b, self._sources[index]
        if (index, delta[-1], lanes) in self._held:
            return self._held[index, delta[-1], lanes]
        dtype, walked = source.operand.type.dtype, source.walked
        if source.param is None:
            assert source.literal is not None
            if dtype is DType.BOOL:
                return Imm(int(source.literal), VType(Elem.MASK, lanes))
            return b.const(source.literal, VType(Elem.of(dtype), lanes))
        element, offset = address(b, source.strides, at, delta)
        valid = count
        if walked is not None and walked.is_block:
            element, offset, valid = Imm(0), delta[-1], lanes
        elif walked is not None and walked.padded:
            valid = lanes
            self._beyond[index] = max(self._beyond[index], lanes - count)
        if self._is_fetched(source) and delta[-1] % (2 * lanes) == 0:
            further = sum(map(mul, self._ahead, source.strides))
            if further:  # otherwise all that the kernel walks over are the same elements
                b.prefetch(source.param, element, offset=offset + further)
        value = load_lanes(b, source.param, element, lanes, valid, source.strides[-1], offset)
        if walked is not None and walked.span is not None:
            b.know_range(value, *walked.span)
        if dtype is DType.BOOL:
            return b.compare("ne", value, b.const(0, value))
        return value

    def _is_fetched(self, source: _Source) -> bool:
        """Whether `fetch_ahead` concerns an operand."""
        by_pixel = self._constants_ahead and any(source.strides[:-1])
        return bool(self._ahead) and (source.access is not None or by_pixel)

    def _source(self, operand: NodeOperand, name: str) -> _Source:
        if operand.array is not None and operand.array.size == 1:
            return _Source(operand, literal=operand.array.reshape(-1)[0].item())
        if operand.array is not None:
            return self._constant(operand, name)
        access = operand.access
        strides = broadcast_strides(access.shape, access.strides, self._shape)
        steps = regrouped(self._shape, strides, self._walk)
        if steps is None:
            access = dense_copy(broadcast_to(access, self._shape))
            steps = regrouped(self._shape, access.strides, self._walk)
            assert steps is not None
        return _Source(operand, None, self._param(name, access), steps, access)

    def _constant(self, operand: NodeOperand, name: str) -> _Source:
        array, shape, walk, dtype = operand.array, self._shape, self._walk, operand.type.dtype
        assert array is not None
        whole = partial(_walked, array, shape, walk, dtype)
        walked = operand.once(self._key(operand), lambda: _blockwise(whole(), self._block))
        param = self._b.param(name, Elem.of(dtype), 64)
        return _Source(operand, None, param, walked.steps, None, walked)

    def _key(self, operand: NodeOperand) -> tuple[Hashable, ...]:
        return ("walked", self._shape, self._walk, self._block, operand.type.dtype)

    def _param(self, name: str, access: Access) -> Param:
        param = self._b.param(name, access.elem, access.align_bytes)
        if access.memory == self._result.access.memory:
            self._b.may_alias(param, Param("y", access.elem, 1))
        return param


def _walked(array: Array, shape: tuple[int, ...], walk: tuple[int, ...], dtype: DType) -> _Walked:
    array = expanded(array, shape, walk)
    strides = broadcast_strides(array.shape, dense(array.shape), shape)
    steps = regrouped(shape, strides, walk)
    if steps is None:
        array = np.asarray(np.broadcast_to(array, shape), order="C")
        steps = regrouped(shape, dense(array.shape), walk)
        assert steps is not None
    data = stored_array(array, dtype).reshape(-1)
    span = _span(data)
    padded = steps[-1] == 1 and not any(steps[:-1])
    return _Walked(data, steps, padded, span)


def _blockwise(walked: _Walked, block: int) -> _Walked:
    """The constant, stored as one block if all blocks of a row are the same (`block` is not 0)."""
    data = walked.data
    if not block or not walked.padded or data.size < block:
        return walked
    one = data[:block]
    is_same = np.resize(one, data.size).tobytes() == data.tobytes()
    return replace(walked, data=one, is_block=True) if is_same else walked


def vectors_of_period(operands: Sequence[NodeOperand], lanes: int) -> tuple[int, int]:
    """(vectors after which constants with one value per channel repeat, number of such constants).

    The second is 0 if there are none.
    """
    channels = [x.array.size for x in operands if x.array is not None and _per_channel(x.array)]
    return lcm(lanes, *channels) // lanes, len(channels)


def _per_channel(array: Array) -> bool:
    return array.size > 1 and array.shape[-1] == array.size


def common_walk(result: NodeResult, operands: Sequence[NodeOperand]) -> tuple[int, ...]:
    """The shape of the result, with axes merged wherever the result and all operands allow it.

    A result of bits keeps its last axis. A constant that would prevent merging is assumed to be
    repeated (`expanded`) if the repeated constant has at most `_ROW_ELEMENTS` elements.
    """
    shape, bits = result.type.shape, result.type.dtype is DType.BIT
    steps: list[Sequence[int]] = [result.access.strides]
    constants = []
    for operand in operands:
        if operand.array is None:
            access = operand.access
            steps.append(broadcast_strides(access.shape, access.strides, shape))
        elif operand.array.size > 1:
            constants.append(operand)
    computed = merged(shape, *steps, keep_last=bits)
    for operand in constants:
        array = operand.array
        assert array is not None
        if array.size < _ROW_ELEMENTS:
            row = _longest_row(shape, min(computed[-1], _ROW_ELEMENTS))
            repeated = expanded(array, shape, (row,))
            array = repeated if repeated.size <= _ROW_ELEMENTS else array
        stored = stored_shape(TensorType(operand.type.dtype, array.shape))
        steps.append(broadcast_strides(stored, dense(stored), shape))
    return merged(shape, *steps, keep_last=bits) or (1,)


def _longest_row(shape: tuple[int, ...], most: int) -> int:
    """The most elements of some last axes of a shape that are at most `most`; 1 if there are none.

    A row that is a little longer than allowed must not be cut to the channels of one pixel.
    """
    return max((n for n in accumulate(shape[::-1], mul) if n <= most), default=1)


def address(
    b: KernelBuilder, strides: Sequence[int], at: Coordinates, delta: Sequence[int]
) -> tuple[Operand, int]:
    """(index, constant offset) of the element at `at + delta`."""
    index: Operand = Imm(0)
    offset = 0
    for coordinate, shift, stride in zip(at, delta, strides, strict=True):
        offset += shift * stride
        index = b.add(index, b.mul(coordinate, stride))
    return index, offset


def expanded(array: Array, shape: tuple[int, ...], walk: tuple[int, ...]) -> Array:
    """A view of a constant that repeats it until it is at least as long as the walk's last axis.

    Without this, a constant with one value per channel would limit rows to the channels of one
    pixel. A constant that varies along the outer axes is returned unchanged.
    """
    inner = walk[-1] if walk else 1
    own = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for first in range(len(shape) - 1, -1, -1):
        if prod(shape[first:]) >= inner:
            if prod(own.shape[:first]) != 1:
                return array
            return np.broadcast_to(own[(0,) * first], shape[first:])
    return array


def _span(data: Array) -> tuple[int, int] | None:
    """(smallest, largest) integer; None for floats, and if there are no elements."""
    if data.dtype.kind not in "iu" or not data.size:
        return None
    return int(data.min()), int(data.max())
