"""Lower resizing to gathers or weighted gathers, one for every axis that changes.

Linear resizing of u8 becomes a weighted sum of gathers.
"""

from __future__ import annotations

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import Add, Cast, Floor, Mul, Select
from ellc.ir.ops.quantised import Dequantize, Quantize
from ellc.ir.ops.resize import Resample, Resize, RoundingShift
from ellc.ir.ops.resize_maps import FIXED_BITS, AxisTable
from ellc.ir.ops.shape import Gather, Reshape
from ellc.ir.rewrite import Editor
from ellc.ir.types import DType, TensorType

Operation = tuple[Op, tuple[str, ...]]


def lower_resize(editor: Editor, node: Node, op: Resize) -> None:
    """Replace the node by a chain of operators, each of which reads the previous result."""
    x = editor.type(node.inputs[0])
    value = node.inputs[0]
    if op.mode == "linear" and x.dtype is DType.U8 and op.changed(x):
        value = _blended(editor, node, op)
        steps = _rounded(editor, x)
    else:
        steps = _weighted(editor, op, x)
    for axis in range(x.rank):
        outside = op.outside(axis, x)
        if outside.any():
            inside = np.logical_not(outside).reshape(-1, *(1,) * (x.rank - axis - 1))
            other = np.array([op.extrapolation]).astype(x.dtype.numpy)
            steps.append((Select(), (editor.constant(other), editor.constant(inside))))
    *first, last = steps or [(Reshape(x.shape), ())]
    for step, extras in first:
        value = editor.insert(node, step, value, *extras, source=node.source)
    editor.replace(node, last[0], value, *last[1])


def _weighted(editor: Editor, op: Resize, x: TensorType) -> list[Operation]:
    """An operator per changed axis, shrinking axes first; fixed point also widens and rounds."""
    order = sorted(op.changed(x), key=lambda axis: op.sizes[axis] / x.shape[axis])
    is_fixed = op.mode == "linear" and x.dtype.is_integer
    sum_type = DType.I64 if x.dtype is DType.I16 else DType.I32
    steps: list[Operation] = [(Cast(sum_type), ())] if is_fixed and order else []
    for axis in order:
        steps.append(_along(editor, op, axis, op.table(axis, x), sum_type if is_fixed else x.dtype))
    if is_fixed and order:
        steps.append((RoundingShift(FIXED_BITS * len(order), x.dtype, x.quant), ()))
    return steps


def _along(editor: Editor, op: Resize, axis: int, table: AxisTable, dtype: DType) -> Operation:
    """The operator for one axis and its further operands; a `Gather` for mode "nearest"."""
    if op.mode == "nearest":
        return Gather(axis), (editor.constant(table.indices[:, 0]),)
    if dtype.is_float:
        weights = editor.rounded(table.weights, dtype)
    else:
        weights = editor.constant(table.weights.astype(dtype.numpy))
    return Resample(axis), (editor.constant(table.indices), weights)


def _blended(editor: Editor, node: Node, op: Resize) -> str:
    """The weighted sum of the neighbours of every coordinate, term by term in float32.

    With two axes, the neighbours are the four corners around the coordinate.
    """

    def add(step: Op, *operands: str) -> str:
        return editor.insert(node, step, *operands, source=node.source)

    x = editor.type(node.inputs[0])
    zero = editor.constant(np.zeros(1, np.int32))
    total = ""
    for term in op.corners(x):
        part = node.inputs[0]
        for axis, table in term.items():
            part = add(Gather(axis), part, editor.constant(table.indices[:, 0]))
        first, *others = (
            editor.constant(table.weights.reshape(-1, *(1,) * (x.rank - axis - 1)))
            for axis, table in term.items()
        )
        # `Dequantize` applies the first factor, because `fold_affine` would merge two `Mul`s into
        # one: their product would be rounded once instead of twice, unlike in TFLite.
        part = add(Dequantize(), part, first, zero)
        for weights in others:
            part = add(Mul(), part, weights)
        total = add(Add(), total, part) if total else part
    return total


def _rounded(editor: Editor, x: TensorType) -> list[Operation]:
    """The operators that compute floor(value + 1/2) as bytes."""
    half = editor.constant(np.array([0.5], np.float32))
    one, zero = editor.constant(np.ones(1, np.float32)), editor.constant(np.zeros(1, np.int32))
    narrow = Quantize("half_even", x.dtype, x.quant)
    return [(Add(), (half,)), (Floor(), ()), (narrow, (one, zero))]
