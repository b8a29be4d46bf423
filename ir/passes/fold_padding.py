"""Give buffers the frame their readers want, so that no kernel copies or checks for padding."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.shape import Concat
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import frame, is_image
from ellc.ir.rewrite import Editor
from ellc.ir.types import Padding

# Whose kernels read rows out of the interior of a larger buffer. A reshape would have to copy;
# a concatenation wants its operands' buffers to be parts of its own.
READERS: tuple[type[Op], ...] = (
    Conv2D,
    BinaryConv2D,
    MaxPool2D,
    AvgPool2D,
    LRN,
    Pointwise,
)
# Whose results may lie in such an interior. A concatenation's operands are then parts of it. Other
# views are not among them: their results lie in a buffer that belongs to another value.
WRITERS = (*READERS, Concat)


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

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        fixed = {p.value for p in graph.outputs} | {s.next for s in graph.states}
        for node in graph.nodes:
            if len(node.outputs) == 1 and node.output not in fixed and _is_any(node.op, WRITERS):
                self._frame(editor, graph, node.output)
        return editor.graph()

    def _frame(self, editor: Editor, graph: Graph, value: str) -> None:
        type_ = graph.types[value]
        readers = editor.users(value)
        if not is_image(type_) or not all(_is_any(r.op, READERS) for r in readers):
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
            editor.set_type(value, type_.with_border(frame(amounts[best], best)))


def wanted_frame(reader: Node, value: str) -> Padding | None:
    """The frame a reader wants around the picture it reads, None if it wants none."""
    if reader.inputs[0] != value:
        return None
    match anchor_of(reader.op):
        case Conv2D(padding=padding) | MaxPool2D(padding=padding):
            wanted = padding
        case AvgPool2D(padding=padding, include_padding=True):
            wanted = padding
        case _:
            return None
    return None if wanted.is_empty else frame(wanted.amounts, wanted.values)


def anchor_of(op: Op) -> Op:
    """What a kernel computes before its epilogue."""
    return op.anchor if isinstance(op, Fused) else op


def _is_any(op: Op, kinds: tuple[type[Op], ...]) -> bool:
    return isinstance(anchor_of(op), kinds)
