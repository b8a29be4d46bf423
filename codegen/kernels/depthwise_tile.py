"""The tile of a depthwise convolution: how many output rows, pixels and vectors of channels."""

from __future__ import annotations

from functools import partial

from ellc.codegen.blocks.lowering import NodeContext
from ellc.codegen.blocks.sliding import Rectangle, Sliding, meetings
from ellc.codegen.blocks.terms import Numbers
from ellc.codegen.blocks.vectors import vector_lanes
from ellc.codegen.blocks.window import Axis, cut
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import SCALAR_BYTES, Target
from ellc.ir.types import DType

_STRAIGHT = 700  # multiply-adds of one vector up to which a tile is straight-line code


def choose_rectangle(
    ctx: NodeContext, shape: Sliding, multiplier: int, numbers: Numbers
) -> Rectangle:
    """The tile that costs least by a count of loads, multiply-adds and stores."""
    narrow = numbers.factor.bytes < 2  # whose products fill a register when they are widened
    lanes = vector_lanes(ctx.target, Elem.I16 if narrow else numbers.factor)
    while lanes > 1 and lanes // 2 >= shape.walk[3]:
        lanes //= 2
    multiple = 8 if ctx.result_type().dtype is DType.BIT else 1
    fitting = partial(_fits, lanes, multiplier, multiple)
    vectors = next(v for v in range(1, 8 * multiplier + 1) if fitting(v))
    many = ctx.target.vector_registers >= 32
    registers = lanes * numbers.total.bytes // ctx.target.vector_bytes or 1  # of one vector of sums
    budget = max(1, (16 if many else 8) // (vectors * registers))
    choices = [
        (rows, pixels)
        for rows in range(1, min(4 if many else 2, shape.rows.outputs) + 1)
        for pixels in range(1, min(16, shape.columns.outputs) + 1)
        if rows * pixels <= budget
        and (rows == 1 or not is_looped(ctx.target, shape, rows * pixels))
    ]
    rows, pixels = min(choices, key=partial(tile_cycles, ctx.target, shape))
    rows, pixels = cut(shape.rows.outputs, rows).size, cut(shape.columns.outputs, pixels).size
    # A small rectangle leaves time and registers for several vectors.
    most = min(budget // (rows * pixels), shape.walk[3] // lanes)
    wider = [v for v in (4, 2) if vectors < v <= most and fitting(v)]
    return Rectangle(rows, pixels, wider[0] if wider else vectors, lanes)


def _fits(lanes: int, multiplier: int, multiple: int, vectors: int) -> bool:
    """Whether a block of so many vectors has whole channels, or lies within one."""
    block = vectors * lanes
    return block % multiple == 0 and (multiplier % block == 0 or block % multiplier == 0)


def is_looped(target: Target, shape: Sliding, windows: int) -> bool:
    """Whether a tile is too much for straight-line code.

    That is always so with the few registers of 32-bit NEON, whose vector loads take no offset:
    each would need a pointer of its own.
    """
    if target.vector_bytes > SCALAR_BYTES and not target.isa.vector_loads_take_offsets:
        return True
    return windows * shape.rows.taps * shape.columns.taps > _STRAIGHT


def tile_cycles(
    target: Target, shape: Sliding, tile: tuple[int, int], vectors: int = 1
) -> tuple[float, int]:
    """Cycles by count for the whole image and one of `vectors`; a small core's load takes two."""
    load = target.core.load_cycles
    total = 0.0
    for rows, row_count in _sizes(shape.rows, tile[0]):
        for pixels, pixel_count in _sizes(shape.columns, tile[1]):
            reads = _span(shape.rows, rows) * _span(shape.columns, pixels)
            taps = shape.rows.taps * shape.columns.taps
            work = rows * pixels * (taps + 2)
            # Sums that wait for each other: fewer than eight leave the unit idle.
            idle = max(1.0, 8 / (rows * min(pixels, shape.columns.taps) * vectors))
            is_short = rows * pixels * vectors < 8
            once = load * (reads + taps) + work * (idle if is_short else 1.0) + 8 / vectors
            total += once * row_count * pixel_count
    return total, tile[0] * tile[1]


def _sizes(axis: Axis, limit: int) -> list[tuple[int, int]]:
    """(size, count) of the pieces an axis is cut into."""
    pieces = cut(axis.outputs, limit)
    return [(pieces.size, pieces.count)] + ([(pieces.rest, 1)] if pieces.rest else [])


def _span(axis: Axis, outputs: int) -> int:
    """How many different inputs `outputs` neighbours read."""
    return len(meetings(axis, ((0, axis.taps),) * outputs))
