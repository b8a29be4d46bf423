"""Prepares chains for the planner: the candidates of their nodes, and bands that suit these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.blocks.calls import Chain, Options
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.bands import Bands, runs
from ellc.codegen.planning.choice import (
    AskedKernels,
    Wishes,
    families_of,
    predictions_of,
)
from ellc.codegen.planning.depth_first import Divisions
from ellc.codegen.planning.pieces import Facts
from ellc.codegen.planning.storage import Storage
from ellc.codegen.planning.tuning import TunedKernel, TunedKernels, layer_key
from ellc.ir.branches import Needs
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node

SLOW_MEMORY = 4.0
"""Chains are chosen for speed on cores that read at most this many bytes from memory in a cycle.
Cores of desktop machines read more, and have another cache between L2 and memory."""


@dataclass(frozen=True)
class Chosen:
    """The candidates of a node, the chosen one first, its key in tuning files, and a tuned kernel.

    `tuned` is the candidate that a tuning file names for it.
    """

    predictions: tuple[Prediction, ...]
    layer: str
    tuned: TunedKernel


@dataclass(frozen=True)
class BandedChain:
    """A chain with its bands, and what is chosen for each of its results."""

    bands: Bands
    chosen: Mapping[str, Chosen]


def layer_of(placed: PlacedNode, tuned: TunedKernels) -> tuple[str, TunedKernel]:
    """(key of a node in tuning files, the candidate that a file names for it, if any).

    A node that only one family computes is not tuned.
    """
    layer = layer_key(placed) if len(families_of(placed.anchor)) > 1 else ""
    return layer, tuned.of(layer)


class Candidates:
    """What is chosen for whole nodes, as if they were computed layer by layer."""

    def __init__(
        self,
        graph: Graph,
        needed: Sequence[Needs],
        target: Target,
        options: Options,
        tuned: TunedKernels,
        asked: AskedKernels,
    ) -> None:
        self._graph, self._needed, self._target = graph, needed, target
        self._options, self._tuned, self._asked = options, tuned, asked
        self._wishes = Wishes.of(graph, target, options)
        self._storage = Storage(graph, needed, target, code=self._wishes.code)
        self._chosen: dict[str, Chosen] = {}

    def of(self, node: Node) -> Chosen:
        """What is chosen for a node. Raises `EllcError` as `choose` does."""
        if node.output not in self._chosen:
            threads = self._options.threads
            placed = self._storage.placed(node, threads, node.output)
            layer, named = layer_of(placed, self._tuned)
            predictions = predictions_of(placed, self._asked.of(node), named, self._wishes)
            self._chosen[node.output] = Chosen(predictions, layer, named)
        return self._chosen[node.output]

    def facts(self, scratch: Mapping[str, int]) -> Facts:
        """The facts by which chains are chosen. `scratch` has the scratch memory of results.

        Raises `EllcError` as `choose` does.
        """
        granules = [1] * len(self._graph.nodes)
        for run in runs(self._graph, self._needed):
            for index in run:
                granules[index] = self.of(self._graph.nodes[index]).predictions[0].granule
        needed = [max((scratch.get(v, 0) for v in n.outputs), default=0) for n in self._graph.nodes]
        return Facts(self._graph, self._storage, self._target, needed, granules)

    def divisions(self, scratch: Mapping[str, int], *, strips: bool) -> Divisions:
        """All divisions of the graph into layers and chains. Raises the errors of `facts`."""
        return Divisions(self.facts(scratch), self._needed, strips=strips)

    def faster_chains(self) -> tuple[Chain, ...]:
        """The chains that are predicted to be faster than layers, if memory is slow.

        None if a node has no kernel: the planner reports that when it lowers the node.
        """
        target = self._target
        if not target.l2_bytes or target.core.memory_bytes > SLOW_MEMORY:
            return ()
        try:
            fastest = self.divisions({}, strips=False).fastest(float("inf"))
        except EllcError:
            return ()
        return () if fastest is None else fastest.chains(self._graph)

    def banded(self, chains: Sequence[Chain]) -> tuple[BandedChain, ...]:
        """The chains with their bands. Parts get the candidates that whole nodes would get.

        A chain with a node that no kernel computes, or for which a kernel is requested that cannot
        compute it, is left out: the planner reports that when it lowers the node.
        """
        found = []
        for chain in chains:
            try:
                chosen = {n.output: self.of(n) for n in Bands(self._graph, chain).nodes}
            except EllcError:
                continue
            granules = {value: x.predictions[0].granule for value, x in chosen.items()}
            found.append(BandedChain(Bands(self._graph, chain, granules), chosen))
        return tuple(found)
