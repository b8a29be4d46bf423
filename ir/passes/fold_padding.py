"""Give buffers the frame their readers want, so that no kernel copies or checks for padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.fused import anchor_of
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import is_image
from ellc.ir.passes.properties import LOWERED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import Padding


@register_pass("fold_padding")
@dataclass(frozen=True)
class FoldPadding(Pass):
    """Set `TensorType.border` on values that a kernel makes and whose readers pad them.

    Only one frame can stand around a buffer. Readers that want equal values share it, as wide as
    the widest of them; among different values the one wins whose readers do the most
    multiply-adds (then: make the most elements), and the others handle their edges themselves.

    A `MaxPool2D` or `AvgPool2D` takes part: with a frame its kernel is one straight loop. Not so
    an `AvgPool2D` that does not count its padding, since its divisor changes at the edge anyway.
    The caller's own buffers, constants and states have no frame, and bits need none: the binary
    kernel leaves taps out.
    """

    requires: ClassVar[tuple[Property, ...]] = (LOWERED,)

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        fixed = {p.value for p in graph.outputs} | {s.next for s in graph.states}
        for node in graph.nodes:
            writes = len(node.outputs) == 1 and anchor_of(node.op).writes_bordered
            if writes and node.output not in fixed:
                self._frame(editor, graph, node.output)
        return editor.graph()

    def _frame(self, editor: Editor, graph: Graph, value: str) -> None:
        type_ = graph.types[value]
        readers = editor.users(value)
        if not is_image(type_) or not all(anchor_of(r.op).reads_bordered for r in readers):
            return
        work: dict[tuple[float, ...], tuple[int, int]] = {}
        amounts: dict[tuple[float, ...], tuple[int, int, int, int]] = {}
        for reader in readers:
            wanted = wanted_frame(reader, value)
            if wanted is None:
                continue
            key = wanted.values
            macs, elements = work.get(key, (0, 0))
            types = graph.node_types(reader)
            work[key] = (macs + reader.op.macs(*types), elements + types[1][0].elements)
            top, left, bottom, right = (
                max(a, b)
                for a, b in zip(amounts.get(key, (0, 0, 0, 0)), wanted.amounts, strict=True)
            )
            amounts[key] = (top, left, bottom, right)
        if work:
            best = max(work, key=lambda k: work[k])  # the first reader's if equal
            editor.set_type(value, type_.with_border(Padding.of(amounts[best], best)))


def wanted_frame(reader: Node, value: str) -> Padding | None:
    """The frame a reader wants around the picture it reads, None if it wants none."""
    wanted = anchor_of(reader.op).wanted_border() if reader.inputs[0] == value else None
    return None if wanted is None or wanted.is_empty else Padding.of(wanted.amounts, wanted.values)
