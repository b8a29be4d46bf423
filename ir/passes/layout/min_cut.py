"""Minimum cuts of a directed graph with costs on its arcs."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

NEVER = 1 << 60  # the cost of an arc that must not be cut


class MinCut:
    """A directed graph with costs on its arcs; `source_side` finds the cut with the lowest cost.

    >>> cut = MinCut("s", "t")
    >>> cut.arc("s", "a", 2); cut.arc("a", "t", 1)
    >>> cut.source_side()
    {'s', 'a'}
    """

    def __init__(self, source: Hashable, sink: Hashable) -> None:
        self._source, self._sink = source, sink
        self._room: dict[Hashable, dict[Hashable, int]] = {source: {}, sink: {}}

    def arc(self, tail: Hashable, head: Hashable, cost: int) -> None:
        """Add a cost to all cuts with `tail` on the source's side and `head` on the sink's side."""
        if tail == head:
            return
        out = self._room.setdefault(tail, {})
        out[head] = out.get(head, 0) + cost
        self._room.setdefault(head, {}).setdefault(tail, 0)

    def source_side(self) -> set[Hashable]:
        """The nodes on the source's side of the cheapest cut; of several, the smallest such set."""
        while True:
            came_from = self._search()
            if self._sink not in came_from:
                return set(came_from)
            self._fill(came_from)

    def _search(self) -> dict[Hashable, Hashable]:
        """The predecessor of each node on a shortest path from the source along arcs with room."""
        came_from: dict[Hashable, Hashable] = {self._source: self._source}
        queue = deque([self._source])
        while queue and self._sink not in came_from:
            node = queue.popleft()
            for head, room in self._room[node].items():
                if room > 0 and head not in came_from:
                    came_from[head] = node
                    queue.append(head)
        return came_from

    def _fill(self, came_from: dict[Hashable, Hashable]) -> None:
        """Send as much flow as possible along the path that was found."""
        path = []
        head = self._sink
        while head != self._source:
            path.append((came_from[head], head))
            head = came_from[head]
        amount = min(self._room[tail][head] for tail, head in path)
        for tail, head in path:
            self._room[tail][head] -= amount
            self._room[head][tail] += amount
