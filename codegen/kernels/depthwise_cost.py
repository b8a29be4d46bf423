"""Predicts how long depthwise convolutions by columns take on cores that execute in order.

A strip (`depthwise_strip.py`) takes cycles for its instructions, for registers that LLVM spills
inside its loop, and for its opening. A kernel then waits for cache lines: for rows that the band
above has read and that come from the second-level cache, and for lines from memory. The wider a
segment, the more of its lines are replaced before their use.

The constants of instructions are from modelled cycles of 28 layers, each with every schedule, of
which the tool says how much were instructions. Those of waits are from the layers of networks
(`tests/benchmarks/predictions.py --networks`), where the layer before has written the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, gcd, prod

from ellc.codegen.blocks.sliding import Sliding
from ellc.codegen.blocks.window import Axis, even_tiles
from ellc.codegen.kernels.depthwise_strip import COLUMNS_OF_A_ROW, TAPS, UNROLL
from ellc.codegen.kernels.line_loops import FEW_GROUPS, LANES, LINE, segments
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_LLVM_SLOT = 2.1
"""The cycles of an issue slot where LLVM orders the instructions. The family `depthwise` issues
26,000 slots for 24x24x32 with stride 2, and takes 47,000 modelled cycles on pi3_64; inside networks
it takes 2.2 times its slots, as its code comes from memory."""
_LOOP_SLOT, _PAIR_LOOP_SLOT = {1: 1.42, 2: 1.5}, 1.51
"""The cycles of a slot inside the loop of a strip by stride, and with two rows and stride 1. A
column of 3 rows has 43 slots and takes 61.5 cycles, one of 2 rows 30 and 42 to 45."""
_STRAIGHT_SLOT = 1.3
"""The same if the loop has one trip, for which LLVM writes no loop: 51.5 and 35.5 cycles, or 57.6
with ReLU6. 1.2 is too little inside networks: thousands of modelled cycles of 16x16x64, rows x
columns 3x6 (straight) 118, 3x16 106, 2x6 (straight) 120, 2x16 105."""
_WIDE_SLOT = 1.6
"""The same for tiles of wide windows."""
_OPENING, _OPENING_SLOT = 24, 1.42
"""The slots of a strip's pointers and counters, and of waiting for its first loads; a strip of 3
rows opens in 88 cycles."""
_SPILL, _STRAIGHT_SPILL = 6.7, 2.0
"""The cycles for each register that is missing, in each column. With the constants of ReLU6, a
column of 3 rows takes 62.5 cycles if no columns are left after the last trip of the loop, 69 if one
is left, and 75 if two are left: values that the rest reads then have registers in the loop."""
_SUM_LATENCY = 4.0


@dataclass(frozen=True, slots=True)
class _Waits:
    """How strips wait for lines of image and result.

    `near` are the cycles for an image line that comes from the second cache once more. `stream` is
    the part of the time that lines take on their way from and to memory that no instructions hide,
    and `crowded` how much more for each time that a segment fills the first-level cache. `in_place`
    and `crowded_in_place` are the same if the result takes the place of the image, which costs no
    additional lines.
    """

    near: float
    stream: float
    crowded: float
    in_place: float
    crowded_in_place: float


_WAITS, _FEW_WAITS = _Waits(3.0, 0.5, 0.45, 0.08, 0.7), _Waits(4.0, 1.56, 0.37, 0.89, 0.33)
"""With many and with few registers."""
_ROOMY = 0.25
"""A segment that fills at most this part of the first-level cache is not crowded in place."""
_FAR_LINE = 110.0
"""The wait of a kernel that does not prefetch, for a line from memory: 112x112x96 with stride 2
takes 13.98 million modelled cycles with the family `depthwise`, and 4.93 by columns."""
_BEFORE = 1.5
"""Until an image is read, so many times its size pass through the second-level cache: the image
itself, and what the layer before it has read."""
_WAYS = 4
_LINE_BYTES = LINE * Elem.F32.bytes
WIDE_SUMS = 14
"""The most sums of a tile of a wide window. With two rows, two rows of the window also take 10 of
the 32 registers. Thousands of modelled cycles on pi3_64, 28x28x120 12: 1,569, 14: 1,319; stride 2,
56x56x72 12: 2,364, 14: 2,007."""


MANY = 32
"""So many vector registers hold the image columns under a window of several rows of results. With
fewer, strips have one row (`depthwise_stream.py`), and need ellc's own scheduler."""
_STREAM_COLUMN, _STREAM_OPENING = {1: 27.0, 2: 36.0}, 66.0
"""The cycles of a column of such a strip, by stride, and by how much a strip takes longer."""

