"""Imports sequences of tensors, with lengths and positions known at import, and optional values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import (
    Emitter,
    SequenceValue,
    Unsupported,
    Value,
    known_int,
    known_ints,
)
from ellc.frontends.onnx.model import OnnxGraph, OnnxNode
from ellc.frontends.onnx.operators.movement import part, parts_of
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ellc.ir.ops.shape import Concat

_MOST_PARTS = 4096
"""The most parts of one tensor, and the most tensors of a sequence that a loop extends.

Each of them is an operator; to import 32,767 took three seconds.
"""


def _items(inputs: Inputs, index: int = 0) -> tuple[Value, ...]:
    value = operand(inputs, index)
    if not isinstance(value, SequenceValue):
        raise Unsupported("a tensor where a sequence is expected")
    return value.items


def _position(value: Value | None, count: int, default: int) -> int:
    """A position in a sequence of `count` tensors; a negative value counts from the end."""
    position = default if value is None else known_int(value, "the position in the sequence")
    if not -count <= position < count:
        raise Unsupported(f"position {position} of a sequence of {count}")
    return position % count


@ONNX.imports("SequenceEmpty", ignores={"dtype": "the sequence has no tensors"})
def sequence_empty(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A sequence without tensors."""
    return SequenceValue.of(())


@ONNX.imports("SequenceConstruct")
def sequence_construct(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The sequence of the node's operands."""
    return SequenceValue.of([operand(inputs, i) for i in range(len(inputs))])


@ONNX.imports("SequenceInsert", limits="a position known at import", sequences=True)
def sequence_insert(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The sequence with one more tensor, at the end or before the tensor at a position."""
    items, where = _items(inputs), optional(inputs, 2)
    count = len(items)
    # Only the position `count` stands for the end: -1 inserts before the last tensor.
    at_end = where is None or known_int(where, "the position in the sequence") == count
    position = count if at_end else _position(where, count, count)
    return SequenceValue.of([*items[:position], operand(inputs, 1), *items[position:]])


@ONNX.imports("SequenceErase", limits="a position known at import", sequences=True)
def sequence_erase(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The sequence without the tensor at a position, which is by default the last tensor."""
    items = _items(inputs)
    position = _position(optional(inputs, 1), len(items), len(items) - 1)
    return SequenceValue.of([*items[:position], *items[position + 1 :]])


@ONNX.imports("SequenceAt", limits="a position known at import", sequences=True)
def sequence_at(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The tensor at a position of a sequence."""
    items = _items(inputs)
    return items[_position(operand(inputs, 1), len(items), 0)]


@ONNX.imports("SequenceLength", sequences=True)
def sequence_length(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The number of tensors in a sequence, i64."""
    return emitter.constant(np.array(len(_items(inputs)), np.int64))


@ONNX.imports("SplitToSequence", limits=f"sizes known at import, at most {_MOST_PARTS:,} parts")
def split_to_sequence(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Split along an axis: parts of one size (the last may be less), of listed sizes, or of 1."""
    x, given = operand(inputs, 0), optional(inputs, 1)
    axis, keep = axis_of(node.integer("axis", 0), x.type.rank), node.flag("keepdims", True)
    extent = x.shape[axis]
    sizes = _sizes(given, extent)
    if len(sizes) > _MOST_PARTS:
        raise Unsupported(f"{len(sizes)} parts, more than {_MOST_PARTS}")
    if sum(sizes) != extent or min(sizes, default=1) < 0:
        raise Unsupported(f"an axis of extent {extent} cannot be split into {sizes}")
    parts = parts_of(emitter, x, axis, sizes)
    if given is None and not keep:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        parts = [reshaped(emitter, p, shape) for p in parts]
    return SequenceValue.of(parts)


def _sizes(given: Value | None, extent: int) -> Sequence[int]:
    if given is None:
        return (1,) * extent
    sizes = known_ints(given, "the sizes")
    if given.type.rank:
        return sizes
    if sizes[0] < 1:
        raise Unsupported(f"parts of size {sizes[0]}")
    return [min(sizes[0], extent - start) for start in range(0, extent, sizes[0])]


@ONNX.imports("ConcatFromSequence", sequences=True)
def concat_from_sequence(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Concatenate all tensors of a sequence, along an existing axis or along a new axis."""
    items = list(_items(inputs))
    if not items:
        raise Unsupported("an empty sequence")
    new, rank = node.flag("new_axis"), items[0].type.rank
    axis = axis_of(node.integer("axis"), rank + new)
    if isinstance(tensors := inputs[0], SequenceValue) and tensors.stack is not None:
        return _unstacked(emitter, tensors.stack, axis, new)
    if new:
        items = [reshaped(emitter, x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in items]
    return items[0] if len(items) == 1 else emitter.add(Concat(axis), *items)


def _unstacked(emitter: Emitter, stack: Value, axis: int, new: bool) -> Value:
    """Concatenate the tensors that are stacked along axis 0 of `stack`.

    `axis` is the axis of the result along which they follow one another. With `new`, it is
    an axis that the tensors do not have.
    """
    order = (*range(1, axis + 1), 0, *range(axis + 1, stack.type.rank))
    moved, (count, *shape) = transposed(emitter, stack, order), stack.shape
    if not new:
        shape[axis] *= count
    return moved if new else reshaped(emitter, moved, tuple(shape))


def appended(
    body: OnnxGraph, carried: Mapping[str, Value], following: Mapping[str, str]
) -> dict[str, str]:
    """For each carried sequence to which a trip only appends a tensor: the name of that tensor.

    `following` maps a carried value to the output of the body that has its next value.
    """
    producers = {name: node for node in body.nodes for name in node.outputs if name}
    tensors = {}
    for name, value in carried.items():
        producer = producers.get(following[name])
        at_the_end = (
            producer is not None
            and producer.kind == "SequenceInsert"
            and not any(producer.inputs[2:])
        )
        if not isinstance(value, SequenceValue) or producer is None or not at_the_end:
            continue
        consumers = [node for node in body.nodes if {name, following[name]} & {*node.inputs}]
        if producer.inputs[0] == name and consumers == [producer] and name not in body.outputs:
            tensors[name] = producer.inputs[1]
    return tensors


def extended(emitter: Emitter, value: Value, rows: Value) -> SequenceValue:
    """Append the tensors along axis 0 of `rows` to a sequence."""
    if not isinstance(value, SequenceValue):
        raise Unsupported("a tensor where a sequence is expected")
    if len(value.items) + rows.shape[0] > _MOST_PARTS:
        raise Unsupported(f"a sequence of more than {_MOST_PARTS} tensors")
    parts = (part(emitter, rows, 0, index, 1) for index in range(rows.shape[0]))
    items = [reshaped(emitter, p, rows.shape[1:]) for p in parts]
    return SequenceValue.of([*value.items, *items], None if value.items else rows)


_ABSENT = "its optional value is absent; remove the nodes that read it from the model"


@ONNX.imports(
    "Optional",
    sequences=True,
    declines=(Declined("input", "input", _ABSENT),),
    ignores={"type": "the value has a type"},
)
def optional_of(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand itself; raises `Unsupported` if it is absent."""
    value = optional(inputs, 0)
    if value is None:
        raise Unsupported(_ABSENT)
    return value


@ONNX.imports("OptionalGetElement", sequences=True)
def optional_element(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand itself; raises `Unsupported` for an absent optional value."""
    return operand(inputs, 0)


@ONNX.imports("OptionalHasElement", sequences=True)
def has_element(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A constant: whether the node has an operand."""
    return emitter.constant(np.array(optional(inputs, 0) is not None))
