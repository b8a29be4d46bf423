"""Imports TensorFlow Lite Micro's signal operators that keep samples between calls.

The runtime's circular buffers become states, with the oldest sample first. Each row (along the last
axis) is a stream with its own state.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand, result
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal_parts import as_type, require_type, with_number
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.arithmetic import Add, Maximum, Minimum, Sub
from ellc.ir.ops.comparisons import GreaterEqual, Less, Select
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.shape import Concat, Expand, Slice
from ellc.ir.types import DType

_MOST_FRAMES = 256  # the most frames in one call
_MOST_SAMPLES = 1 << 20  # the most samples of a row that a state keeps


def _rows(emitter: Emitter, x: Value) -> Value:
    """Convert x [.., L] to [rows, L]."""
    if not x.type.rank or not x.type.elements:
        raise Unsupported(f"its operand is {x.dtype.value}{list(x.shape)}")
    return reshaped(emitter, x, (x.type.elements // x.shape[-1], x.shape[-1]))


def _columns(emitter: Emitter, x: Value, first: int, count: int) -> Value:
    """Take `count` columns of x [rows, L], starting at `first`."""
    return emitter.add(Slice((0, first), (x.shape[0], count), (1, 1)), x)


def _longer(
    emitter: Emitter, node: TfliteNode, x: Value, before: int, what: str = "samples"
) -> Value:
    """Prepend the last `before` numbers of earlier calls to x [rows, L].

    These numbers are initially 0. `what` is part of the state's name.
    """
    if not 0 <= before <= _MOST_SAMPLES:
        raise Unsupported(f"it keeps {before} {what}; at most {_MOST_SAMPLES} are supported")
    if not before:
        return x
    rows, count = x.shape
    emitter.want_room(rows, before)
    name = f"{result(node).name}.{what}"
    earlier = emitter.state(name, emitter.full((rows, before), 0, x.dtype.numpy))
    extended = emitter.add(Concat(1), earlier, x)
    emitter.set_state(name, _columns(emitter, extended, count, before))
    return extended


def _number(emitter: Emitter, node: TfliteNode, what: str, initial: int) -> tuple[str, Value]:
    """Add a state that is one int32 number; return the name and the value of the state."""
    name = f"{result(node).name}.{what}"
    return name, emitter.state(name, np.array([initial], np.int32))


def _or_zero(emitter: Emitter, x: Value, is_valid: Value) -> Value:
    """Return x if it is valid, else 0; the runtime does not write results that are not valid."""
    zero = emitter.constant(np.zeros(1, x.dtype.numpy))
    return pointwise(emitter, Select(), x, zero, is_valid)


@TFLITE.imports("CUSTOM:SignalDelay")
def delay(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Delay every row by `delay_length` samples."""
    x = require_type(operand(inputs, 0), DType.I16, "operand")
    rows = _rows(emitter, x)
    extended = _longer(emitter, node, rows, node.options.whole("delay_length"))
    return reshaped(emitter, _columns(emitter, extended, 0, rows.shape[1]), x.shape)


