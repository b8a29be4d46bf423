"""Imports transposed convolutions."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.graph_import.volumes import transposed_positions
from ellc.frontends.onnx.images import to_pixels, to_planes, with_rows
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.volumes import transposed_convolved
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.frontends.onnx.windows import per_axis
from ellc.ir.ops.conv_transpose import ConvTranspose2D

Pair = tuple[int, int]


@ONNX.imports("ConvTranspose", limits="1 to 3 spatial axes; constant weights")
def conv_transpose(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Transposed convolution with weights [C, F/groups, kh, kw] and an optional bias [F]."""
    x, w, bias = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    rank = x.type.rank
    if w.type.rank != rank or rank not in (3, 4, 5):
        raise Unsupported(f"weights of shape {w.shape} over a tensor of shape {x.shape}")
    known(w, "the weights")
    groups = node.integer("group", 1)
    kernel = w.shape[2:]
    if node.integers("kernel_shape", kernel) != kernel:
        raise Unsupported(f"its kernel_shape is not that of its weights, {kernel}")
    stride, dilation = (per_axis(node, name, rank - 2) for name in ("strides", "dilations"))
    before, after, extra = _crop(node, x.shape[2:], kernel, stride, dilation)
    op = ConvTranspose2D(
        _pair(stride, 1),
        (*_pair(before, 0), *_pair(after, 0)),
        _pair(extra, 0),
        _pair(dilation, 1),
        groups,
    )
    if rank == 5:
        reach = dilation[0] * (kernel[0] - 1) + 1
        count = (x.shape[2] - 1) * stride[0] + reach - before[0] - after[0] + extra[0]
        positions = transposed_positions(
            emitter, x.shape[2], max(count, 0), kernel[0], stride[0], dilation[0], before[0]
        )
        return transposed_convolved(emitter, x, w, bias, positions, op)
    operands = [to_pixels(emitter, x), _filters(emitter, with_rows(emitter, w), groups)]
    result = emitter.add(op, *operands, *([bias] if bias else []))
    return to_planes(emitter, result, rank)


def _pair(values: tuple[int, ...], missing: int) -> Pair:
    """The values for rows and columns; if there is one spatial axis, `missing` is that for rows."""
    if len(values) not in (1, 2, 3):
        raise Unsupported(f"its number of spatial axes is {len(values)}; 1, 2 and 3 are supported")
    return (values[-2], values[-1]) if len(values) > 1 else (missing, values[0])


def _filters(emitter: Emitter, w: Value, groups: int) -> Value:
    """Convert weights [C, F/groups, kh, kw] to [F, kh, kw, C/groups], group by group."""
    channels, filters, rows, columns = w.shape
    if groups < 1 or channels % groups:
        raise Unsupported(
            f"a number of channels ({channels}) that is no multiple of group={groups}"
        )
    depth = channels // groups
    split = reshaped(emitter, w, (groups, depth, filters, rows, columns))
    permuted = transposed(emitter, split, (0, 2, 3, 4, 1))
    return reshaped(emitter, permuted, (groups * filters, rows, columns, depth))


def _crop(
    node: OnnxNode,
    extents: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """How much to cut off at the start and the end of the full result, and to add at its end."""
    rank = len(extents)
    extra = node.integers("output_padding", (0,) * rank)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    full = [(e - 1) * s + r for e, s, r in zip(extents, stride, reach, strict=True)]
    mode = node.text("auto_pad", "NOTSET")
    wanted: tuple[int, ...] | None = None
    if node.has("output_shape"):
        wanted = node.integers("output_shape")[-rank:]
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(e * s for e, s in zip(extents, stride, strict=True))
    elif mode not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad '{mode}'")
    pads = node.integers("pads", (0,) * (2 * rank))
    if (len(extra), len(pads), len(wanted or extra)) != (rank, 2 * rank, rank):
        raise Unsupported(f"pads {pads}, output_padding {extra}, output_shape {wanted}")
    if wanted is None:
        return pads[:rank], pads[rank:], extra
    total = [f + o - w for f, o, w in zip(full, extra, wanted, strict=True)]
    missing = tuple(max(0, -t) for t in total)
    halves = [max(0, t) // 2 for t in total]
    rests = [max(0, t) - h for t, h in zip(total, halves, strict=True)]
    before, after = (halves, rests) if mode == "SAME_UPPER" else (rests, halves)
    added = tuple(o + m for o, m in zip(extra, missing, strict=True))
    return tuple(before), tuple(after), added
