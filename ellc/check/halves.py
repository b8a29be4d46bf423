"""How far half precision may move the result of a layer that has stages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ellc.check.transformed import HALF_OF_LARGEST
from ellc.ir.graph import Node
from ellc.ir.op import Arrays
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array


def moved_by_stages(node: Node, operands: Mapping[str, Array]) -> Array | None:
    """How far elements move if the anchor's result moves by its tolerance; None without stages.

    A stage may enlarge an error: if sums are as large as 100, a sigmoid turns an error of 0.5 % of
    the largest one into 0.1.
    """
    op = node.op
    if not isinstance(op, Fused):
        return None
    widened = (operands[v] for v in node.inputs)
    head, *rest = op.split(
        tuple(x.astype(np.float32) if x.dtype == np.float16 else x for x in widened)
    )
    with np.errstate(all="ignore"):
        (total,) = op.anchor.reference(*head)
        distance = HALF_OF_LARGEST * np.abs(total[np.isfinite(total)]).max(initial=0.0)
        middle, *ends = (_staged(op, total + way * distance, rest) for way in (0.0, -1.0, 1.0))
        moved = np.maximum.reduce([np.abs(end - middle) for end in ends])
    return np.where(np.isfinite(moved), moved, 0.0).astype(np.float64)


def _staged(op: Fused, value: Array, extras: list[Arrays]) -> Array:
    for stage, others in zip(op.stages, extras, strict=True):
        (value,) = stage.op.reference(value, *others)
    return value
