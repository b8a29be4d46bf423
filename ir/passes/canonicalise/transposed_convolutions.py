"""Lower a transposed convolution to an ordinary one, whose channels become blocks of pixels.

With stride s, the outputs along an axis have s phases: the remainders of their indices divided by
s. All outputs of a phase use the same taps. So an ordinary convolution on the input, with a filter
for each output filter and phase, computes all outputs. Its channels at a pixel are then arranged as
a block of s x s pixels. No zeros are inserted between the pixels of the input; only the window may
contain some zeros.
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
"""The largest stride that is lowered, since planning the window tries every phase. Strides in
practice are 2 to 32."""
_SMALL_WEIGHTS, _MOST_GROWTH = 1 << 24, 4
"""The ordinary convolution, with a filter per phase and windows padded to multiples of the stride,
may have `_SMALL_WEIGHTS` weights, or `_MOST_GROWTH` times as many as the transposed convolution if
that is more. Without dilation, strides up to the window's size are always within these bounds."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """The window and padding of the ordinary convolution along one axis, and the crop after it.

    `positions[t]` is (phase, tap of the ordinary window) for tap t of the transposed convolution.
    The convolution computes `blocks` * stride elements. Element o of the result is the element with
    index o + `start`.
    """

    positions: tuple[tuple[int, int], ...]
    taps: int
    before: int
    after: int
    blocks: int
    start: int


def lower_conv_transpose(editor: Editor, node: Node, op: _Transposed) -> None:
    """Replace a transposed convolution. Computed weights are rearranged by a gather.

    Raises `EllcError` (E302) if strides are too large or lead to too many weights, or if
    `lower_computed_conv` refuses the ordinary convolution with computed weights.
    """
    x, w, *bias = node.inputs
    shape = editor.type(w).shape
    _want_few_phases(node, op, shape)
    rows, columns = (_planned(e) for e in op.axes(editor.type(x).shape, shape))
    phases = _Phases(op.stride, grouped=op.groups > 1)
    zero = _per_filter(op, shape[0])

    def wide(weights: Array, fill: Array) -> Array:
        return phases.filters(_window(weights, rows, columns, op.stride, fill))

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
        conv_node: Node | None = editor.replace(node, conv, x, *operands)
    else:
        value = editor.insert(node, conv, x, *operands, source=node.source)
        conv_node = editor.producer(value)
        for step in steps[:-1]:
            value = editor.insert(node, step, value, source=node.source)
        editor.replace(node, steps[-1], value)
    if conv_node is not None and editor.array(operands[0]) is None:
        assert isinstance(conv_node.op, Conv2D | IntConv2D)
        lower_computed_conv(editor, conv_node, conv_node.op)


def _want_few_phases(node: Node, op: _Transposed, shape: tuple[int, ...]) -> None:
    filters, *taps, depth = shape
    padded = (
        s * ceil((d * (t - 1) + 1) / s)
        for s, d, t in zip(op.stride, op.dilation, taps, strict=True)
    )
    limit = max(_SMALL_WEIGHTS, _MOST_GROWTH * prod(shape))
    if max(op.stride) > _MOST_STRIDE or prod((filters, depth, *padded)) > limit:
        raise EllcError(
            f"'{op.name}' with strides of {op.stride} and weights {shape} has too many phases",
            code="E302",
            where=", ".join(node.source),
            hint=f"use strides of at most {_MOST_STRIDE}, and at most {limit} weights "
            "after padding the windows to multiples of the strides",
        )


def _arranged(
    editor: Editor,
    node: Node,
    value: str,
    change: Callable[[Array, Array], Array],
    zero: Array,
) -> str:
    """An operand after `change`, which only moves elements and fills gaps with `zero`.

    A constant is changed at compile time; for a computed operand, a gather is inserted.
    """
    type_ = editor.type(value)
    exact = editor.exact(value)
    array = editor.array(value) if exact is None else exact
    if array is not None:
        changed = np.asarray(change(array, zero), order="C")
        if type_.dtype.is_float:
            return editor.rounded(changed, type_.dtype)
        return editor.constant(changed.astype(type_.dtype.numpy))
    # `change`, applied to the elements' indices, gives the indices of the gather. The zeros of the
    # filters are appended to the elements.
    count = type_.elements
    numbers = np.arange(count).reshape(type_.shape)
    order = change(numbers, count + np.arange(len(zero)))
    flat = editor.insert(node, Reshape((count,)), value, source=node.source)
    zeros = editor.constant(zero.astype(type_.dtype.numpy))
    all_ = editor.insert(node, Concat(0), flat, zeros, source=node.source)
    return editor.insert(node, Gather(0), all_, editor.constant(order), source=node.source)


def _per_filter(op: _Transposed, filters: int) -> Array:
    """The weight that stands for 0 in each filter."""
    zero = op.weight_zero if isinstance(op, IntConvTranspose2D) else (0,)
    return np.broadcast_to(np.array(zero), (filters,))


# --- one axis ------------------------------------------------------------------------------------


def _planned(axis: Enlargement) -> _Axis:
    """The plan with the smallest window; of several, the one with the smallest crop in front."""
    plans = [_shifted(axis, start) for start in range(axis.stride)]
    return min(plans, key=lambda plan: (plan.taps, plan.start))


def _shifted(axis: Enlargement, start: int) -> _Axis:
    """The plan in which element o of the result is element o + start of those computed."""
    reach = [divmod(t * axis.dilation - axis.before + start, axis.stride) for t in range(axis.taps)]
    # reach[t] is (whole, rest): tap t adds input i to block i + whole, phase rest.
    top = max(0, *(whole for whole, _ in reach))
    bottom = min(whole for whole, _ in reach)
    blocks = ceil((axis.size + start) / axis.stride)
    after = blocks - bottom - axis.extent
    positions = tuple((rest, top - whole) for whole, rest in reach)
    return _Axis(positions, top - bottom + 1, top, max(0, after), blocks + max(0, -after), start)


def _window(w: Array, rows: _Axis, columns: _Axis, stride: tuple[int, int], zero: Array) -> Array:
    """Weights [phase row, phase column, filter, tap row, tap column, channels / groups].

    Positions without a tap hold the filter's `zero`.
    """
    filters, _, _, depth = w.shape
    shape = (*stride, filters, rows.taps, columns.taps, depth)
    window = np.broadcast_to(zero.reshape(-1, 1, 1, 1), shape).astype(w.dtype)
    for i, (row_phase, row) in enumerate(rows.positions):
        for j, (column_phase, column) in enumerate(columns.positions):
            window[row_phase, column_phase, :, row, column] = w[:, i, j]
    return window


# --- phases and filters --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Phases:
    """The order of the ordinary convolution's filters.

    Without groups, all filters of a phase are adjacent. With groups, all phases of a filter are
    adjacent, and so are the filters of a group.
    """

    stride: tuple[int, int]
    grouped: bool

    def filters(self, window: Array) -> Array:
        """The filters [filter, ...] from weights [phase row, phase column, filter, ...]."""
        ordered = window.transpose(2, 0, 1, 3, 4, 5) if self.grouped else window
        return np.asarray(ordered.reshape(-1, *window.shape[3:]), order="C")

    def repeated(self, per_filter: Array) -> Array:
        """A number per filter, repeated for the filters of all phases."""
        count = self.stride[0] * self.stride[1]
        return np.repeat(per_filter, count) if self.grouped else np.tile(per_filter, count)

    def spread(self, blocks: tuple[int, ...]) -> list[Op]:
        """The operators that turn channels of the convolution into blocks of pixels.

        `blocks` is (batch, rows of blocks, columns of blocks, filters of the result).
        """
        down, across = self.stride
        if (down, across) == (1, 1):
            return []
        batch, rows, columns, filters = blocks
        order = (0, 1, 4, 2, 5, 3) if self.grouped else (0, 1, 3, 2, 4, 5)
        inner = (filters, down, across) if self.grouped else (down, across, filters)
        return [
            Reshape((batch, rows, columns, *inner)),
            Transpose(order),
            Reshape((batch, rows * down, columns * across, filters)),
        ]
