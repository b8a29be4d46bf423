"""Signal operators of TensorFlow Lite Micro that remember samples from call to call.

Its circular buffers are states here: what has been read is gone, the oldest sample comes first.
Rows are the last axis; each has a state of its own.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand, result
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal_parts import as_type, want, with_number
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.arithmetic import Add, Maximum, Minimum, Sub
from ellc.ir.ops.comparisons import GreaterEqual, Less, Select
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.shape import Concat, Expand, Slice
from ellc.ir.types import DType

_MOST_FRAMES = 256  # of one call
_MOST_SAMPLES = 1 << 20  # that a row remembers


def _rows(emitter: Emitter, x: Value) -> Value:
    """[.., L] as [R, L]."""
    if not x.type.rank or not x.type.elements:
        raise Unsupported(f"its operand is {x.dtype.value}{list(x.shape)}")
    return reshaped(emitter, x, (x.type.elements // x.shape[-1], x.shape[-1]))


def _columns(emitter: Emitter, x: Value, first: int, count: int) -> Value:
    """Columns of [R, L]."""
    return emitter.add(Slice((0, first), (x.shape[0], count), (1, 1)), x)


def _longer(
    emitter: Emitter, node: TfliteNode, x: Value, before: int, what: str = "samples"
) -> Value:
    """[R, before + L]: the rows after the last `before` numbers of earlier calls, at first 0."""
    if not 0 <= before <= _MOST_SAMPLES:
        raise Unsupported(f"{before} {what} to remember")
    if not before:
        return x
    rows, count = x.shape
    emitter.want_room(rows, before)
    name = f"{result(node).name}.{what}"
    held = emitter.state(name, emitter.full((rows, before), 0, x.dtype.numpy))
    whole = emitter.add(Concat(1), held, x)
    emitter.set_state(name, _columns(emitter, whole, count, before))
    return whole


def _number(emitter: Emitter, node: TfliteNode, what: str, initial: int) -> tuple[str, Value]:
    """A counter of a stream: its name and value."""
    name = f"{result(node).name}.{what}"
    return name, emitter.state(name, np.array([initial], np.int32))


def _or_zero(emitter: Emitter, x: Value, is_valid: Value) -> Value:
    """What a kernel leaves unwritten is 0."""
    zero = emitter.constant(np.zeros(1, x.dtype.numpy))
    return pointwise(emitter, Select(), x, zero, is_valid)


@TFLITE.imports("CUSTOM:SignalDelay")
def delay(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Every row some samples later."""
    x = want(operand(inputs, 0), DType.I16, "operand")
    rows = _rows(emitter, x)
    whole = _longer(emitter, node, rows, node.options.whole("delay_length"))
    return reshaped(emitter, _columns(emitter, whole, 0, rows.shape[1]), x.shape)


