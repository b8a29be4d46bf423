"""Pointwise operators, alone or fused into a chain, in one pass over memory."""

from __future__ import annotations

from functools import partial

from ellc.codegen.blocks.calls import KernelCall
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.emission import emit_pointwise, is_costly
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.operands import Operands, common_walk, vectors_of_period
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.op import Pointwise
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.quantised_arithmetic import QuantAdd, QuantMul
from ellc.ir.types import DType

_VECTORS = 4
"""The most vectors of a block. Thousand modelled cycles by `tests/benchmarks/constants.py`, 14x14:
ReLU on pi3_64 1: 37.0, 2: 24.4, 4: 16.0, 8: 14.8, on pi3 2: 22.7, 4: 19.6, 8: 16.4;
a sum on pi3_64 1: 22.9, 2: 16.4, 4: 11.5, 8: 12.1, on pi3 2: 15.4, 4: 14.4, 8: 12.8;
with 2 : 4 vectors, on pi3_64 sigmoid 209 : 140, tanh 211 : 148, erf 578 : 464, sin 173 : 162,
log 255 : 230, on pi3, in the same order, 352 : 320, 341 : 339, 692 : 695, 242 : 246, 278 : 284. On
an AMD EPYC, 4 take 10 % less time than 2 for sigmoid, 13 % less for tanh, 2 to 4 % more for sin."""
_FEW_VECTORS = 2
"""The same for costly operators on integers, which compute in more registers, and for costly
operators whose vectors have one lane. Thousand cycles of pi0's code on a Cortex-A53: erf 1: 1,897,
2: 1,194, 4: 1,896; log 1: 1,495, 2: 799, 4: 1,301."""
_LEAST_LOADED_BYTES = 8
"""An integer operand that becomes a float is loaded in vectors of at least so many bytes. Thousand
modelled cycles by the same script for 128x128 pixels of three bytes, with a factor and an offset
per colour: pi3_64 4: 143.4, 8: 89.6, 16: 123.9; pi3 4: 179.2, 8: 141.6, 16: 170.7."""


@lowers(Pointwise)
def lower_elementwise(node: PlacedNode) -> list[KernelCall]:
    """Kernels for any pointwise operator whose operands broadcast to the shape of the result."""
    walk = common_walk(node.result, (*node.inputs, *node.extras))
    b = KernelBuilder(node.name)
    lanes = _lanes(node, walk[-1])
    period = _period(node, lanes)
    vectors = _vectors(node, lanes, walk[-1], period)
    block = lanes * vectors if period else 0
    operands = Operands(b, node.inputs, node.result, walk, "x", block)
    epilogue = Epilogue(node, b, walk, block)
    operands.hold(lanes)
    epilogue.hold(lanes)
    op = node.anchor
    assert isinstance(op, Pointwise)

    def vector(at: list[Operand], start: int, count: int) -> Operand:
        delta = (*[0] * (len(walk) - 1), start)
        loaded = [operands.load(i, at, delta, lanes, count) for i in range(len(node.inputs))]
        return epilogue.apply(emit_pointwise(op, b, *loaded), at, delta, count)

    def body(at: list[Operand], length: int, last: bool) -> None:
        parts = [
            partial(vector, at, start, min(lanes, length - start))
            for start in range(0, length, lanes)
        ]
        epilogue.write(b.interleaved(parts), at, count=length, last=last)

    loops = ElementWalk(walk, lanes * vectors, node.threads, split_last=epilogue.has_tail)
    extent = loops.write(b, body)
    note = f"elementwise {vectors}x{lanes}"
    return [KernelCall(b.finish(), (*operands.args, *epilogue.args), extent, note)]


def _lanes(node: PlacedNode, inner: int) -> int:
    """The lanes of a vector: as many elements of the widest type as fit in a register.

    There are fewer in a short row, or if an operator on narrower types computes in 32 bits.
    """
    types = [x.type for x in (*node.inputs, *node.extras)] + [node.anchor_type(), node.result.type]
    lanes = min(vector_lanes(node.target, Elem.of(t.dtype)) for t in types)
    if any(isinstance(op, QuantAdd | QuantMul) for op in node.operators):
        # These operators compute in 32 bits, and a vector of more than two registers would spill.
        lanes = min(lanes, 2 * vector_lanes(node.target, Elem.I32))
    source = node.inputs[0].type.dtype
    if lanes > 1 and isinstance(node.anchor, Pointwise) and _widens(node.anchor, source):
        lanes = max(lanes, _LEAST_LOADED_BYTES // source.item_bytes)
    return fitted_lanes(lanes, inner)


def _period(node: PlacedNode, lanes: int) -> int:
    """The vectors after which constants with a value per channel repeat; 0 without such constants.

    Also 0 if they would take more than half of the registers.
    """
    period, constants = vectors_of_period((*node.inputs, *node.extras), lanes)
    return period if 0 < period * constants <= node.target.vector_registers // 2 else 0


def _vectors(node: PlacedNode, lanes: int, inner: int, period: int) -> int:
    """The number of vectors in a block. They are interleaved.

    If results are bits, a block fills whole bytes. With a `period`, it has so many vectors or a
    multiple of them, so that constants stay in registers.
    """
    source = node.inputs[0].type.dtype
    costly = any(
        isinstance(op, Pointwise) and is_costly(op) and not (number == 0 and _widens(op, source))
        for number, op in enumerate(node.operators)
    )
    types = (*(x.type for x in node.inputs), node.result.type)
    in_floats = lanes > 1 and all(Elem.of(t.dtype).is_float for t in types)
    wanted = _VECTORS if in_floats or not costly else _FEW_VECTORS
    if period:
        wanted = max(1, wanted // period) * period
    vectors = max(1, min(wanted, inner // lanes))
    while node.result.type.dtype is DType.BIT and vectors * lanes % 8:
        vectors += 1
    return vectors


def _widens(op: Pointwise, source: DType) -> bool:
    """Whether an operator converts integers of at most 32 bits to floats: three instructions."""
    if not isinstance(op, Cast) or not op.dtype.is_float:
        return False
    return source.is_integer and source.item_bytes <= Elem.I32.bytes
