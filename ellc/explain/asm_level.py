"""The level `asm`: the kernels of a node as assembly."""

from __future__ import annotations

from ellc.explain.study import PlannedNode, Study


def of_node(study: Study, node: PlannedNode) -> str:
    """A text about cycles, then the assembly of a node's kernels; empty without kernels."""
    if not node.kernels:
        return ""
    assemblies = study.assemblies(node.kernels)
    parts = [f"{name}\n{assembly.text()}" for name, assembly in assemblies.items()]
    return "\n\n".join([cycles_line(study), *parts])


def cycles_line(study: Study) -> str:
    """A text that says what the columns of cycles mean, or why there are none."""
    if study.modelled.missing:
        return study.modelled.missing
    return (
        "Modelled cycles of one call of the network on one core, caches warm. For a kernel that\n"
        "several layers share, they are the sum over these layers."
    )
