"""Convolutions of few channels, such as a network's first layer, a window row at a time.

The pixels of a tile read overlapping parts of one image row. A kernel loads every vector of this
row once for all pixels and all taps of a window row, and multiplies by lanes of the vector. The
matrix product (`gemm.py`) loads the values of each pixel separately. A window row has few values
here, and therefore is straight-line code; the loops of a matrix product would take a large share of
the time.

The image may have a plane for each channel, as networks in ONNX files have: nothing is transposed
before the first layer then. Where ellc schedules loops, those over window rows have constant
numbers of trips: rows of results at edges, which read fewer window rows, have code of their own.
The first layer of MobileNet V1, 3x3 s2 3->32 224, takes 4,454 thousand modelled cycles on pi3_64
from planes; before, it took 5,400 and the transposition 872. The bound of such loops, which issue
three multiply-adds and then a gap, is 3,613.

The table is from before these loops were scheduled. It compares this family (before the colon) with
the matrix product (after it), each with its own tile. Figures are thousands of cycles on a modelled
Cortex-A53, by `tests/benchmarks/predictions.py --first-layers`. A layer is described by its window,
stride s, channels -> filters, and rows of the image. `*` marks the family whose predicted cost was
lower:

| layer             | pi3_64           | pi3              |
|-------------------|------------------|------------------|
| 3x3 s2 3->32 224  | *5,311 :  6,169  |  8,048 : *8,467  |
| 3x3 s2 3->16 224  | *2,814 :  3,176  |  4,183 : *4,483  |
| 3x3 s1 3->64 96   | *6,712 :  8,341  | *9,147 : 11,583  |
| 3x3 s1 1->8 96    |   *310 :    464  |   *422 :    587  |
| 3x3 s1 1->32 96   | *1,673 :  2,049  | *1,938 :  2,362  |
| 3x3 s2 4->16 128  | *1,111 :  1,104  |  1,923 : *1,695  |
| 3x3 s2 3->24 192  | *2,978 :  3,394  |  4,468 : *4,841  |
| 3x3 s1 4->32 96   | *4,218 :  4,672  | *6,131 :  6,886  |
| 5x5 s2 3->32 128  | *4,004 :  4,876  |  6,097 : *6,517  |
| 5x5 s1 1->16 96   | *1,432 :  1,954  | *1,905 :  3,139  |
| 5x5 s2 3->8 160   | *1,571 :  1,919  |  2,655 : *2,512  |
| 5x5 s1 4->24 96   | *7,958 :  8,986  | *11,511 : 13,529 |
| 5x5 s2 1->64 128  | *2,775 :  3,528  | *3,847 :  5,564  |
| 3x3 s2 3->8 96    |   *220 :    258  |    357 :   *373  |
| 3x3 s1 3->12 112  | *1,773 :  2,694  | *2,356 :  4,177  |

For five layers with stride 2 on pi3, which has few registers, the prediction is wrong, and the
chosen kernel takes 4 to 8 % longer than the other one. On pi3_64 the prediction is wrong for one
layer, by less than 1 %. This family is not offered on x86-64, where one instruction loads and
broadcasts a value. There, even with its best tile, a kernel of this family takes 0.95 to 1.00 of
the matrix product's time for 16 or more filters, and 0.7 to 0.9 for 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import gcd

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import LINE_BYTES, GemmSchedule, gemm_tile, gemm_tiles
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.blocks.window import Tiles, column_tiles
from ellc.codegen.kernels.convolution import Problem, Product, has_whole_bytes, problem_of
from ellc.codegen.kernels.direct_tiles import (
    DirectNest,
    ImageRow,
    WindowRows,
    pack_planes,
    row_products,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, pack_filters
from ellc.codegen.kernels.tile_cycles import run_cycles
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.op import Op
from ellc.ir.ops.activations import Clip, Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import anchor_of
from ellc.ir.types import DType, TensorType

LEAST_TAPS = 3
"""The fewest rows and columns of a window."""
MOST_CHANNELS = 4
"""The most channels that an image may have; enough for grey, RGB, or RGB with a mask."""
LONGEST_ROW = 48
"""The most values in a window row; 11 taps of 4 channels fit."""


@kernel(Conv2D, name="direct")
def direct(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for windows of at least 3x3 over float32 images without gaps, up to four channels.

    A window row has at most `LONGEST_ROW` values, and there is only one group. Candidates are
    offered on in-order cores whose multiply-adds take a lane as an operand. The constants of the
    cost model below were measured on a modelled Cortex-A53.
    """
    conv, types = node.anchor, (node.inputs[0].type, node.inputs[1].type)
    if not isinstance(conv, Conv2D) or not _is_suitable(conv, *types, node.target):
        return
    problem = _problem(node)
    if problem is None:
        return
    target, shape, products = node.target, problem.shape, problem.terms.types
    pixels, filters = shape.columns.outputs, shape.filters
    # Also a single pixel is multiplied by lanes: a strip of a chain may be one column wide.
    usual = gemm_tile(target, products.total, max(2, pixels), filters)
    dtype = node.result.type.dtype
    tiles = [t for t in gemm_tiles(target, usual, pixels, filters) if has_whole_bytes(dtype, t)]
    if target.core.scheduler:
        tiles = [replace(tile, k_step=tile.lanes) for tile in tiles]
    if not usual.by_lane or not tiles:
        return  # tiles: results may be bits, and too few filters for a byte
    few = target.vector_registers <= _FEW_REGISTERS
    kept = sum(_KEPT.get(type(stage.op), 0) for stage in node.stages) if few else 0
    cycles = partial(direct_cycles, kept=kept)
    best = min(tiles, key=lambda tile: cycles(target, shape, tile, products))
    pack = pack_planes if shape.has_planes else pack_filters
    product = Product("direct", problem, WindowRows, pack, DirectNest)
    yield from product.candidates(node, cycles, best, tiles)


