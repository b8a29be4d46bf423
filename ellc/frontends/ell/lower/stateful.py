"""Lowers nodes that keep earlier inputs: buffers, delays, sums, averages and variances."""

from __future__ import annotations

from ellc.frontends.ell.lower.context import Handler, Job, Lowering
from ellc.ir.builder import Ref
from ellc.ir.ops.pointwise import Add, Div, Mul, Sub
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Concat


def lower_buffer(lw: Lowering, job: Job) -> None:
    """`BufferNode`: the last `windowSize` elements, the newest at the end.

    If a single input has more elements than the window, the result is the start of this input.
    """
    x = lw.vector(job, "input")
    size = _window(job)
    fresh = min(size, x.type.elements)
    newest = lw.slice(x, (0,), (fresh,))
    if fresh == size:
        lw.write(job, newest)
        return
    history = lw.zero_state(job, "samples", (size,), x)
    retained = lw.slice(history, (fresh,), (size - fresh,))
    following = lw.emit(Concat(0), retained, newest)
    lw.set_state(job, "samples", following)
    lw.write(job, following)


def lower_delay(lw: Lowering, job: Job) -> None:
    """`DelayNode`: the input of the call that is `windowSize` calls earlier."""
    x = lw.vector(job, "input")
    size = _window(job)
    history, _ = _shift(lw, job, x, size)
    oldest = lw.slice(history, (0, 0), (1, x.type.elements))
    lw.write(job, lw.reshape(oldest, x.type.shape))


def lower_accumulator(lw: Lowering, job: Job) -> None:
    """`AccumulatorNode`: the sum of all inputs so far."""
    x = lw.vector(job, "input")
    total = lw.zero_state(job, "sum", x.type.shape, x)
    following = lw.emit(Add(), total, x)
    lw.set_state(job, "sum", following)
    lw.write(job, following)


def lower_moving_average(lw: Lowering, job: Job) -> None:
    """`MovingAverageNode`: the mean of the last `windowSize` inputs; missing inputs count as 0."""
    x = lw.vector(job, "input")
    size = _window(job)
    _, following = _shift(lw, job, x, size)
    lw.write(job, _mean(lw, following, "sum", size))


def lower_moving_variance(lw: Lowering, job: Job) -> None:
    """`MovingVarianceNode`: the mean of squares minus the square of the mean.

    ELL computes the variance with this formula, so the rounding errors are the same.
    """
    x = lw.vector(job, "input")
    size = _window(job)
    _, following = _shift(lw, job, x, size)
    total = lw.emit(Reduce("sum", (0,)), following)
    squares = lw.emit(Reduce("l2sum", (0,)), following)
    count = lw.scalar(size, x)
    spread = lw.emit(Sub(), squares, lw.emit(Div(), lw.emit(Mul(), total, total), count))
    lw.write(job, lw.emit(Div(), spread, count))


def _window(job: Job) -> int:
    size = job.view.integer("windowSize", low=1)
    job.must_be_sound()
    return size


def _mean(lw: Lowering, window: Ref, kind: str, size: int) -> Ref:
    total = lw.emit(Reduce(kind, (0,)), window)
    return lw.emit(Div(), total, lw.scalar(size, window))


def _shift(lw: Lowering, job: Job, x: Ref, size: int) -> tuple[Ref, Ref]:
    """Shift the input x into a window of the last `size` inputs.

    Returns the window [size, elements] before this call, and the window after it, whose last row
    is x.
    """
    elements = x.type.elements
    history = lw.zero_state(job, "samples", (size, elements), x)
    row = lw.reshape(x, (1, elements))
    following = row
    if size > 1:
        retained = lw.slice(history, (1, 0), (size - 1, elements))
        following = lw.emit(Concat(0), retained, row)
    lw.set_state(job, "samples", following)
    return history, following


HANDLERS: dict[str, Handler] = {
    "BufferNode": lower_buffer,
    "DelayNode": lower_delay,
    "AccumulatorNode": lower_accumulator,
    "MovingAverageNode": lower_moving_average,
    "MovingVarianceNode": lower_moving_variance,
}
