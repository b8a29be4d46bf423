"""Operators that only move elements. An operator whose result is a view needs no kernel.

`Gather` has a kernel of its own. Every other operator becomes copies between views of its operands
and of its result. Bits are unpacked into bytes, moved, and packed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ellc.codegen.blocks.access import Access, dense
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.movement import copy_step
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import dense_copy, dense_result, scratch
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes
from ellc.codegen.blocks.views import broadcast_to, regrouped, viewed_as
from ellc.codegen.blocks.walking import ElementWalk, merged
from ellc.codegen.blocks.weights import constant_access
from ellc.codegen.kernels.bits import pack, unpacked
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.op import Op
from ellc.ir.ops.common import padding_values
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.shape import Concat, Expand, Gather, Reshape, Slice, Split, Transpose
from ellc.ir.types import DType, Padding

ElementCopy = tuple[Access, Access]  # source and target, of the same shape


@lowers(Reshape, Transpose, Slice, Concat, Split, Pad, Embed, Expand, Gather)
def lower_movement(node: PlacedNode) -> list[KernelCall]:
    """The calls that compute an operator that moves elements; results that are views need none."""
    if node.result.type.dtype is DType.BIT:
        return _move_bits(node)
    operands = [x.access for x in node.inputs]
    results = [x.access for x in node.results]
    return _move(node, operands, results)


def _move(
    node: PlacedNode, operands: Sequence[Access], results: Sequence[Access]
) -> list[KernelCall]:
    if isinstance(node.anchor, Gather):
        return [_gather(node, node.anchor, operands, results[0])]
    copies_of_results = _copies(node.anchor, node.inputs[0].type.dtype, operands, results)
    return [
        copy_step(node, source, target)
        for copies, result in zip(copies_of_results, node.results, strict=True)
        for source, target in copies
        if prod(target.shape) and not result.is_viewed
    ]


def _move_bits(node: PlacedNode) -> list[KernelCall]:
    """The calls that unpack bits into bytes, move the bytes, and pack the results."""
    calls, operands = [], []
    for operand in node.inputs:
        access = operand.access
        if operand.type.dtype is DType.BIT:
            access, call = unpacked(node.name, access, operand.type.shape, node.threads)
            calls.append(call)
        operands.append(access)
    targets = [scratch(Elem.U8, x.type.shape) for x in node.results]
    calls += _move(node, operands, targets)
    for moved, result in zip(targets, node.results, strict=True):
        if not result.is_viewed:
            shape, threads = result.type.shape, node.threads
            calls.append(pack(node.name, moved, shape, result.access, threads))
    return calls


def _copies(
    op: Op, dtype: DType, operands: Sequence[Access], results: Sequence[Access]
) -> list[list[ElementCopy]]:
    """For every result, the copies that fill it, in order."""
    source, result = operands[0], results[0]
    match op:
        case Reshape():
            return [[_reshaped(source, result)]]
        case Transpose(permutation=order):
            moved = replace(
                source,
                shape=tuple(source.shape[a] for a in order),
                strides=tuple(source.strides[a] for a in order),
                border=None,
            )
            return [[(moved, result)]]
        case Slice(starts=starts, sizes=sizes, steps=steps):
            return [[(part(source, starts, sizes, steps), result)]]
        case Expand(shape=shape):
            return [[(broadcast_to(source, shape), result)]]
        case Concat(axis=axis):
            return [_concatenated(operands, result, axis)]
        case Split(axis=axis, sizes=sizes):
            return _split(source, results, axis, sizes)
        case Embed(offsets=offsets):
            inside = part(result, offsets, source.shape)
            return [[(operands[1], result), (source, inside)]]
        case Pad():
            return [_padded(op, dtype, source, result)]
    raise TypeError(op.name)


def _reshaped(source: Access, result: Access) -> ElementCopy:
    """The copy in row-major order. One of the accesses is viewed in the shape of the other."""
    target = viewed_as(result, source.shape)
    if target is not None:
        return source, target
    view = viewed_as(source, result.shape)
    if view is None:
        view = replace(dense_copy(source), shape=result.shape, strides=dense(result.shape))
    return view, result


def _concatenated(operands: Sequence[Access], result: Access, axis: int) -> list[ElementCopy]:
    copies: list[ElementCopy] = []
    start = 0
    for source in operands:
        first = [0] * len(result.shape)
        first[axis] = start
        copies.append((source, part(result, first, source.shape)))
        start += source.shape[axis]
    return copies


def _split(
    source: Access, results: Sequence[Access], axis: int, sizes: Sequence[int]
) -> list[list[ElementCopy]]:
    copies: list[list[ElementCopy]] = []
    start = 0
    for result, size in zip(results, sizes, strict=True):
        first = [0] * len(result.shape)
        first[axis] = start
        copies.append([(part(source, first, result.shape), result)])
        start += size
    return copies


# --- padding -------------------------------------------------------------------------------------


def _padded(op: Pad, dtype: DType, source: Access, result: Access) -> list[ElementCopy]:
    """The copies that put the operand into the middle of the result and fill the padding.

    Padding that mirrors the operand or repeats its edge is copied for one axis after the other,
    over the full extent of all earlier axes, so that the corners are filled too.
    """
    copies: list[ElementCopy] = [(source, part(result, op.before, source.shape))]
    if op.mode == "constant":
        return _filled(op, dtype, result) + copies
    done_first, done_size = list(op.before), list(source.shape)
    for axis, (before, after) in enumerate(zip(op.before, op.after, strict=True)):
        for amount, low in ((before, True), (after, False)):
            if amount:
                copies.append(_mirrored(op, result, axis, amount, done_first, done_size, low))
        done_first[axis], done_size[axis] = 0, result.shape[axis]
    return copies


def _filled(op: Pad, dtype: DType, result: Access) -> list[ElementCopy]:
    """The copies that fill the padding with one number; no element is written twice."""
    value = padding_values(Padding(values=(op.value,)), dtype.numpy)[:1]
    number = constant_access(value, dtype)
    copies: list[ElementCopy] = []
    first, size = [0] * len(result.shape), list(result.shape)
    for axis, (before, after) in enumerate(zip(op.before, op.after, strict=True)):
        for start, amount in ((0, before), (result.shape[axis] - after, after)):
            if amount:
                starts, sizes = list(first), list(size)
                starts[axis], sizes[axis] = start, amount
                target = part(result, starts, sizes)
                copies.append((broadcast_to(number, target.shape), target))
        first[axis], size[axis] = before, result.shape[axis] - before - after
    return copies


def _mirrored(
    op: Pad,
    result: Access,
    axis: int,
    amount: int,
    done_first: Sequence[int],
    done_size: Sequence[int],
    low: bool,
) -> ElementCopy:
    """The copy that pads one side of an axis from the finished part of the result.

    The finished part begins at `done_first` and has the extents `done_size`. The padding has
    `amount` elements, before the finished part if `low`, else after it.
    """
    step = 0 if op.mode == "edge" else -1
    inner, count = op.before[axis], done_size[axis]
    # The copy runs from the edge outwards: its first target is next to the edge.
    edge = inner if low else inner + count - 1
    inward = 1 if low else -1
    read, write, size = list(done_first), list(done_first), list(done_size)
    size[axis] = amount
    reach = edge if op.mode == "edge" else edge + inward
    read[axis], write[axis] = reach, edge - inward
    steps = [1] * len(result.shape)
    steps[axis] = inward if step else 0
    source = part(result, read, size, steps)
    steps[axis] = -inward
    target = part(result, write, size, steps)
    return source, target


def part(
    access: Access,
    starts: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Access:
    """A view of the elements `starts + i * steps` along each axis, for i in 0..sizes-1."""
    factors = steps or (1,) * len(starts)
    shift = sum(a * s for a, s in zip(starts, access.strides, strict=True))
    strides = tuple(f * s for f, s in zip(factors, access.strides, strict=True))
    shape, offset = tuple(sizes), access.offset + shift
    return replace(access, shape=shape, strides=strides, offset=offset, border=None)


# --- gather --------------------------------------------------------------------------------------


def _gather(node: PlacedNode, op: Gather, operands: Sequence[Access], result: Access) -> KernelCall:
    """The call that fills the result [outer, picked, inner].

    For every index, it copies the inner elements that the index selects.
    """
    source, indices = operands
    outer, inner = source.shape[: op.axis], source.shape[op.axis + 1 :]
    picked = prod(indices.shape)
    if regrouped(indices.shape, indices.strides, (picked,)) is None:
        indices = dense_copy(indices)
    order = regrouped(indices.shape, indices.strides, (picked,))
    y_strides = regrouped(result.shape, result.strides, (*outer, picked, *inner))
    if y_strides is None:
        result = dense_result(result, (*outer, picked, *inner))
        y_strides = result.strides
    assert order is not None
    b = KernelBuilder(node.name)
    x = b.param("x", source.elem, source.align_bytes)
    chosen = b.param("indices", indices.elem, indices.align_bytes)
    y = b.param("y", result.elem, result.align_bytes, writable=True)
    rest = len(inner)
    x_strides_in, y_strides_in = source.strides[op.axis + 1 :], y_strides[len(y_strides) - rest :]
    walk_in = merged(inner, x_strides_in, y_strides_in)
    x_in = regrouped(inner, x_strides_in, walk_in)
    y_in = regrouped(inner, y_strides_in, walk_in)
    assert x_in is not None and y_in is not None
    straight = x_in[-1] == y_in[-1] == 1
    lanes = fitted_lanes(node.target.lanes(source.elem.bytes) if straight else 1, walk_in[-1])
    x_steps = (*source.strides[: op.axis], 0, *x_in)
    y_steps = (*y_strides[: len(outer)], y_strides[len(outer)], *y_in)

    def body(at: list[Operand], length: int, last: bool) -> None:
        number = b.load(chosen, b.mul(at[len(outer)], order[0]))
        row = b.mul(_clamped(b, number, source.shape[op.axis]), source.strides[op.axis])
        x_index: Operand = row
        y_index: Operand = Imm(0)
        for coordinate, x_step, y_step in zip(at, x_steps, y_steps, strict=True):
            x_index = b.add(x_index, b.mul(coordinate, x_step))
            y_index = b.add(y_index, b.mul(coordinate, y_step))
        value = load_lanes(b, x, x_index, lanes, length, x_in[-1])
        store_lanes(b, value, y, y_index, length, y_in[-1])

    walk = ElementWalk((*outer, picked, *walk_in), lanes, node.threads)
    extent = walk.write(b, body)
    args = (access_arg(source), access_arg(indices), access_arg(result))
    return KernelCall(b.finish(), args, extent, "gather")


def _clamped(b: KernelBuilder, number: Operand, extent: int) -> Operand:
    """`number` as an index in 0..extent-1. It is clamped before the conversion could wrap it."""
    info = np.iinfo(number.type.elem.numpy)
    if info.min < 0:
        number = b.max(number, b.const(0, number))
    if extent - 1 < info.max:
        number = b.min(number, b.const(extent - 1, number))
    return b.convert(number, Elem.INDEX)
