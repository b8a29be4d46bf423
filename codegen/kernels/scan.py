"""Running sums and products along an axis."""

from __future__ import annotations

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import axis_group, index_of, kept_axes
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import VType
from ellc.ir.ops.scan import CumProd, CumSum, Running


@lowers(CumSum, CumProd)
def lower_running(node: PlacedNode) -> list[KernelCall]:
    """A kernel whose loop along the axis carries running totals, in vectors along other axes."""
    op = node.anchor
    assert isinstance(op, Running)
    combine = "mul" if isinstance(op, CumProd) else "add"
    node.refuse_stages()
    x = node.inputs[0].access
    y = node.result.access
    order = kept_axes(len(x.shape), (op.axis,))
    kept = axis_group(x, order, [y.strides[a] for a in order])
    extent = x.shape[op.axis]
    x_step, y_step = x.strides[op.axis], y.strides[op.axis]
    lanes = fitted_lanes(vector_lanes(node.target, x.elem), kept.extents[-1])
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    target = b.param("y", y.elem, y.align_bytes, writable=True)

    def body(at: list[Operand], length: int, last: bool) -> None:
        x_base, y_base = index_of(b, 0, at, kept.x), index_of(b, 0, at, kept.y)
        start = b.const(op.start, VType(x.elem, lanes))
        with b.loop("element", 0, extent, carry=(start,)) as loop:
            position = b.sub(Imm(extent - 1), loop.index) if op.reverse else loop.index
            x_index, y_index = (
                b.add(base, b.mul(position, step))
                for base, step in ((x_base, x_step), (y_base, y_step))
            )
            (before,) = loop.carried
            value = load_lanes(b, source, x_index, lanes, length, kept.x[-1])
            total = b.op(combine, before, value)
            written = before if op.exclusive else total
            store_lanes(b, written, target, y_index, length, kept.y[-1])
            loop.carry((total,))

    parallel = ElementWalk(kept.extents, lanes, node.threads).write(b, body)
    return [KernelCall(b.finish(), (access_arg(x), access_arg(y)), parallel, op.name)]
