"""Imports operators that change the shape of a tensor or the order of its axes."""

from __future__ import annotations

from math import prod

from ellc.frontends.graph_import.axes import axes_of, axis_of
from ellc.frontends.graph_import.broadcast import common_shape, expanded
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, integers_at, operand
from ellc.ir.ops.shape import Expand, Reshape


@ONNX.imports("Reshape", limits="a shape known at import", narrow="kept")
def reshape(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Reshape the operand: 0 keeps an extent (unless `allowzero` is set), -1 is computed."""
    x = operand(inputs, 0)
    wanted = integers_at(node, inputs, "shape", 1, since=5)
    if wanted is None:
        raise Unsupported("its shape is missing")
    copies = not node.flag("allowzero")
    return reshaped(emitter, x, resolved_shape(x.shape, wanted, copies))


def resolved_shape(
    shape: tuple[int, ...], wanted: tuple[int, ...], zero_copies: bool = True
) -> tuple[int, ...]:
    """Resolve -1 (and 0, with `zero_copies`) in the shape `wanted` to actual extents.

    Raises `Unsupported` if the numbers of elements differ.
    """
    extents = [
        shape[axis] if size == 0 and zero_copies and axis < len(shape) else size
        for axis, size in enumerate(wanted)
    ]
    if extents.count(-1) == 1:
        rest = prod(e for e in extents if e != -1)
        extents[extents.index(-1)] = prod(shape) // rest if rest else 0
    if min(extents, default=0) < 0 or prod(extents) != prod(shape):
        raise Unsupported(
            f"{shape} cannot be reshaped to {wanted}; another input shape (--shape) may help"
        )
    return tuple(extents)


@ONNX.imports("Flatten", narrow="kept")
def flatten(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Merge the axes before `axis` into one axis, and the other axes into a second one."""
    x = operand(inputs, 0)
    axis = node.integer("axis", 1)
    if not -x.type.rank <= axis <= x.type.rank:
        raise Unsupported(f"axis {axis} of a tensor of rank {x.type.rank}")
    split = axis if axis >= 0 else axis + x.type.rank
    return reshaped(emitter, x, (prod(x.shape[:split]), prod(x.shape[split:])))


@ONNX.imports("Squeeze", narrow="kept")
def squeeze(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Remove the named axes of extent 1; without names, remove every axis of extent 1."""
    x = operand(inputs, 0)
    given = integers_at(node, inputs, "axes", 1, since=13)
    if given is None:
        return reshaped(emitter, x, tuple(e for e in x.shape if e != 1))
    axes = axes_of(given, x.type.rank)
    if any(x.shape[a] != 1 for a in axes):
        raise Unsupported(f"axes {axes} of {x.shape} are not all of extent 1")
    return reshaped(emitter, x, tuple(e for a, e in enumerate(x.shape) if a not in axes))


@ONNX.imports("Unsqueeze", narrow="kept")
def unsqueeze(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Add axes of extent 1 to the operand."""
    x = operand(inputs, 0)
    given = integers_at(node, inputs, "axes", 1, since=13) or ()
    axes = set(axes_of(given, x.type.rank + len(given)))
    extents = iter(x.shape)
    shape = [1 if a in axes else next(extents) for a in range(x.type.rank + len(axes))]
    return reshaped(emitter, x, tuple(shape))


@ONNX.imports("Transpose", narrow="kept")
def transpose(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Put the axes in the order `perm`; without `perm`, reverse them."""
    x = operand(inputs, 0)
    backwards = tuple(reversed(range(x.type.rank)))
    permutation = node.integers("perm", backwards)
    if sorted(permutation) != list(range(x.type.rank)):
        raise Unsupported(f"the permutation {permutation} of a tensor of rank {x.type.rank}")
    return transposed(emitter, x, permutation)


@ONNX.imports("Expand", limits="a shape known at import")
def expand(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Broadcast the operand to the common shape of the operand and the given shape."""
    x = operand(inputs, 0)
    shape = known_ints(operand(inputs, 1), "the shape")
    like = Value(x.type.with_shape(*shape))
    return expanded(emitter, x, common_shape(x, like))


@ONNX.imports("Tile", limits="repeats known at import; since version 6")
def tile(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Repeat the operand along its axes."""
    x = operand(inputs, 0)
    repeats = known_ints(operand(inputs, 1), "the repeats")
    if len(repeats) != x.type.rank or min(repeats, default=1) < 0:
        raise Unsupported(f"repeats {repeats} of a tensor of rank {x.type.rank}")
    for axis, count in enumerate(repeats):
        if count != 1:
            x = _repeated(emitter, x, axis, count)
    return x


def _repeated(emitter: Emitter, x: Value, axis: int, count: int) -> Value:
    """Repeat x `count` times along an axis."""
    before, after = prod(x.shape[:axis]), prod(x.shape[axis:])
    blocks = emitter.add(Reshape((before, 1, after)), x)
    copies = emitter.add(Expand((before, count, after)), blocks)
    shape = (*x.shape[:axis], count * x.shape[axis], *x.shape[axis + 1 :])
    return emitter.add(Reshape(shape), copies)


def permutations_to_last(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation that moves an axis to the end, and the inverse permutation."""
    axis = axis_of(axis, rank)
    to_last = (*(a for a in range(rank) if a != axis), axis)
    back = tuple(to_last.index(a) for a in range(rank))
    return to_last, back
