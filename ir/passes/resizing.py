"""Resizing as one gather, weighted if need be, for every axis that changes."""

from __future__ import annotations

import numpy as np

from ir.graph import Node
from ir.op import Op
from ir.ops.pointwise import Cast, Select
from ir.ops.resize import Resample, Resize, RoundingShift
from ir.ops.resize_maps import FIXED_BITS, AxisTable
from ir.ops.shape import Gather, Reshape
from ir.rewrite import Editor
from ir.types import DType

Step = tuple[Op, tuple[str, ...]]


def lower_resize(editor: Editor, node: Node, op: Resize) -> None:
    """Replace the node by a chain of operators, each on the result of the one before."""
    x = editor.type(node.inputs[0])
    tables = {axis: op.table(axis, x) for axis in range(x.rank)}
    changed = {a: t for a, t in tables.items() if not t.is_identity(x.shape[a])}
    # Axes that shrink come first, so that there is less to do for the others.
    order = sorted(changed, key=lambda axis: op.sizes[axis] / x.shape[axis])
    is_fixed = op.mode == "linear" and x.dtype.is_integer
    wide = DType.I64 if x.dtype is DType.I16 else DType.I32
    dtype = wide if is_fixed else x.dtype
    steps: list[Step] = [(Cast(wide), ())] if is_fixed and changed else []
    for axis in order:
        steps.append(_along(editor, op, axis, changed[axis], dtype))
    if is_fixed and changed:
        steps.append((RoundingShift(FIXED_BITS * len(changed), x.dtype, x.quant), ()))
    for axis in range(x.rank):
        outside = op.outside(axis, x)
        if outside.any():
            inside = np.logical_not(outside).reshape(-1, *(1,) * (x.rank - axis - 1))
            other = np.array([op.extrapolation]).astype(x.dtype.numpy)
            steps.append((Select(), (editor.constant(other), editor.constant(inside))))
    *first, last = steps or [(Reshape(x.shape), ())]
    value = node.inputs[0]
    for step, extras in first:
        value = editor.insert(node, step, value, *extras, source=node.source)
    editor.replace(node, last[0], value, *last[1])


def _along(editor: Editor, op: Resize, axis: int, table: AxisTable, dtype: DType) -> Step:
    """What one axis takes; a choice of elements is a plain gather."""
    if op.mode == "nearest":
        return Gather(axis), (editor.constant(table.indices[:, 0]),)
    if dtype.is_float:
        weights = editor.rounded(table.weights, dtype)
    else:
        weights = editor.constant(table.weights.astype(dtype.numpy))
    return Resample(axis), (editor.constant(table.indices), weights)
