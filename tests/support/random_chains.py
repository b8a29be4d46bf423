"""Random chains of a graph: which nodes are computed together, in bands of how many rows."""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.calls import Chain
from ellc.codegen.planning.bands import COLUMNS, ROWS, runs
from ellc.ir.branches import needs
from ellc.ir.graph import Graph


def random_chains(graph: Graph, seed: int) -> tuple[Chain, ...]:
    """Chains of at least two nodes; about every second one is also cut into strips."""
    rng = np.random.default_rng([22, seed])
    chains = []
    for run in runs(graph, needs(graph)):
        start = run.start
        while run.stop - start >= 2:
            stop = int(rng.integers(start + 2, run.stop + 1))
            last = graph.nodes[stop - 1].output
            shape = graph.types[last].shape
            rows = int(rng.integers(1, shape[ROWS] + 1))
            columns = int(rng.integers(1, shape[COLUMNS] + 1)) * int(rng.integers(0, 2))
            chains.append(Chain(graph.nodes[start].output, last, rows, columns))
            start = stop + int(rng.integers(0, 2))
    return tuple(chains)
