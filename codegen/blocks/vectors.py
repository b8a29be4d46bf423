"""Loads and stores of vectors with any stride. Only the requested elements are accessed."""

from __future__ import annotations

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target


def vector_lanes(target: Target, elem: Elem) -> int:
    """How many lanes a vector has for arithmetic on a type; 1 if the target has none."""
    if elem is Elem.F64 and not target.vector_f64:
        return 1
    return target.lanes(elem.bytes)


def fitted_lanes(lanes: int, extent: int) -> int:
    """`lanes`, or the smallest half, quarter, .. of it that still holds `extent` elements."""
    while lanes > 1 and lanes // 2 >= extent:
        lanes //= 2
    return lanes


def load_lanes(
    b: KernelBuilder,
    param: Param,
    index: Operand | int,
    lanes: int,
    count: int,
    stride: int = 1,
    offset: int = 0,
) -> Operand:
    """A vector whose first `count` lanes are elements that are `stride` apart.

    The other lanes are 0, and no memory is read for them. With stride 0, the same element fills all
    lanes.
    """
    if stride == 0:
        return b.splat(b.load(param, index, offset=offset), lanes)
    if stride == 1 or lanes == 1:
        return b.load_some(param, index, lanes, count, offset=offset)
    return gathered(b, param, index, [offset + i * stride for i in range(count)], lanes)


def gathered(
    b: KernelBuilder, param: Param, index: Operand | int, offsets: list[int], lanes: int
) -> Operand:
    """A vector of the elements at `index + offset` for each of `offsets`; other lanes are 0.

    If an offset occurs more than once, its element is loaded once. `lanes` must be a power of two.
    """
    loaded: dict[int, Operand] = {}
    for offset in offsets:
        if offset not in loaded:
            loaded[offset] = b.load(param, index, offset=offset)
    zero = Imm(0.0 if param.elem.is_float else 0, VType(param.elem))
    items = [loaded[o] for o in offsets] + [zero] * (lanes - len(offsets))
    return joined(b, items)


def joined(b: KernelBuilder, items: list[Operand]) -> Operand:
    """One vector that contains all items in order. Neighbours are joined in a balanced tree."""
    while len(items) > 1:
        pairs = [
            _joined_pair(b, items[i], items[i + 1]) if i + 1 < len(items) else items[i]
            for i in range(0, len(items), 2)
        ]
        items = pairs
    return items[0]


def _joined_pair(b: KernelBuilder, first: Operand, second: Operand) -> Operand:
    if isinstance(first, Imm) and isinstance(second, Imm) and first.value == second.value:
        lanes = first.type.lanes + second.type.lanes
        return Imm(first.value, first.type.with_lanes(lanes))
    return b.op("join", first, second)


def store_lanes(
    b: KernelBuilder,
    value: Operand,
    param: Param,
    index: Operand | int,
    count: int,
    stride: int = 1,
    offset: int = 0,
) -> None:
    """Store the first `count` lanes to elements that are `stride` apart."""
    count = min(count, value.type.lanes)
    if stride == 1 or count == 1:
        b.store_some(value, param, index, count, offset=offset)
        return
    for lane in range(count):
        b.store(b.lane(value, lane), param, index, offset=offset + lane * stride)