@TFLITE.imports(
    "CUSTOM:SignalFramer",
    limits=f"frames as long as their step or longer, at most {_MOST_FRAMES} in a call",
)
def framer(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Overlapping frames of a stream; whether all of them are there.

    With `prefill` zeros come before the stream, as many as the first frame lacks. Without it
    frames are zeros, and not valid, until there are samples for a whole one. It then begins at a
    whole step; samples of its last step that it has no room for are in the next frame.
    """
    x, options = want(operand(inputs, 0), DType.I16, "operand"), node.options
    rows = _rows(emitter, x)
    size, step = options.whole("frame_size"), options.whole("frame_step")
    count = rows.shape[1] // step if step > 0 else 0
    if not 1 <= count <= _MOST_FRAMES or rows.shape[1] % step or size < step:
        raise Unsupported(f"frames of {size} every {step} samples, of {rows.shape[1]} samples")
    steps = -(-size // step)  # for the first frame
    filled = options.flag("prefill")
    whole = _longer(emitter, node, rows, size - step if filled else (steps - 1) * step)
    frames = [_columns(emitter, whole, i * step, size) for i in range(count)]
    every = frames[0] if count == 1 else emitter.add(Concat(1), *frames)
    every = reshaped(emitter, every, (rows.shape[0], count, size))
    is_valid = emitter.constant(np.array(True))
    if not filled:
        every, is_valid = _once_there(emitter, node, every, steps)
    return [reshaped(emitter, every, (*x.shape[:-1], count, size)), is_valid]


def _once_there(
    emitter: Emitter, node: TfliteNode, frames: Value, steps: int
) -> tuple[Value, Value]:
    """Frames [R, n, size] from the `steps`-th step of a stream on, before that zeros."""
    count = frames.shape[1]
    name, past = _number(emitter, node, "steps", 0)
    steps_so_far = with_number(emitter, Minimum(), with_number(emitter, Add(), past, count), steps)
    emitter.set_state(name, steps_so_far)
    numbers = emitter.constant(emitter.counted(1, count, 1, dtype=np.int32) + np.int32(1))
    there = with_number(emitter, GreaterEqual(), pointwise(emitter, Add(), numbers, past), steps)
    first = with_number(emitter, GreaterEqual(), past, steps - 1)
    return _or_zero(emitter, frames, there), reshaped(emitter, first, ())


@TFLITE.imports("CUSTOM:SignalStacker", limits="steps of at most the frames of one stack")
def stacker(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """The latest frames one after the other, every few calls; whether they are there.

    The first frame stands for those before it.
    """
    x, options = want(operand(inputs, 0), DType.I16, "operand", 1), node.options
    names = ("num_channels", "stacker_left_context", "stacker_right_context", "stacker_step")
    channels, left, right, step = (options.whole(name) for name in names)
    most = left + right + 1
    if min(left, right) < 0 or not 1 <= step <= most or x.shape != (channels,):
        raise Unsupported(
            f"{channels} channels of {x.shape}, {left} and {right} frames beside every {step}th"
        )
    name, held = _number(emitter, node, "frames", -1)
    is_first = with_number(emitter, Less(), held, 0)
    row = reshaped(emitter, x, (1, channels))
    latest = _stacked(emitter, node, row, most - 1, is_first)
    more = with_number(emitter, Add(), held, 1)
    started = emitter.constant(np.array([left + 1], np.int32))
    more = emitter.add(Select(), started, more, is_first)
    is_full = with_number(emitter, GreaterEqual(), more, most)
    rest = emitter.add(Select(), with_number(emitter, Sub(), more, step), more, is_full)
    emitter.set_state(name, rest)
    stack = _or_zero(emitter, latest, is_full)
    return [reshaped(emitter, stack, (most * channels,)), reshaped(emitter, is_full, ())]


def _stacked(emitter: Emitter, node: TfliteNode, row: Value, before: int, is_first: Value) -> Value:
    """[1, (before + 1) * L]: the row after those of earlier calls, at first after itself."""
    if not before:
        return row
    channels = row.shape[1]
    if not 0 < before * channels <= _MOST_SAMPLES:
        raise Unsupported(f"{before * channels} numbers to remember")
    emitter.want_room(before, channels)
    name = f"{result(node).name}.stack"
    held = emitter.state(name, emitter.full((before, channels), 0, np.int16))
    alike = emitter.add(Expand((before, channels)), row)
    earlier = pointwise(emitter, Select(), alike, held, is_first)
    whole = emitter.add(Concat(0), earlier, row)
    emitter.set_state(name, emitter.add(Slice((1, 0), (before, channels), (1, 1)), whole))
    return reshaped(emitter, whole, (1, (before + 1) * channels))


@TFLITE.imports(
    "CUSTOM:SignalOverlapAdd", limits=f"16 bits or floats; at most {_MOST_FRAMES} frames in a call"
)
def overlap_add(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Frames added up where they overlap; sums of 16 bits are saturated one after the other."""
    x, step = operand(inputs, 0), node.options.whole("frame_step")
    _ = node.options.whole("T")  # the operand says it
    if x.dtype not in (DType.I16, DType.F32) or x.type.rank < 2 or not x.type.elements:
        raise Unsupported(f"its operand is {x.dtype.value}{list(x.shape)}")
    *outer, count, size = x.shape
    if not 1 <= step <= size or count > _MOST_FRAMES:
        raise Unsupported(f"{count} frames of {size} every {step} samples")
    rows, rest = x.type.elements // (count * size), size - step
    frames = reshaped(emitter, x, (rows, count * size))
    name = f"{result(node).name}.overlap"
    tail = emitter.state(name, emitter.full((rows, rest), 0, x.dtype.numpy)) if rest else None
    made = []
    for i in range(count):
        total = _columns(emitter, frames, i * size, size)
        if tail is not None:
            padded = emitter.add(Pad((0, 0), (0, step), 0.0), tail)
            total = _saturated_sum(emitter, total, padded)
            tail = _columns(emitter, total, step, rest)
        made.append(_columns(emitter, total, 0, step))
    if tail is not None:
        emitter.set_state(name, tail)
    whole = made[0] if count == 1 else emitter.add(Concat(1), *made)
    return reshaped(emitter, whole, (*outer, count * step))


def _saturated_sum(emitter: Emitter, x: Value, y: Value) -> Value:
    if x.dtype.is_float:
        return emitter.add(Add(), x, y)
    wide = emitter.add(Add(), *(as_type(emitter, v, DType.I32) for v in (x, y)))
    clipped = with_number(emitter, Minimum(), wide, 2**15 - 1)
    return as_type(emitter, with_number(emitter, Maximum(), clipped, -(2**15)), DType.I16)
