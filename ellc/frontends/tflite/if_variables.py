"""Turns an IF whose branches use variables into one whose branches use plain values.

The values of the variables become operands of the IF, and the assigned ones become results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode

Key = tuple[str, str]
"""Container and name of a variable. Handles with the same key are one variable."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch from which the operators on variables have been removed.

    `names` are the names of its tensors, `handles` the names of its inputs that are handles.
    `before` has the tensors that stand for the values of the variables it reads, `after` those of
    the variables it assigns.
    """

    graph: TfliteGraph
    names: frozenset[str]
    handles: frozenset[str]
    before: Mapping[Key, Tensor]
    after: Mapping[Key, Tensor]


def used_variables(branches: Sequence[Branch]) -> dict[Key, Tensor]:
    """The variables that branches read or assign, each with a tensor of its type and shape."""
    variables: dict[Key, Tensor] = {}
    for branch in branches:
        for key, tensor in (*branch.before.items(), *branch.after.items()):
            variables.setdefault(key, replace(tensor, array=None))
    return variables


def assigned_variables(branches: Sequence[Branch]) -> list[Key]:
    """The variables that at least one branch assigns."""
    return list(dict.fromkeys(key for branch in branches for key in branch.after))


def with_values(
    node: TfliteNode,
    branches: Sequence[Branch],
    current: Mapping[Key, Tensor],
    results: Sequence[Tensor],
) -> TfliteNode:
    """The node with the current values of all variables as its last operands.

    `current` has these values. The tensors in `results` become its last results: the values of the
    assigned variables after it. A branch that does not assign one of them returns its old value.
    """
    changed = assigned_variables(branches)
    handles = branches[0].handles if branches else frozenset()
    inputs = [t.name for t in branches[0].graph.inputs] if branches else []
    plain = [t for t, name in zip(node.operands[1:], inputs, strict=False) if name not in handles]
    return replace(
        node,
        operands=(*node.operands[:1], *plain, *current.values()),
        results=(*node.results, *results),
        graphs=tuple(_graph(branch, current, changed) for branch in branches),
    )


def _graph(branch: Branch, current: Mapping[Key, Tensor], changed: Iterable[Key]) -> TfliteGraph:
    graph = branch.graph
    used = set(branch.names)
    inside = dict(branch.before)
    for key in current:
        if key not in inside:
            inside[key] = replace(current[key], name=unused_name(key[1], used))
    plain = (t for t in graph.inputs if t.name not in branch.handles)
    return replace(
        graph,
        inputs=(*plain, *(inside[key] for key in current)),
        outputs=(*graph.outputs, *(branch.after.get(key, inside[key]) for key in changed)),
    )


def unused_name(like: str, used: set[str]) -> str:
    """A name made from `like` that is not in `used`; it is added to `used`."""
    tried = (f"{like}#{number}" for number in count())
    name = next(name for name in tried if name not in used)
    used.add(name)
    return name
