"""A piecewise linear function. Tables hold the base and the slope of each piece."""

from __future__ import annotations

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.operands import Operands, common_walk
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.fixed_point_functions import Interpolate

_UNROLLED = 4
"""How many elements a block has. Their loads are independent of each other. Modelled cycles of the
Cortex-A53 (`tests/benchmarks/constants.py`) for 4,096 elements: pi3_64 1: 65,580, 2: 59,642,
4: 57,957, 8: 56,777; pi3 2: 39,239, 4: 45,599."""


@lowers(Interpolate)
def lower_interpolate(node: PlacedNode) -> list[KernelCall]:
    """A kernel that works element by element: each element reads the tables at its own index."""
    op = node.anchor
    assert isinstance(op, Interpolate)
    data, walk = node.inputs[:1], common_walk(node.result, (*node.inputs[:1], *node.extras))
    bases, slopes = (x.access for x in node.inputs[1:])
    b = KernelBuilder(node.name)
    operands = Operands(b, data, node.result, walk, "x")
    tables = [b.param(n, p.elem, p.align_bytes) for n, p in (("bases", bases), ("slopes", slopes))]
    steps = (bases.strides[0], slopes.strides[0])
    epilogue = Epilogue(node, b, walk)
    last_piece, mask = bases.shape[0] - 1, (1 << op.bits) - 1

    def value(at: list[Operand], start: int) -> Operand:
        x = operands.load(0, at, (*[0] * (len(walk) - 1), start), 1, 1)
        piece = b.min(b.shift_right(x, op.bits), b.const(last_piece, x))
        index = b.convert(b.max(piece, b.const(0, x)), Elem.INDEX)
        base, slope = (
            b.load(table, b.mul(index, step)) for table, step in zip(tables, steps, strict=True)
        )
        return b.add(base, b.mul(slope, b.op("and", x, b.const(mask, x))))

    def body(at: list[Operand], length: int, last: bool) -> None:
        parts = [value(at, start) for start in range(length)]
        epilogue.store(parts, at, count=length, last=last)

    block = max(8 if epilogue.is_bits else 1, min(_UNROLLED, walk[-1]))
    loops = ElementWalk(walk, block, node.threads, split_last=epilogue.has_tail)
    extent = loops.write(b, body)
    args = (*operands.args, access_arg(bases), access_arg(slopes), *epilogue.args)
    return [KernelCall(b.finish(), args, extent, "interpolation")]
