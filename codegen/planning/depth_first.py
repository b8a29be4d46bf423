"""Chooses chains: those that are predicted to be faster, or that fit in less memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.codegen.blocks.calls import Chain
from ellc.codegen.planning.bands import runs
from ellc.codegen.planning.pieces import Facts, Piece, chains, layers
from ellc.ir.branches import Needs
from ellc.ir.graph import Graph

_HEIGHTS = (1, 2, 4, 7, 8, 14, 16)
"""The heights of bands that are tried: powers of two, and those that divide the rows of common
networks (14, 28, 56, 112)."""
_LEAST_ROWS_FOR_SPEED = 2
"""The least height that is tried for speed. Many kernels compute two rows or more at a time."""
_STRIPS = (1, 2, 3, 4, 6, 8)
"""The numbers of strips that are tried if memory is short."""
_TURNS = (1, 3)
"""The numbers of bands between two moves in a window that are tried if memory is not short."""
_MOST, _MOST_FOR_SPEED = 64, 16
"""The most nodes of a chain: for the least memory, and for speed, for which windows must stay in a
cache. Without limits, planning would take time that grows with the square of a network."""
_STEP = 0.96
"""By how much the memory of neighbouring points of a curve differs at least."""


@dataclass(frozen=True, slots=True)
class Division:
    """A graph, divided into layers and chains, in order."""

    pieces: tuple[Piece, ...]

    @property
    def ram_bytes(self) -> int:
        """The most bytes that are predicted to be live at the same time."""
        return max((piece.ram_bytes for piece in self.pieces), default=0)

    @property
    def cycles(self) -> float:
        """The predicted cycles, compared with layers only."""
        return sum(piece.cycles for piece in self.pieces)

    def chains(self, graph: Graph) -> tuple[Chain, ...]:
        """The chains among the pieces."""
        return tuple(
            Chain(
                graph.nodes[p.first].output,
                graph.nodes[p.stop - 1].output,
                p.rows,
                p.columns,
                p.turns,
            )
            for p in self.pieces
            if p.rows
        )


class Divisions:
    """All ways to divide a graph. With `strips`, chains may be cut into strips of columns."""

    def __init__(self, facts: Facts, needed: Sequence[Needs], *, strips: bool) -> None:
        self._starting: list[list[Piece]] = [[layer] for layer in layers(facts)]
        parts, turns, most = (_STRIPS, (1,), _MOST) if strips else ((1,), _TURNS, _MOST_FOR_SPEED)
        heights = [h for h in _HEIGHTS if strips or h >= _LEAST_ROWS_FOR_SPEED]
        for run in runs(facts.graph, needed):
            if not strips and not any(map(facts.missing, run)):
                continue  # nothing leaves the cache
            for piece in chains(facts, run, heights, parts, turns, most):
                self._starting[piece.first].append(piece)

    def fastest(self, ram_bytes: float) -> Division | None:
        """The division with the fewest predicted cycles whose pieces need at most `ram_bytes`."""
        count = len(self._starting)
        best: list[tuple[float, int, Piece | None] | None] = [None] * count + [(0.0, 0, None)]
        for index in range(count - 1, -1, -1):
            for piece in self._starting[index]:
                rest = best[piece.stop]
                if rest is None or piece.ram_bytes > ram_bytes:
                    continue
                cost = (piece.cycles + rest[0], max(piece.ram_bytes, rest[1]), piece)
                known = best[index]
                if known is None or cost[:2] < known[:2]:
                    best[index] = cost
        return _division(best)

    def smallest(self) -> Division:
        """The division that needs the least memory; of several, the fastest."""
        count = len(self._starting)
        least = [0] * (count + 1)
        for index in range(count - 1, -1, -1):
            least[index] = min(max(p.ram_bytes, least[p.stop]) for p in self._starting[index])
        found = self.fastest(least[0])
        assert found is not None
        return found

    def curve(self) -> list[Division]:
        """Divisions that need less and less memory, each the fastest with so little memory."""
        points: list[Division] = []
        limit = float("inf")
        while (point := self.fastest(limit)) is not None:
            points.append(point)
            limit = min(point.ram_bytes - 1, point.ram_bytes * _STEP)
        smallest = self.smallest()
        if points[-1].ram_bytes > smallest.ram_bytes:
            points.append(smallest)
        return points


def _division(best: Sequence[tuple[float, int, Piece | None] | None]) -> Division | None:
    pieces: list[Piece] = []
    index = 0
    while index < len(best) - 1:
        found = best[index]
        if found is None or found[2] is None:
            return None
        pieces.append(found[2])
        index = found[2].stop
    return Division(tuple(pieces))
