"""Which kernel family makes the kernels of a node."""

from __future__ import annotations

import ellc.codegen.kernels  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.emission import computes_in_double
from ellc.codegen.blocks.lowering import LOWERINGS, KernelCall, Lowering, NodeContext
from ellc.ir.errors import EllcError
from ellc.ir.op import Op, Pointwise
from ellc.ir.types import DType


def lowering_for(op: Op) -> Lowering | None:
    """The function that makes kernels for an operator, None if there is none.

    Every pointwise operator is served by the one registered for `Pointwise`.
    """
    found = LOWERINGS.get(type(op))
    return LOWERINGS.get(Pointwise) if found is None and isinstance(op, Pointwise) else found


def lower_node(ctx: NodeContext) -> list[KernelCall]:
    """The kernel calls of one node; `EllcError` (E301) if no kernel exists."""
    lowering = lowering_for(ctx.anchor)
    if lowering is None:
        raise EllcError(
            f"no kernel for operator '{ctx.anchor.name}'",
            code="E301",
            where=", ".join(ctx.node.source) or ctx.name,
            hint="`ellc ops` lists what can be compiled",
        )
    _want_doubles(ctx)
    calls = list(lowering(ctx))
    return [*ctx.before, *calls, *ctx.after]


def _want_doubles(ctx: NodeContext) -> None:
    """Raise E303 for a double on a machine whose doubles are library calls."""
    if ctx.target.scalar_f64:
        return
    types = [x.type for x in (*ctx.inputs, *ctx.extras)]
    types += [ctx.result_type(i) for i in range(len(ctx.node.outputs))]
    inside = [op for op in (ctx.anchor, *(s.op for s in ctx.stages)) if computes_in_double(op)]
    if inside or any(t.dtype is DType.F64 for t in types):
        needs = (inside or [ctx.anchor])[0].name
        raise EllcError(
            f"target {ctx.target.name} has no double precision, which '{needs}' needs",
            code="E303",
            where=", ".join(ctx.node.source) or ctx.name,
        )
