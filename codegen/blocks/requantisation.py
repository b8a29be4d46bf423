"""The requantisation of a node's sums, for kernels that compute it by `high_factors`."""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.high_factors import (
    MOST_RAISED,
    HighFactors,
    exact_results,
    factors_of,
)
from ellc.codegen.blocks.packed_factors import packed_factors
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.terms import Terms
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import Array


def requantisation(
    node: PlacedNode, terms: Terms, most_raised: int = MOST_RAISED
) -> tuple[Requantize, HighFactors] | None:
    """The only stage of a node, if it is a requantisation that `high_factors` can express."""
    return first_requantisation(node, terms, most_raised) if len(node.stages) == 1 else None


def first_requantisation(
    node: PlacedNode, terms: Terms, most_raised: int = MOST_RAISED
) -> tuple[Requantize, HighFactors] | None:
    """The first stage of a node, if it is a requantisation that `high_factors` can express.

    If code should be small, its factors are packed, if that is possible with k of at most
    `most_raised`. Kernels take some instructions more for them: with `size`, DS-CNN and Visual
    Wake Words took 3.4 and 3.6 % more modelled cycles of a Cortex-M7, and 0.3 % of an M33.
    """
    op = node.stages[0].op if node.stages else None
    if not isinstance(op, Requantize) or op.rule == "half_even":
        return None
    filters = terms.weights.shape[0]
    arrays = [extra.array for extra in node.extras[: node.stages[0].extras]]
    if any(a is None or a.size not in (1, filters) for a in arrays):
        return None
    mantissas, shifts = (np.broadcast_to(np.ravel(a), filters) for a in arrays if a is not None)
    exact = exact_results(op, mantissas, shifts, *_bounds(terms))
    if exact is None:
        return None
    found = packed_factors(exact, most_raised) if node.code == "size" else None
    found = found or factors_of(exact)
    return None if found is None else (op, found)


def _bounds(terms: Terms) -> tuple[Array, Array]:
    """The least and the largest sum of each filter, whatever the image contains."""
    info = np.iinfo(terms.types.image.numpy)
    weights = terms.weights.reshape(len(terms.weights), -1).astype(np.int64)
    ends = weights * info.min, weights * info.max
    start = terms.start(1, None).astype(np.int64)
    return np.minimum(*ends).sum(axis=1) + start, np.maximum(*ends).sum(axis=1) + start
