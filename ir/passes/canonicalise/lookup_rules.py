"""Rules of `simplify` on tables of bytes; `view_rules` explains what a rule returns."""

from __future__ import annotations

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.ops.pointwise import Add, Cast, Clip
from ellc.ir.ops.quantised import BYTES, Lookup
from ellc.ir.passes.canonicalise.view_rules import Change
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType


def lookup(editor: Editor, node: Node) -> Change | None:
    """Replace a table by nothing, a `Clip` or an `Add`, or merge it with the table before it."""
    if not isinstance(node.op, Lookup):
        return None
    x, table_value = node.inputs
    table = editor.array(table_value)
    producer = editor.producer(x)
    if table is None:
        return None
    if producer is not None and isinstance(producer.op, Lookup):
        return _joined(editor, node.op, table, producer)
    before, after = editor.type(x).dtype, node.op.dtype
    if after not in BYTES:
        return None
    codes = _codes(before)
    if before is after and np.array_equal(table, np.clip(codes, table.min(), table.max())):
        bounds = int(table.min()), int(table.max())
        return x if len(set(table.tolist())) == len(codes) else (Clip(*map(float, bounds)), (x,))
    shifts = set(((table.astype(np.int64) - codes) % 256).tolist())
    if len(shifts) > 1:
        return None
    moved = np.array(shifts.pop()).astype(np.uint8).view(after.numpy).reshape(1)
    same = x if before is after else editor.insert(node, Cast(after), x, source=node.source)
    return Add(), (same, editor.constant(moved, after))


def _joined(editor: Editor, op: Lookup, table: Array, inner: Node) -> Change | None:
    first = editor.array(inner.inputs[1])
    between = editor.type(inner.output).dtype
    if first is None or between not in BYTES:
        return None
    both = table[first.astype(np.int64) - int(np.iinfo(between.numpy).min)]
    return op, (inner.inputs[0], editor.constant(both, op.dtype))


def _codes(dtype: DType) -> Array:
    """All values of an 8-bit type in ascending order."""
    info = np.iinfo(dtype.numpy)
    return np.arange(info.min, info.max + 1)
