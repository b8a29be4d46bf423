"""The `k` largest or smallest elements along an axis. Each pass over the axis finds one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import index_of, kept_axes, nan_ranked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.sorting import TopK


@lowers(TopK)
def lower_top_k(node: PlacedNode) -> list[KernelCall]:
    """A kernel that makes one pass over the axis for each result.

    The results are ordered by value, and by position among equal values. A pass finds the element
    that follows the previous result in this order. It need not know any earlier result.
    """
    op = node.anchor
    assert isinstance(op, TopK)
    node.refuse_stages()
    x = node.inputs[0].access
    values, positions = node.results[0].access, node.results[1].access
    order = kept_axes(len(x.shape), (op.axis,))
    extents = tuple(x.shape[a] for a in order) or (1,)
    b = KernelBuilder(node.name)
    search = _TopKWriter(
        b,
        op,
        b.param("x", x.elem, x.align_bytes),
        b.param("values", values.elem, values.align_bytes, writable=True),
        b.param("places", positions.elem, positions.align_bytes, writable=True),
        (x, values, positions),
        order,
        _lanes(node.target, x.elem, extents[-1]),
    )
    extent = ElementWalk(extents, search.lanes, node.threads).write(b, search.row)
    args = (access_arg(x), access_arg(values), access_arg(positions))
    return [KernelCall(b.finish(), args, extent, op.name)]


def _lanes(target: Target, elem: Elem, rows: int) -> int:
    """How many rows one vector covers.

    Positions have 32 bits, so an element counts as at least 4 bytes.
    """
    return fitted_lanes(vector_lanes(target, elem if elem.bytes > 4 else Elem.I32), rows)


@dataclass(frozen=True, slots=True)
class _TopKWriter:
    """Writes the code for a vector of rows."""

    b: KernelBuilder
    op: TopK
    x: Param
    values: Param
    positions: Param
    accesses: tuple[Access, Access, Access]
    order: list[int]
    lanes: int

    def row(self, at: list[Operand], length: int, last: bool) -> None:
        """Write all results of `length` rows, from the coordinates `at` on."""
        b, axis = self.b, self.op.axis
        strides = [[a.strides[i] for i in self.order] or [0] for a in self.accesses]
        x_base, y_base, z_base = (index_of(b, 0, at, s) for s in strides)
        x_step, y_step, z_step = (a.strides[axis] for a in self.accesses)
        x_lane, y_lane, z_lane = (s[-1] for s in strides)
        type_ = VType(self.x.elem, self.lanes)
        no_position = b.const(-1, type_.with_elem(Elem.I32))
        with b.loop(
            "rank", 0, self.op.count, carry=(b.const(self._best(), type_), no_position)
        ) as loop:
            value, position = loop.carried
            extent = self.accesses[0].shape[axis]
            no_element = b.const(0, type_)
            start = (no_element, no_element, no_position, b.const(0, no_position))
            with b.loop("candidate", 0, extent, carry=start) as inner:
                index = b.add(x_base, b.mul(inner.index, x_step))
                element = load_lanes(b, self.x, index, self.lanes, length, x_lane)
                ranked = nan_ranked(b, element, largest=self.op.largest)
                stored, best, best_position, number = inner.carried
                wins = self._wins(ranked, number, value, position, best, best_position)
                kept = [
                    b.select(wins, new, old) for new, old in ((element, stored), (ranked, best))
                ]
                best_position = b.select(wins, number, best_position)
                inner.carry((*kept, best_position, b.add(number, b.const(1, number))))
            stored, best, best_position, _ = inner.results
            y_index = b.add(y_base, b.mul(loop.index, y_step))
            z_index = b.add(z_base, b.mul(loop.index, z_step))
            store_lanes(b, stored, self.values, y_index, length, y_lane)
            store_lanes(b, best_position, self.positions, z_index, length, z_lane)
            loop.carry((best, best_position))

    def _best(self) -> float | int:
        """A value that no element can beat."""
        sign = 1 if self.op.largest else -1
        if self.x.elem.is_float:
            return sign * np.inf
        info = np.iinfo(self.x.elem.numpy)
        return info.max if self.op.largest else info.min

    def _wins(
        self,
        element: Operand,
        number: Operand,
        value: Operand,
        position: Operand,
        best: Operand,
        best_position: Operand,
    ) -> Operand:
        """Whether an element comes after the previous result and before the best one of this pass.

        The element's value and position are `element` and `number`. Those of the previous result
        are `value` and `position`. Those of the best element so far are `best` and `best_position`,
        which is -1 if there is none.
        """
        b = self.b
        worse, better = ("lt", "gt") if self.op.largest else ("gt", "lt")
        equal = b.compare("eq", element, value)
        later = b.op("and", equal, b.compare("gt", number, position))
        after = b.op("or", b.compare(worse, element, value), later)
        no_element = b.compare("lt", best_position, b.const(0, best_position))
        before = b.op("or", no_element, b.compare(better, element, best))
        return b.op("and", after, before)