def reads_planes(
    op: Op, operands: Sequence[TensorType], result: TensorType, target: Target
) -> bool:
    """Whether this family can compute a node whose image has a plane for each channel."""
    conv = anchor_of(op)
    if not isinstance(conv, Conv2D) or not _is_suitable(conv, operands[0], operands[1], target):
        return False
    filters, most = operands[1].shape[0], 1 << 16
    return (
        operands[0].shape[3] > 1
        and conv.dilation[1] == 1
        and result.dtype is DType.F32
        and gemm_tile(target, Elem.F32, most, filters).by_lane
    )


def _is_suitable(conv: Conv2D, image: TensorType, weights: TensorType, target: Target) -> bool:
    """Whether this family can compute a convolution if the values of a window row lie together."""
    return (
        target.core.in_order
        and image.dtype is DType.F32
        and image.shape[3] <= MOST_CHANNELS
        and conv.groups == 1
        and min(weights.shape[1:3]) >= LEAST_TAPS
        and weights.shape[2] * image.shape[3] <= LONGEST_ROW
    )


def _problem(node: PlacedNode) -> Problem | None:
    """The problem of a node, with the image in planes if it has them; None if no tile can read it.

    The key of weights in the order of planes differs from that of others.
    """
    problem = problem_of(node, channels_apart=True)
    shape, terms = problem.shape, problem.terms
    if shape.has_planes and shape.columns.dilation == 1:
        return Problem(shape, replace(terms, key=f"{terms.key}planes:"))
    problem = problem_of(node)
    return problem if problem.shape.consecutive_taps else None


