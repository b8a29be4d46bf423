"""Imports operators that cut, join, pad, gather or rearrange elements."""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.indexing import want_inside
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known, known_ints
from ellc.frontends.tflite.common import is_stored, operand, result, tensor
from ellc.frontends.tflite.model import FusedActivation, TfliteNode
from ellc.frontends.tflite.operators.quantised_movement import joined
from ellc.frontends.tflite.registry import ACTIVATION, TFLITE, DeclinedOption
from ellc.frontends.tflite.scales import dequantized, scalar_quant, zero_of
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Concat, Gather, Slice, Split
from ellc.ir.types import DType

_KNOWN = "all operands but the data must be constants"
Pairs = list[tuple[int, int]]


# ---- cutting ------------------------------------------------------------------------------------


@TFLITE.imports("SLICE", limits=_KNOWN)
def slice_of(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Cut a block out of the operand; a size of -1 extends to the end of the axis."""
    x = operand(inputs, 0)
    starts = known_ints(operand(inputs, 1), "its begin")
    sizes = known_ints(operand(inputs, 2), "its size")
    if not len(starts) == len(sizes) == x.type.rank:
        raise Unsupported(f"a block of size {sizes} from {starts} on, of a tensor {x.shape}")
    full = tuple(e - s if n == -1 else n for e, s, n in zip(x.shape, starts, sizes, strict=True))
    return emitter.add(Slice(starts, full, (1,) * x.type.rank), x)


@TFLITE.imports("SPLIT", limits=_KNOWN)
def split(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Split the operand into equal parts along an axis."""
    x, count = operand(inputs, 1), node.options.whole("NumSplits") or len(node.results)
    axis = _axis(operand(inputs, 0), x)
    if count < 1 or x.shape[axis] % count:
        raise Unsupported(f"{x.shape} cannot be split into {count} equal parts along axis {axis}")
    return _parts(emitter, x, axis, (x.shape[axis] // count,) * count)


@TFLITE.imports("SPLIT_V", limits=_KNOWN)
def split_v(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Split the operand into parts of given sizes along an axis; the size -1 takes the rest."""
    x = operand(inputs, 0)
    sizes = known_ints(operand(inputs, 1), "the sizes")
    axis = _axis(operand(inputs, 2), x)
    rest = x.shape[axis] - sum(s for s in sizes if s != -1)
    return _parts(emitter, x, axis, tuple(rest if s == -1 else s for s in sizes))


def _parts(emitter: Emitter, x: Value, axis: int, sizes: tuple[int, ...]) -> list[Value]:
    return [x] if len(sizes) == 1 else emitter.add_multi(Split(axis, sizes), x)


def _axis(value: Value, x: Value) -> int:
    numbers = known_ints(value, "the axis")
    if len(numbers) != 1:
        raise Unsupported(f"the number of its axes is {len(numbers)}, not 1")
    return axis_of(numbers[0], x.type.rank)


@TFLITE.imports("UNPACK")
def unpack(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Split the operand into its elements along an axis; the parts do not have this axis."""
    x = operand(inputs, 0)
    axis = axis_of(node.options.whole("Axis"), x.type.rank)
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    parts = _parts(emitter, x, axis, (1,) * x.shape[axis])
    return [reshaped(emitter, part, rest) for part in parts]


# ---- joining ------------------------------------------------------------------------------------


_NO_ACTIVATION = DeclinedOption(ACTIVATION, "no operands, or a fused activation")


@TFLITE.imports("CONCATENATION", limits="no fused activation", declines=(_NO_ACTIVATION,))
def concatenation(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Concatenate the operands along an axis."""
    parts = [operand(inputs, i) for i in range(len(inputs))]
    if not parts or node.options.activation is not FusedActivation.NONE:
        raise Unsupported(_NO_ACTIVATION.reason)
    axis = axis_of(node.options.whole("Axis"), parts[0].type.rank)
    if is_stored(node):
        parts = joined(emitter, node, parts)
    return parts[0] if len(parts) == 1 else emitter.add(Concat(axis), *parts)


@TFLITE.imports("PACK")
def pack(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Stack the operands along a new axis."""
    parts = [operand(inputs, i) for i in range(len(inputs))]
    rank = parts[0].type.rank if parts else 0
    axis = axis_of(node.options.whole("Axis"), rank + 1)
    expanded_parts = [reshaped(emitter, p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    return (
        expanded_parts[0]
        if len(expanded_parts) == 1
        else emitter.add(Concat(axis), *expanded_parts)
    )


# ---- padding ------------------------------------------------------------------------------------


def amounts_of(value: Value, rank: int) -> Pairs:
    """The amounts of padding (before, after) for every axis."""
    numbers = known_ints(value, "the padding")
    if len(numbers) != 2 * rank or min(numbers, default=0) < 0:
        raise Unsupported(f"padding {numbers} for an operand of rank {rank}")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def padded(emitter: Emitter, x: Value, amounts: Pairs, value: float, mode: str) -> Value:
    """Pad x; return x itself if all amounts are 0."""
    if not any(a or b for a, b in amounts):
        return x
    before, after = zip(*amounts, strict=True)
    return emitter.add(Pad(tuple(before), tuple(after), value, mode), x)


@TFLITE.imports("PAD", limits=_KNOWN)
def pad(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Pad with zeros; a quantised tensor is padded with its zero point."""
    x = operand(inputs, 0)
    zero = zero_of(result(node)) if is_stored(node) else 0
    return padded(emitter, x, amounts_of(operand(inputs, 1), x.type.rank), float(zero), "constant")


@TFLITE.imports("PADV2", limits=_KNOWN)
def pad_v2(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Pad with a given number, which must have the same scale and zero point as the result."""
    x, number = operand(inputs, 0), known(operand(inputs, 2), "the padding value")
    if is_stored(node) and scalar_quant(tensor(node, 2)) != scalar_quant(result(node)):
        raise Unsupported("the padding value differs from the result in scale or zero point")
    if number.size != 1 or (number.dtype.kind == "i" and abs(int(number.reshape(()))) >= 1 << 53):
        raise Unsupported("the padding value is not a single number")
    amounts = amounts_of(operand(inputs, 1), x.type.rank)
    return padded(emitter, x, amounts, float(number.reshape(())), "constant")


@TFLITE.imports("MIRROR_PAD", limits=_KNOWN)
def mirror_pad(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Pad by mirroring the tensor: REFLECT does not repeat the edge elements, SYMMETRIC does."""
    x = operand(inputs, 0)
    amounts = amounts_of(operand(inputs, 1), x.type.rank)
    if node.options.whole("Mode") == 0:
        return padded(emitter, x, amounts, 0.0, "reflect")
    for axis, (before, after) in enumerate(amounts):
        x = _symmetric(emitter, x, axis, before, after)
    return x


def _symmetric(emitter: Emitter, x: Value, axis: int, before: int, after: int) -> Value:
    extent = x.shape[axis]
    if max(before, after) > extent:
        raise Unsupported(f"it mirrors {before} and {after} elements of only {extent}")
    ends = ((before - 1, before), (extent - 1, after))
    first, last = (_backwards(emitter, x, axis, start, size) for start, size in ends)
    parts = [*first, x, *last]
    return x if len(parts) == 1 else emitter.add(Concat(axis), *parts)


def _backwards(emitter: Emitter, x: Value, axis: int, start: int, size: int) -> list[Value]:
    if not size:
        return []
    starts, sizes, steps = [0] * x.type.rank, list(x.shape), [1] * x.type.rank
    starts[axis], sizes[axis], steps[axis] = start, size, -1
    return [emitter.add(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)]


# ---- gathering ----------------------------------------------------------------------------------


@TFLITE.imports("GATHER", limits="batch dimensions only right before the axis")
def gather(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Take elements at indices along an axis; each batch element may have its own indices."""
    x, indices = operand(inputs, 0), operand(inputs, 1)
    axis = axis_of(node.options.whole("Axis"), x.type.rank)
    batch = node.options.whole("BatchDims")
    batch += indices.type.rank if batch < 0 else 0
    if not 0 <= batch <= min(indices.type.rank, x.type.rank):
        raise Unsupported(f"BatchDims {batch} for indices of shape {indices.shape}")
    if batch == 0:
        return emitter.add(Gather(axis), x, indices)
    want_inside(indices, np.array([x.shape[axis]]), from_end=False)
    lead = x.shape[:batch]
    if axis != batch or indices.shape[:batch] != lead or indices.dtype is not DType.I32:
        raise Unsupported(f"axis {axis} of {x.shape} with BatchDims {batch}")
    starts = emitter.counted(*lead, dtype=np.int32) * np.int32(x.shape[axis])
    offsets = starts.reshape(*lead, *[1] * (indices.type.rank - batch))
    flat = emitter.add(Add(), indices, emitter.constant(offsets))
    rows = reshaped(emitter, x, (math.prod(lead) * x.shape[axis], *x.shape[axis + 1 :]))
    return emitter.add(Gather(0), rows, flat)


@TFLITE.imports("GATHER_ND", limits="int32 indices")
def gather_nd(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Take blocks of x; each vector along the indices' last axis is a position in x."""
    x, positions = operand(inputs, 0), operand(inputs, 1)
    depth = positions.shape[-1] if positions.shape else 0
    if not 1 <= depth <= x.type.rank or positions.dtype is not DType.I32:
        raise Unsupported(
            f"{positions.dtype.value} indices of shape {positions.shape} into {x.shape}"
        )
    lead = x.shape[:depth]
    want_inside(positions, np.array(lead), from_end=False)
    steps = np.array([math.prod(lead[i + 1 :]) for i in range(depth)], np.int32)
    parts = emitter.add(Mul(), positions, emitter.constant(steps))
    flat = emitter.add(Reduce("sum", (positions.type.rank - 1,)), parts)
    rows = reshaped(emitter, x, (math.prod(lead), *x.shape[depth:]))
    return emitter.add(Gather(0), rows, flat)


@TFLITE.imports("EMBEDDING_LOOKUP", limits="8-bit tables are dequantised at import")
def embedding_lookup(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Take the rows of a table at indices."""
    indices, table = operand(inputs, 0), operand(inputs, 1)
    if table.dtype is DType.I8 and result(node).dtype is DType.F32:
        table = dequantized(emitter, table, tensor(node, 1))
    return emitter.add(Gather(0), table, indices)


# ---- blocks of pixels ---------------------------------------------------------------------------


def _blocks(node: TfliteNode, x: Value) -> int:
    size = node.options.whole("BlockSize")
    if size < 1 or x.type.rank != 4:
        raise Unsupported(f"blocks of {size} in a tensor of shape {x.shape}")
    return size


@TFLITE.imports("DEPTH_TO_SPACE")
def depth_to_space(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Convert size * size channels of a pixel to size x size pixels."""
    x = operand(inputs, 0)
    size = _blocks(node, x)
    n, h, w, c = x.shape
    value = reshaped(emitter, x, (n, h, w, size, size, c // size**2))
    value = transposed(emitter, value, (0, 1, 3, 2, 4, 5))
    return reshaped(emitter, value, (n, h * size, w * size, c // size**2))


@TFLITE.imports("SPACE_TO_DEPTH")
def space_to_depth(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Convert size x size pixels to size * size channels of one pixel."""
    x = operand(inputs, 0)
    size = _blocks(node, x)
    n, h, w, c = x.shape
    value = reshaped(emitter, x, (n, h // size, size, w // size, size, c))
    value = transposed(emitter, value, (0, 1, 3, 2, 4, 5))
    return reshaped(emitter, value, (n, h // size, w // size, c * size**2))


@TFLITE.imports("SPACE_TO_BATCH_ND", limits=_KNOWN)
def space_to_batch(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Split the padded image into blocks; pixel i of all blocks forms image i."""
    x, block = operand(inputs, 0), known_ints(operand(inputs, 1), "the block")
    rank, axes = x.type.rank, len(block)
    zero = float(zero_of(result(node))) if is_stored(node) else 0.0
    added = amounts_of(operand(inputs, 2), axes)
    around = [(0, 0), *added, *[(0, 0)] * (rank - 1 - axes)]
    x = padded(emitter, x, around, zero, "constant")
    if min(block, default=1) < 1 or any(e % b for e, b in zip(x.shape[1:], block, strict=False)):
        raise Unsupported(f"{x.shape} cannot be split into blocks {block}")
    apart = [n for e, b in zip(x.shape[1:], block, strict=False) for n in (e // b, b)]
    rest = x.shape[1 + axes :]
    value = reshaped(emitter, x, (x.shape[0], *apart, *rest))
    inner, outer = range(2, 2 * axes + 1, 2), range(1, 2 * axes, 2)
    value = transposed(emitter, value, (*inner, 0, *outer, *range(2 * axes + 1, value.type.rank)))
    batch = x.shape[0] * math.prod(block)
    return reshaped(emitter, value, (batch, *apart[::2], *rest))


@TFLITE.imports("BATCH_TO_SPACE_ND", limits=_KNOWN)
def batch_to_space(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Invert SPACE_TO_BATCH_ND, and cut off rows and columns at the edges."""
    x, block = operand(inputs, 0), known_ints(operand(inputs, 1), "the block")
    axes, parts = len(block), math.prod(block)
    crops = amounts_of(operand(inputs, 2), axes)
    if min(block, default=1) < 1 or x.shape[0] % parts or x.type.rank <= axes:
        raise Unsupported(f"{x.shape} cannot be joined to blocks {block}")
    batch, pixels, rest = x.shape[0] // parts, x.shape[1 : 1 + axes], x.shape[1 + axes :]
    value = reshaped(emitter, x, (*block, batch, *pixels, *rest))
    order = [axes, *(n for i in range(axes) for n in (axes + 1 + i, i))]
    value = transposed(emitter, value, (*order, *range(2 * axes + 1, value.type.rank)))
    large = [p * b for p, b in zip(pixels, block, strict=True)]
    value = reshaped(emitter, value, (batch, *large, *rest))
    starts = (0, *(before for before, _ in crops), *[0] * len(rest))
    sizes = (
        batch,
        *(e - before - after for e, (before, after) in zip(large, crops, strict=True)),
        *rest,
    )
    if sizes == value.shape:
        return value
    return emitter.add(Slice(starts, sizes, (1,) * value.type.rank), value)
