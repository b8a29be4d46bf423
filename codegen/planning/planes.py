"""Lets pixels with a plane for each channel stay in planes up to the first convolution.

If a network takes bytes in planes, the passes move their channels last before they become floats,
because bytes are fewer. A convolution that reads planes needs no such pass over the image: here the
pointwise operator that makes floats of the bytes computes planes, and what moves their channels is
a view (`Storage`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.codegen.planning.storage import CHANNELS_LAST, is_pointwise, is_read_in_planes
from ellc.ir.arrangement import inverse
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.shape import Transpose
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array

_PLANES = inverse(CHANNELS_LAST)


def in_planes(graph: Graph, target: Target) -> Graph:
    """The graph, with channels moved last after a pointwise operator instead of before it.

    That is done where only this operator reads the moved pixels, its other operands are constants,
    and only a convolution that reads planes on the target reads its result.
    """
    editor = Editor(graph)
    for node in editor.nodes():
        if not isinstance(node.op, Transpose) or node.op.permutation != CHANNELS_LAST:
            continue
        if not editor.used_once(node.output):
            continue
        (reader,) = editor.users(node.output)
        planar = _in_planes(editor, reader, node, target)
        if planar is None:
            continue
        constants = (editor.moved(v, _moved) for v in reader.inputs[1:])
        floats = editor.insert(node, planar, node.inputs[0], *constants, source=reader.source)
        editor.replace(reader, Transpose(CHANNELS_LAST), floats)
        editor.set_type(reader.output, replace(editor.type(reader.output), border=None))
        editor.remove(node)
    return editor.graph() if editor.changed else graph


def _in_planes(editor: Editor, node: Node, moved: Node, target: Target) -> Op | None:
    """The operator of a node for pixels in planes; None if it has to read the moved ones."""
    if not is_pointwise(node.op) or len(node.outputs) != 1 or node.inputs[0] != moved.output:
        return None
    if not all(editor.array(v) is not None for v in node.inputs[1:]):
        return None
    if not editor.used_once(node.output):
        return None
    (reader,) = editor.users(node.output)
    operands = [editor.type(v) for v in reader.inputs]
    results = [editor.type(v) for v in reader.outputs]
    if not is_read_in_planes(reader, node.output, operands, results, target):
        return None
    types = tuple(editor.type(v) for v in node.inputs)
    arranged = node.op.arranged(types, (editor.type(node.output),), _PLANES)
    return None if arranged is None else arranged.op


def _moved(constant: Array) -> Array:
    """A constant that broadcasts to pixels, for planes."""
    rank = len(_PLANES)
    return np.transpose(constant.reshape((1,) * (rank - constant.ndim) + constant.shape), _PLANES)
