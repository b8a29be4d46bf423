"""Turn explicit padding before convolutions and pools into their padding attribute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import DType, Padding


@register_pass("absorb_padding")
@dataclass(frozen=True)
class AbsorbPadding(Pass):
    """Let convolutions and pools read the operand of a `Pad`, or of an `Embed` in a constant.

    The added pixels must be equal within each channel. The operator's padding becomes wider if its
    values are those of the added pixels. Nested `Pad`s are absorbed one by one. An `AvgPool2D` that
    counts its padding counts the added pixels, too; one that has padding and does not count it
    stays unchanged. A binary convolution takes the sign of the added pixels as its padding value if
    it is the same in all channels. An integer convolution accepts only pixels that equal its zero
    point.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
    )

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            current: Node | None = node
            while current is not None:
                current = self._absorbed(editor, current)
        return editor.graph()

    def _absorbed(self, editor: Editor, node: Node) -> Node | None:
        """The node after it absorbed a `Pad` or `Embed`; None if it cannot absorb one."""
        if not node.inputs:
            return None
        if editor.type(node.inputs[0]).dtype is DType.BIT:
            return _absorbed_signs(editor, node)
        outer = editor.producer(node.inputs[0])
        image_and_padding = None if outer is None else explicit_padding(editor, outer)
        if outer is None or image_and_padding is None or node.inputs.count(outer.output) != 1:
            return None
        source, padding = image_and_padding
        op = node.op.with_border(padding)
        if op is None:
            return None
        new = editor.replace(node, op, source, *node.inputs[1:], source=merged_source(outer, node))
        if not editor.uses(outer.output):
            editor.remove(outer)
        return new


def _absorbed_signs(editor: Editor, node: Node) -> Node | None:
    """Let an operator on bits absorb the padding before the `Binarize` that makes the bits."""
    signs = editor.producer(node.inputs[0])
    if signs is None or not isinstance(signs.op, Binarize) or not editor.used_once(node.inputs[0]):
        return None
    outer = editor.producer(signs.inputs[0])
    image_and_padding = None if outer is None else explicit_padding(editor, outer)
    if outer is None or image_and_padding is None:
        return None
    source, around = image_and_padding
    kinds = {1.0 if v > 0 else -1.0 for v in around.values}
    signs_around = Padding.of(around.amounts, kinds)
    absorbed = node.op.with_border(signs_around) if len(kinds) == 1 else None
    if absorbed is None:
        return None
    bits = editor.insert(node, Binarize(), source, source=signs.source)
    names = merged_source(outer, node)
    new = editor.replace(node, absorbed, bits, *node.inputs[1:], source=names)
    for unused in (signs, outer):
        if not editor.uses(unused.output):
            editor.remove(unused)
    return new


def explicit_padding(editor: Editor, node: Node) -> tuple[str, Padding] | None:
    """(image, padding) if the node puts constant padding around an NHWC image, else None."""
    match node.op:
        case Pad(before=(0, top, left, 0), after=(0, bottom, right, 0), mode="constant") as op:
            return node.inputs[0], Padding.of((top, left, bottom, right), (op.value,))
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
    return node.inputs[0], Padding.of((top, left, bottom, right), pixels[0].tolist())
