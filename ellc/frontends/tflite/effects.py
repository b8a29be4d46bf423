"""Finds operators with side effects, which must not be dropped."""

from __future__ import annotations

from collections.abc import Iterable

from ellc.frontends.tflite.checks import operators
from ellc.frontends.tflite.model import UNKNOWN_KIND, TfliteNode

# The operators on variables that the module `resources` replaces. Any other operator with a
# variable as an operand may change the variable.
_VARIABLE_OPERATORS = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")
_HANDLE = "RESOURCE"


def effect(node: TfliteNode) -> str:
    """Explain why an operator may have an unknown side effect; '' if it has none."""
    if any(graph.assigns for graph in node.graphs):
        return "it assigns variables"
    if node.kind in _VARIABLE_OPERATORS:
        return ""
    if node.kind.startswith(UNKNOWN_KIND):
        return "its effects are unknown"
    if not node.results:
        return "it has no result, so it must have another effect"
    if _HANDLE in _kinds(node) and not node.graphs:
        return "it may change its variable"
    if node.kind not in operators().handlers and any(t.is_variable for t in node.operands if t):
        return "it may change its variable"
    return ""


def assigns(nodes: Iterable[TfliteNode]) -> bool:
    """Whether an operator of a graph, or of a graph inside it, may change variables."""
    return any(node.kind == "ASSIGN_VARIABLE" or effect(node) for node in nodes)


def _kinds(node: TfliteNode) -> set[str]:
    return {tensor.kind for tensor in node.operands if tensor}
