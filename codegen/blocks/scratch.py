"""Memory that only one node uses: copies of operands and results, and intermediate values."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ellc.codegen.blocks.access import Access, Scratch, dense
from ellc.codegen.blocks.views import viewed_as
from ellc.codegen.kir.types import Elem


def scratch(elem: Elem, shape: tuple[int, ...]) -> Access:
    """The access to scratch memory for a dense tensor."""
    return Access(Scratch(_bytes(elem, shape)), elem, shape, dense(shape))


def dense_copy(source: Access) -> Access:
    """The access to a dense copy of `source`, which is made before the node runs."""
    memory = Scratch(_bytes(source.elem, source.shape), source=source)
    return Access(memory, source.elem, source.shape, dense(source.shape))


def dense_result(target: Access, shape: tuple[int, ...]) -> Access:
    """The access to dense memory for a result that the kernel cannot write to `target` directly.

    The kernel writes the result in the shape `shape`, in the same element order. After the node has
    run, the result is copied to `target`.
    """
    memory = Scratch(_bytes(target.elem, shape), target=target)
    return Access(memory, target.elem, shape, dense(shape))


_COPY_CYCLES = 6
"""The cycles that a copy of an element takes. On pi3_64 a copy from 3 planes of 224x224 pixels
takes 872 thousand modelled cycles, 5.8 for each element."""


def copy_cycles(access: Access) -> float:
    """The cycles of the copy that is made before a kernel can read an operand, if there is one."""
    memory = access.memory
    is_copied = isinstance(memory, Scratch) and memory.source is not None
    return float(_COPY_CYCLES * prod(access.shape)) if is_copied else 0.0


def reshaped(access: Access, shape: tuple[int, ...], *, inner_dense: bool = True) -> Access:
    """The tensor in another shape with the same element order: a view, or a dense copy if needed.

    With `inner_dense`, the last axis of the result has stride 1; a view without that is copied.
    """
    view = viewed_as(access, shape)
    if view is None or (inner_dense and view.strides[-1] != 1 and shape[-1] != 1):
        return replace(dense_copy(access), shape=shape, strides=dense(shape))
    return view


def _bytes(elem: Elem, shape: tuple[int, ...]) -> int:
    return max(1, prod(shape)) * elem.bytes
