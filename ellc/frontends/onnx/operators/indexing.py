"""Imports gathers, scatters, one-hot vectors, triangles, running sums, TopK and the like."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.broadcast import expanded
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.indexing import (
    gather_elements,
    gather_nd,
    one_hot,
    reversed_sequences,
    rows_of,
    scattered,
    scattered_at,
    scattered_elements,
)
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import (
    Emitter,
    Unsupported,
    Value,
    extents,
    known,
    known_int,
)
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.frontends.onnx.tensors import dtype_of
from ellc.ir.ops.pointwise import (
    Add,
    And,
    Cast,
    FloorMod,
    GreaterEqual,
    Less,
    Select,
    Sub,
)
from ellc.ir.ops.scan import CumProd, CumSum
from ellc.ir.ops.scatter import Scatter
from ellc.ir.ops.shape import Concat, Gather
from ellc.ir.ops.sorting import TopK
from ellc.ir.types import Array, DType


@ONNX.imports("GatherElements")
def import_gather_elements(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Each result element is x at its own coordinates, with a given index along one axis."""
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 0), x.type.rank)
    return gather_elements(emitter, x, operand(inputs, 1), axis)


@ONNX.imports("GatherND")
def import_gather_nd(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Parts of x at coordinates; each vector along the last axis of the indices is a coordinate."""
    batch = node.integer("batch_dims", 0)
    return gather_nd(emitter, operand(inputs, 0), operand(inputs, 1), batch)


@ONNX.imports("ScatterND")
def scatter_nd(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Replace parts of x at coordinates by updates, or combine them with updates, in order.

    If indices are computed, updates outside of x are ignored.
    """
    x, indices, updates = (operand(inputs, i) for i in range(3))
    reduction = _reduction(node, x.dtype)
    if indices.array is None:
        return scattered_at(emitter, x, indices, updates, reduction, from_end=True)
    rows = rows_of(x.shape, indices.array)
    return scattered(emitter, x, rows, updates, reduction, x.type.rank - indices.shape[-1])


@ONNX.imports("ScatterElements", "Scatter")
def scatter_elements(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, with elements replaced by updates or combined with them, by index along an axis.

    Updates are applied in order. If indices are computed, updates outside of x are ignored.
    """
    x, indices, updates = (operand(inputs, i) for i in range(3))
    axis, reduction = axis_of(node.integer("axis", 0), x.type.rank), _reduction(node, x.dtype)
    if indices.array is None:
        return scattered_elements(emitter, x, indices, updates, reduction, axis)
    if indices.type.rank != x.type.rank:
        raise Unsupported(f"indices of shape {list(indices.shape)} into {list(x.shape)}")
    emitter.want_room(indices.type.rank, *indices.shape)
    numbers = emitter.counted(*indices.shape)
    positions = np.stack(np.unravel_index(numbers, indices.shape), -1)
    positions[..., axis] = indices.array
    rows = rows_of(x.shape, positions)
    return scattered(emitter, x, rows, updates, reduction, 0)


def _reduction(node: OnnxNode, dtype: DType) -> str:
    """The `Scatter.reduction` for a node; booleans have maxima for sums and minima for products."""
    reduction = node.text("reduction", "none")
    if reduction not in Scatter.reductions:
        raise Unsupported(f"its reduction '{reduction}' is not supported")
    of_booleans = {"add": "max", "mul": "min"} if dtype is DType.BOOL else {}
    return of_booleans.get(reduction, reduction)


@ONNX.imports("OneHot", limits="a depth known at import")
def import_one_hot(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """One-hot vectors along a new axis: one value at the index, and another value elsewhere."""
    indices = operand(inputs, 0)
    depth = known_int(operand(inputs, 1), "the depth")
    axis = axis_of(node.integer("axis", -1), indices.type.rank + 1)
    return one_hot(emitter, indices, depth, operand(inputs, 2), axis)


@ONNX.imports("EyeLike")
def eye_like(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A matrix of the operand's shape with ones on a diagonal and zeros elsewhere."""
    x = operand(inputs, 0)
    dtype = dtype_of(node.integer("dtype")) if node.has("dtype") else x.dtype
    rows, columns = extents(x, 2, "the matrix")
    row, column = emitter.counted(rows, 1), emitter.counted(columns)
    emitter.want_room(rows, columns)
    eye = column - row == node.integer("k", 0)
    return emitter.constant(eye.astype(dtype.numpy))


@ONNX.imports("Trilu", limits="a diagonal known at import")
def trilu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The upper or lower triangle of matrices, with zeros elsewhere."""
    x, given = operand(inputs, 0), optional(inputs, 1)
    diagonal = known_int(given, "the diagonal") if given else 0
    rows, columns = x.shape[-2], x.shape[-1]
    # Clamping the diagonal does not change the result, but avoids numbers that numpy cannot hold.
    diagonal = min(max(diagonal, -rows), columns)
    ones = emitter.full((rows, columns), True, np.bool_)
    triangle = np.triu(ones, diagonal) if node.flag("upper", True) else np.tril(ones, diagonal)
    zero = emitter.constant(np.zeros((1,), x.dtype.numpy))
    return emitter.add(Select(), x, zero, emitter.constant(triangle))


@ONNX.imports("ReverseSequence", limits="time and batch are the first two axes")
def reverse_sequence(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, with the first n elements of every sequence reversed, where n is its given length."""
    x = operand(inputs, 0)
    time = axis_of(node.integer("time_axis", 0), x.type.rank)
    batch = axis_of(node.integer("batch_axis", 1), x.type.rank)
    return reversed_sequences(emitter, x, operand(inputs, 1), time, batch)


@ONNX.imports("Compress", limits="a condition known at import")
def compress(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The parts along an axis, or elements of the flat tensor, for which a condition is true."""
    x = operand(inputs, 0)
    chosen = np.flatnonzero(known(operand(inputs, 1), "the condition"))
    if not node.has("axis"):
        x, axis = reshaped(emitter, x, (x.type.elements,)), 0
    else:
        axis = axis_of(node.integer("axis"), x.type.rank)
    return emitter.add(Gather(axis), x, emitter.constant(chosen[chosen < x.shape[axis]]))


@ONNX.imports("NonZero", limits="an operand known at import")
def non_zero(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The coordinates of the elements that are not 0, i64 [rank, elements]."""
    x: Array = known(operand(inputs, 0), "the operand")
    positions = np.argwhere(x).T  # for a scalar [0, N], unlike `np.nonzero`
    return emitter.constant(positions.astype(np.int64))


@ONNX.imports("Unique", limits="an operand known at import")
def unique(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The distinct elements, or the distinct parts along an axis, and three i64 vectors.

    The vectors are: the first position of each distinct element; for each input element, the index
    of the equal distinct element; and the counts of the distinct elements.
    """
    x: Array = known(operand(inputs, 0), "the operand")
    axis = axis_of(node.integer("axis"), x.ndim) if node.has("axis") else None
    values, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not node.flag("sorted", True):
        order = np.argsort(first)
        values = np.take(values, order, 0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    numbers = (a.astype(np.int64) for a in (first, inverse, counts))
    results = [emitter.constant(a) for a in (values, *numbers)]
    return results[: len(node.outputs)]


@ONNX.imports("ai.onnx.ml.ArrayFeatureExtractor")
def array_feature_extractor(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Elements at indices along the last axis."""
    x, positions = operand(inputs, 0), operand(inputs, 1)
    flat = reshaped(emitter, positions, (positions.type.elements,))
    return emitter.add(Gather(x.type.rank - 1), x, flat)


@ONNX.imports("CumSum", "CumProd", limits="an axis known at import")
def running(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Running sums or products along an axis."""
    x = operand(inputs, 0)
    axis = axis_of(known_int(operand(inputs, 1), "the axis"), x.type.rank)
    kind = CumSum if node.operator == "CumSum" else CumProd
    return emitter.add(kind(axis, node.flag("exclusive"), node.flag("reverse")), x)


@ONNX.imports(
    "TopK",
    limits="k known at import",
    ignores={"sorted": "the sorted order is always allowed"},
)
def top_k(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The k largest or smallest elements along an axis, in order, and their i64 indices."""
    x = operand(inputs, 0)
    k = node.integer("k") if node.version < 10 else known_int(operand(inputs, 1), "k")
    axis = axis_of(node.integer("axis", -1), x.type.rank)
    values, positions = emitter.add_multi(TopK(axis, k, node.flag("largest", True)), x)
    return [values, emitter.add(Cast(DType.I64), positions)]


@ONNX.imports("TensorScatter")
def tensor_scatter(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A cache into which an update is written along an axis, from a given index per batch element.

    In the mode `circular` the update wraps around at the end of the axis.
    """
    cache, update = operand(inputs, 0), operand(inputs, 1)
    axis, mode = axis_of(node.integer("axis", -2), cache.type.rank), node.text("mode", "linear")
    if mode not in ("linear", "circular"):
        raise Unsupported(f"its mode '{mode}' is not supported")
    shape, batch = cache.shape, cache.shape[0]
    size, count = shape[axis], update.shape[axis]
    start = optional(inputs, 2) or emitter.constant(emitter.full((batch,), 0, np.int64))
    dtype = start.dtype.numpy
    numbers = {n: emitter.numbers([n], start.dtype) for n in (0, size, count)}
    position = emitter.constant((emitter.counted(batch, size) % max(size, 1)).astype(dtype))
    distance = emitter.add(Sub(), position, reshaped(emitter, start, (batch, 1)))
    if mode == "circular":
        distance = emitter.add(FloorMod(), distance, numbers[size])
    reached = emitter.add(GreaterEqual(), distance, numbers[0])
    within = emitter.add(And(), reached, emitter.add(Less(), distance, numbers[count]))
    chosen = emitter.add(Select(), emitter.add(Add(), distance, numbers[size]), position, within)
    along = tuple(e if a in (0, axis) else 1 for a, e in enumerate(shape))
    indices = expanded(emitter, reshaped(emitter, chosen, along), shape)
    return gather_elements(emitter, emitter.add(Concat(axis), cache, update), indices, axis)
