"""Imports QONNX's operators on images: NHWC forms of ONNX's operators, integer pools, Im2Col."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Function, Inputs
from ellc.frontends.graph_import.shapes import transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, extents
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.conv import conv
from ellc.frontends.onnx.operators.norm import batch_normalization
from ellc.frontends.onnx.operators.pool import average_pool, max_pool
from ellc.frontends.onnx.operators.qonnx_parts import DOMAINS, names
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Floor, Mul, Round
from ellc.ir.ops.pool import AvgPool2D
from ellc.ir.ops.shape import Concat, Slice

_CHANNELS_LAST = "qonnx.custom_op.channels_last"
_NEWEST = 22  # QONNX does not say which version of ONNX's operators it means; this one is assumed
_MOST_SUM_BITS = 22  # a mean in float32 still distinguishes all sums of up to 22 bits
_MOST_TAPS = 4096

_STANDARD: dict[str, tuple[Function[OnnxNode], int]] = {
    # The handler for NCHW, and the number of operands, from the first on, whose channels are last.
    "AveragePool": (average_pool, 1),
    "BatchNormalization": (batch_normalization, 1),
    "Conv": (conv, 2),
    "MaxPool": (max_pool, 1),
}


@ONNX.imports(
    *(f"{_CHANNELS_LAST}.{kind}" for kind in _STANDARD),
    limits="as ONNX's own operators",
    ignores={"momentum": "only for training"},
)
def channels_last(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import an operator of ONNX whose tensors have their channels last."""
    handler, channels_last_operands = _STANDARD[node.operator]
    operands = [
        transposed(emitter, x, _channels_first(x.type.rank))
        if x and index < channels_last_operands
        else x
        for index, x in enumerate(inputs)
    ]
    results = handler(emitter, replace(node, domain="", version=_NEWEST), operands)
    result = results if isinstance(results, Value) else results[0]
    rank = result.type.rank
    return transposed(emitter, result, (0, *range(2, rank), 1))


@ONNX.imports(*(f"{domain}.MaxPoolNHWC" for domain in DOMAINS[1:]))
def max_pool_of_pixels(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import `MaxPool` on NHWC images."""
    x = transposed(emitter, operand(inputs, 0), _channels_first(4))
    results = max_pool(emitter, replace(node, domain="", version=_NEWEST), [x])
    result = results if isinstance(results, Value) else results[0]
    return transposed(emitter, result, (0, 2, 3, 1))


def _channels_first(rank: int) -> tuple[int, ...]:
    if rank < 2:
        raise Unsupported(f"a tensor of rank {rank} has no channels")
    return (0, rank - 1, *range(1, rank - 1))


@ONNX.imports(
    *names("QuantAvgPool2d"), limits=f"integers whose sums have at most {_MOST_SUM_BITS} bits"
)
def quantised_average_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Sum the pixels under a square window, and shift all sums right so that they fit `obits` bits.

    The shift (perhaps 0) follows from the largest sum that `ibits` allows. As in QONNX's own
    executor, `signed` makes no difference.
    """
    x = operand(inputs, 0)
    extents(x, 4, "the image")
    layout = node.text("data_layout", "NCHW")
    if layout not in ("NCHW", "NHWC"):
        raise Unsupported(f"data_layout '{layout}'; NCHW and NHWC are supported")
    size, stride = node.integer("kernel", 1), node.integer("stride", 1)
    input_bits, output_bits = node.integer("ibits", 1), node.integer("obits", 1)
    if min(size, stride, input_bits, output_bits) < 1 or input_bits > _MOST_SUM_BITS:
        raise Unsupported(
            f"kernel {size}, stride {stride}, ibits {input_bits}, obits {output_bits}"
        )
    bits = ((2**input_bits - 1) * size * size).bit_length()
    if bits > _MOST_SUM_BITS:
        raise Unsupported(f"sums of {bits} bits; {_MOST_SUM_BITS} are supported")
    node.flag("signed")
    pixels = to_pixels(emitter, x) if layout == "NCHW" else x
    means = emitter.add(AvgPool2D((size, size), (stride, stride)), pixels)
    sums = emitter.add(Round(), _times(emitter, means, size * size))
    if (dropped := bits - output_bits) > 0:
        sums = emitter.add(Floor(), _times(emitter, sums, 2.0**-dropped))
    return to_planes(emitter, sums, 4) if layout == "NCHW" else sums


def _times(emitter: Emitter, x: Value, factor: float) -> Value:
    return pointwise(emitter, Mul(), x, emitter.constant(np.full(1, factor, x.dtype.numpy)))


@ONNX.imports(
    *names("Im2Col"),
    limits=f"one image, windows of at most {_MOST_TAPS} pixels",
    ignores={"input_shape": "the operand has a shape", "depthwise": "a hint for hardware"},
)
def columns_of_windows(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convert [1,H,W,C] to [1,rows,columns,kh*kw*C]: one vector for each window's pixels."""
    x = operand(inputs, 0)
    batch, height, width, channels = extents(x, 4, "the image")
    size, stride = node.integers("kernel_size"), node.integers("stride")
    dilation = node.integers("dilations", (1, 1))
    pads = node.integers("pad_amount", (0, 0, 0, 0))
    pairs = (size, stride, dilation)
    if any(len(p) != 2 or min(p) < 1 for p in pairs) or len(pads) != 4 or min(pads) < 0:
        raise Unsupported(f"kernel_size {size}, stride {stride}, pad_amount {pads}")
    if batch != 1 or size[0] * size[1] > _MOST_TAPS:
        raise Unsupported(
            f"{batch} images with windows {size}; 1 image and {_MOST_TAPS} pixels are supported"
        )
    if any(pads):
        top, left, bottom, right = pads
        value = float(node.integer("pad_value", 0))
        x = emitter.add(Pad((0, top, left, 0), (0, bottom, right, 0), value), x)
    node.ignore("pad_value")
    rows, columns = (
        (x.shape[1 + i] - dilation[i] * (size[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)
    )
    if min(rows, columns) < 1:
        raise Unsupported(f"the window {size} is larger than the image of {height}x{width}")
    taps = [
        emitter.add(
            Slice(
                (0, row * dilation[0], column * dilation[1], 0),
                (1, rows, columns, channels),
                (1, *stride, 1),
            ),
            x,
        )
        for row in range(size[0])
        for column in range(size[1])
    ]
    return taps[0] if len(taps) == 1 else emitter.add(Concat(3), *taps)
