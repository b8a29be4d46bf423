"""The largest elements along an axis: each pass over it finds the next one in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import index_of, kept_axes, nan_ranked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes, vector_lanes
from ellc.codegen.blocks.walking import Walk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.sorting import TopK


@lowers(TopK)
def lower_top_k(node: PlacedNode) -> list[KernelCall]:
    """As many passes over the axis as there are results, without memory for those already found."""
    op = node.anchor
    assert isinstance(op, TopK)
    node.refuse_stages()
    x = node.inputs[0].access
    values, places = node.results[0].access, node.results[1].access
    order = kept_axes(len(x.shape), (op.axis,))
    extents = tuple(x.shape[a] for a in order) or (1,)
    b = KernelBuilder(node.name)
    search = _Search(
        b,
        op,
        b.param("x", x.elem, x.align_bytes),
        b.param("values", values.elem, values.align_bytes, writable=True),
        b.param("places", places.elem, places.align_bytes, writable=True),
        (x, values, places),
        order,
        _lanes(node.target, x.elem, extents[-1]),
    )
    extent = Walk(extents, search.lanes, node.threads).write(b, search.row)
    args = (access_arg(x), access_arg(values), access_arg(places))
    return [KernelCall(b.finish(), args, extent, op.name)]


def _lanes(target: Target, elem: Elem, rows: int) -> int:
    """Rows side by side in one vector."""
    lanes = fitted_lanes(vector_lanes(target, elem if elem.bytes > 4 else Elem.I32), rows)
    return lanes


@dataclass(frozen=True, slots=True)
class _Search:
    """Writes the results of a vector of rows."""

    b: KernelBuilder
    op: TopK
    x: Param
    values: Param
    places: Param
    accesses: tuple[Access, Access, Access]
    order: list[int]
    lanes: int

    def row(self, at: list[Operand], length: int, last: bool) -> None:
        """All results for `length` rows from the coordinates `at`."""
        b, axis = self.b, self.op.axis
        strides = [[a.strides[i] for i in self.order] or [0] for a in self.accesses]
        x_base, y_base, z_base = (index_of(b, 0, at, s) for s in strides)
        x_step, y_step, z_step = (a.strides[axis] for a in self.accesses)
        x_lane, y_lane, z_lane = (s[-1] for s in strides)
        type_ = VType(self.x.elem, self.lanes)
        none = b.const(-1, type_.with_elem(Elem.I32))
        with b.loop("rank", 0, self.op.count, carry=(b.const(self._best(), type_), none)) as loop:
            value, place = loop.carried
            extent = self.accesses[0].shape[axis]
            nothing = b.const(0, type_)
            start = (nothing, nothing, none, b.const(0, none))
            with b.loop("candidate", 0, extent, carry=start) as inner:
                index = b.add(x_base, b.mul(inner.index, x_step))
                found = load_lanes(b, self.x, index, self.lanes, length, x_lane)
                ranked = nan_ranked(b, found, largest=self.op.largest)
                stored, best, where, number = inner.carried
                wins = self._wins(ranked, number, value, place, best, where)
                kept = [b.select(wins, new, old) for new, old in ((found, stored), (ranked, best))]
                where = b.select(wins, number, where)
                inner.carry((*kept, where, b.add(number, b.const(1, number))))
            stored, best, where, _ = inner.results
            y_index = b.add(y_base, b.mul(loop.index, y_step))
            z_index = b.add(z_base, b.mul(loop.index, z_step))
            store_lanes(b, stored, self.values, y_index, length, y_lane)
            store_lanes(b, where, self.places, z_index, length, z_lane)
            loop.carry((best, where))

    def _best(self) -> float | int:
        """What no element is better than."""
        sign = 1 if self.op.largest else -1
        if self.x.elem.is_float:
            return sign * np.inf
        info = np.iinfo(self.x.elem.numpy)
        return info.max if self.op.largest else info.min

    def _wins(
        self,
        found: Operand,
        number: Operand,
        value: Operand,
        place: Operand,
        best: Operand,
        where: Operand,
    ) -> Operand:
        """Whether an element comes after the last result, but before the best one so far."""
        b = self.b
        worse, better = ("lt", "gt") if self.op.largest else ("gt", "lt")
        equal = b.compare("eq", found, value)
        later = b.op("and", equal, b.compare("gt", number, place))
        after = b.op("or", b.compare(worse, found, value), later)
        nothing = b.compare("lt", where, b.const(0, where))
        before = b.op("or", nothing, b.compare(better, found, best))
        return b.op("and", after, before)
