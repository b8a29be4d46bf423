"""The level `llvm`: the kernels of a node as LLVM IR."""

from __future__ import annotations

from ellc.codegen.kir.llvm import llvm_module
from ellc.explain.study import PlannedNode, Study


def of_node(study: Study, node: PlannedNode) -> str:
    """An LLVM module with the kernels of a node, before LLVM optimises it."""
    return llvm_module(node.kernels, study.target).rstrip("\n") if node.kernels else ""
