"""The kernels of a node as LLVM IR."""

from __future__ import annotations

from ellc.codegen.kir.llvm import llvm_module
from ellc.explain.study import PlannedNode, Study


def of_node(study: Study, node: PlannedNode) -> str:
    """A module with the node's kernels, as passed to LLVM."""
    return llvm_module(node.kernels, study.target).rstrip("\n") if node.kernels else ""
