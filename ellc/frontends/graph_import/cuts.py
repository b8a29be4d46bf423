"""Where a network that cannot be read whole is worth cutting: after what computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_NAMED = 8
_WORTH = 0.02  # of the most work before any place: with less it is not worth a network


@dataclass(slots=True)
class Cuts:
    """The work of every node that was imported, and the values at which the import ended.

    Work is what `Emitter.work` counts: multiply-adds, and elements of functions.
    """

    nodes: list[tuple[int, Sequence[str]]] = field(default_factory=list)  # work, operands
    makers: dict[str, int] = field(default_factory=dict)  # the number of the node, by value
    frontier: dict[str, None] = field(default_factory=dict)

    def made(self, inputs: Sequence[str], outputs: Sequence[str], work: int) -> None:
        """A node was imported."""
        self.makers.update((name, len(self.nodes)) for name in outputs if name)
        self.nodes.append((work, inputs))

    def ended(self, names: Sequence[str]) -> None:
        """A node was not imported, and reads these values."""
        self.frontier.update((name, None) for name in names if name in self.makers)

    def best(self) -> list[str]:
        """The values at the frontier, most work before them first; none without any."""
        before = {name: self._before(name) for name in self.frontier}
        least = max(1.0, _WORTH * max(before.values(), default=0))
        worthy = [name for name in before if before[name] >= least]
        return sorted(worthy, key=lambda name: -before[name])[:_NAMED]

    def _before(self, name: str) -> int:
        """The work of all nodes that a value depends on."""
        waiting, seen, total = [name], set[int](), 0
        while waiting:
            maker = self.makers.get(waiting.pop())
            if maker is not None and maker not in seen:
                seen.add(maker)
                work, inputs = self.nodes[maker]
                total += work
                waiting.extend(inputs)
        return total
