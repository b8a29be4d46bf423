"""Sample cases of fused chains: one or more for every operator that can be an anchor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ir.op import Case


def fused_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Anchors with epilogues."""
    yield from ()
