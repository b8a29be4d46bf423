"""Numbers in even steps, as both formats' ranges have them."""

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
    most: int,
) -> Value:
    """The numbers from `first` on by `step` that lie before `end`; all three are finite.

    Raises `Unsupported` where they do not go on, are more than `most`, or leave `dtype`.
    """
    said = f"the numbers from {first} to {end} by {step}"
    if step == 0:
        raise Unsupported(f"{said} do not go on")
    steps = (end - first) / step
    if not steps <= most:
        raise Unsupported(f"{said} are more than {most}")
    count = max(0, math.ceil(steps))
    last = first + step * max(count - 1, 0)
    emitter.numbers([first, last], dtype)
    numbers = emitter.full((count,), first, "int64" if isinstance(last, int) else "float64")
    return emitter.constant((numbers + step * emitter.counted(count)).astype(dtype.numpy))