# The following constants of the cost model are issue slots. For several values of a constant, each
# comment gives the error of the predictions: the mean difference from modelled cycles over all
# schedules of 15 layers, by `tests/benchmarks/predictions.py --first-layers --schedules`. Some also
# give the loss: how much slower the chosen schedules are than the fastest ones.
_TILE_SLOTS = 16
"""The cost of a tile's pointers, tests of edges and counters. Error on pi3_64 0: 7.9 %,
8: 6.8 %, 16: 6.0 %, 32: 5.5 %; on pi3 0: 13.5 %, 16: 10.3 %. Loss on pi3_64 16: 1.3 %, 32: 1.9 %.
"""
_SCHEDULED_SLOTS = 40
"""The same if ellc schedules the loop over window rows: also its first loads. 3x3 s2 3->32 224 in
planes: a tile of 4x16 takes 682 modelled cycles, of which three trips of the loop take 576."""
_FEW_REGISTERS = 16
_KEPT: dict[type[Op], int] = {Relu: 1, Clip: 2}
"""The vector registers in which a stage keeps constants, if there are few. With ReLU, ellc has no
schedule for 5x4 on pi3: 3x3 s2 3->8 96 then takes 438 thousand modelled cycles, 4x4 349; without
278 and 283."""
_SPARE = 3
"""How many registers more the loop of a tile with several vectors of filters must leave free, if
there are few: 3x3 s1 1->8 96 on pi3, 5x8, where two are free, is not scheduled and takes 563
thousand modelled cycles; 4x8 takes 406, and 10x4, where none is free, 364."""
_SPILLED_SLOTS = 2.5
"""The cycles of a multiply-add in a tile at an edge whose values do not stay in registers: the same
layer with pixels, 8x8, 346 cycles for 138 multiply-adds; a tile that reads all taps takes 196 for
144."""
_UNSCHEDULED = 1.15
"""How much longer than its issue slots a tile takes that LLVM schedules, beside tiles that ellc
schedules: the same layer with pixels, 7x8, is predicted to take 4,687 thousand cycles without this
factor and takes 5,628."""
_RETURN_SLOTS = {64: 20.0, 32: 2.0}
"""How long a tile waits for a cache line of results that another block of filters has begun, by the
bits of an address. For the same layer, tiles of 8x8 in planes take 292 thousand modelled cycles
more than in caches that always have all lines, with 25 thousand lines of results; those of 4x16
take 142 thousand. Tiles of 4 filters, as on pi3, wait less: another block soon follows."""
_STEP_SLOTS = 6.0
"""How long the first load of a step waits for multiply-adds, if loads can take offsets. On pi3_64,
for a row of a 3x3 window of 3 channels, an 8x8 tile has 198 instructions in three steps and takes
215 modelled cycles. Error on pi3_64 0: 13.2 %, 3: 9.1 %, 6: 6.0 %, 12: 7.7 %."""
_LOAD_SLOTS = 1.5
"""How long every load of weights waits if loads cannot take offsets (32-bit Arm). LLVM moves such
loads between the multiply-adds. Error on pi3 0: 21.2 %, 0.75: 15.8 %, 1.5: 10.3 %, 3: 4.6 %. Loss
on pi3 0.75: 5.6 %, 1.5 and 3: 0.2 %, as both choose the same schedules. But with 3, and
2.25 for loads of the matrix product, MobileNet V1 0.25 224 took 5 % more cycles on pi3: its first
layer alone 3.84 million, where the matrix product takes 2.32."""
_LINE_SLOTS = 4.0
"""The additional cost of a pixel if a block of filters has one vector instead of two: a cache line
of results is then written in twice as many pieces. Error on pi3 0: 13.8 %, 4: 10.3 %, 8: 9.5 %.
Loss on pi3 0: 1.6 %, 4: 0.2 %, 8: 6.3 %; on pi3_64 0: 1.1 %, 4: 1.3 %, 8: 1.9 %."""


