"""Imports Det and Col2Im."""

from __future__ import annotations

from math import prod

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, no_integers, operand
from ellc.frontends.onnx.windows import per_axis
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.pointwise import Add, Mul, Sub
from ellc.ir.ops.shape import Slice

_LARGEST = 4


@ONNX.imports("Det", limits=f"matrices of at most {_LARGEST} rows")
def determinant(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The determinant of every matrix, expanded along the first row."""
    x = operand(inputs, 0)
    if x.type.rank < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] > _LARGEST:
        raise Unsupported(
            f"matrices of shape {x.shape[-2:]}; only square ones of at most {_LARGEST} rows are"
            " supported"
        )
    outer, size = x.shape[:-2], x.shape[-1]
    stacked = reshaped(emitter, x, (prod(outer), size, size))

    def element(row: int, column: int) -> Value:
        cut = Slice((0, row, column), (prod(outer), 1, 1), (1, 1, 1))
        return emitter.add(cut, stacked)

    def minor(row: int, columns: tuple[int, ...]) -> Value:
        """The determinant of the given columns in the rows from `row` to the last."""
        if len(columns) == 1:
            return element(row, columns[0])
        total: Value | None = None
        for position, column in enumerate(columns):
            rest = minor(row + 1, columns[:position] + columns[position + 1 :])
            term = emitter.add(Mul(), element(row, column), rest)
            op = Sub() if position % 2 else Add()
            total = term if total is None else emitter.add(op, total, term)
        assert total is not None
        return total

    return reshaped(emitter, minor(0, tuple(range(size))), outer)


@ONNX.imports(
    "Col2Im",
    limits="1 and 2 spatial axes; shapes known at import",
    declines=(no_integers("blocks of integers; cast them to float32"),),
)
def columns_to_image(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The image whose blocks are the columns of the operand; overlapping blocks are added.

    The image is computed by a transposed convolution: each element of a block is a separate
    channel, and its filter has a single tap.
    """
    x = operand(inputs, 0)
    image, block = (known_ints(operand(inputs, i), "a shape") for i in (1, 2))
    rank = len(image)
    if rank not in (1, 2) or len(block) != rank or x.type.rank != 3:
        raise Unsupported(f"blocks {block} of images {image}")
    stride, dilation = (per_axis(node, name, rank) for name in ("strides", "dilations"))
    pads = node.integers("pads", (0,) * (2 * rank))
    if len(pads) != 2 * rank or min(*pads, *image) < 0 or min(block) < 1:
        raise Unsupported(f"blocks {block} of images {image} with pads {pads}")
    batch, channels = x.shape[0], x.shape[1] // prod(block)
    counts = tuple(
        (e + pads[i] + pads[rank + i] - d * (b - 1) - 1) // s + 1
        for i, (e, b, s, d) in enumerate(zip(image, block, stride, dilation, strict=True))
    )
    if prod(counts) != x.shape[2] or channels * prod(block) != x.shape[1]:
        raise Unsupported(f"{x.shape[1]} x {x.shape[2]} columns for blocks {block} of {image}")
    rest = tuple(
        e + pads[i] + pads[rank + i] - ((n - 1) * s + d * (b - 1) + 1)
        for i, (e, n, b, s, d) in enumerate(
            zip(image, counts, block, stride, dilation, strict=True)
        )
    )

    def pair(values: tuple[int, ...], row: int) -> tuple[int, int]:
        return (values[0], values[1]) if rank == 2 else (row, values[0])

    op = ConvTranspose2D(
        pair(stride, 1),
        (*pair(pads[:rank], 0), *pair(pads[rank:], 0)),
        pair(rest, 0),
        pair(dilation, 1),
        channels,
    )
    size = pair(block, 1)
    number = emitter.counted(channels, prod(block), prod(block))
    is_tap = number // prod(block) % prod(block) == number % prod(block)
    taps = is_tap.astype(x.dtype.numpy).reshape(channels, *size, prod(block))
    weights = emitter.constant(taps)
    columns = reshaped(emitter, x, (batch, x.shape[1], *pair(counts, 1)))
    planes = to_planes(emitter, emitter.add(op, to_pixels(emitter, columns), weights), 4)
    return reshaped(emitter, planes, (batch, channels, *image))
