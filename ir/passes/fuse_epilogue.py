"""Fuse elementwise operators into the kernel that makes their operand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ir.graph import Graph, Node
from ir.op import Op, Pointwise
from ir.ops.binary import Binarize, BinaryConv2D
from ir.ops.conv import Conv2D
from ir.ops.dense import Dense, MatMul
from ir.ops.fused import Fused, Stage
from ir.ops.pointwise import Add, Maximum, Minimum, Mul
from ir.ops.pool import AvgPool2D, MaxPool2D
from ir.passes.base import Pass, register_pass
from ir.rewrite import Editor, merged_source

ANCHORS: tuple[type[Op], ...] = (
    Conv2D,
    BinaryConv2D,
    Dense,
    MatMul,
    MaxPool2D,
    AvgPool2D,
    Pointwise,
)
_COMMUTATIVE = (Add, Mul, Minimum, Maximum)


@register_pass("fuse_epilogue")
@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """Make bias, activations, residual sums and signs stages of their producer (`Fused`).

    The producer is a convolution, product or pool, or an elementwise operator itself, and nothing
    else reads its result. Of the two operands of a sum, the one that is computed last becomes the
    running value: the other one is then there already. The fused node stands where the last
    stage stood, where all operands exist. Values are floating point; a sign may be the last stage.
    """

    max_stages: int = 16

    def run(self, graph: Graph) -> Graph:
        """See the class."""
        editor = Editor(graph)
        order = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
        for node in editor.nodes():
            if isinstance(node.op, Pointwise):
                self._fuse(editor, node, node.op, order)
        return editor.graph()

    def _fuse(self, editor: Editor, node: Node, op: Pointwise, order: dict[str, int]) -> None:
        dtype = editor.type(node.output).dtype
        if not (dtype.is_float or isinstance(op, Binarize)):
            return
        positions = (0, 1) if isinstance(op, _COMMUTATIVE) else (0,)
        hosts = [p for p in positions if self._can_host(editor, node, node.inputs[p])]
        if not hosts:
            return
        running = max(hosts, key=lambda p: order[node.inputs[p]])
        first = editor.producer(node.inputs[running])
        assert first is not None
        extras = [v for p, v in enumerate(node.inputs) if p != running]
        head = _as_fused(first)
        fused = replace(head, stages=(*head.stages, Stage(op, len(extras))))
        source = merged_source(first, node)
        editor.replace(node, fused, *first.inputs, *extras, source=source)
        editor.remove(first)

    def _can_host(self, editor: Editor, node: Node, value: str) -> bool:
        """Whether the node that makes `value` can run `node` as its next stage."""
        first = editor.producer(value)
        if first is None or not editor.used_once(value):
            return False
        made = editor.type(value)
        if not made.dtype.is_float or made.shape != editor.type(node.output).shape:
            return False
        if any(editor.type(v).dtype is not made.dtype for v in node.inputs):
            return False
        head = _as_fused(first)
        return isinstance(head.anchor, ANCHORS) and len(head.stages) < self.max_stages


def _as_fused(node: Node) -> Fused:
    return node.op if isinstance(node.op, Fused) else Fused(node.op, len(node.inputs), ())
