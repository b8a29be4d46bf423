"""Small kernels that use every statement of the kernel IR."""

from __future__ import annotations

from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.types import Elem, VType


def sample_kernels() -> tuple[Kernel, ...]:
    """Kernels with every kind of statement, literal and loop."""
    return (product(), swapped(), guarded(), in_place(), elementary())


def product() -> Kernel:
    """A 3 x 4 register tile of a matrix product: nested loops, carried vectors, lane access."""
    b = KernelBuilder("product")
    x = b.param("x", Elem.F32)
    w = b.param("w", Elem.F32, 16)
    y = b.param("y", Elem.F32, writable=True)
    with b.loop("i", b.begin, b.end) as rows:
        tile: list[Operand] = [Imm(0.0, VType(Elem.F32, 4)) for _ in range(3)]
        with b.loop("k", 0, 16, 4, carry=tile) as depth:
            tile = list(depth.carried)
            b.prefetch(w, b.mul(depth.index, 4), offset=64)
            place = b.add(b.mul(rows.index, 48), depth.index)
            vectors = [b.load(x, place, 4, offset=16 * i) for i in range(3)]
            for step in range(4):
                weights = b.load(w, b.mul(depth.index, 4), 4, offset=4 * step, align_bytes=16)
                tile = [
                    b.mul_add(weights, b.op("splat_lane", v, attrs=(step, 4)), a)
                    for v, a in zip(vectors, tile, strict=True)
                ]
            depth.carry(tile)
        for i, result in enumerate(depth.results):
            b.store(result, y, b.mul(rows.index, 12), offset=4 * i)
    return b.finish()


def moving() -> Kernel:
    """Sums of products along a row: a loop that carries an index, and sums from trip to trip."""
    b = KernelBuilder("moving")
    x = b.param("x", Elem.F32)
    w = b.param("w", Elem.F32, 16)
    y = b.param("y", Elem.F32, writable=True)
    with b.loop("i", b.begin, b.end) as rows:
        weights = [b.load(w, 0, 4, offset=4 * k, align_bytes=16) for k in range(8)]
        at: Operand = b.op("opaque", b.mul(rows.index, 128))
        with b.loop("column", 0, 16, 2, carry=[at, *weights[:2]]) as loop:
            at, total, after = loop.carried
            at = b.op("opaque", at)
            for step in range(2):
                for k, weight in enumerate(weights):
                    value = b.load(x, at, 4, offset=4 * (step + 2 * k))
                    total = b.mul_add(weight, value, total)
                place = b.add(b.mul(rows.index, 64), b.mul(loop.index, 4))
                b.store(total, y, place, offset=4 * step)
                total, after = after, b.mul(weights[step], value)
            loop.carry([b.add(at, 8), total, after])
    return b.finish()


def passing() -> Kernel:
    """Sums of two pixels in loops of products; the inner loop only carries those of the second."""
    b = KernelBuilder("passing")
    x, w = b.param("x", Elem.F32), b.param("w", Elem.F32, 16)
    y = b.param("y", Elem.F32, writable=True)
    with b.loop("i", b.begin, b.end) as rows:
        starts = [b.load(w, 0, 4, offset=4 * k, align_bytes=16) for k in range(4)]
        with b.loop("tap", 0, 2, carry=starts) as taps:
            with b.loop("k", 0, 16, 4, carry=taps.carried) as depth:
                *sums, third, fourth = depth.carried
                at = b.add(b.mul(b.add(b.mul(rows.index, 2), taps.index), 16), depth.index)
                value = b.load(x, at, 4)
                for step in range(4):
                    weights = b.load(w, b.mul(depth.index, 4), 4, offset=4 * step, align_bytes=16)
                    factor = b.op("splat_lane", value, attrs=(step, 4))
                    sums = [b.mul_add(weights, factor, total) for total in sums]
                depth.carry([*sums, third, fourth])
            taps.carry(depth.results)
        for n, result in enumerate(taps.results):
            b.store(result, y, b.mul(rows.index, 16), offset=4 * n)
    return b.finish()


def swapped() -> Kernel:
    """Fibonacci numbers: both carried values must be assigned at the same time."""
    b = KernelBuilder("swapped")
    y = b.param("y", Elem.U32, writable=True)
    one = Imm(1, VType(Elem.U32))
    with b.loop("i", b.begin, b.end, carry=(one, one)) as loop:
        low, high = loop.carried
        b.store(low, y, loop.index)
        loop.carry((high, b.add(low, high)))
    b.store(loop.results[0], y, b.end)
    b.store(loop.results[1], y, b.end, offset=1)
    return b.finish()


def guarded() -> Kernel:
    """Partial vectors, a condition, negative offsets, and literals of every kind."""
    b = KernelBuilder("guarded")
    x = b.param("x", Elem.I8)
    y = b.param("y", Elem.I8, writable=True)
    bits = b.param("bits", Elem.U8, writable=True)
    with b.loop("i", b.add(b.begin, 1), b.end, 2) as loop:
        v = b.load_some(x, b.mul(loop.index, 8), 8, 5, offset=-8)
        mask = b.compare("lt", v, b.const(-3, v))
        packed = b.op("pack_bits", mask)
        b.store(packed, bits, loop.index)
        with b.when(b.compare("ne", packed, b.const(0, packed))):
            b.store_some(b.select(mask, b.const(100, v), v), y, b.mul(loop.index, 8), 5)
    return b.finish()


def in_place() -> Kernel:
    """Two parameters that may point to the same buffer."""
    b = KernelBuilder("in_place")
    x = b.param("x", Elem.F32)
    y = b.param("y", Elem.F32, writable=True)
    b.may_alias(x, y)
    with b.loop("i", b.begin, b.end, 4) as loop:
        v = b.load(x, loop.index, 4)
        b.store(b.max(v, b.const(0.0, v)), y, loop.index)
    return b.finish()


def elementary() -> Kernel:
    """Long straight-line code."""
    b = KernelBuilder("elementary")
    x = b.param("x", Elem.F32)
    y = b.param("y", Elem.F32, writable=True)
    with b.loop("i", b.begin, b.end, 4) as loop:
        b.store(vmath.tanh(b, b.load(x, loop.index, 4)), y, loop.index)
    return b.finish()
