"""Depthwise convolutions of floats whose windows slide along the columns, a cache line at a time.

The result is computed in bands of rows, bands in segments of columns, and segments in groups of
channels that fill a cache line. A group has one strip (`depthwise_strip.py`) for each vector. While
the strips of a group are computed, the lines of the next group are prefetched, a few of them with
every strip, so that the memory is busy all the time. The last group of a segment prefetches the
first group of the next segment.

Memory is the bound of these layers: an in-order core reads 2 bytes of DRAM in a cycle, and a 3x3
window of stride 1 takes 14 cycles of arithmetic for 16 bytes. If the result does not overwrite the
image, its lines are read before they are written. So the result takes the place of the image where
nothing reads the image later (`pixel_before`): the result of a window lies where the window's
first pixel was, which no later window reads. The threads then share the channels, not the rows.

Thousands of modelled cycles on pi3_64, between two 1x1 convolutions, with the family `depthwise`
(before the colon) and with this one: 112x112x32 5,152 : 2,690; 56x56x144 8,615 : 3,220;
28x28x272 4,162 : 1,470; 14x14x528 1,935 : 800; stride 2: 112x112x64 5,370 : 3,190,
56x56x144 5,159 : 2,090, 28x28x272 2,165 : 920. Bytes alone take 1,606, 1,809, 858, 425; 2,008,
1,132, 539. 5x5: 28x28x120 2,729 : 1,319, 14x14x464 3,207 : 1,483; stride 2, 56x56x72 3,867 : 2,007.

With 16 vector registers, a strip has a single row (`depthwise_stream.py`), and a band of rows is
there for the cache. On pi3 28x28x272 4,977 : 1,830; 14x14x528 2,368 : 1,150.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from math import prod

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.emission import is_costly
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.sliding import Sliding
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import Axis, cut, window_axes
from ellc.codegen.kernels.convolution import has_filter_per_channel, terms_of
from ellc.codegen.kernels.depthwise import packed_windows
from ellc.codegen.kernels.depthwise_cost import MANY, WIDE_SUMS, Strips, has_strips
from ellc.codegen.kernels.depthwise_rows import RowTileWriter
from ellc.codegen.kernels.depthwise_stream import StreamWriter
from ellc.codegen.kernels.depthwise_strip import TAPS, StripInputs, StripWriter
from ellc.codegen.kernels.depthwise_tiles import TileWriter
from ellc.codegen.kernels.line_loops import LANES, LineLoops, Strip
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.op import Op
from ellc.ir.ops.activations import Clip, Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import Fused, anchor_of
from ellc.ir.types import DType, TensorType

_MOST_ROWS = {1: 3, 2: 2}
"""By stride: the most rows of a strip. The columns under the window, the weights and the sums of
two columns then just fit in 32 registers."""
_WIDE_TAPS = 5
_MOST_WIDE_ROWS = {1: 2, 2: 1}
"""The same for wide windows, which are computed in tiles (`depthwise_tiles.py`)."""
_FEW_RESULTS = 32768
"""With at most so many results, all vectors of a group share the same code, which prefetches all
rows: the code itself comes from memory in every call. Thousands of modelled cycles on pi3_64 of all
depthwise layers of MobileNet V1 .25 128 with shared code: 1,259, with code for each vector: 1,459;
of 28x28x272: 1,500 and 1,430, of 112x112x64 with stride 2: 3,990 and 3,192."""
_WIDTHS = (7, 14, 28, 56)
"""The most columns of a segment. Shorter segments load more columns twice, longer ones have more
lines than stay in the first-level cache. Thousands of modelled cycles on pi3_64: 28x28x272
14: 1,692, 28: 1,469; 56x56x144 14: 3,679, 28: 3,224, 56: 3,513; 112x112x32 7: 2,691, 14: 2,959."""
_CONSTANTS: dict[type[Op], int] = {Relu: 1, Clip: 2}
"""The registers in which stages keep constants."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The most rows of a band and the most columns of a segment."""

    rows: int
    columns: int

    @property
    def note(self) -> str:
        """A short name for reports."""
        return f"{self.rows}x{self.columns}"


