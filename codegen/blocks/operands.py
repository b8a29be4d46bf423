"""The operands of a kernel that follow its walk element by element, loaded as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

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
"""Constants are repeated up to so many elements to make rows longer. What that gains, by
`tests/benchmarks/constants.py`: a factor for each of 6 channels, 28x28, which are 4,704 elements,
takes 15.5 thousand modelled cycles on pi3_64, and 8.9 with 16384 (pi3 16.2 and 11.1); with 64
channels, 9x9, 8.9 with 1, 9.3 with 4096. More would cost small boards too much memory."""
_CHANNEL_SLACK = 64  # elements after a constant per channel that whole vectors may read


@dataclass(frozen=True, slots=True)
class _Source:
    """One operand: a literal, or memory with a stride for every axis of the walk."""

    dtype: DType
    literal: float | int | None = None
    param: Param | None = None
    strides: tuple[int, ...] = ()
    padded: bool = False  # whole vectors may be read after the last channel
    span: tuple[int, int] | None = None  # the range of a constant's integers


class Operands:
    """Operands that broadcast to a result, which a kernel walks as `walk`.

    Every operand becomes a parameter `prefix0`, `prefix1`, .. of the kernel; `args` are their
    arguments. An operand in the buffer of the result may alias the parameter `y`.
    """

    def __init__(
        self,
        b: KernelBuilder,
        operands: Sequence[NodeOperand],
        result: NodeResult,
        walk: tuple[int, ...],
        prefix: str,
    ) -> None:
        self._b, self._result, self._walk = b, result, walk
        self._shape = result.type.shape
        self.args: list[Arg] = []
        self._sources = [self._source(x, f"{prefix}{i}") for i, x in enumerate(operands)]

    def load(
        self, index: int, at: Coordinates, delta: Sequence[int], lanes: int, count: int
    ) -> Operand:
        """`count` of `lanes` consecutive elements along the last axis from `at + delta`."""
        b, source = self._b, self._sources[index]
        if source.param is None:
            assert source.literal is not None
            if source.dtype is DType.BOOL:
                return Imm(int(source.literal), VType(Elem.MASK, lanes))
            return b.const(source.literal, VType(Elem.of(source.dtype), lanes))
        where, offset = address(b, source.strides, at, delta)
        valid = lanes if source.padded else count
        value = load_lanes(b, source.param, where, lanes, valid, source.strides[-1], offset)
        if source.span is not None:
            b.know_range(value, *source.span)
        if source.dtype is DType.BOOL:
            return b.compare("ne", value, b.const(0, value))
        return value

    def _source(self, operand: NodeOperand, name: str) -> _Source:
        dtype = operand.type.dtype
        if operand.array is not None and operand.array.size == 1:
            return _Source(dtype, literal=operand.array.reshape(-1)[0].item())
        if operand.array is not None:
            return self._constant(operand.array, dtype, name)
        access = operand.access
        strides = broadcast_strides(access.shape, access.strides, self._shape)
        steps = regrouped(self._shape, strides, self._walk)
        if steps is None:
            access = dense_copy(broadcast_to(access, self._shape))
            steps = regrouped(self._shape, access.strides, self._walk)
            assert steps is not None
        param = self._param(name, access)
        self.args.append(access_arg(access))
        return _Source(dtype, None, param, steps)

    def _constant(self, array: Array, dtype: DType, name: str) -> _Source:
        array = expanded(array, self._shape, self._walk)
        strides = broadcast_strides(array.shape, dense(array.shape), self._shape)
        steps = regrouped(self._shape, strides, self._walk)
        if steps is None:
            array = np.asarray(np.broadcast_to(array, self._shape), order="C")
            steps = regrouped(self._shape, dense(array.shape), self._walk)
            assert steps is not None
        data = stored_array(array, dtype).reshape(-1)
        span = _span(data)
        padded = steps[-1] == 1 and not any(steps[:-1])
        if padded:
            data = np.pad(data, (0, -len(data) % 16 + _CHANNEL_SLACK))
        param = self._b.param(name, Elem.of(dtype), 64)
        self.args.append(constant(data))
        return _Source(dtype, None, param, steps, padded, span)

    def _param(self, name: str, access: Access) -> Param:
        param = self._b.param(name, access.elem, access.align_bytes)
        if access.memory == self._result.access.memory:
            self._b.may_alias(param, Param("y", access.elem, 1))
        return param


def common_walk(result: NodeResult, operands: Sequence[NodeOperand]) -> tuple[int, ...]:
    """The result's axes, merged wherever the result and all operands allow it.

    Bits keep their last axis; a constant that would cut rows is repeated if that makes it no
    longer than `_ROW_ELEMENTS`.
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
            wider = expanded(array, shape, (min(computed[-1], _ROW_ELEMENTS),))
            array = wider if wider.size <= _ROW_ELEMENTS else array
        stored = stored_shape(TensorType(operand.type.dtype, array.shape))
        steps.append(broadcast_strides(stored, dense(stored), shape))
    return merged(shape, *steps, keep_last=bits) or (1,)


def address(
    b: KernelBuilder, strides: Sequence[int], at: Coordinates, delta: Sequence[int]
) -> tuple[Operand, int]:
    """Index and constant offset of the element at `at + delta`."""
    index: Operand = Imm(0)
    offset = 0
    for where, shift, stride in zip(at, delta, strides, strict=True):
        offset += shift * stride
        index = b.add(index, b.mul(where, stride))
    return index, offset


def expanded(array: Array, shape: tuple[int, ...], walk: tuple[int, ...]) -> Array:
    """A constant repeated as far as needed to have the extent of the walk's last axis, as a view.

    So a vector per channel does not cut rows of few channels into pixels.
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
    """The range of integers, None for anything else."""
    if data.dtype.kind not in "iu" or not data.size:
        return None
    return int(data.min()), int(data.max())