@TFLITE.imports(
    "CUSTOM:SignalFramer",
    limits=f"frames not shorter than their step, at most {_MOST_FRAMES} in a call",
)
def framer(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return overlapping frames of a stream, and whether all of them are valid.

    With `prefill`, the stream starts with as many zeros as the first frame needs. Without
    `prefill`, frames are zero and not valid until there are enough samples. Every frame starts at a
    multiple of the step. So if the frame size is not a multiple of the step, the latest samples
    belong only to the next frame.
    """
    x, options = require_type(operand(inputs, 0), DType.I16, "operand"), node.options
    rows = _rows(emitter, x)
    size, step = options.whole("frame_size"), options.whole("frame_step")
    count = rows.shape[1] // step if step > 0 else 0
    if not 1 <= count <= _MOST_FRAMES or rows.shape[1] % step or size < step:
        raise Unsupported(
            f"frames of size {size} with step {step} in rows of length {rows.shape[1]}"
        )
    steps = -(-size // step)  # steps until the first frame is complete
    filled = options.flag("prefill")
    extended = _longer(emitter, node, rows, size - step if filled else (steps - 1) * step)
    frames = [_columns(emitter, extended, i * step, size) for i in range(count)]
    stacked = frames[0] if count == 1 else emitter.add(Concat(1), *frames)
    stacked = reshaped(emitter, stacked, (rows.shape[0], count, size))
    is_valid = emitter.constant(np.array(True))
    if not filled:
        stacked, is_valid = _once_there(emitter, node, stacked, steps)
    return [reshaped(emitter, stacked, (*x.shape[:-1], count, size)), is_valid]


def _once_there(
    emitter: Emitter, node: TfliteNode, frames: Value, steps: int
) -> tuple[Value, Value]:
    """Set frames [rows, n, size] before step `steps` to 0; also return whether all are valid."""
    count = frames.shape[1]
    name, past = _number(emitter, node, "steps", 0)
    steps_so_far = with_number(emitter, Minimum(), with_number(emitter, Add(), past, count), steps)
    emitter.set_state(name, steps_so_far)
    numbers = emitter.constant(emitter.counted(1, count, 1, dtype=np.int32) + np.int32(1))
    are_valid = with_number(
        emitter, GreaterEqual(), pointwise(emitter, Add(), numbers, past), steps
    )
    first = with_number(emitter, GreaterEqual(), past, steps - 1)
    return _or_zero(emitter, frames, are_valid), reshaped(emitter, first, ())


@TFLITE.imports("CUSTOM:SignalStacker", limits="a step not longer than a stack")
def stacker(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Every `stacker_step` calls, concatenate the latest frames; also return whether this call did.

    In other calls the result is zero. Copies of the first frame stand in for the frames before it.
    """
    x, options = require_type(operand(inputs, 0), DType.I16, "operand", 1), node.options
    names = ("num_channels", "stacker_left_context", "stacker_right_context", "stacker_step")
    channels, left, right, step = (options.whole(name) for name in names)
    frames = left + right + 1
    if min(left, right) < 0 or not 1 <= step <= frames or x.shape != (channels,):
        raise Unsupported(
            f"num_channels {channels} for frames of shape {x.shape}, contexts of {left} and {right}"
            f" frames, a step of {step}"
        )
    name, count = _number(emitter, node, "frames", -1)
    is_first = with_number(emitter, Less(), count, 0)
    row = reshaped(emitter, x, (1, channels))
    latest = _stacked(emitter, node, row, frames - 1, is_first)
    more = with_number(emitter, Add(), count, 1)
    started = emitter.constant(np.array([left + 1], np.int32))
    more = emitter.add(Select(), started, more, is_first)
    is_full = with_number(emitter, GreaterEqual(), more, frames)
    rest = emitter.add(Select(), with_number(emitter, Sub(), more, step), more, is_full)
    emitter.set_state(name, rest)
    stack = _or_zero(emitter, latest, is_full)
    return [reshaped(emitter, stack, (frames * channels,)), reshaped(emitter, is_full, ())]


def _stacked(emitter: Emitter, node: TfliteNode, row: Value, before: int, is_first: Value) -> Value:
    """Concatenate the rows of the last `before` calls and this row [1, L].

    In the first call, the earlier rows are copies of this row.
    """
    if not before:
        return row
    channels = row.shape[1]
    if not 0 < before * channels <= _MOST_SAMPLES:
        raise Unsupported(
            f"it keeps {before * channels} numbers; at most {_MOST_SAMPLES} are supported"
        )
    emitter.want_room(before, channels)
    name = f"{result(node).name}.stack"
    previous = emitter.state(name, emitter.full((before, channels), 0, np.int16))
    copies = emitter.add(Expand((before, channels)), row)
    earlier = pointwise(emitter, Select(), copies, previous, is_first)
    rows = emitter.add(Concat(0), earlier, row)
    emitter.set_state(name, emitter.add(Slice((1, 0), (before, channels), (1, 1)), rows))
    return reshaped(emitter, rows, (1, (before + 1) * channels))


@TFLITE.imports(
    "CUSTOM:SignalOverlapAdd", limits=f"16 bits or floats; at most {_MOST_FRAMES} frames in a call"
)
def overlap_add(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Add overlapping frames; each sum of two 16-bit numbers saturates."""
    x, step = operand(inputs, 0), node.options.whole("frame_step")
    _ = node.options.whole("T")  # the operand's type: read only so that it is not reported
    if x.dtype not in (DType.I16, DType.F32) or x.type.rank < 2 or not x.type.elements:
        raise Unsupported(f"its operand is {x.dtype.value}{list(x.shape)}")
    *outer, count, size = x.shape
    if not 1 <= step <= size or count > _MOST_FRAMES:
        raise Unsupported(f"frames of shape {[count, size]} with a step of {step}")
    rows, rest = x.type.elements // (count * size), size - step
    frames = reshaped(emitter, x, (rows, count * size))
    name = f"{result(node).name}.overlap"
    tail = emitter.state(name, emitter.full((rows, rest), 0, x.dtype.numpy)) if rest else None
    steps = []
    for i in range(count):
        total = _columns(emitter, frames, i * size, size)
        if tail is not None:
            padded = emitter.add(Pad((0, 0), (0, step), 0.0), tail)
            total = _saturated_sum(emitter, total, padded)
            tail = _columns(emitter, total, step, rest)
        steps.append(_columns(emitter, total, 0, step))
    if tail is not None:
        emitter.set_state(name, tail)
    joined = steps[0] if count == 1 else emitter.add(Concat(1), *steps)
    return reshaped(emitter, joined, (*outer, count * step))


def _saturated_sum(emitter: Emitter, x: Value, y: Value) -> Value:
    if x.dtype.is_float:
        return emitter.add(Add(), x, y)
    widened = emitter.add(Add(), *(as_type(emitter, v, DType.I32) for v in (x, y)))
    clipped = with_number(emitter, Minimum(), widened, 2**15 - 1)
    return as_type(emitter, with_number(emitter, Maximum(), clipped, -(2**15)), DType.I16)