@kernel(Conv2D, name="depthwise_columns", over_image=True)
def depthwise_columns(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for 3x3 and 5x5 windows over float32 images of whole vectors of channels.

    Taps outside of the image and its border must add zeros, and every window must have others.
    Candidates are offered on in-order cores with 32 vector registers of 16 bytes, or with 16 and
    ellc's own scheduler.
    """
    if not has_filter_per_channel(node):
        return
    conv, types = node.anchor, (node.inputs[0].type, node.inputs[1].type, node.result.type)
    if not isinstance(conv, Conv2D) or not _is_suitable(conv, *types, node.target):
        return
    if any(is_costly(stage.op) for stage in node.stages):
        return
    terms, x = terms_of(node), reshaped(node.inputs[0].access, node.inputs[0].type.shape)
    walk = node.anchor_type().shape
    images, rows, columns, channels = walk
    window = terms.weights.shape[1:3]
    axes = window_axes(x, (rows, columns), window, conv.stride, conv.dilation, terms.padding)
    edges = not all(axis.is_interior for axis in axes)
    if terms.depends_on_taps(edges=edges) or not all(map(_reads_taps, axes)):
        return
    shape = Sliding(x, (images, rows, columns, channels), *axes)

    def candidate(schedule: _Schedule) -> Candidate:
        strips = Strips(shape, schedule.rows, schedule.columns, constants, node.overwrites_image)
        prediction = Prediction("depthwise_columns", schedule.note, strips.cycles(node.target))
        return Candidate(prediction, partial(_call, node, shape, terms, schedule))

    constants = sum(_CONSTANTS.get(type(stage.op), 0) for stage in node.stages)
    yield from sorted(map(candidate, _schedules(shape)), key=lambda c: c.prediction.known_cycles)


def pixel_before(
    op: Op, operands: Sequence[TensorType], result: TensorType, target: Target
) -> tuple[int, int] | None:
    """Where the result of a node lies if it takes the place of its image; None if it must not.

    The pair is (rows, columns): so far before the first pixel of the image lies the first pixel of
    the result. The family must be able to compute the node, with a stride of 1, and every window
    must lie in the image and the border that the image has in memory.
    """
    conv, stages = anchor_of(op), op.stages if isinstance(op, Fused) else ()
    if not isinstance(conv, Conv2D) or conv.stride != (1, 1):
        return None
    image, weights, padding = operands[0], operands[1], conv.padding
    covered = padding.is_empty or (image.border is not None and image.border.covers(padding))
    if not covered or not _is_suitable(conv, image, weights, result, target):
        return None
    return None if any(is_costly(s.op) for s in stages) else (padding.top, padding.left)


def _is_suitable(
    conv: Conv2D, image: TensorType, weights: TensorType, result: TensorType, target: Target
) -> bool:
    """Whether this family can compute a convolution if all of its windows are in memory."""
    channels = image.shape[3]
    is_depthwise = conv.groups == channels == weights.shape[0] > 1
    return (
        is_depthwise
        and channels % LANES == 0
        and weights.shape[1:3] in ((TAPS, TAPS), (_WIDE_TAPS, _WIDE_TAPS))
        and conv.dilation == (1, 1)
        and conv.stride in ((1, 1), (2, 2))
        and image.dtype is result.dtype is DType.F32
        and has_strips(target)
    )


def _reads_taps(axis: Axis) -> bool:
    """Whether every window has taps in the image or its border along this axis."""
    return all(axis.valid(end) != (0, 0) for end in (0, axis.outputs - 1))


def _schedules(shape: Sliding) -> Iterator[_Schedule]:
    """All schedules."""
    rows, columns = shape.walk[1:3]
    heights = _MOST_ROWS if shape.rows.taps == TAPS else _MOST_WIDE_ROWS
    widths = sorted({cut(columns, width).size for width in _WIDTHS})
    for height in range(min(rows, heights[shape.rows.stride]), 0, -1):
        yield from (_Schedule(height, width) for width in widths)


def _call(node: PlacedNode, shape: Sliding, terms: Terms, schedule: _Schedule) -> list[KernelCall]:
    """Write the kernel, and return its call."""
    b, x = KernelBuilder(node.name), shape.x
    source, panel = b.param("x", x.elem, x.align_bytes), b.param("w", Elem.F32, 64)
    is_wide = shape.columns.taps > TAPS
    is_narrow = node.target.vector_registers < MANY
    packed = packed_windows(node.inputs[1], terms, LANES, by_columns=is_wide and not is_narrow)
    args: list[Arg] = [access_arg(x), packed]
    start = None
    if terms.exact is not None:
        start = b.param("start", Elem.F32, 64)
        args.append(constant(terms.start(shape.walk[3], None)))
    epilogue = Epilogue(node, b, shape.walk)
    if node.overwrites_image:
        b.may_alias(source, epilogue.y)
    inputs = StripInputs(source, panel, start)

    def write(strip: Strip) -> None:
        if is_narrow:
            writer = RowTileWriter if is_wide else StreamWriter
            done = 0
            for taps, alike in groupby(strip.taps):
                rows = len(list(alike))
                with b.loop("line", done, done + rows) as line:
                    row = b.add(strip.row, line.index)
                    only = replace(
                        strip, row=row, taps=(taps,), ahead=frozenset(range(shape.rows.taps))
                    )
                    writer(b, shape, inputs, epilogue, only).write()
                done += rows
        elif is_wide:
            pixels = WIDE_SUMS // len(strip.taps)
            TileWriter(b, shape, inputs, epilogue, pixels, strip).write()
        else:
            StripWriter(b, shape, inputs, epilogue, strip).write()

    size, in_order = (schedule.rows, schedule.columns), node.overwrites_image
    is_alike = is_wide or prod(shape.walk) <= _FEW_RESULTS
    loops = LineLoops(b, shape, size, write, node.threads, in_order=in_order, alike=is_alike)
    extent = loops.write()
    note = f"depthwise_columns {schedule.note}"
    return [KernelCall(b.finish(), (*args, *epilogue.args), extent, note)]
