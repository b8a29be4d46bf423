"""Loops that measure the limits of a core: multiply-adds in registers, reads from memory.

The loops of multiply-adds have no dependence that could make the core wait. The loop of 8-bit
integers uses the same instructions as ellc's kernels for the target, so that none of these
kernels is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import implementing
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_PEAK_TRIPS = 5000
_UNROLLED = 4  # multiply-adds of each chain in one trip
_VALUES = 8  # the byte loop cycles through this many addresses; a power of two
_AT_A_TIME = 3  # products of bytes that are computed at the same time
_STREAMS = 8  # independent sums in the loop that reads memory


@dataclass(frozen=True, slots=True)
class MeasuringLoop:
    """A kernel that runs for `trips` trips, and its work in them: multiply-adds, or bytes read."""

    kernel: Kernel
    trips: int
    work: int


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops for a target: of floats, of 8-bit integers, and over a block of memory."""

    peak: MeasuringLoop
    byte_peak: MeasuringLoop
    stream: MeasuringLoop


def measuring_loops(target: Target, stream_bytes: int) -> Loops:
    """The loops `ellc_peak`, `ellc_byte_peak` and `ellc_stream`."""
    return Loops(_float_peak(target), _byte_peak(target), _stream(target, stream_bytes))


def _float_peak(target: Target) -> MeasuringLoop:
    """Independent chains of multiply-adds, which are fused if the target can fuse them."""
    b = KernelBuilder("ellc_peak")
    y = b.param("y", Elem.F32, 64, writable=True)
    lanes = target.lanes(4)
    # Three quarters of the registers hold chains; the rest is for the two factors and the compiler.
    chains = max(4, target.vector_registers * 3 // 4)
    factors = [b.load(y, i * lanes, lanes) for i in range(2)]
    sums: list[Operand] = [b.load(y, i * lanes, lanes) for i in range(chains)]
    with b.loop("turn", b.begin, b.end, carry=sums) as loop:
        values = list(loop.carried)
        for _ in range(_UNROLLED):
            values = [b.mul_add(factors[0], factors[1], v) for v in values]
        loop.carry(values)
    for i, value in enumerate(loop.results):
        b.store(value, y, i * lanes)
    return MeasuringLoop(b.finish(), _PEAK_TRIPS, _PEAK_TRIPS * _UNROLLED * chains * lanes)


Factors = Sequence[tuple[Operand, Operand]]


@dataclass(frozen=True, slots=True)
class _ByteProducts:
    """How a target multiplies vectors of small integers, and adds the products to 32-bit sums.

    `tile` is (number of weight vectors, number of value vectors); every weight vector is multiplied
    by every value vector. `add(b, sums, factors)` returns the sums plus the products of all lanes
    of the factors.
    """

    elem: Elem
    lanes: int
    sum_lanes: int
    tile: tuple[int, int]
    add: Callable[[KernelBuilder, Sequence[Operand], Factors], list[Operand]]


def _byte_products(target: Target) -> _ByteProducts:
    lanes = target.lanes(4)
    has_few_registers = target.vector_registers <= 16
    if any(row.available(target) for row in implementing("pair_products")):
        return _ByteProducts(
            Elem.I16, 2 * lanes, lanes, (4, 2) if has_few_registers else (6, 3), _add_pair_products
        )
    if lanes > 1:
        return _ByteProducts(
            Elem.I8, 4 * lanes, lanes, (3, 2) if has_few_registers else (6, 3), _add_wide_products
        )
    return _ByteProducts(Elem.I32, 1, 1, (2, 2), _add_products)


def _add_products(b: KernelBuilder, sums: Sequence[Operand], factors: Factors) -> list[Operand]:
    return [b.mul_add(x, w, total) for total, (x, w) in zip(sums, factors, strict=True)]


def _add_pair_products(
    b: KernelBuilder, sums: Sequence[Operand], factors: Factors
) -> list[Operand]:
    products = [b.op("pair_products", *pair) for pair in factors]
    return [b.add(*pair) for pair in zip(sums, products, strict=True)]


def _add_wide_products(
    b: KernelBuilder, sums: Sequence[Operand], factors: Factors
) -> list[Operand]:
    """The sums plus the products. Pairs of products are added in 16 bits, then in 32 bits.

    `_AT_A_TIME` pairs of factors are interleaved, so that an in-order core need not wait.
    """
    added: list[Operand] = []
    for start in range(0, len(sums), _AT_A_TIME):
        batch = factors[start : start + _AT_A_TIME]
        half = batch[0][0].type.lanes // 2
        low = [b.op("wide_mul", b.part(x, 0, half), b.part(w, 0, half)) for x, w in batch]
        products = [
            b.op("wide_mul_add", b.part(x, half, half), b.part(w, half, half), product)
            for (x, w), product in zip(batch, low, strict=True)
        ]
        totals = sums[start : start + _AT_A_TIME]
        added += [b.op("add_pairs", *pair) for pair in zip(totals, products, strict=True)]
    return added


def _byte_peak(target: Target) -> MeasuringLoop:
    """Products of values that are loaded on every trip and values that stay in registers.

    If neither changed, a compiler would compute the products once, before the loop.
    """
    products = _byte_products(target)
    b = KernelBuilder("ellc_byte_peak")
    x = b.param("x", products.elem, 64)
    y = b.param("y", Elem.I32, 64, writable=True)
    columns, rows = products.tile
    weights = [
        b.load(x, (2 * _VALUES + i) * products.lanes, products.lanes) for i in range(columns)
    ]
    sums: list[Operand] = [
        b.load(y, i * products.sum_lanes, products.sum_lanes) for i in range(columns * rows)
    ]
    with b.loop("turn", b.begin, b.end, carry=sums) as loop:
        start = b.mul(b.op("and", loop.index, Imm(_VALUES - 1)), products.lanes)
        values = [b.load(x, start, products.lanes, offset=i * products.lanes) for i in range(rows)]
        factors = [(value, weight) for value in values for weight in weights]
        loop.carry(products.add(b, loop.carried, factors))
    for i, value in enumerate(loop.results):
        b.store(value, y, i * products.sum_lanes)
    macs = columns * rows * products.lanes
    trips = _PEAK_TRIPS * _UNROLLED
    return MeasuringLoop(b.finish(), trips, trips * macs)


def _stream(target: Target, stream_bytes: int) -> MeasuringLoop:
    """The sum of a block of memory."""
    b = KernelBuilder("ellc_stream")
    x = b.param("x", Elem.F32, 64)
    y = b.param("y", Elem.F32, 64, writable=True)
    lanes = target.lanes(4)
    step = lanes * _STREAMS
    sums: list[Operand] = [b.load(y, i * lanes, lanes) for i in range(_STREAMS)]
    with b.loop("turn", b.begin, b.end, carry=sums) as loop:
        start = b.mul(loop.index, Imm(step))
        values = [
            b.add(v, b.load(x, b.add(start, Imm(i * lanes)), lanes))
            for i, v in enumerate(loop.carried)
        ]
        loop.carry(values)
    for i, value in enumerate(loop.results):
        b.store(value, y, i * lanes)
    return MeasuringLoop(b.finish(), stream_bytes // (4 * step), stream_bytes)
