"""A function of one byte, read from a table element by element."""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.epilogue import Epilogue
from codegen.kernels.elementwise import common_walk
from codegen.kernels.walking import Walk
from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Operand
from codegen.kir.types import Elem
from codegen.lowering import KernelCall, NodeContext, lowers
from codegen.operands import Operands
from ir.ops.quantised import Lookup

_UNROLLED = {32: 4, 64: 8}  # independent loads in flight, by the bits of a word


@lowers(Lookup)
def lower_lookup(ctx: NodeContext) -> list[KernelCall]:
    """Every element is the table's index; NEON's `tbl` would take 64 bytes of the table at once."""
    data, walk = ctx.inputs[:1], common_walk(ctx, ctx.inputs[:1])
    place, table_arg = ctx.place(ctx.inputs[1])
    b = KernelBuilder(ctx.name)
    operands = Operands(ctx, b, data, ctx.result_type().shape, walk, "x")
    table = b.param("table", place.elem, place.align_bytes)
    epilogue = Epilogue(ctx, b, walk)
    lowest = int(np.iinfo(data[0].type.dtype.numpy).min)
    (step,) = place.strides

    def element(at: list[Operand], place: int) -> Operand:
        delta = (*[0] * (len(walk) - 1), place)
        number = b.convert(operands.load(0, at, delta, 1, 1), Elem.INDEX)
        return b.load(table, b.mul(number, step), offset=-lowest * step)

    def body(at: list[Operand], length: int, last: bool) -> None:
        found = b.interleaved([partial(element, at, place) for place in range(length)])
        epilogue.store(found, at, count=length, last=last)

    block = max(8 if epilogue.is_bits else 1, min(_UNROLLED[ctx.target.word_bits], walk[-1]))
    loops = Walk(walk, block, ctx.options.threads, split_last=epilogue.has_tail)
    extent = loops.write(b, body)
    args = (*operands.args, table_arg, *epilogue.args)
    return [KernelCall(b.finish(), args, extent, "lookup")]