_LOWER_ROW = 1.0
"""How much longer each column takes for each further row of a band."""

ROW_SUMS = 7
"""The most columns of a tile of a wide window of one row (`depthwise_rows.py`). The weights of a
window row and the values that are loaded take the rest of 16 registers."""
_ROW_RESULT, _ROW_TRIP = 22.5, 59.0
"""The cycles in which a result of such a tile begins and is finished, and by which a trip of the
loop over window rows takes longer than its multiply-adds and loads."""


def has_strips(target: Target) -> bool:
    """Whether convolutions by columns are offered for a target."""
    core, registers = target.core, target.vector_registers
    enough = registers >= (MANY // 2 if core.scheduler else MANY)
    return core.in_order and enough and target.vector_bytes == LANES * Elem.F32.bytes


def tile_cycles(target: Target, shape: Sliding, slots: float) -> float:
    """The cycles of a kernel of floats without prefetches that issues so many slots.

    They can be compared with those of `Strips`. Where there are no strips, slots are returned.
    """
    if not has_strips(target):
        return slots
    image, result = sizes(shape)
    far_lines = _missing(target, image, result) * (image + result) / _LINE_BYTES
    waits = far_lines * _FAR_LINE if target.core.memory else 0.0
    return slots * _LLVM_SLOT + waits


def stream_cycles(target: Target, shape: Sliding) -> float:
    """How long the lines of an image of floats, and of its result, are on their way to memory."""
    if target.core.memory is None:
        return 0.0
    image, result = sizes(shape)
    return (
        shape.walk[0]
        * _missing(target, image, result)
        * (image + 2 * result)
        / target.core.memory_bytes
    )


def sizes(shape: Sliding) -> tuple[int, int]:
    """The bytes of image and result."""
    image, result = prod(shape.x.shape[1:]), prod(shape.walk[1:])
    return image * Elem.F32.bytes, result * Elem.F32.bytes


def _missing(target: Target, image: int, result: int) -> float:
    """The part of an image that has left the second-level cache when it is read.

    The Cortex-A53 replaces lines at random: of the lines of a cache, exp(-n) are left after as many
    others as fill it n times.
    """
    filled = (_BEFORE * image + result) / max(1, target.l2_bytes)
    return 1 - (1 - exp(-filled)) / filled


@dataclass(frozen=True, slots=True)
class Strips:
    """A convolution that is computed in strips of at most `rows` rows and `columns` columns.

    The stages read `constants` vectors that do not depend on the channel, such as bounds. With
    `in_place`, the result takes the place of the image.
    """

    shape: Sliding
    rows: int
    columns: int
    constants: int
    in_place: bool

    def cycles(self, target: Target) -> float:
        """The predicted cycles of the whole kernel."""
        images, _, _, channels = self.shape.walk
        strips = sum(
            band.count * segment.count * self._strip(target, band.size, segment.size)
            for band in even_tiles(self.shape.rows, self.rows)
            for segment in segments(self.shape.columns, self.columns)
        )
        return images * (channels / LANES * strips + self._waits(target))

    def _strip(self, target: Target, rows: int, columns: int) -> float:
        if target.vector_registers < MANY:
            return rows * (self._row(columns) + (rows - 1) * columns * _LOWER_ROW)
        load, taps = target.core.load_cycles, self.shape.columns.taps
        image_rows = read(self.shape.rows, rows)
        if taps > TAPS:
            tiles = -(-columns // (WIDE_SUMS // rows))
            stride = self.shape.columns.stride
            values = image_rows * (columns * stride + tiles * (taps - stride))
            work = columns * rows * (taps * taps + 2)
            loads = load * (values + tiles * taps * taps)
            return _WIDE_SLOT * (work + loads + tiles * _OPENING)
        opening = load * (taps * taps + (taps - 1) * image_rows) + _OPENING
        return _OPENING_SLOT * opening + columns * self._column(target, rows, columns)

    def _row(self, columns: int) -> float:
        """The cycles of a strip of a single row where registers are few."""
        stride, taps = self.shape.columns.stride, self.shape.columns.taps
        if taps == TAPS:
            return _STREAM_OPENING + columns * _STREAM_COLUMN[stride]
        tiles = -(-columns // ROW_SUMS)
        values = columns * stride + tiles * (taps - stride)
        loads = taps * (values + tiles * taps)
        return columns * (taps * taps + _ROW_RESULT) + loads + tiles * taps * _ROW_TRIP

    def _column(self, target: Target, rows: int, columns: int) -> float:
        """The cycles of each column of a strip of `columns` columns."""
        stride, taps = self.shape.columns.stride, self.shape.columns.taps
        image_rows = read(self.shape.rows, rows)
        width = min(columns, COLUMNS_OF_A_ROW[stride] if rows == 1 else 1)
        # The products of a sum wait for one another.
        products = max(taps * taps * rows, taps * taps * _SUM_LATENCY / width / rows)
        slots = products + 2 * rows + target.core.load_cycles * image_rows * stride
        unroll = width if width > 1 else UNROLL[stride]
        trips, left = divmod(max(0, columns - width - (stride - 1)), unroll)
        used = taps * taps + taps * image_rows + 2 * rows + 1 + self.constants
        if trips <= 1:
            spilled = max(0, used - target.vector_registers) if stride == 1 else 0
            return slots * _STRAIGHT_SLOT + spilled * _STRAIGHT_SPILL
        spilled = max(0, used + left - target.vector_registers) if stride == 1 else 0
        slot = _PAIR_LOOP_SLOT if (rows, stride) == (2, 1) else _LOOP_SLOT[stride]
        return slots * slot + spilled * _SPILL

    def _waits(self, target: Target) -> float:
        """The waits for the lines of an image and of its result."""
        if target.core.memory is None:
            return 0.0
        image, result = sizes(self.shape)
        stride, taps = self.shape.rows.stride, self.shape.rows.taps
        again = max(0, taps - stride) / (self.rows * stride)
        crowded = filled(target, self.shape, self.rows, self.columns)
        waits = _WAITS if target.vector_registers >= MANY else _FEW_WAITS
        near = again * waits.near * min(2.0, 0.5 + crowded) * image / _LINE_BYTES
        missing = _missing(target, image, 0 if self.in_place else result)
        if self.in_place:
            far = missing * 2 * image / target.core.memory_bytes
            more = waits.crowded_in_place * missing * max(0.0, crowded - _ROOMY)
            return near + far * (waits.in_place + more)
        far = missing * (image + 2 * result) / target.core.memory_bytes
        return near + far * (waits.stream + waits.crowded * crowded)


def filled(target: Target, shape: Sliding, rows: int, columns: int) -> float:
    """How often the image lines of a segment fill the cache sets that they can reach.

    A pitch of pixels of 2, 4, 8, .. lines reaches only each second, fourth, eighth, .. set. If
    there are few groups, the lines of all groups are in use, and those of the next segment.
    """
    x = shape.x
    lines = read(shape.rows, rows) * read(shape.columns, min(columns, shape.walk[2]))
    groups = -(-shape.walk[3] // LINE)
    if groups <= FEW_GROUPS:
        return 2 * groups * lines * _LINE_BYTES / target.l1_bytes
    step_bytes = gcd(x.strides[2] * x.elem.bytes, target.l1_bytes // _WAYS)
    return lines * max(step_bytes, _LINE_BYTES) / target.l1_bytes


def read(axis: Axis, outputs: int) -> int:
    """How many inputs neighbouring outputs read along an axis."""
    return (outputs - 1) * axis.stride + axis.taps
