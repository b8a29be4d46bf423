"""Fuse elementwise operators into the kernels that compute their operands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Pointwise
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, LOWERED, Property
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import DType

_NARROW = (DType.F32, DType.I32, DType.I16, DType.U16, DType.I8, DType.U8)


@register_pass("fuse_epilogue")
@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """Make biases, activations, residual sums and signs stages of the node before them (`Fused`).

    The operator of that node has `takes_stages` (convolutions, products, pools, reductions,
    elementwise operators and some more), and nothing else reads its result. A sum has two operands;
    it becomes a stage of the node that computes the later one, when the other operand is already in
    memory. The fused node takes the position of its last stage, after all operands. The operands of
    a stage have the same float type, and its result is a float or a sign; or operands and result
    have at most 32 bits each, so that the kernel that sums bytes can also requantise the sums, and
    the operator needs no loop per integer (`Pointwise.loops_on_integers`). A sign can only be the
    last stage.
    """

    requires: ClassVar[tuple[Property, ...]] = (ALL_USED, LOWERED)

    max_stages: int = 16

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        order = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
        for node in editor.nodes():
            if isinstance(node.op, Pointwise):
                self._fuse(editor, node, node.op, order)
        return editor.graph()

    def _fuse(self, editor: Editor, node: Node, op: Pointwise, order: dict[str, int]) -> None:
        if not _is_stage(editor, node):
            return
        swapped = op.swapped() if len(node.inputs) > 1 else None
        positions = (0,) if swapped is None else (0, 1)
        hosts = [p for p in positions if self._can_host(editor, node, node.inputs[p])]
        if not hosts:
            return
        running = max(hosts, key=lambda p: order[node.inputs[p]])
        stage = swapped if running == 1 and swapped is not None else op
        first = editor.producer(node.inputs[running])
        assert first is not None
        extras = [v for p, v in enumerate(node.inputs) if p != running]
        head = _as_fused(first)
        fused = replace(head, stages=(*head.stages, Stage(stage, len(extras))))
        source = merged_source(first, node)
        editor.replace(node, fused, *first.inputs, *extras, source=source)
        editor.remove(first)

    def _can_host(self, editor: Editor, node: Node, value: str) -> bool:
        """Whether the node that computes `value` can run `node` as its next stage."""
        first = editor.producer(value)
        if first is None or not editor.used_once(value):
            return False
        if editor.type(value).shape != editor.type(node.output).shape:
            return False
        head = _as_fused(first)
        return head.anchor.takes_stages and len(head.stages) < self.max_stages


def _is_stage(editor: Editor, node: Node) -> bool:
    """Whether an epilogue can compute a node, considering the element types of its values."""
    read = {editor.type(v).dtype for v in node.inputs}
    result = editor.type(node.output).dtype
    of_floats = len(read) == 1 and all(d.is_float for d in read)
    if of_floats and (result.is_float or isinstance(node.op, Binarize)):
        return True
    loops = isinstance(node.op, Pointwise) and node.op.loops_on_integers and not result.is_float
    return not loops and all(d in _NARROW for d in (*read, result))


def _as_fused(node: Node) -> Fused:
    return node.op if isinstance(node.op, Fused) else Fused(node.op, len(node.inputs), ())
