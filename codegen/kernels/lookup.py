"""A function of one byte, given as a table of its 256 results."""

from __future__ import annotations

from functools import partial

import numpy as np

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.operands import Operands, common_walk
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised import Lookup

_UNROLLED = {32: 4, 64: 8}
"""For 32-bit and 64-bit targets: how many elements a block has if the table is in memory; their
loads are independent. Modelled cycles of the Cortex-A53 (`tests/benchmarks/constants.py`), 28x28x64
elements, results of 16 bits: pi3_64 2: 353,834, 4: 278,683, 8: 266,254, 16: 259,576; pi3
2: 379,023, 4: 202,484, 8: 227,183, 16: 343,090."""
_VECTORS = 2
"""How many vectors a block has if the table fits in the registers. With results of 8 bits, the
cycles of the same measurement for 1 to 4 vectors differ by 2.5 % on pi3_64 and 1.7 % on pi3."""
_ENTRIES = 256


@lowers(Lookup)
def lower_lookup(node: PlacedNode) -> list[KernelCall]:
    """A kernel that looks up a vector of bytes at a time if the target can, else one byte."""
    data, walk = node.inputs[:1], common_walk(node.result, (*node.inputs[:1], *node.extras))
    source = node.inputs[1].access
    (step,) = source.strides
    b = KernelBuilder(node.name)
    operands = Operands(b, data, node.result, walk, "x")
    table = b.param("table", source.elem, source.align_bytes)
    epilogue = Epilogue(node, b, walk)
    lowest = int(np.iinfo(data[0].type.dtype.numpy).min)
    lanes = _lanes(node.target, source.elem, step, walk[-1])
    entries = b.bitcast(b.load(table, 0, _ENTRIES), Elem.U8) if lanes > 1 else None

    def results_of(at: list[Operand], start: int, count: int) -> Operand:
        delta = (*[0] * (len(walk) - 1), start)
        value = operands.load(0, at, delta, lanes, count)
        if entries is None:
            index = b.mul(b.convert(value, Elem.INDEX), step)
            return b.load(table, index, offset=-lowest * step)
        entry = b.bitcast(value, Elem.U8)
        # The table begins with the result of the lowest value. For signed bytes, xor 128 adds 128
        # modulo 256, which turns a value into its index.
        entry = b.op("xor", entry, b.const(-lowest, entry)) if lowest else entry
        return b.bitcast(b.op("pick", entry, entries), source.elem)

    def body(at: list[Operand], length: int, last: bool) -> None:
        parts = [
            partial(results_of, at, start, min(lanes, length - start))
            for start in range(0, length, lanes)
        ]
        epilogue.store(b.interleaved(parts), at, count=length, last=last)

    unrolled = _UNROLLED[node.target.word_bits] if lanes == 1 else _VECTORS * lanes
    block = max(8 if epilogue.is_bits else lanes, min(unrolled, walk[-1] // lanes * lanes))
    loops = ElementWalk(walk, block, node.threads, split_last=epilogue.has_tail)
    extent = loops.write(b, body)
    args = (*operands.args, access_arg(source), *epilogue.args)
    return [KernelCall(b.finish(), args, extent, f"lookup {lanes}")]


def _lanes(target: Target, elem: Elem, step: int, inner: int) -> int:
    """How many bytes are looked up at once.

    This is 1 if the table cannot be in the target's registers, or if a row has fewer than 8 bytes.
    """
    if not target.isa.looks_up_in_registers or elem.bytes > 1 or step != 1:
        return 1
    lanes = target.lanes(1)
    return lanes if inner >= lanes else 8 if inner >= 8 else 1
