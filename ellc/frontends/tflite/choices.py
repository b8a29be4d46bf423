"""An IF with variables as one without: branches take and give what the variables hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode

Key = tuple[str, str]
"""Container and name: handles with the same ones are one variable."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch without its operators on variables.

    `names` are those of its tensors, `handles` those of its inputs that are handles. `before` and
    `after` are what stands for the values of variables: before the branch, as far as it reads
    them, and after it, as far as it assigns them.
    """

    graph: TfliteGraph
    names: frozenset[str]
    handles: frozenset[str]
    before: Mapping[Key, Tensor]
    after: Mapping[Key, Tensor]


def touched(branches: Sequence[Branch]) -> dict[Key, Tensor]:
    """The variables that branches read or assign, and a declaration of each."""
    found: dict[Key, Tensor] = {}
    for branch in branches:
        for key, tensor in (*branch.before.items(), *branch.after.items()):
            found.setdefault(key, replace(tensor, array=None))
    return found


def assigned(branches: Sequence[Branch]) -> list[Key]:
    """The variables that a branch assigns."""
    return list(dict.fromkeys(key for branch in branches for key in branch.after))


def with_values(
    node: TfliteNode,
    branches: Sequence[Branch],
    held: Mapping[Key, Tensor],
    results: Sequence[Tensor],
) -> TfliteNode:
    """The node with `held`, the values of all touched variables, as its last operands.

    Its last results, `results`, are what the assigned ones hold after it: of a branch that does
    not assign one, what it was given.
    """
    changed = assigned(branches)
    handles = branches[0].handles if branches else frozenset()
    inputs = [t.name for t in branches[0].graph.inputs] if branches else []
    plain = [t for t, name in zip(node.operands[1:], inputs, strict=False) if name not in handles]
    return replace(
        node,
        operands=(*node.operands[:1], *plain, *held.values()),
        results=(*node.results, *results),
        graphs=tuple(_graph(branch, held, changed) for branch in branches),
    )


def _graph(branch: Branch, held: Mapping[Key, Tensor], changed: Iterable[Key]) -> TfliteGraph:
    graph = branch.graph
    taken = set(branch.names)
    inside = dict(branch.before)
    for key in held:
        if key not in inside:
            inside[key] = replace(held[key], name=fresh(key[1], taken))
    plain = (t for t in graph.inputs if t.name not in branch.handles)
    return replace(
        graph,
        inputs=(*plain, *(inside[key] for key in held)),
        outputs=(*graph.outputs, *(branch.after.get(key, inside[key]) for key in changed)),
    )


def fresh(like: str, taken: set[str]) -> str:
    """A name like another that is not taken; it is from now on."""
    tried = (f"{like}#{number}" for number in count())
    name = next(name for name in tried if name not in taken)
    taken.add(name)
    return name
