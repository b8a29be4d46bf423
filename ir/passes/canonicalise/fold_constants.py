"""Evaluate nodes that depend on constants only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.interp import run_double
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


@register_pass("fold_constants")
@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace nodes whose operands are all constant by constants.

    Floats are computed in float64 from unrounded operands, and rounded once. A node stays if its
    results take over `growth_bytes` more than the operands that only it reads: a constant that is
    repeated to fill a megabyte costs flash. A node also stays if folding it would bring the steps
    of all folded nodes (`Op.inner_steps`) above `most_steps`, since even a small file could need
    hours of computation.
    """

    growth_bytes: int = 1 << 16
    most_steps: int = 1 << 28

    def run(self, graph: Graph) -> Graph:
        editor, left = Editor(graph), self.most_steps
        for node in editor.nodes():
            if node.inputs and all(editor.array(v) is not None for v in node.inputs):
                steps = _steps(editor, node)
                if steps <= left and self._is_small(editor, node):
                    left -= steps
                    _replace(editor, node)
        return editor.graph()

    def _is_small(self, editor: Editor, node: Node) -> bool:
        freed = sum(_bytes(editor, v) for v in set(node.inputs) if len(editor.users(v)) == 1)
        return sum(_bytes(editor, v) for v in node.outputs) <= freed + self.growth_bytes


def fold_ancestors(editor: Editor, value: str) -> None:
    """Fold a value that depends on constants only, even if it is much larger than the constants.

    This is for operands that kernels need to be constant, such as weights that are stored as bytes
    and that operators convert to floats. Nothing is folded if it would take more than
    `FoldConstants.most_steps`.
    """
    ancestors: list[Node] = []
    pending, visited = [value], set[str]()
    while pending:
        name = editor.current(pending.pop())
        if name in visited or editor.array(name) is not None:
            continue
        visited.add(name)
        node = editor.producer(name)
        if node is None or not node.inputs:
            return  # the value depends on an input, a state, or a node without operands
        ancestors.append(node)
        pending += node.inputs
    if sum(_steps(editor, n) for n in ancestors) > FoldConstants.most_steps:
        return
    while ancestors:
        ready = [n for n in ancestors if all(editor.array(v) is not None for v in n.inputs)]
        ancestors = [n for n in ancestors if n not in ready]
        if not any(_replace(editor, n) for n in ready):
            return


def _replace(editor: Editor, node: Node) -> bool:
    """Replace a node by constants; False, without a change, if a result is an output or state."""
    if not editor.can_forward(node, *node.inputs[:1] * len(node.outputs)):
        return False
    results = run_double(node, {v: _operand(editor, v) for v in node.inputs})
    constants = [_emit(editor, v, r) for v, r in zip(node.outputs, results, strict=True)]
    editor.forward(node, *constants)
    return True


def _steps(editor: Editor, node: Node) -> int:
    types = [tuple(map(editor.type, values)) for values in (node.inputs, node.outputs)]
    return node.op.inner_steps(*types)


def _bytes(editor: Editor, value: str) -> int:
    """Bytes of a constant; a bit counts as one byte."""
    type_ = editor.type(value)
    return type_.elements * type_.dtype.numpy.itemsize


def _operand(editor: Editor, value: str) -> Array:
    exact = editor.exact(value)
    array = editor.array(value) if exact is None else exact
    assert array is not None
    return array


def _emit(editor: Editor, value: str, result: Array) -> str:
    dtype = editor.type(value).dtype
    if dtype.is_float:
        return editor.rounded(np.asarray(result), dtype)
    return editor.constant(np.asarray(result, dtype.numpy), dtype)
