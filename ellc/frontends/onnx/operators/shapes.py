"""Operators that change the shape or the order of axes."""

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
    """The operand in another shape: 0 copies an extent (unless `allowzero`), -1 is computed."""
    x = operand(inputs, 0)
    wanted = integers_at(node, inputs, "shape", 1, since=5)
    if wanted is None:
        raise Unsupported("its shape is missing")
    copies = not node.flag("allowzero")
    return reshaped(emitter, x, resolved_shape(x.shape, wanted, copies))


def resolved_shape(
    shape: tuple[int, ...], wanted: tuple[int, ...], zero_copies: bool = True
) -> tuple[int, ...]:
    """The extents for `wanted`, in which -1 and, with `zero_copies`, 0 have a special meaning.

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
    """Two axes: the axes before `axis` become the first, the others the second."""
    x = operand(inputs, 0)
    axis = node.integer("axis", 1)
    if not -x.type.rank <= axis <= x.type.rank:
        raise Unsupported(f"axis {axis} of a tensor of rank {x.type.rank}")
    split = axis if axis >= 0 else axis + x.type.rank
    return reshaped(emitter, x, (prod(x.shape[:split]), prod(x.shape[split:])))


@ONNX.imports("Squeeze", narrow="kept")
def squeeze(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand without the named axes of extent 1, or without all of them."""
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
    """The operand with axes of extent 1 added."""
    x = operand(inputs, 0)
    given = integers_at(node, inputs, "axes", 1, since=13) or ()
    axes = set(axes_of(given, x.type.rank + len(given)))
    extents = iter(x.shape)
    shape = [1 if a in axes else next(extents) for a in range(x.type.rank + len(axes))]
    return reshaped(emitter, x, tuple(shape))


@ONNX.imports("Transpose", narrow="kept")
def transpose(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand with its axes in another order, reversed without `perm`."""
    x = operand(inputs, 0)
    backwards = tuple(reversed(range(x.type.rank)))
    permutation = node.integers("perm", backwards)
    if sorted(permutation) != list(range(x.type.rank)):
        raise Unsupported(f"the permutation {permutation} of a tensor of rank {x.type.rank}")
    return transposed(emitter, x, permutation)


@ONNX.imports("Expand", limits="a shape known at import")
def expand(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand broadcast to the common shape of itself and a given shape."""
    x = operand(inputs, 0)
    shape = known_ints(operand(inputs, 1), "the shape")
    like = Value(x.type.with_shape(*shape))
    return expanded(emitter, x, common_shape(x, like))


@ONNX.imports("Tile", limits="repeats known at import; since version 6")
def tile(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand repeated along its axes."""
    x = operand(inputs, 0)
    repeats = known_ints(operand(inputs, 1), "the repeats")
    if len(repeats) != x.type.rank or min(repeats, default=1) < 0:
        raise Unsupported(f"repeats {repeats} of a tensor of rank {x.type.rank}")
    for axis, count in enumerate(repeats):
        if count != 1:
            x = _repeated(emitter, x, axis, count)
    return x


def _repeated(emitter: Emitter, x: Value, axis: int, count: int) -> Value:
    """x repeated `count` times along an axis."""
    before, after = prod(x.shape[:axis]), prod(x.shape[axis:])
    blocks = emitter.add(Reshape((before, 1, after)), x)
    copies = emitter.add(Expand((before, count, after)), blocks)
    shape = (*x.shape[:axis], count * x.shape[axis], *x.shape[axis + 1 :])
    return emitter.add(Reshape(shape), copies)


def permutations_to_last(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation that puts an axis last, and the one that brings it back."""
    axis = axis_of(axis, rank)
    to_last = (*(a for a in range(rank) if a != axis), axis)
    back = tuple(to_last.index(a) for a in range(rank))
    return to_last, back
