"""Operators that do more than make their results: none is left out, even if unread."""

from __future__ import annotations

from collections.abc import Iterable

from ellc.frontends.tflite.checks import operators
from ellc.frontends.tflite.model import UNKNOWN_KIND, TfliteNode

# What `resources` takes out of a graph. Any other operator may do anything to a variable.
_OF_VARIABLES = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")
_HANDLE = "RESOURCE"


def effect(node: TfliteNode) -> str:
    """What an operator does besides its results, of which nothing is known; '' for none."""
    if any(graph.assigns for graph in node.graphs):
        return "it assigns variables"
    if node.kind in _OF_VARIABLES:
        return ""
    if node.kind.startswith(UNKNOWN_KIND):
        return "an operator that may have any effect"
    if not node.results:
        return "it has no result, so it must have another effect"
    if _HANDLE in _kinds(node) and not node.graphs:
        return "it may change the variable that it is given"
    if node.kind not in operators().handlers and any(t.is_variable for t in node.operands if t):
        return "it may change the variable that it is given"
    return ""


def assigns(nodes: Iterable[TfliteNode]) -> bool:
    """Whether the operators of a graph, or of graphs inside it, may change variables."""
    return any(node.kind == "ASSIGN_VARIABLE" or effect(node) for node in nodes)


def _kinds(node: TfliteNode) -> set[str]:
    return {tensor.kind for tensor in node.operands if tensor}
