"""Scatter: updates parts of a tensor at coordinates that may be computed at run time."""

from __future__ import annotations

from functools import partial, reduce
from math import prod

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import AxisGroup, axis_group, index_of, sweep
from ellc.codegen.blocks.movement import copy_step
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes, vector_lanes
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.scatter import Scatter


@lowers(Scatter)
def lower_scatter(node: PlacedNode) -> list[KernelCall]:
    """A copy of the data, then a kernel that applies the updates.

    One thread applies all updates in order, because several of them may change the same element.
    """
    op = node.anchor
    assert isinstance(op, Scatter)
    node.refuse_stages()
    x, indices, updates = (operand.access for operand in node.inputs)
    y, depth = node.result.access, indices.shape[-1]
    count, inner = prod(indices.shape[:-1]), y.shape[depth:]
    calls = [copy_step(node, x, y)] if prod(y.shape) else []
    if prod(updates.shape) and calls:
        coordinates = reshaped(indices, (count, depth), inner_dense=False)
        parts = reshaped(updates, (count, *inner), inner_dense=False)
        calls.append(_apply(node, op, coordinates, parts, y))
    return calls


def _apply(
    node: PlacedNode, op: Scatter, coordinates: Access, parts: Access, y: Access
) -> KernelCall:
    """The call that applies the updates to `y`, one after the other.

    `coordinates` [updates, axes] has the positions of the updates, and `parts` [updates, ...inner]
    has their elements. Updates at positions outside `y` are left out.
    """
    count, depth = coordinates.shape
    inner = range(1, len(parts.shape))
    row = axis_group(parts, inner, y.strides[depth:])
    b = KernelBuilder(node.name)
    chosen = b.param("indices", coordinates.elem, coordinates.align_bytes)
    source = b.param("updates", parts.elem, parts.align_bytes)
    target = b.param("y", y.elem, y.align_bytes, writable=True)
    lanes = _lanes(node, op, row, y.elem)

    def block(
        bases: tuple[Operand, Operand], at: list[Operand], slot: int, length: int, _: list[Operand]
    ) -> None:
        x_index, y_index = (
            index_of(b, base, at, steps) for base, steps in zip(bases, (row.x, row.y), strict=True)
        )
        value = load_lanes(b, source, x_index, lanes, length, row.x[-1])
        if op.reduction != "none":
            before = load_lanes(b, target, y_index, lanes, length, row.y[-1])
            value = b.op(op.reduction, before, value)
        store_lanes(b, value, target, y_index, length, row.y[-1])

    with b.loop("once", b.begin, b.end), b.loop("update", 0, count) as update:
        first = b.mul(update.index, coordinates.strides[0])
        loaded = [b.load(chosen, first, offset=a * coordinates.strides[1]) for a in range(depth)]
        axes = zip(loaded, y.shape, strict=False)
        inside = [test for number, extent in axes for test in _inside(b, number, extent)]
        with b.when(reduce(partial(b.op, "and"), inside)):
            at = [b.convert(number, Elem.INDEX) for number in loaded]
            bases = b.mul(update.index, parts.strides[0]), index_of(b, 0, at, y.strides[:depth])
            sweep(b, row.extents, lanes, 1, (), partial(block, bases))
    args = (access_arg(coordinates), access_arg(parts), access_arg(y))
    return KernelCall(b.finish(), args, 1, f"scatter {op.reduction}")


def _lanes(node: PlacedNode, op: Scatter, row: AxisGroup, elem: Elem) -> int:
    """The lanes of vectors along the elements of an update.

    An update that only copies uses whole registers for every element type; one that computes is
    limited to the element types that the target has vector arithmetic for.
    """
    if row.x[-1] != 1 or row.y[-1] != 1:
        return 1
    copies = op.reduction == "none"
    lanes = node.target.lanes(elem.bytes) if copies else vector_lanes(node.target, elem)
    return fitted_lanes(lanes, row.extents[-1])


def _inside(b: KernelBuilder, number: Operand, extent: int) -> list[Operand]:
    """Tests that are all true exactly if `number` is in 0..extent-1.

    They compare before the conversion to an index, which could wrap the number.
    """
    info = np.iinfo(number.type.elem.numpy)
    low, high = b.const(0, number), b.const(min(extent - 1, info.max), number)
    tests = [b.compare("le", number, high)]
    return tests if info.min == 0 else [b.compare("ge", number, low), *tests]
