"""Turn explicit frames before convolutions and pools into their padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.ops.shape import Embed, Pad
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import frame, widened
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import Padding


@register_pass("absorb_padding")
@dataclass(frozen=True)
class AbsorbPadding(Pass):
    """Let convolutions and pools read the picture inside a `Pad`, or inside a constant `Embed`.

    The frame must be constant for each channel. Its widths add to those the operator has, if
    these stand for the same values. An `AvgPool2D` then counts the frame's cells, as it did; one
    that does not count its own padding cannot take another. Nested `Pad`s of one value add up.
    Before a binary convolution the frame's signs become its padding, before one of bytes
    a frame of its zero point does.
    """

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            current: Node | None = node
            while current is not None:
                current = self._absorbed(editor, current)
        return editor.graph()

    def _absorbed(self, editor: Editor, node: Node) -> Node | None:
        """The node with one frame fewer before it, None if there was nothing to do."""
        if not node.inputs:
            return None
        if isinstance(node.op, BinaryConv2D):
            return _absorbed_signs(editor, node, node.op)
        outer = editor.producer(node.inputs[0])
        found = None if outer is None else frame_of(editor, outer)
        if outer is None or found is None or node.inputs.count(outer.output) != 1:
            return None
        source, padding = found
        op = with_frame(node.op, padding)
        if op is None:
            return None
        new = editor.replace(node, op, source, *node.inputs[1:], source=merged_source(outer, node))
        if not editor.uses(outer.output):
            editor.remove(outer)
        return new


def _absorbed_signs(editor: Editor, node: Node, op: BinaryConv2D) -> Node | None:
    """A binary convolution that takes the signs of what the frame before them holds."""
    signs = editor.producer(node.inputs[0])
    if signs is None or not isinstance(signs.op, Binarize) or not editor.used_once(node.inputs[0]):
        return None
    outer = editor.producer(signs.inputs[0])
    found = None if outer is None else frame_of(editor, outer)
    if outer is None or found is None:
        return None
    source, around = found
    kinds = {1.0 if v > 0 else -1.0 for v in around.values}
    padding = joined(op.padding, frame(around.amounts, kinds)) if len(kinds) == 1 else None
    if padding is None:
        return None
    bits = editor.insert(node, Binarize(), source, source=signs.source)
    names = merged_source(outer, node)
    new = editor.replace(node, replace(op, padding=padding), bits, *node.inputs[1:], source=names)
    for unused in (signs, outer):
        if not editor.uses(unused.output):
            editor.remove(unused)
    return new


def frame_of(editor: Editor, node: Node) -> tuple[str, Padding] | None:
    """(picture, frame around it) if the node puts a constant frame around an NHWC picture."""
    match node.op:
        case Pad(before=(0, top, left, 0), after=(0, bottom, right, 0), mode="constant") as op:
            return node.inputs[0], frame((top, left, bottom, right), (op.value,))
        case Embed(offsets=(0, top, left, 0)):
            return _embedded(editor, node, top, left)
    return None


def _embedded(editor: Editor, node: Node, top: int, left: int) -> tuple[str, Padding] | None:
    picture, around = editor.type(node.inputs[0]), editor.exact(node.inputs[1])
    if around is None or (picture.shape[0], picture.shape[3]) != (around.shape[0], around.shape[3]):
        return None
    outside = np.ones(around.shape[:3], np.bool_)
    outside[:, top : top + picture.shape[1], left : left + picture.shape[2]] = False
    pixels = around[outside]
    if not len(pixels) or not np.all(pixels == pixels[0]):
        return None
    bottom = around.shape[1] - top - picture.shape[1]
    right = around.shape[2] - left - picture.shape[2]
    return node.inputs[0], frame((top, left, bottom, right), pixels[0].tolist())


def with_frame(
    op: object, outer: Padding
) -> Conv2D | IntConv2D | MaxPool2D | AvgPool2D | Pad | None:
    """The operator reading through a further frame, None if it cannot say that."""
    match op:
        case IntConv2D() if outer.values == (float(op.input_zero),):
            return replace(op, padding=Padding(*widened(op.padding, outer)))
        case MaxPool2D() if _only_hangs_over(op, outer):
            return replace(op, padding=frame(widened(op.padding, outer), outer.values))
        case Conv2D() | MaxPool2D():
            padding = joined(op.padding, outer)
            return None if padding is None else replace(op, padding=padding)
        case AvgPool2D():
            padding = joined(op.padding, outer)
            if padding is None or not (op.include_padding or op.padding.is_empty):
                return None
            return replace(op, padding=padding, include_padding=True)
        case Pad(mode="constant") if outer.values == (op.value,) and len(op.before) == 4:
            grown = [(0, outer.top, outer.left, 0), (0, outer.bottom, outer.right, 0)]
            before, after = (
                tuple(a + b for a, b in zip(x, y, strict=True))
                for x, y in zip((op.before, op.after), grown, strict=True)
            )
            return replace(op, before=before, after=after)
    return None


def _only_hangs_over(op: MaxPool2D, outer: Padding) -> bool:
    """Whether padding that never wins may as well hold the value of the frame inside it.

    It never wins where none of its values is above one of the frame's.

    Each window that reaches it must contain a cell of that frame already: on every side on which
    there is padding, the frame has cells and the padding is narrower than the window, which has no
    gaps.
    """
    own = op.padding
    if own.is_empty or op.dilation != (1, 1) or max(own.values) > min(outer.values):
        return False
    rows, columns = op.window
    reach = (rows, columns, rows, columns)
    sides = zip(own.amounts, outer.amounts, reach, strict=True)
    return all(a == 0 or (b > 0 and a < w) for a, b, w in sides)


def joined(own: Padding, outer: Padding) -> Padding | None:
    """A frame around a frame, None if their values differ. `own` stands further outside."""
    if outer.is_empty:
        return own
    if own.is_empty:
        return outer
    if frame(own.amounts, own.values).values != outer.values:
        return None
    return frame(widened(own, outer), outer.values)
