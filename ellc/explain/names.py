"""Finds nodes by names that a user knows: of a layer, a value, a step of the plan or a kernel."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from ellc.explain.study import PlannedNode, Study
from ellc.ir.errors import EllcError
from ellc.ir.printable import visible

_NEAR = 5
_LONGEST = 60


def find(study: Study, name: str) -> tuple[PlannedNode, ...]:
    """The nodes with a name, in order; a layer of the model may have become several nodes.

    Raises `EllcError` (E750) with similar names if no node has the name.
    """
    nodes = tuple(n for n in study.nodes if name in names_of(n))
    if nodes:
        return nodes
    near = _near(study, name)
    raise EllcError(
        f"no node, layer or kernel has this name{'; similar names:' if near else ''}",
        code="E750",
        where=name,
        problems=near,
        hint="`ellc explain MODEL --target TARGET` lists the nodes",
    )


def names_of(node: PlannedNode) -> set[str]:
    """All names for a node: those of its results (also with `%`), layers, steps and kernels."""
    names = {node.layer, *node.node.source, *node.node.outputs}
    names |= {f"%{value}" for value in node.node.outputs}
    names |= {part for source in node.node.source for part in source.split(";")}
    for step in node.steps:
        names |= {step.name, step.call.kernel.name}
    return names - {""}


def short_source(source: str, longest: int = _LONGEST) -> str:
    """The first name in a source (converters join several names with `;`), shortened."""
    return middle_out(source.split(";")[0], longest, "...")


def short_name(node: PlannedNode, longest: int = _LONGEST) -> str:
    """A short name of a node for a table: its first layer, or its value if it has no layer."""
    layer = visible(node.layer.split(";")[0])
    return middle_out(layer, longest) if layer else f"%{node.value}"


def middle_out(text: str, longest: int, mark: str = "…") -> str:
    """The text, without its middle if it is too long: names of layers differ at both ends."""
    if len(text) <= longest:
        return text
    kept = longest - len(mark)
    head = kept // 3
    return f"{text[:head]}{mark}{text[head - kept :]}"


def _near(study: Study, name: str) -> list[str]:
    names = dict.fromkeys(_readable_names(study))
    holding = [n for n in names if name.lower() in n.lower()]
    close = difflib.get_close_matches(name, names, n=_NEAR, cutoff=0.5)
    return list(dict.fromkeys((*close, *holding)))[:_NEAR]


def _readable_names(study: Study) -> Iterator[str]:
    for node in study.nodes:
        yield from (part for source in node.node.source for part in source.split(";"))
        yield from node.node.outputs
