"""Finds where to cut a network that cannot be read as a whole: after its main work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST_CUTS = 8
# A cut is offered only if the work before it is at least this fraction of the work before the best
# cut.
_LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class _ImportedNode:
    """A node that was imported.

    `makes_numbers` is true if all its results are tensors of numbers, not of booleans or sequences.
    """

    inputs: Sequence[str]
    work: int
    makes_numbers: bool


@dataclass(slots=True)
class Cuts:
    """The work of every imported node, and the operands of nodes whose import failed.

    Work is counted as in `Emitter.work`: multiply-adds, and result elements of functions.
    """

    nodes: list[_ImportedNode] = field(default_factory=list)
    producers: dict[str, int] = field(default_factory=dict)  # value name -> index into `nodes`
    frontier: dict[str, None] = field(default_factory=dict)

    def add_imported(
        self, inputs: Sequence[str], outputs: Sequence[str], work: int, makes_numbers: bool
    ) -> None:
        """Record a node that was imported."""
        self.producers.update((name, len(self.nodes)) for name in outputs if name)
        self.nodes.append(_ImportedNode(inputs, work, makes_numbers))

    def add_failed(self, names: Sequence[str]) -> None:
        """Record the names of the operands of a node that was not imported."""
        self.frontier.update((name, None) for name in names if name in self.producers)

    def best(self) -> list[str]:
        """At most 8 values at which to cut, the value with the most work before it first."""
        before = {name: self._work_before(name) for name in self._computed()}
        least = max(1.0, _LEAST_SHARE * max(before.values(), default=0))
        offered = [name for name in before if before[name] >= least]
        return sorted(offered, key=lambda name: -before[name])[:_MOST_CUTS]

    def _computed(self) -> list[str]:
        """The last values before the frontier whose nodes do work.

        Conversions, moves and comparisons between these nodes and the frontier are skipped. But a
        node that joins several values is not skipped, so that there is one output instead of
        several.
        """
        waiting, visited, computed = [*reversed(self.frontier)], set[str](), dict[str, None]()
        while waiting:
            name = waiting.pop()
            if name in visited:
                continue
            visited.add(name)
            node = self.nodes[self.producers[name]]
            sources = [n for n in node.inputs if n in self.producers]
            if node.work or (len(sources) > 1 and node.makes_numbers):
                computed[name] = None
            else:
                waiting.extend(reversed(sources))
        return list(computed)

    def _work_before(self, name: str) -> int:
        """The work of all nodes on which a value depends."""
        waiting, visited, total = [name], set[int](), 0
        while waiting:
            producer = self.producers.get(waiting.pop())
            if producer is not None and producer not in visited:
                visited.add(producer)
                total += self.nodes[producer].work
                waiting.extend(self.nodes[producer].inputs)
        return total
