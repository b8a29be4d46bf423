"""Converts an IF whose branches use variables to an IF whose branches use plain values.

The current values of the variables become operands of the IF. The values that the branches assign
become results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode

Key = tuple[str, str]
"""The container and the name of a variable. Handles with equal keys denote the same variable."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch from which the operators on variables have been removed.

    `names` has the names of its tensors, and `handles` the names of the inputs that are handles of
    variables. `before` maps each variable that the branch reads to the tensor of its value at the
    start. `after` maps each variable that the branch assigns to the tensor of its value at the end.
    """

    graph: TfliteGraph
    names: frozenset[str]
    handles: frozenset[str]
    before: Mapping[Key, Tensor]
    after: Mapping[Key, Tensor]


def used_variables(branches: Sequence[Branch]) -> dict[Key, Tensor]:
    """Map each variable that branches read or assign to a tensor of the variable's type."""
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
    """Add the values of variables to the operands and results of an IF, and remove the handles.

    `current` has the values before the IF, which become its last operands. The tensors in `results`
    become its last results; they hold the values of the assigned variables after the IF. A branch
    that does not assign one of these variables returns the variable's old value.
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
    """Derive a name from `like` that is not in `used`, and add the name to `used`."""
    tried = (f"{like}#{number}" for number in count())
    name = next(name for name in tried if name not in used)
    used.add(name)
    return name
