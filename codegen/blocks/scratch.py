"""Memory that lives during one node only: copies of operands and results, and room to work in."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ellc.codegen.blocks.access import Access, Scratch, dense
from ellc.codegen.blocks.views import viewed_as
from ellc.codegen.kir.types import Elem


def scratch(elem: Elem, shape: tuple[int, ...]) -> Access:
    """Memory for a tensor."""
    return Access(Scratch(_bytes(elem, shape)), elem, shape, dense(shape))


def dense_copy(source: Access) -> Access:
    """The elements of `source` in row-major order, copied before the node."""
    memory = Scratch(_bytes(source.elem, source.shape), source=source)
    return Access(memory, source.elem, source.shape, dense(source.shape))


def dense_result(target: Access, shape: tuple[int, ...]) -> Access:
    """Memory for a result whose place a kernel cannot walk; copied there after the node.

    The kernel writes it in a `shape` of the same element order.
    """
    memory = Scratch(_bytes(target.elem, shape), target=target)
    return Access(memory, target.elem, shape, dense(shape))


def placed_as(access: Access, shape: tuple[int, ...], *, inner_dense: bool = True) -> Access:
    """A tensor in another shape of the same element order: a view, or else a dense copy.

    With `inner_dense` the last axis has stride 1; a view with another stride is copied.
    """
    view = viewed_as(access, shape)
    if view is None or (inner_dense and view.strides[-1] != 1 and shape[-1] != 1):
        return replace(dense_copy(access), shape=shape, strides=dense(shape))
    return view


def _bytes(elem: Elem, shape: tuple[int, ...]) -> int:
    return max(1, prod(shape)) * elem.bytes
