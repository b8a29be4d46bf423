"""The cost of an instruction on a core. Schedulers and predictions read tables of costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Companion = Literal["integer", "load", "vector_load", "vector"]
"""Kinds of instructions that may issue in the same cycle as another: an addition of integers, a
load of an integer, a load of a vector register (of 64 bits on ARM), an addition of 64-bit vectors.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one instruction on one core, in cycles of this core.

    If an instruction starts in cycle t, its unit is busy until t + `cycles`, and its result can be
    read from t + `latency` on. Half a cycle means that two such instructions start at once.
    """

    cycles: float
    """The time from the start of such an instruction to that of a next, independent one."""
    latency: float
    """The delay until the result can be an operand of another instruction of this kind: a factor, a
    table or an index."""
    update_latency: float | None = None
    """The delay until the result can be the operand that another instruction updates, such as a sum
    to which it adds. None if the instruction updates no operand."""
    issues_with: tuple[Companion, ...] = ()
    """The kinds of instructions that can start in the same cycle. It is empty for out-of-order
    cores, where only the number of instructions per cycle matters."""