def direct_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes, kept: int = 0
) -> float:
    """Issue slots of a kernel: multiply-adds, loads of weights and of the image row, overhead.

    The last block of filters has instructions only for vectors that contain filters. Stages keep
    constants in `kept` vector registers.
    """
    images, rows, _, _ = shape.walk
    blocks, rest = divmod(shape.filters, schedule.block)
    cycles = blocks * _row_cycles(target, shape, schedule, kept)
    if rest:
        last = replace(schedule, vectors=-(-rest // schedule.lanes))
        cycles += _row_cycles(target, shape, last, kept)
    return images * rows * cycles


def _row_cycles(target: Target, shape: ConvShape, schedule: GemmSchedule, kept: int) -> float:
    """Issue slots of one row of results, for one block of filters."""
    return sum(
        tiles.count * _tile_cycles(target, shape, schedule, tiles, kept)
        for tiles in column_tiles(shape.columns, schedule.pixels)
    )


def _tile_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, tiles: Tiles, kept: int
) -> float:
    """Issue slots of one tile. If ellc schedules the loop over window rows, its length is known.

    A tile at an edge may need more registers than the others, and is then spilled within the same
    nest. If LLVM schedules the loop, values that do not fit in the registers are spilled and
    reloaded for every value of a window row.
    """
    whole = replace(tiles, taps=((0, shape.columns.taps),) * tiles.size)
    sums, rows = tiles.size * schedule.vectors, shape.rows.mean_taps
    if _run_cycles(target, shape, schedule, whole, kept) is not None:
        run: float | None = _run_cycles(target, shape, schedule, tiles, kept)
        if run is None:
            taps = sum((end - first) * len(group) for (first, end), group in tiles.tap_groups())
            run = taps * shape.channels * schedule.vectors * _SPILLED_SLOTS
        returns = _returns(shape, schedule, tiles) * _RETURN_SLOTS[target.word_bits]
        return run * rows + 2 * sums + returns + _SCHEDULED_SLOTS
    is_narrow = schedule.vectors == 1 and shape.filters > schedule.lanes
    around = 2 * sums + (tiles.size * _LINE_SLOTS if is_narrow else 0.0) + _TILE_SLOTS
    window = _plain_cycles(target, shape, schedule, tiles) * rows
    return window * (_UNSCHEDULED if target.core.scheduler else 1.0) + around


def _run_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, tiles: Tiles, kept: int
) -> int | None:
    """The cycles of a tile's scheduled loop for one window row; None if it is not scheduled."""
    if schedule.vectors > 1 and target.vector_registers <= _FEW_REGISTERS:
        kept += _SPARE
    if not target.core.scheduler:
        return None
    products, loads = row_products(shape, schedule, tiles)
    row_bytes = shape.columns.taps * shape.channels * schedule.block * Elem.F32.bytes
    return run_cycles(target, products, loads, tiles.size * schedule.vectors + kept, row_bytes)


def _returns(shape: ConvShape, schedule: GemmSchedule, tiles: Tiles) -> float:
    """How many cache lines of a tile's results other blocks of filters visit again."""
    if shape.filters <= schedule.block:
        return 0.0
    block_bytes = schedule.block * Elem.F32.bytes
    visits = (LINE_BYTES + block_bytes - gcd(LINE_BYTES, block_bytes)) / block_bytes
    return (visits - 1) * tiles.size * block_bytes / LINE_BYTES


def _plain_cycles(target: Target, shape: ConvShape, schedule: GemmSchedule, tiles: Tiles) -> float:
    """Issue slots of a tile for one window row, if LLVM schedules them."""
    load, sums = target.core.load_cycles, tiles.size * schedule.vectors
    loads_stay_together = target.isa.vector_loads_take_offsets
    weight = load if loads_stay_together else load + _LOAD_SLOTS
    cycles = 0.0
    for (first, end), pixels in tiles.tap_groups():
        row = ImageRow.of(shape, schedule, (end - first) * shape.values_of_tap, pixels)
        used, steps = row.vector_steps().values(), range(-(-row.length // row.step))
        most = max(sum(a <= step <= z for a, z in used) for step in steps)
        values = -(-most * row.width // schedule.lanes)
        registers = sums + values + schedule.vectors * schedule.k_step
        spilled = max(0, registers - target.vector_registers)
        products = len(pixels) * schedule.vectors
        group = row.length * (products + schedule.vectors * weight + spilled * (load + 1))
        group += len(used) * load + len(steps) * (_STEP_SLOTS if loads_stay_together else 0.0)
        cycles += group * (shape.channels if shape.has_planes else 1)
    return cycles
