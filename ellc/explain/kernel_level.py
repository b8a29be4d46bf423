"""The level `kernel`: the kernels of a node as kernel IR."""

from __future__ import annotations

from ellc.codegen.kir.text import print_kernel
from ellc.explain.study import PlannedNode, Study


def of_node(study: Study, node: PlannedNode) -> str:
    """The text of every kernel that the node calls."""
    del study
    return "\n".join(map(print_kernel, node.kernels)).rstrip("\n")
