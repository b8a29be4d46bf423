"""Imports MediaPipe's max pooling with indices, unpooling, and transposed convolution with bias.

The options of these operators are the bytes of the runtime's structs TfLitePoolParams and
TfLiteTransposeConvParams. The index of a maximum is its position in the window, counted row by row.
It is stored as a float with 0.1 added, so that a cast to an integer gives the right number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import activated, operand, want_float, window_padding
from ellc.frontends.tflite.model import FusedActivation, NodeOptions, TfliteNode
from ellc.frontends.tflite.operators.convolution import float_weights
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Equal, GreaterEqual, Maximum, Select
from ellc.ir.ops.pool import LOWEST, MaxPool2D
from ellc.ir.ops.shape import Concat, Reshape, Slice, Transpose
from ellc.ir.types import DType, Padding

_FIELDS = struct.Struct("<6i")
_CONVOLUTION = struct.Struct("<3i")  # padding scheme, stride along columns, stride along rows
_MOST_CELLS = 64
_ABOVE = np.float32(0.1)
# Maps the number of a padding scheme in the struct to its number in the schema.
_SCHEMES = {1: 0, 2: 1}


@dataclass(frozen=True, slots=True)
class _Pool:
    """The options of a pool. Pairs are (rows, columns); `scheme` is the schema's number."""

    scheme: int
    stride: tuple[int, int]
    window: tuple[int, int]
    activation: int

    @staticmethod
    def of(node: TfliteNode) -> _Pool:
        """Read the options of a node.

        Raises `Unsupported` if they are too short, or if the window or the strides are not
        supported.
        """
        if len(node.custom) < _FIELDS.size:
            raise Unsupported(
                f"the size of its options is {len(node.custom)} bytes, less than {_FIELDS.size}"
            )
        scheme, across, down, width, height, activation = _FIELDS.unpack_from(node.custom)
        result = _Pool(_SCHEMES.get(scheme, -1), (down, across), (height, width), activation)
        if min(across, down, width, height) < 1 or width * height > _MOST_CELLS:
            raise Unsupported(f"windows {result.window} with strides {result.stride}")
        return result

    def padding(self, x: Value) -> Padding:
        """The padding of the image."""
        options = NodeOptions(MappingProxyType({"Padding": self.scheme}))
        return window_padding(options, x, self.window, self.stride)


@TFLITE.imports(
    "CUSTOM:MaxPoolingWithArgmax2D", limits=f"floats; windows of at most {_MOST_CELLS} cells"
)
def max_pool_with_indices(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return the maximum under each window, and the index of the first maximum in the window."""
    x, pool = want_float(operand(inputs, 0)), _Pool.of(node)
    padding = replace(pool.padding(x), values=LOWEST.values)
    largest = emitter.add(MaxPool2D(pool.window, pool.stride, padding), x)
    cells = _cells(emitter, x, pool, padding, largest.shape)
    best = cells[0]
    position = emitter.constant(emitter.full(largest.shape, _ABOVE, np.float32))
    for number, cell in enumerate(cells[1:], 1):
        cell_index = emitter.constant(np.full((1,), np.float32(number) + _ABOVE, np.float32))
        position = pointwise(
            emitter, Select(), position, cell_index, emitter.add(GreaterEqual(), best, cell)
        )
        best = emitter.add(Maximum(), best, cell)
    options = NodeOptions(MappingProxyType({"FusedActivationFunction": pool.activation}))
    return [activated(emitter, largest, options.activation), position]


def _cells(
    emitter: Emitter, x: Value, pool: _Pool, padding: Padding, shape: tuple[int, ...]
) -> list[Value]:
    """For each position in the window, return the elements that all windows have there.

    Elements in the padding are the lowest number.
    """
    before, after = (0, padding.top, padding.left, 0), (0, padding.bottom, padding.right, 0)
    padded = x if padding.is_empty else emitter.add(Pad(before, after, LOWEST.values[0]), x)
    steps = (1, *pool.stride, 1)
    return [
        emitter.add(Slice((0, row, column, 0), shape, steps), padded)
        for row in range(pool.window[0])
        for column in range(pool.window[1])
    ]


@TFLITE.imports(
    "CUSTOM:MaxUnpooling2D",
    limits="floats; strides equal to the window; indices of a MaxPoolingWithArgmax2D",
)
def max_unpool(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Expand every element to a window that has the element at its index and zeros elsewhere."""
    x, positions, pool = want_float(operand(inputs, 0)), operand(inputs, 1), _Pool.of(node)
    if x.type.rank != 4 or positions.shape != x.shape or pool.stride != pool.window:
        raise Unsupported(
            f"elements {x.shape}, indices {positions.shape}, windows {pool.window} with strides "
            f"{pool.stride}"
        )
    if pool.activation != FusedActivation.NONE:
        raise Unsupported(
            f"fused activation {pool.activation}, which the runtime does not have here"
        )
    batch, rows, columns, channels = x.shape
    height, width = pool.window
    number = emitter.add(Cast(DType.I32), want_float(positions))
    zero = emitter.constant(np.zeros((1,), np.float32))
    cells = []
    for cell in range(height * width):
        cell_index = emitter.constant(np.full((1,), cell, np.int32))
        chosen = pointwise(
            emitter, Select(), x, zero, pointwise(emitter, Equal(), number, cell_index)
        )
        cells.append(emitter.add(Reshape((batch, rows, columns, 1, channels)), chosen))
    joined = cells[0] if len(cells) == 1 else emitter.add(Concat(3), *cells)
    split = emitter.add(Reshape((batch, rows, columns, height, width, channels)), joined)
    woven = emitter.add(Transpose((0, 1, 3, 2, 4, 5)), split)
    return emitter.add(Reshape((batch, rows * height, columns * width, channels)), woven)


@TFLITE.imports("CUSTOM:Convolution2DTransposeBias", limits="floats")
def transpose_conv_bias(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import a transposed convolution with bias; the padding scheme determines what is cut off."""
    x, weights, bias = (operand(inputs, i) for i in range(3))
    if len(node.custom) < _CONVOLUTION.size:
        raise Unsupported(
            f"the size of its options is {len(node.custom)} bytes, less than {_CONVOLUTION.size}"
        )
    scheme, across, down = _CONVOLUTION.unpack_from(node.custom)
    stride = (down, across)
    if scheme not in _SCHEMES or min(stride) < 1:
        raise Unsupported(f"padding scheme {scheme} with strides {stride}")
    if x.type.rank != 4 or weights.type.rank != 4 or not x.type.elements:
        raise Unsupported(f"an image {x.shape} and weights {weights.shape}")
    ends = zip(x.shape[1:3], weights.shape[1:3], stride, strict=True)
    cut = [max(0, taps - (size - 1) % step - 1) for size, taps, step in ends]
    if _SCHEMES[scheme] == 1:  # VALID
        cut = [0, 0]
    (rows, columns), (top, left) = cut, [amount // 2 for amount in cut]
    op = ConvTranspose2D(stride, (top, left, rows - top, columns - left), (0, 0))
    return emitter.add(op, want_float(x), float_weights(emitter, node, weights), want_float(bias))
