"""What an instruction takes on a core: a row of the tables that schedulers and predictions read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Companion = Literal["integer", "load", "vector_load", "vector"]
"""Kinds of instruction that may issue in the same cycle: an addition of integers, a load of an
integer, a load of a vector register (of 64 bits on ARM), an addition of vectors of 64 bits."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One instruction on one core, in cycles of that core.

    An instruction that starts in cycle t keeps its unit until t + `cycles`, and others may read its
    result from t + `latency` on. Half a cycle means that two start at once.
    """

    cycles: float
    """From one instruction of a row of independent ones to the next."""
    latency: float
    """Until the result can be a factor, a table or an index of the next instruction of its kind."""
    update_latency: float | None = None
    """Until the result can be the operand that the next one updates, such as a sum to which it
    adds; None for an instruction that updates no operand."""
    issues_with: tuple[Companion, ...] = ()
    """What can start in the same cycle. Empty for cores that do so out of order, where the number
    of instructions in a cycle is all that counts."""
