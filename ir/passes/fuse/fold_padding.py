"""Give buffers the borders that their readers want, so that kernels need no checks at edges."""

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
    """Set `TensorType.border` of values that a kernel computes and whose readers pad them.

    Only single images of floats get a border, and only if all their readers can read one
    (`Op.reads_bordered`). A buffer has only one border. If all readers pad with the same pixels,
    the border is as wide as the widest padding. Otherwise, the readers are grouped by these pixels,
    and the border suits the group that does the most multiply-adds (of equal groups: the one that
    computes the most elements). The kernels of the other readers check for the edges of the image.

    Pools want a border, too: their kernels are then a single loop without checks. An average that
    does not count its padding wants none, since its divisor is different at the edges anyway. The
    caller's buffers, constants and states have no border. Neither do bits: the binary kernel
    skips taps outside the image.
    """

    requires: ClassVar[tuple[Property, ...]] = (LOWERED,)

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        fixed = {p.value for p in graph.outputs} | {s.next for s in graph.states}
        for node in graph.nodes:
            writes = len(node.outputs) == 1 and anchor_of(node.op).writes_bordered
            if writes and node.output not in fixed:
                self._set_border(editor, graph, node.output)
        return editor.graph()

    def _set_border(self, editor: Editor, graph: Graph, value: str) -> None:
        type_ = graph.types[value]
        readers = editor.users(value)
        if not is_image(type_) or not all(anchor_of(r.op).reads_bordered for r in readers):
            return
        work: dict[tuple[float, ...], tuple[int, int]] = {}
        amounts: dict[tuple[float, ...], tuple[int, int, int, int]] = {}
        for reader in readers:
            wanted = wanted_border(reader, value)
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
            best = max(work, key=lambda k: work[k])  # of equal groups, that of the first reader
            editor.set_type(value, type_.with_border(Padding.of(amounts[best], best)))


def wanted_border(reader: Node, value: str) -> Padding | None:
    """The border that a reader wants around `value`, its image; None if it wants none."""
    wanted = anchor_of(reader.op).wanted_border() if reader.inputs[0] == value else None
    return None if wanted is None or wanted.is_empty else Padding.of(wanted.amounts, wanted.values)
