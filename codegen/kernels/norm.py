"""Local response normalisation: divides every channel by a power of its neighbours' energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.folding import index_of
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import reshaped
from ellc.codegen.blocks.vectors import fitted_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk, merged
from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.norm import LRN
from ellc.ir.types import DType

_VECTORS = 4
"""The most vectors of a block. Million modelled cycles by `tests/benchmarks/constants.py`,
64 channels, 28x28: pi3_64 1: 2.08, 2: 1.35, 4: 0.95, 8: 1.04; pi3 1: 2.07, 2: 1.34, 4: 1.25,
8: 1.72."""


@lowers(LRN)
def lower_lrn(node: PlacedNode) -> list[KernelCall]:
    """A kernel with vectors along the channels. Neighbours are loaded at shifted addresses."""
    op = node.anchor
    assert isinstance(op, LRN)
    walk = _walk(node)
    channels = walk[-1]
    x = reshaped(node.inputs[0].access, walk)
    lanes = fitted_lanes(vector_lanes(node.target, x.elem), channels)
    vectors = (
        max(1, 8 // lanes)
        if node.result.type.dtype is DType.BIT
        else min(_VECTORS, max(1, channels // lanes))
    )
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    epilogue = Epilogue(node, b, walk)
    lrn = _Lrn(b, op, source, channels, VType(x.elem, lanes))
    block = lanes * vectors

    def row(at: list[Operand], length: int, last: bool) -> None:
        base = index_of(b, 0, at, x.strides[:-1])

        def write(start: Operand, count: int) -> None:
            values = b.interleaved(
                [
                    partial(lrn.vector, base, start, first, min(lanes, count - first))
                    for first in range(0, count, lanes)
                ]
            )
            is_last = isinstance(start, Imm) and int(start.value) + count == channels
            epilogue.store(values, [*at, start], count=count, last=is_last)

        first, stop = lrn.interior(block)
        for edge in range(0, first, block):
            write(Imm(edge), min(block, channels - edge))
        with b.loop("channel", first, stop, block) as channel:
            write(channel.index, block)
        for edge in range(stop, channels, block):
            write(Imm(edge), min(block, channels - edge))

    extent = ElementWalk(walk[:-1], 1, node.threads).write(b, row)
    return [KernelCall(b.finish(), (access_arg(x), *epilogue.args), extent, f"lrn {block}")]


def _walk(node: PlacedNode) -> tuple[int, ...]:
    """The shape to walk: at least two axes, the last of which has the channels.

    The other axes are merged where their strides allow it, unless a stage has operands or results
    are bits.
    """
    shape = node.result.type.shape
    if node.extras or node.result.type.dtype is DType.BIT:
        return shape if len(shape) > 1 else (1, *shape)
    source = node.inputs[0].access
    walk = merged(shape, source.strides, node.result.access.strides, keep_last=True)
    return walk if len(walk) > 1 else (1, *walk)


@dataclass(frozen=True, slots=True)
class _Lrn:
    """Computes vectors of results."""

    b: KernelBuilder
    op: LRN
    x: Param
    channels: int
    type: VType

    def interior(self, block: int) -> tuple[int, int]:
        """The channels [first, end) of the whole blocks in which every channel has all neighbours.

        The last channel is never included: its block is written separately, with a start that is
        known at compile time, so that the epilogue knows that the row ends there.
        """
        before, after = self.op.reach(self.channels)
        first = -(-before // block) * block
        end = (self.channels - max(after, 1)) // block * block
        return (first, end) if first < end else (0, 0)

    def vector(self, base: Operand, start: Operand, shift: int, count: int) -> Operand:
        """The results of `count` channels from `start + shift` on."""
        b, op = self.b, self.op
        total: Operand = b.const(0.0, self.type)
        before, after = op.reach(self.channels)
        for offset in range(-before, after + 1):
            value = self._shifted(base, start, shift + offset)
            total = b.mul_add(value, value, total)
        energy = b.mul_add(total, b.const(op.alpha / op.size, total), b.const(op.bias, total))
        middle = b.load_some(self.x, b.add(base, start), self.type.lanes, count, offset=shift)
        return self._divided(middle, energy)

    def _shifted(self, base: Operand, start: Operand, shift: int) -> Operand:
        """A vector of the channels from `start + shift` on; channels that do not exist are 0."""
        b, lanes = self.b, self.type.lanes
        if not isinstance(start, Imm):
            return b.load(self.x, b.add(base, start), lanes, offset=shift)
        first = int(start.value) + shift
        missing = max(0, -first)
        count = min(lanes, self.channels - first) - missing
        if count <= 0:
            return b.const(0.0, self.type)
        value = b.load_some(self.x, base, lanes - missing, count, offset=first + missing)
        if not missing:
            return value
        return b.op("join", b.const(0.0, self.type.with_lanes(missing)), value)

    def _divided(self, value: Operand, energy: Operand) -> Operand:
        """`value / energy^beta`. The usual exponents 0.5 and 0.75 need roots instead of `pow`."""
        b, beta = self.b, self.op.beta
        if beta == 1.0:
            return b.div(value, energy)
        if beta not in (0.5, 0.75):
            return b.div(value, vmath.pow(b, energy, b.const(beta, energy)))
        if self._has_quick_root(energy):
            return self._by_inverse_roots(value, energy)
        root = b.op("sqrt", energy)
        return b.div(value, root if beta == 0.5 else b.mul(root, b.op("sqrt", root)))

    def _has_quick_root(self, energy: Operand) -> bool:
        """Whether `_inverse_root` can be used: the energy must be float32, normal and positive."""
        op = self.op
        return energy.type.elem is Elem.F32 and op.bias > 1e-30 and op.alpha >= 0

    def _by_inverse_roots(self, value: Operand, energy: Operand) -> Operand:
        """`value / energy^beta`, for a beta of 0.5 or 0.75, without a square root or a division.

        If r is energy^(-1/2), then energy^(-3/4) is r^2 r^(-1/2).
        """
        b = self.b
        factor = _inverse_root(b, energy)
        if self.op.beta == 0.75:
            factor = b.mul(b.mul(factor, factor), _inverse_root(b, factor))
        infinite = b.compare("eq", energy, b.const(math.inf, energy))
        return b.mul(value, b.select(infinite, b.const(0.0, factor), factor))


def _inverse_root(b: KernelBuilder, x: Operand) -> Operand:
    """x^(-1/2) for normal positive float32 values, with an error of at most 2 ulp.

    Halving the exponent gives a first approximation. Three steps of Newton's method improve it.
    """
    bits = b.shift_right(b.bitcast(x, Elem.I32), 1)
    y = b.bitcast(b.sub(b.const(0x5F375A86, bits), bits), Elem.F32)
    half, three_halves = b.mul(x, b.const(-0.5, x)), b.const(1.5, x)
    for _ in range(3):
        y = b.mul(y, b.mul_add(b.mul(half, y), y, three_halves))
    return y
