"""Imports operators on shapes and the order of elements, and FILL, ZEROS_LIKE, RANGE and CAST."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.broadcast import expanded
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.steps import stepped
from ellc.frontends.graph_import.values import (
    Emitter,
    Unsupported,
    Value,
    known_ints,
    known_number,
)
from ellc.frontends.tflite.common import axes_of, operand, optional, result
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.shape import Expand, Slice

_MOST_NUMBERS = 1 << 24  # the most elements of the result of a RANGE
_KNOWN = "all operands but the data must be constants"


@TFLITE.imports("RESHAPE", limits="the shape must be known at compile time")
def reshape(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Change the shape of the operand; one extent may be -1, which means that it is computed."""
    x, given = operand(inputs, 0), optional(inputs, 1)
    wanted = node.options.wholes("NewShape")
    if given is not None and given.type.rank <= 1:
        wanted = known_ints(given, "the shape") if given.is_constant else result(node).shape
    if wanted == (0,) and x.type.elements == 1:
        wanted = ()  # old converters wrote the shape of a scalar as (0,)
    return reshaped(emitter, x, _filled(wanted, x))


def _filled(shape: Sequence[int], x: Value) -> tuple[int, ...]:
    """Replace -1 in `shape` by the extent that makes it have as many elements as `x`."""
    unknown = [axis for axis, extent in enumerate(shape) if extent == -1]
    rest = math.prod(e for e in shape if e != -1)
    if len(unknown) > 1 or any(e < -1 for e in shape) or (unknown and rest == 0):
        raise Unsupported(f"a tensor {x.shape} cannot have the shape {tuple(shape)}")
    return tuple(x.type.elements // rest if e == -1 else e for e in shape)


@TFLITE.imports("SQUEEZE")
def squeeze(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Remove the named axes of extent 1; without names, remove every axis of extent 1."""
    x = operand(inputs, 0)
    named = {axis_of(a, x.type.rank) for a in node.options.wholes("SqueezeDims")}
    if any(x.shape[axis] != 1 for axis in named):
        raise Unsupported(f"axes {sorted(named)} of {x.shape} are not all of extent 1")
    removed = named or {axis for axis, extent in enumerate(x.shape) if extent == 1}
    return reshaped(emitter, x, [e for axis, e in enumerate(x.shape) if axis not in removed])


@TFLITE.imports("EXPAND_DIMS", limits=_KNOWN)
def expand_dims(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Add an axis of extent 1 to the operand."""
    x = operand(inputs, 0)
    (axis,) = _single(known_ints(operand(inputs, 1), "the axis"))
    at = axis_of(axis, x.type.rank + 1)
    return reshaped(emitter, x, (*x.shape[:at], 1, *x.shape[at:]))


def _single(numbers: Sequence[int]) -> Sequence[int]:
    if len(numbers) != 1:
        raise Unsupported(f"the number of elements of an operand is {len(numbers)}, not 1")
    return numbers


@TFLITE.imports("TRANSPOSE", limits=_KNOWN)
def transpose(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Put the axes of the operand in another order."""
    x = operand(inputs, 0)
    order = known_ints(operand(inputs, 1), "the permutation")
    return transposed(emitter, x, [axis_of(a, x.type.rank) for a in order])


@TFLITE.imports("SHAPE")
def shape_of(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return the shape, which is always known at import, as a vector."""
    return emitter.numbers(operand(inputs, 0).shape, result(node).dtype)


@TFLITE.imports("RANK")
def rank_of(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return the number of axes."""
    return emitter.constant(np.array(operand(inputs, 0).type.rank, np.int32))


@TFLITE.imports("BROADCAST_TO", limits=_KNOWN)
def broadcast_to(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Broadcast the operand to a shape."""
    x = operand(inputs, 0)
    return expanded(emitter, x, known_ints(operand(inputs, 1), "the shape"))


@TFLITE.imports("BROADCAST_ARGS", limits=_KNOWN)
def broadcast_args(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return the shape to which two shapes broadcast."""
    first, second = (known_ints(operand(inputs, i), "a shape") for i in (0, 1))
    try:
        shape = np.broadcast_shapes(first, second)
    except ValueError:
        raise Unsupported(f"the shapes {first} and {second} do not broadcast") from None
    return emitter.numbers(shape, result(node).dtype)


@TFLITE.imports("TILE", limits=_KNOWN)
def tile(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Repeat the operand a number of times along each axis."""
    x = operand(inputs, 0)
    times = known_ints(operand(inputs, 1), "the repeats")
    if len(times) != x.type.rank or min(times, default=1) < 0:
        raise Unsupported(f"the repeats {times} do not fit the shape {x.shape}")
    apart = [n for extent in x.shape for n in (1, extent)]
    extents = [n for pair in zip(times, x.shape, strict=True) for n in pair]
    value = expanded(emitter, reshaped(emitter, x, apart), tuple(extents))
    return reshaped(emitter, value, [t * e for t, e in zip(times, x.shape, strict=True)])


@TFLITE.imports("FILL", limits=_KNOWN)
def fill(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return a tensor in which all elements are the same number."""
    shape = known_ints(operand(inputs, 0), "the shape")
    return emitter.add(Expand(shape), operand(inputs, 1, "number"))


@TFLITE.imports("ZEROS_LIKE")
def zeros_like(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return zeros with the shape and type of the operand."""
    x = operand(inputs, 0)
    return emitter.add(Expand(x.shape), emitter.constant(np.zeros((), x.dtype.numpy)))


@TFLITE.imports("RANGE", limits="constants only")
def number_range(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return numbers with a constant step, up to but not including the end."""
    names = ("the first number", "the end", "the step")
    first, end, step = (known_number(operand(inputs, i, n), n) for i, n in enumerate(names))
    return stepped(emitter, first, end, step, result(node).dtype, _MOST_NUMBERS)


@TFLITE.imports("REVERSE_V2", limits=_KNOWN)
def reverse(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Reverse the operand along some axes."""
    x = operand(inputs, 0)
    axes = axes_of(operand(inputs, 1), x.type.rank)
    starts = tuple(e - 1 if a in axes and e else 0 for a, e in enumerate(x.shape))
    steps = tuple(-1 if a in axes else 1 for a in range(x.type.rank))
    return emitter.add(Slice(starts, x.shape, steps), x)


@TFLITE.imports("CAST")
def cast(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Convert the operand to another type; numbers out of range saturate, NaN becomes 0."""
    x, wanted = operand(inputs, 0), result(node).dtype
    return x if x.dtype is wanted else emitter.add(Cast(wanted), x)
