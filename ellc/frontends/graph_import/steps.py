"""Makes vectors of numbers with a constant step, for the Range operators of both formats."""

from __future__ import annotations

import math

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.types import DType


def stepped(
    emitter: Emitter,
    first: int | float,
    end: int | float,
    step: int | float,
    dtype: DType,
    limit: int,
) -> Value:
    """A vector `first`, `first + step`, ... that stops before `end`; all three must be finite.

    Raises `Unsupported` if the step is 0, if there are more than `limit` numbers, or if `dtype`
    cannot hold one of them.
    """
    described = f"the numbers from {first} to {end} in steps of {step}"
    if step == 0:
        raise Unsupported(f"{described} never reach the end")
    steps = (end - first) / step
    if not steps <= limit:
        raise Unsupported(f"{described} are more than {limit}")
    count = max(0, math.ceil(steps))
    last = first + step * max(count - 1, 0)
    emitter.numbers([first, last], dtype)
    numbers = emitter.full((count,), first, "int64" if isinstance(last, int) else "float64")
    return emitter.constant((numbers + step * emitter.counted(count)).astype(dtype.numpy))
