"""Counts, for every element, how many thresholds it reaches, in one pass over memory."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.operands import Operands, address, common_walk
from ellc.codegen.blocks.placed_node import NodeOperand, PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, vector_lanes
from ellc.codegen.blocks.views import broadcast_strides, regrouped
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.errors import InternalError
from ellc.ir.ops.thresholds import CountReached

# For 32 and for 16 vector registers: the most vectors of elements of a block. Modelled cycles of a
# Cortex-A53 for 14x14x64 elements and 15 thresholds that all channels share: in 64-bit state
# 383,113 for eight vectors, 422,684 for four, 506,089 for two; in 32-bit state 352,325 for four,
# 360,310 for two, 409,203 for eight.
_VECTORS = {32: 8, 16: 4}


@lowers(CountReached)
def lower_count_reached(node: PlacedNode) -> list[KernelCall]:
    """A kernel that keeps a block of elements in registers while it loops over the thresholds."""
    x, thresholds = node.inputs
    shape = node.result.type.shape
    source = thresholds.access
    of_each = replace(source, shape=source.shape[1:], strides=source.strides[1:], border=None)
    first = NodeOperand(thresholds.type.with_shape(*of_each.shape), of_each, None)
    walk = common_walk(node.result, (x, first, *node.extras))
    steps = regrouped(shape, broadcast_strides(of_each.shape, of_each.strides, shape), walk)
    if steps is None:
        raise InternalError(
            f"{node.name}: thresholds of shape {source.shape} cannot be read in loops over {walk}"
        )
    b = KernelBuilder(node.name)
    operands = Operands(b, (x,), node.result, walk, "x")
    table = b.param("thresholds", source.elem, source.align_bytes)
    epilogue = Epilogue(node, b, walk)
    lanes = fitted_lanes(vector_lanes(node.target, source.elem), walk[-1])

    def body(at: list[Operand], length: int, last: bool) -> None:
        starts = range(0, length, lanes)
        counts = [min(lanes, length - start) for start in starts]
        deltas = [(*[0] * (len(walk) - 1), start) for start in starts]
        pairs = list(zip(deltas, counts, strict=True))
        values = [operands.load(0, at, delta, lanes, count) for delta, count in pairs]
        one, zero = (b.const(n, values[0]) for n in (1, 0))
        with b.loop("threshold", 0, source.shape[0], carry=[zero] * len(values)) as loop:
            row = b.mul(loop.index, source.strides[0])
            reached = []
            for value, total, (delta, count) in zip(values, loop.carried, pairs, strict=True):
                index, offset = address(b, steps, at, delta)
                index = b.add(row, index)
                threshold = load_lanes(b, table, index, lanes, count, steps[-1], offset)
                reached.append(b.add(total, b.select(b.compare("ge", value, threshold), one, zero)))
            loop.carry(reached)
        epilogue.store(loop.results, at, count=length, last=last)

    vectors = max(1, min(_VECTORS[node.target.vector_registers], walk[-1] // lanes))
    block = max(8 if epilogue.is_bits else 1, lanes * vectors)
    loops = ElementWalk(walk, block, node.threads, split_last=epilogue.has_tail)
    extent = loops.write(b, body)
    args = (*operands.args, access_arg(source), *epilogue.args)
    return [KernelCall(b.finish(), args, extent, f"thresholds {vectors}x{lanes}")]
