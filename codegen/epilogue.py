"""The end every kernel shares: pointwise stages on the values in registers, then the store.

Kernels whose result is an image walk (image, row, column, channel). The epilogue knows how each
stage's operand broadcasts along these, loads what is needed and writes the result, packed if it
is bits. Results of other rank are brought into this form first (`as_image`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand, Param
from codegen.kir.types import Elem, VType
from codegen.lowering import (
    Arg,
    NodeContext,
    WeightArg,
    access_arg,
    constant_access,
    stored_array,
)
from codegen.lowering import Operand as NodeOperand
from codegen.pointwise import emit_pointwise
from codegen.storage import Access, bit_bytes, dense
from ir.errors import InternalError
from ir.types import DType

Coordinates = tuple[Operand | int, Operand | int, Operand | int, Operand | int]


@dataclass(frozen=True, slots=True)
class _Source:
    """One operand of a stage: a literal, or memory with strides over (n, row, column, channel)."""

    dtype: DType
    literal: float | int | None = None
    param: Param | None = None
    strides: tuple[int, int, int, int] = (0, 0, 0, 0)
    padded: bool = False  # whole vectors may be read behind the last channel


class Epilogue:
    """Stages and store of one kernel. Make it after the kernel's own parameters are declared."""

    def __init__(
        self, ctx: NodeContext, b: KernelBuilder, shape: tuple[int, int, int, int]
    ) -> None:
        """`shape` is the form (n, rows, columns, channels) in which the kernel walks its result."""
        self._b = b
        self._stages = ctx.stages
        self._shape = shape
        self.args: list[Arg] = []
        self._result = as_image(ctx.result(), shape)
        self._dtype = ctx.result_type().dtype
        rank = ctx.anchor_type().rank
        self._sources = [
            self._source(ctx, i, operand, rank) for i, operand in enumerate(ctx.extras)
        ]
        self.y = b.param("y", self._result.elem, self._result.align_bytes, writable=True)
        self.args.append(access_arg(self._result))

    @property
    def is_bits(self) -> bool:
        """Whether the result is packed bits: channel blocks must then be multiples of 8."""
        return self._dtype is DType.BIT

    @property
    def has_tail(self) -> bool:
        """Whether bytes behind the last channel must be cleared, by the block that holds it."""
        channels = self._shape[3]
        return self.is_bits and bit_bytes(channels) * 8 != channels

    def apply(
        self, value: Operand, at: Coordinates, delta: Sequence[int] = (0, 0, 0, 0), count: int = 0
    ) -> Operand:
        """All stages on one vector of consecutive channels; `count` of its lanes are valid."""
        lanes = value.type.lanes
        count = min(count or lanes, lanes)
        used = 0
        for stage in self._stages:
            sources = self._sources[used : used + stage.extras]
            used += stage.extras
            extras = [self._load(s, at, delta, lanes, count) for s in sources]
            value = emit_pointwise(stage.op, self._b, value, *extras)
        return value

    def store(
        self,
        values: Sequence[Operand],
        at: Coordinates,
        delta: Sequence[int] = (0, 0, 0, 0),
        count: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Stages on, then store, vectors of consecutive channels starting at `at + delta`.

        `count` is how many channels are valid in all (default: every lane), `last` says that they
        are the image's last channels.
        """
        total = sum(v.type.lanes for v in values)
        count = count or total
        done = 0
        finished: list[Operand] = []
        for value in values:
            lanes = value.type.lanes
            if done >= count:
                break
            shifted = (delta[0], delta[1], delta[2], delta[3] + done)
            finished.append(self.apply(value, at, shifted, count - done))
            done += lanes
        if self.is_bits:
            self._store_bits(finished, at, delta, count, last)
            return
        done = 0
        for value in finished:
            stored = self._in_memory(value)
            index, offset = self._address(self._result.strides, at, delta, done)
            self._b.store_some(
                stored, self.y, index, min(value.type.lanes, count - done), offset=offset
            )
            done += value.type.lanes

    def _in_memory(self, value: Operand) -> Operand:
        return self._b.convert(value, Elem.U8) if value.type.elem is Elem.MASK else value

    def _store_bits(
        self, masks: list[Operand], at: Coordinates, delta: Sequence[int], count: int, last: bool
    ) -> None:
        """Whole bytes; behind `count`, and behind the last channel if `last`, bits are 0."""
        b = self._b
        joined = masks[0]
        for mask in masks[1:]:
            joined = b.op("join", joined, mask)
        lanes = -(-count // 8) * 8
        if joined.type.lanes < lanes:
            joined = b.op("join", joined, Imm(0, VType(Elem.MASK, lanes - joined.type.lanes)))
        joined = b.part(joined, 0, lanes)
        packed = b.op("pack_bits", joined)
        if count % 8:
            packed = self._masked(packed, count)
        channel = b.div(at[3], 8)
        where: Coordinates = (at[0], at[1], at[2], channel)
        shift = (delta[0], delta[1], delta[2], delta[3] // 8)
        index, offset = self._address(self._result.strides, where, shift, 0)
        b.store_some(packed, self.y, index, packed.type.lanes, offset=offset)
        if last:
            full = bit_bytes(self._shape[3]) - (self._shape[3] - count) // 8
            for extra in range(packed.type.lanes, full):
                zero = Imm(0, VType(Elem.U8))
                b.store(zero, self.y, index, offset=offset + extra)

    def _masked(self, packed: Operand, count: int) -> Operand:
        b = self._b
        keep = (1 << count % 8) - 1
        if packed.type.lanes == 1:
            return b.op("and", packed, b.const(keep, packed))
        head = b.part(packed, 0, packed.type.lanes - 1)
        tail = b.lane(packed, packed.type.lanes - 1)
        return b.op("join", head, b.op("and", tail, b.const(keep, tail)))

    # --- operands ----------------------------------------------------------------------------------

    def _source(self, ctx: NodeContext, index: int, operand: NodeOperand, rank: int) -> _Source:
        dtype = operand.type.dtype
        if operand.array is not None and operand.array.size == 1:
            return _Source(dtype, literal=operand.array.reshape(-1)[0].item())
        name = f"e{index}"
        channels = self._shape[3]
        if operand.array is not None and operand.array.size == channels == operand.type.shape[-1]:
            return self._channel_source(ctx, operand, name)
        access = operand.access
        arg: Arg
        if operand.array is not None:
            access = constant_access(operand.type)
            arg = ctx.constant(stored_array(operand.array, dtype))
        else:
            assert access is not None
            arg = access_arg(access)
        image = broadcast_image(access, rank, self._shape)
        param = self._b.param(name, image.elem, image.align_bytes)
        if access.buffer == self._result.buffer:
            self._b.may_alias(param, Param("y", self._result.elem, 1))
        self.args.append(arg)
        strides = (image.strides[0], image.strides[1], image.strides[2], image.strides[3])
        return _Source(dtype, None, param, strides)

    def _channel_source(self, ctx: NodeContext, operand: NodeOperand, name: str) -> _Source:
        """A constant per channel, padded so that whole vectors can be read behind its end."""
        assert operand.array is not None
        flat = stored_array(operand.array, operand.type.dtype).reshape(-1)
        padded = np.pad(flat, (0, -len(flat) % 16 + 64))
        param = self._b.param(name, Elem.of(operand.type.dtype), 64)
        self.args.append(ctx.constant(padded))
        return _Source(operand.type.dtype, None, param, (0, 0, 0, 1), padded=True)

    def _load(
        self, source: _Source, at: Coordinates, delta: Sequence[int], lanes: int, count: int
    ) -> Operand:
        b = self._b
        elem = Elem.of(source.dtype)
        if source.param is None:
            assert source.literal is not None
            if source.dtype is DType.BOOL:
                return Imm(int(source.literal), VType(Elem.MASK, lanes))
            return b.const(source.literal, VType(elem, lanes))
        index, offset = self._address(source.strides, at, delta, 0)
        if source.strides[3] == 0:
            value = b.splat(b.load(source.param, index, offset=offset), lanes)
        elif source.strides[3] != 1:
            raise InternalError("an operand with a channel stride reached an epilogue")
        else:
            valid = lanes if source.padded else count
            value = b.load_some(source.param, index, lanes, valid, offset=offset)
        if source.dtype is DType.BOOL:
            return b.compare("ne", value, b.const(0, value))
        return value

    def _address(
        self, strides: Sequence[int], at: Coordinates, delta: Sequence[int], extra: int
    ) -> tuple[Operand, int]:
        b = self._b
        index: Operand = Imm(0)
        offset = extra * strides[3]
        for where, shift, stride in zip(at, delta, strides, strict=True):
            offset += shift * stride
            index = b.add(index, b.mul(where, stride))
        return index, offset


def as_image(access: Access, shape: tuple[int, int, int, int]) -> Access:
    """The same tensor seen as (n, rows, columns, channels) with equal element order.

    Raises `InternalError` if its strides do not allow that; the planner gives such operands a
    dense copy first.
    """
    width = access.shape[-1] if access.shape else 1
    wanted = (*shape[:3], width)
    if access.shape == wanted:
        return access
    strides = regrouped(access.shape, access.strides, wanted)
    if strides is None:
        raise InternalError(
            f"{access.shape} with strides {access.strides} is not an image {wanted}"
        )
    return replace(access, shape=wanted, strides=strides, border=None)


def regrouped(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides of the same elements in another shape, None if there are none.

    Extents are split and merged from the right; a merge needs `outer == extent * inner`.
    """
    have = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    left, step = 1, 1  # what is left of the extent taken apart, and its stride
    for extent in reversed(wanted):
        if extent == 1:
            result.append(0)
            continue
        if left == 1:
            if not have:
                return None
            left, step = have.pop()
        while left < extent:
            if not have or extent % left:
                return None
            more, outer = have.pop()
            if outer != left * step:
                return None
            left *= more
        if left % extent:
            return None
        result.append(step)
        left //= extent
        step *= extent
    return tuple(reversed(result)) if left == 1 and not have else None


def broadcast_image(access: Access, rank: int, shape: tuple[int, int, int, int]) -> Access:
    """An operand that broadcasts against a rank-`rank` result, with stride 0 where it repeats.

    A result of rank up to 4 keeps its axes (ones in front); for other walks of the result the
    operand must not repeat, or repeat along all but the last axis.
    """
    own = (1,) * (rank - len(access.shape)) + access.shape
    steps = (0,) * (rank - len(access.shape)) + access.strides
    steps = tuple(0 if n == 1 else s for n, s in zip(own, steps, strict=True))
    if rank <= 4:
        full = (1,) * (4 - rank) + own
        walked = (0,) * (4 - rank) + steps
        fits = all(a in (1, b) for a, b in zip(full, shape, strict=True))
        if fits:
            return replace(access, shape=full, strides=walked, border=None)
    if all(n == 1 for n in own[:-1]):
        return replace(access, shape=(1, 1, 1, own[-1]), strides=(0, 0, 0, steps[-1]), border=None)
    return as_image(replace(access, shape=own, strides=steps), shape)


def dense_image(shape: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Strides of an image without gaps."""
    return dense(shape)


__all__ = ["Epilogue", "WeightArg", "as_image", "broadcast_image", "regrouped"]
