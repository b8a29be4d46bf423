"""Where a network that cannot be read whole is worth cutting: after what computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_NAMED = 8
_WORTH = 0.02  # of the most work before any place: with less it is not worth a network


@dataclass(frozen=True, slots=True)
class _Made:
    """A node that was imported. `makes_numbers`: tensors of them, not booleans or sequences."""

    inputs: Sequence[str]
    work: int
    makes_numbers: bool


@dataclass(slots=True)
class Cuts:
    """The work of every node that was imported, and the values at which the import ended.

    Work is what `Emitter.work` counts: multiply-adds, and elements of functions.
    """

    nodes: list[_Made] = field(default_factory=list)
    producers: dict[str, int] = field(default_factory=dict)  # the number of the node, by value
    frontier: dict[str, None] = field(default_factory=dict)

    def made(
        self, inputs: Sequence[str], outputs: Sequence[str], work: int, makes_numbers: bool
    ) -> None:
        """A node was imported."""
        self.producers.update((name, len(self.nodes)) for name in outputs if name)
        self.nodes.append(_Made(inputs, work, makes_numbers))

    def ended(self, names: Sequence[str]) -> None:
        """A node was not imported, and reads these values."""
        self.frontier.update((name, None) for name in names if name in self.producers)

    def best(self) -> list[str]:
        """The values to cut at, most work before them first; none without any."""
        before = {name: self._before(name) for name in self._computed()}
        least = max(1.0, _WORTH * max(before.values(), default=0))
        worthy = [name for name in before if before[name] >= least]
        return sorted(worthy, key=lambda name: -before[name])[:_NAMED]

    def _computed(self) -> list[str]:
        """The values at the frontier, before the conversions, moves and tests they end with.

        What joins several computed values is kept: it is one output instead of many.
        """
        waiting, seen, found = [*reversed(self.frontier)], set[str](), dict[str, None]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self.nodes[self.producers[name]]
            sources = [n for n in node.inputs if n in self.producers]
            if node.work or (len(sources) > 1 and node.makes_numbers):
                found[name] = None
            else:
                waiting.extend(reversed(sources))
        return list(found)

    def _before(self, name: str) -> int:
        """The work of all nodes that a value depends on."""
        waiting, seen, total = [name], set[int](), 0
        while waiting:
            producer = self.producers.get(waiting.pop())
            if producer is not None and producer not in seen:
                seen.add(producer)
                total += self.nodes[producer].work
                waiting.extend(self.nodes[producer].inputs)
        return total
