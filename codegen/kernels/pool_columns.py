"""Small pools of floats whose windows slide along the columns, a cache line of channels at a time.

The loops are those of depthwise convolutions by columns (`line_loops.py`): bands of rows, segments
of columns, groups of channels that fill a cache line, and prefetches of the lines of the next
group. In a strip, the rows of each image column are combined once for all windows that share the
column, and the combined columns that the next windows need stay in registers.

Without prefetches, memory takes most of the time: an in-order core waits for every line. Thousands
of modelled cycles on pi3_64, maximum of 3x3 with stride 2, with the family `pool` (before the
colon) and with this one: 113x113x64 5,086 : 2,793; 55x55x128 3,420 : 1,369; 27x27x256
1,607 : 719. Bytes alone take 2,437, 1,147 and 559.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from math import prod

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.emission import is_costly
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.sliding import Sliding, input_readers
from ellc.codegen.blocks.window import even_tiles
from ellc.codegen.kernels.depthwise_cost import MANY, filled, has_strips, read, stream_cycles
from ellc.codegen.kernels.line_loops import LANES, LINE, LineLoops, Strip, segments
from ellc.codegen.kernels.pool import Combination, combination_of, tree, windows_of
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.types import DType

_MOST_TAPS = 3
_ROWS, _COLUMNS = (2, 1), (4, 7, 14)
"""The most rows of a strip and the most columns of a segment: the usual numbers, then others. In
longer segments, lines replace each other: pixels that are many lines apart reach few sets of the
first-level cache. Thousand modelled cycles on pi3_64, 3x3 with stride 2, 55x55x128, rows x columns
1x4: 1,363, 2x4: 1,369, 1x7: 1,444, 2x7: 1,543, 1x14: 1,811, 2x14: 1,866; 113x113x64 1x4: 2,900,
2x4: 2,828, 1x7: 2,826, 2x14: 3,459."""
_LOADED = 20
"""The most vectors that a step of a strip loads; they and what they are combined to must fit in 32
registers."""
_FEW_RESULTS = 2048
"""With at most so many results, all vectors of a group share the same code, which comes from memory
in every call. Thousand modelled cycles on pi3_64 in networks, with code for each vector and with
shared code: 3x3x1000, mean 55 and 19; 5x5x512 82 and 69; 16x16x64, 3x3 with stride 2 44 and 48;
10x10x256 60 and 78; 40x40x64 328 and 379."""
_OPENING = 40
"""The slots of a strip's pointers and counters, and of waiting for its first loads."""
_SLOT = 1.45
"""The cycles of an issue slot. 28x28x32, 3x3 with stride 2, takes 48 thousand modelled cycles on
pi3_64 and is predicted to take 50 thousand."""
_CODE_SLOT = 3.0
"""The cycles in which the code of a slot comes from memory. Each strip of another size, and each of
the vectors of a group, has code of its own: 16x16x64, 3x3 with stride 2, 2x4 has 32 such strips and
takes 73 thousand modelled cycles on pi3_64, 1x7 has 8 and takes 44."""
_COLUMNS_OF_CODE = 4
"""The columns of a strip that have code of their own, roughly; the others are trips of its loop."""
_MOST_CROWDED = 2.5
_STREAM, _CROWDED = 0.8, 0.3
"""The part of the time that lines take on their way from and to memory that no instructions hide,
and how much more for each time that a segment fills the first-level cache."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The most rows of a band and the most columns of a segment."""

    rows: int
    columns: int

    @property
    def note(self) -> str:
        """A short name for reports."""
        return f"{self.rows}x{self.columns}"


