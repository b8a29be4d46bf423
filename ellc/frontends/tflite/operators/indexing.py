"""Imports operators that sort elements, write elements at positions, or reverse sequences."""

from __future__ import annotations

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.indexing import (
    reversed_sequences,
    rows_of,
    scattered,
    scattered_at,
    updated_block,
)
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.sorting import TopK
from ellc.ir.types import DType


@TFLITE.imports("TOPK_V2", limits="a constant number of elements")
def top_k(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return the largest elements along the last axis, in descending order, and their indices."""
    x = operand(inputs, 0)
    counts = known_ints(operand(inputs, 1), "the number of elements")
    if len(counts) != 1 or not x.shape:
        raise Unsupported(f"numbers of elements {counts} for a tensor of shape {x.shape}")
    return emitter.add_multi(TopK(x.type.rank - 1, counts[0]), x)


@TFLITE.imports("SCATTER_ND", limits="a constant shape")
def scatter_nd(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Add updates, in order, to a tensor of zeros at positions along its first axes.

    Stored integers are added as they are, without regard to the zero point, and sums wrap around.
    So an element without an update is a stored 0. Booleans are combined by OR. If the network
    computes the positions, updates outside of the shape are ignored.
    """
    positions, updates = operand(inputs, 0), operand(inputs, 1)
    shape = known_ints(operand(inputs, 2), "the shape")
    depth = positions.shape[-1] if positions.type.rank else 0
    if not 0 < depth <= len(shape):
        raise Unsupported(f"indices of shape {positions.shape} into {shape}")
    zeros = emitter.constant(emitter.full(shape, 0, updates.dtype.numpy))
    reduction = "max" if updates.dtype is DType.BOOL else "add"
    if positions.array is None:
        return scattered_at(emitter, zeros, positions, updates, reduction, from_end=False)
    rows = rows_of(shape, positions.array)
    return scattered(emitter, zeros, rows, updates, reduction, len(shape) - depth)


@TFLITE.imports("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Write an update over a block of x; a block that would stick out of x is moved inwards."""
    x, update, starts = (operand(inputs, i) for i in range(3))
    if x.type.rank != update.type.rank or x.dtype is not update.dtype:
        kinds = x.dtype.value, update.dtype.value
        raise Unsupported(f"a block {kinds[1]}{update.shape} does not fit {kinds[0]}{x.shape}")
    if not starts.dtype.is_integer:
        raise Unsupported(f"the begin of its block is {starts.dtype.value}, not an integer")
    return updated_block(emitter, x, update, starts)


@TFLITE.imports("REVERSE_SEQUENCE", limits="sequences and batch along the first two axes")
def reverse_sequence(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Reverse the first n elements of each sequence of x, where n is its given length."""
    x = operand(inputs, 0)
    time = axis_of(node.options.whole("SeqDim"), x.type.rank)
    batch = axis_of(node.options.whole("BatchDim"), x.type.rank)
    return reversed_sequences(emitter, x, operand(inputs, 1), time, batch)
