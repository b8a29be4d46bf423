"""Transposed convolution as an ordinary one whose filters each make one pixel of a block.

With stride s the outputs fall into s phases along an axis, and all outputs of a phase read the same
taps. So one convolution at the input's size, with a filter for every phase, makes whatever there
is; its channels are then spread over blocks of s x s pixels. Nothing is multiplied with zeros that
were put between pixels, at most with a few in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.graph import Node
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D, Enlargement, IntConvTranspose2D
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice, Transpose
from ellc.ir.passes.canonicalise.computed_weights import lower_computed_conv
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, Padding

_Transposed = ConvTranspose2D | IntConvTranspose2D

_MOST_STRIDE = 1024
"""The window is planned once for every phase; networks enlarge by 2 to 32."""
_SMALL_WEIGHTS, _MOST_GROWTH = 1 << 24, 4
"""Weights of the ordinary convolution, with a filter for every phase and windows padded to whole
strides: so many, or so many times the given ones. A stride up to the window's size pads less."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Along one axis: the window of the ordinary convolution and what is cut off after it.

    `places[t]` is (phase, tap of the window) of tap t. Element o of the result is number
    o + `start` of the `blocks` * stride that are made.
    """

    places: tuple[tuple[int, int], ...]
    taps: int
    before: int
    after: int
    blocks: int
    start: int


def lower_conv_transpose(editor: Editor, node: Node, op: _Transposed) -> None:
    """Replace the node; computed weights are arranged by a gather.

    Raises `EllcError` (E302) for strides with more phases than there is room for.
    """
    x, w, *bias = node.inputs
    shape = editor.type(w).shape
    _want_few_phases(node, op, shape)
    rows, columns = (_planned(e) for e in op.axes(editor.type(x).shape, shape))
    phases = _Phases(op.stride, grouped=op.groups > 1)
    zero = _per_filter(op, shape[0])

    def wide(weights: Array, nothing: Array) -> Array:
        return phases.filters(_window(weights, rows, columns, op.stride, nothing))

    operands = [_arranged(editor, node, w, wide, zero)]
    operands += [_arranged(editor, node, b, lambda v, _: phases.repeated(v), zero) for b in bias]
    padding = Padding(rows.before, columns.before, rows.after, columns.after)
    conv: Op = Conv2D((1, 1), padding, (1, 1), op.groups)
    if isinstance(op, IntConvTranspose2D):
        zeros = tuple(int(z) for z in phases.repeated(zero))
        shared = op.weight_zero if len(op.weight_zero) == 1 else zeros
        conv = IntConv2D((1, 1), padding, (1, 1), op.groups, op.input_zero, shared)
    batch, height, width, filters = editor.type(node.output).shape
    steps = phases.spread((batch, rows.blocks, columns.blocks, filters))
    if (rows.blocks * op.stride[0], columns.blocks * op.stride[1]) != (height, width):
        first = (0, rows.start, columns.start, 0)
        steps.append(Slice(first, (batch, height, width, filters), (1, 1, 1, 1)))
    if not steps:
        made: Node | None = editor.replace(node, conv, x, *operands)
    else:
        value = editor.insert(node, conv, x, *operands, source=node.source)
        made = editor.producer(value)
        for step in steps[:-1]:
            value = editor.insert(node, step, value, source=node.source)
        editor.replace(node, steps[-1], value)
    if made is not None and editor.array(operands[0]) is None:
        assert isinstance(made.op, Conv2D | IntConv2D)
        lower_computed_conv(editor, made, made.op)


def _want_few_phases(node: Node, op: _Transposed, shape: tuple[int, ...]) -> None:
    filters, *taps, depth = shape
    padded = (
        s * ceil((d * (t - 1) + 1) / s)
        for s, d, t in zip(op.stride, op.dilation, taps, strict=True)
    )
    most = max(_SMALL_WEIGHTS, _MOST_GROWTH * prod(shape))
    if max(op.stride) > _MOST_STRIDE or prod((filters, depth, *padded)) > most:
        raise EllcError(
            f"'{op.name}' with strides of {op.stride} and weights {shape} has too many phases",
            code="E302",
            where=", ".join(node.source),
            hint=f"strides of at most {_MOST_STRIDE}; at most {most} weights, windows padded to "
            "whole strides",
        )


def _arranged(
    editor: Editor,
    node: Node,
    value: str,
    change: Callable[[Array, Array], Array],
    zero: Array,
) -> str:
    """A constant changed at once; of anything else its elements, and zeros, put in that order."""
    type_ = editor.type(value)
    exact = editor.exact(value)
    array = editor.array(value) if exact is None else exact
    if array is not None:
        changed = np.asarray(change(array, zero), order="C")
        if type_.dtype.is_float:
            return editor.rounded(changed, type_.dtype)
        return editor.constant(changed.astype(type_.dtype.numpy))
    # Numbers of the elements take the elements' way; after them come the zeros of the filters.
    count = type_.elements
    numbers = np.arange(count).reshape(type_.shape)
    order = change(numbers, count + np.arange(len(zero)))
    flat = editor.insert(node, Reshape((count,)), value, source=node.source)
    zeros = editor.constant(zero.astype(type_.dtype.numpy))
    all_ = editor.insert(node, Concat(0), flat, zeros, source=node.source)
    return editor.insert(node, Gather(0), all_, editor.constant(order), source=node.source)


def _per_filter(op: _Transposed, filters: int) -> Array:
    """The weight that counts as 0, for each filter."""
    zero = op.weight_zero if isinstance(op, IntConvTranspose2D) else (0,)
    return np.broadcast_to(np.array(zero), (filters,))


# --- one axis ------------------------------------------------------------------------------------


def _planned(axis: Enlargement) -> _Axis:
    """The smallest window; of equal ones that with nothing to cut off in front."""
    plans = [_shifted(axis, start) for start in range(axis.stride)]
    return min(plans, key=lambda plan: (plan.taps, plan.start))


def _shifted(axis: Enlargement, start: int) -> _Axis:
    """The plan in which result o is number o + start of its blocks."""
    reach = [divmod(t * axis.dilation - axis.before + start, axis.stride) for t in range(axis.taps)]
    # Tap t adds input i to block i + whole, phase rest.
    top = max(0, *(whole for whole, _ in reach))
    bottom = min(whole for whole, _ in reach)
    blocks = ceil((axis.size + start) / axis.stride)
    after = blocks - bottom - axis.extent
    places = tuple((rest, top - whole) for whole, rest in reach)
    return _Axis(places, top - bottom + 1, top, max(0, after), blocks + max(0, -after), start)


def _window(w: Array, rows: _Axis, columns: _Axis, stride: tuple[int, int], zero: Array) -> Array:
    """Weights [phase row, phase column, F, taps, taps, C/groups]; `zero` where there is no tap."""
    filters, _, _, depth = w.shape
    shape = (*stride, filters, rows.taps, columns.taps, depth)
    made = np.broadcast_to(zero.reshape(-1, 1, 1, 1), shape).astype(w.dtype)
    for i, (row_phase, row) in enumerate(rows.places):
        for j, (column_phase, column) in enumerate(columns.places):
            made[row_phase, column_phase, :, row, column] = w[:, i, j]
    return made


# --- phases and filters --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Phases:
    """How the phases of a block lie among the filters: outside them, inside where there are groups.

    The filters of a group must stay together.
    """

    stride: tuple[int, int]
    grouped: bool

    def filters(self, window: Array) -> Array:
        """[phase row, phase column, F, ...] as the filters of one convolution."""
        ordered = window.transpose(2, 0, 1, 3, 4, 5) if self.grouped else window
        return np.asarray(ordered.reshape(-1, *window.shape[3:]), order="C")

    def repeated(self, per_filter: Array) -> Array:
        """One number per filter, for the filters of all phases."""
        count = self.stride[0] * self.stride[1]
        return np.repeat(per_filter, count) if self.grouped else np.tile(per_filter, count)

    def spread(self, made: tuple[int, ...]) -> list[Op]:
        """What turns the convolution's channels into pixels: `made` is blocks and channels."""
        down, across = self.stride
        if (down, across) == (1, 1):
            return []
        batch, rows, columns, filters = made
        order = (0, 1, 4, 2, 5, 3) if self.grouped else (0, 1, 3, 2, 4, 5)
        inner = (filters, down, across) if self.grouped else (down, across, filters)
        return [
            Reshape((batch, rows, columns, *inner)),
            Transpose(order),
            Reshape((batch, rows * down, columns * across, filters)),
        ]