@kernel(MaxPool2D, AvgPool2D, name="pool_columns")
def pool_columns(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for windows of at most 3x3 over float32 images of whole vectors of channels.

    They are offered on in-order cores with 32 vector registers of 16 bytes. With 16, the combined
    columns are spilled: 55x55x128 takes 4,397 thousand modelled cycles on pi3 and 3,584 with the
    family `pool`.
    """
    op, target = node.anchor, node.target
    assert isinstance(op, MaxPool2D | AvgPool2D)
    types = (node.inputs[0].type, node.result.type)
    if not has_strips(target) or target.vector_registers < MANY:
        return
    if any(t.dtype is not DType.F32 for t in types):
        return
    if max(op.window) > _MOST_TAPS or op.dilation != (1, 1) or types[0].shape[3] % LANES:
        return
    if any(s > w for s, w in zip(op.stride, op.window, strict=True)):
        return
    if any(is_costly(stage.op) for stage in node.stages):
        return
    shape = windows_of(node)
    _, rows, columns, _ = shape.walk

    def candidate(schedule: _Schedule) -> Candidate:
        cycles = _cycles(target, shape, schedule)
        prediction = Prediction("pool_columns", schedule.note, cycles)
        return Candidate(prediction, partial(_call, node, schedule))

    sizes = {(min(r, rows), min(c, columns)): None for r, c in product(_ROWS, _COLUMNS)}
    every = [candidate(_Schedule(*size)) for size in sizes]
    yield from sorted(every, key=lambda c: c.prediction.known_cycles)


def _cycles(target: Target, shape: Sliding, schedule: _Schedule) -> float:
    """The cycles of all strips, of waits for their code, and of waits for image and result."""
    images, _, _, channels = shape.walk
    slots = code = 0.0
    for band in even_tiles(shape.rows, schedule.rows):
        for segment in segments(shape.columns, schedule.columns):
            strip = _strip_slots(target, shape, band.size, segment.size)
            slots += band.count * segment.count * strip
            code += _strip_slots(target, shape, band.size, min(segment.size, _COLUMNS_OF_CODE))
    copies = 1 if _is_alike(shape) else min(2 * LINE, channels) // LANES
    crowded = filled(target, shape, schedule.rows, schedule.columns)
    waits = stream_cycles(target, shape) * (_STREAM + _CROWDED * min(_MOST_CROWDED, crowded))
    slots *= images * channels / LANES * _SLOT
    return slots + copies * code * _CODE_SLOT + waits


def _strip_slots(target: Target, shape: Sliding, rows: int, columns: int) -> float:
    taps, new = shape.columns.taps, shape.columns.stride
    loads = target.core.load_cycles * read(shape.rows, rows)
    combined = rows * (shape.rows.taps - 1)
    work = columns * (new * (loads + combined) + rows * taps)
    return _OPENING + work + (taps - new) * (loads + combined)


def _is_alike(shape: Sliding) -> bool:
    """Whether all vectors of a group share the same code."""
    return prod(shape.walk) <= _FEW_RESULTS


def _call(node: PlacedNode, schedule: _Schedule) -> list[KernelCall]:
    """Write the kernel, and return its call."""
    b, shape = KernelBuilder(node.name), windows_of(node)
    args: list[Arg] = [access_arg(shape.x)]
    source = b.param("x", shape.x.elem, shape.x.align_bytes)
    combination = combination_of(node, b, shape, args)
    epilogue = Epilogue(node, b, shape.walk)

    def write(strip: Strip) -> None:
        _StripWriter(b, shape, source, combination, epilogue, strip).write()

    size = (schedule.rows, schedule.columns)
    alike = _is_alike(shape)
    loops = LineLoops(b, shape, size, write, node.threads, in_order=False, alike=alike)
    extent = loops.write()
    note = f"pool_columns {schedule.note}"
    return [KernelCall(b.finish(), (*args, *epilogue.args), extent, note)]


Column = tuple[Operand, ...]
"""For each row of results, the combination of an image column's elements in its windows."""


class _StripWriter:
    """Writes the code of one strip of at least one row and column."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        x: Param,
        combination: Combination,
        epilogue: Epilogue,
        strip: Strip,
    ) -> None:
        self._b, self._shape, self._x, self._strip = b, shape, x, strip
        self._combination, self._epilogue = combination, epilogue
        self._image_rows = list(input_readers(shape.rows, strip.taps))
        self._type = VType(Elem.F32, LANES)

    def write(self) -> None:
        """Write a loop over most columns, and the rest."""
        strip, stride = self._strip, self._shape.columns.stride
        per_column = max(1, stride * len(self._image_rows))
        width = max(1, min(strip.columns, _LOADED // per_column))
        at, kept = self._opened()
        trips = strip.columns // width
        if trips > 1:
            with self._b.loop(
                "column", 0, trips * width, width, carry=[*at, *self._flat(kept)]
            ) as c:
                inside = list(c.carried)
                here = self._hidden(inside[: len(at)])
                left = self._step(here, self._columns(inside[len(at) :]), c.index, width)
                moved = width * stride * self._shape.x.strides[2]
                c.carry([*(self._b.add(a, moved) for a in here), *self._flat(left)])
            results = list(c.results)
            at, kept = results[: len(at)], self._columns(results[len(at) :])
            rest = strip.columns - trips * width
            done: Operand = Imm(trips * width)
        else:
            rest, done = strip.columns, Imm(0)
        if rest:
            self._step(at, kept, done, rest)

    def _opened(self) -> tuple[list[Operand], list[Column]]:
        """The index of each image row, and the first columns, which the first windows share."""
        b, x, strip, shape = self._b, self._shape.x, self._strip, self._shape
        index = b.add(b.mul(strip.image, x.strides[0]), strip.channel)
        for output, axis, stride in (
            (strip.row, shape.rows, x.strides[1]),
            (strip.column, shape.columns, x.strides[2]),
        ):
            first = b.sub(b.mul(output, axis.stride), axis.before)
            index = b.add(index, b.mul(first, stride))
        at = self._hidden([b.add(index, row * x.strides[1]) for row in self._image_rows])
        if not self._is_whole:
            return at, []
        shared = shape.columns.taps - shape.columns.stride
        return at, self._combined(at, range(shared))

    @property
    def _is_whole(self) -> bool:
        """Whether the windows have all their columns in the image; others are single."""
        return self._strip.column_taps == (0, self._shape.columns.taps)

    def _hidden(self, at: Sequence[Operand]) -> list[Operand]:
        """The same indices, each of which becomes the base of the loads from its row."""
        return [self._b.op("opaque", index) for index in at]

    def _flat(self, columns: Sequence[Column]) -> list[Operand]:
        return [value for column in columns for value in column]

    def _columns(self, values: Sequence[Operand]) -> list[Column]:
        rest, rows = iter(values), len(self._strip.taps)
        return [tuple(islice(rest, rows)) for _ in range(len(values) // rows)]

    def _step(
        self, at: Sequence[Operand], kept: list[Column], done: Operand, width: int
    ) -> list[Column]:
        """Compute and store `width` columns of results; returns the columns that others share."""
        shape, strip = self._shape, self._strip
        taps, stride = shape.columns.taps, shape.columns.stride
        if self._is_whole:
            new = range(taps - stride, taps - stride + width * stride)
            columns = [*kept, *self._combined(at, new)]
            windows = [columns[pixel * stride : pixel * stride + taps] for pixel in range(width)]
        else:
            columns = self._combined(at, range(*strip.column_taps))
            windows = [columns]
        places = [(pixel, row) for pixel in range(width) for row in range(len(strip.taps))]
        position = (strip.image, strip.row, self._b.add(strip.column, done), strip.channel)

        def result(pixel: int, row: int) -> Operand:
            value = self._tree([column[row] for column in windows[pixel]])
            first, end = strip.taps[row]
            read_taps = (end - first) * (strip.column_taps[1] - strip.column_taps[0])
            value = self._combination.finish(value, read_taps, strip.channel, 0)
            return self._epilogue.apply(value, position, (0, row, pixel, 0))

        made = self._b.interleaved([partial(result, *place) for place in places])
        for (pixel, row), value in zip(places, made, strict=True):
            self._epilogue.write([value], position, (0, row, pixel, 0))
        return columns[len(columns) - (taps - stride) :] if self._is_whole else []

    def _combined(self, at: Sequence[Operand], columns: range) -> list[Column]:
        """Load image columns, counted from the indices `at`, and combine the rows of each."""
        b, strip, x = self._b, self._strip, self._shape.x
        loaded: list[dict[int, Operand]] = []
        for column in columns:
            offset, values = column * x.strides[2], dict[int, Operand]()
            for index, row in zip(at, self._image_rows, strict=True):
                if row in strip.ahead:
                    b.prefetch(self._x, index, offset=offset + strip.distance)
                values[row] = self._combination.loaded(b.load(self._x, index, LANES, offset=offset))
            loaded.append(values)

        def combined(values: dict[int, Operand], row: int) -> Operand:
            first, end = strip.taps[row]
            top = row * self._shape.rows.stride
            return self._tree([values[top + tap] for tap in range(first, end)])

        rows = range(len(strip.taps))
        made = b.interleaved([partial(combined, v, row) for v in loaded for row in rows])
        return self._columns(made)

    def _tree(self, values: Sequence[Operand]) -> Operand:
        return tree(self._b, self._combination, values, self._type)
