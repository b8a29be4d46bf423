"""Affines: elementwise x * scale + shift with constants, which are rounded only when emitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.ops.pointwise import Add, Div, Mul, MulAdd, Neg, Sub
from ellc.ir.passes.common import fits_float, trailing
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


@dataclass(frozen=True)
class Affine:
    """`value * scale + shift`; both arrays are float64 and broadcast to the value's shape."""

    value: str
    scale: Array
    shift: Array

    def then(self, outer: Affine) -> Affine:
        """The affine with the effect of this one followed by `outer`."""
        with np.errstate(all="ignore"):
            scale = self.scale * outer.scale
            return Affine(self.value, scale, self.shift * outer.scale + outer.shift)

    @property
    def only_shifts(self) -> bool:
        """Whether every scale is 1."""
        return bool(np.all(self.scale == 1))

    @property
    def only_scales(self) -> bool:
        """Whether every shift is 0."""
        return bool(np.all(self.shift == 0))


_ONE = np.ones(())
_ZERO = np.zeros(())


def affine_of(editor: Editor, node: Node) -> Affine | None:
    """The affine of floats that a node computes; None if it computes something else."""
    if not editor.type(node.outputs[0]).dtype.is_float:
        return None
    match node.op, node.inputs:
        case Neg(), (x,):
            return Affine(x, -_ONE, _ZERO)
        case MulAdd(), (x, scale, shift):
            s, t = editor.exact(scale), editor.exact(shift)
            return None if s is None or t is None else Affine(x, s, t)
        case ((Add() | Sub() | Mul() | Div()), (x, y)):
            return _binary(editor, node, x, y)
    return None


def _binary(editor: Editor, node: Node, x: str, y: str) -> Affine | None:
    left, right = editor.exact(x), editor.exact(y)
    if right is not None and left is None:
        match node.op:
            case Add():
                return Affine(x, _ONE, right)
            case Sub():
                return Affine(x, _ONE, -right)
            case Mul():
                return Affine(x, right, _ZERO)
            case Div() if bool(np.all(right != 0)):
                return Affine(x, 1 / right, _ZERO)
    if left is not None and right is None and editor.type(y).shape == editor.type(x).shape:
        match node.op:
            case Add():
                return Affine(y, _ONE, left)
            case Sub():
                return Affine(y, -_ONE, left)
            case Mul():
                return Affine(y, left, _ZERO)
    return None


def emit_affine(editor: Editor, node: Node, affine: Affine, source: tuple[str, ...]) -> Node | None:
    """Make a node compute an affine, with the simplest possible operator.

    Returns the new node. If the affine changes nothing and `Editor.can_forward` allows it, the node
    is removed, its readers read `affine.value`, and the result is None.
    """
    dtype = editor.type(node.output).dtype
    scale, shift = trailing(affine.scale), trailing(affine.shift)
    if affine.only_shifts and affine.only_scales and editor.can_forward(node, affine.value):
        editor.forward(node, affine.value)
        return None
    if affine.only_shifts:
        return editor.replace(
            node, Add(), affine.value, editor.rounded(shift, dtype), source=source
        )
    if affine.only_scales:
        return editor.replace(
            node, Mul(), affine.value, editor.rounded(scale, dtype), source=source
        )
    operands = editor.rounded(scale, dtype), editor.rounded(shift, dtype)
    return editor.replace(node, MulAdd(), affine.value, *operands, source=source)


def merge(editor: Editor, inner: Affine, outer: Affine, growth_bytes: int) -> Affine | None:
    """The affine that is equal to `inner` followed by `outer`.

    None if its constants take over `growth_bytes` more than those of the two together, or do not
    fit into floats.
    """
    merged = inner.then(outer)
    dtype = editor.type(inner.value).dtype
    sizes = [a.scale.size + a.shift.size for a in (inner, outer, merged)]
    if (sizes[2] - sizes[0] - sizes[1]) * dtype.item_bytes > growth_bytes:
        return None
    good = fits_float(merged.scale, dtype) and fits_float(merged.shift, dtype)
    return merged if good else None
