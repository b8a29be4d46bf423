"""Translates a loop nest to an assembly function: all steps in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from ellc.codegen.kir.assembly import Frame
from ellc.codegen.kir.in_order.allocate import Spilled, assign, spill
from ellc.codegen.kir.in_order.code import Bank, Code, Loop, Node, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.list_schedule import Order, Orders, StraightLine
from ellc.codegen.kir.in_order.live import live_after, without_dead_code
from ellc.codegen.kir.in_order.lower import Lowering
from ellc.codegen.kir.in_order.predict import counts_bits, dense_loops, is_dense, predicted_cycles
from ellc.codegen.kir.in_order.pressure import enough
from ellc.codegen.kir.in_order.write import Witness, function, without_copies_in_place, witnesses
from ellc.codegen.kir.ir import AssemblyFunction, For, Var
from ellc.codegen.machine.pipeline import Issue

_RESERVES: tuple[Mapping[Bank, int], ...] = (
    {},
    {"x": 1},
    {"x": 1, "v": 1},
)
"""How many registers of each bank stay free for the orders of dense blocks, where pointers and
literals need many of them (32 bits). With more of them orders are better, but more values are in
the frame. The best function is taken. Predicted cycles of the nests of ResNet8, VWW, MobileNet V2
and SqueezeNet on pi3, mean of the networks, beside all three (`tests/benchmarks/order_constants.py`
prints them): only the first +2.0 %, without the second +0.1 %, without the third +1.4 %. Two
registers x, two v, or only one v besides win less than 0.1 % together."""
_WINDOWS = (36, 76)
"""The windows for which dense blocks are ordered, beside the careful order. Measured likewise:
without the first +0.5 %, without the second +0.2 %, without the careful order +4.9 %, only the
careful one +1.3 %; the windows 28, 36 and 44 +0.1 %."""

_LONG = 64
"""The fewest instructions of blocks that are also ordered in turn, in 64-bit code. The second pass
of Winograd's sums for 16 -> 64 channels, 97 instructions, takes 76 instead of 85 cycles."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A function, its code with virtual registers, and where its loops keep their values.

    `cycles` are predicted.
    """

    function: AssemblyFunction
    nodes: list[Node]
    witnesses: Mapping[str, Witness]
    cycles: float


def lowered(
    loop: For,
    outs: Sequence[Var],
    frame: Frame,
    aliases: Mapping[str, str],
    encoding: Encoding,
    *,
    in_parts: bool = False,
) -> list[Node]:
    """The code of a nest before its order is known. Raises `Unsupported` outside the subset.

    `in_parts` is as for `Lowering`.

    Where displacements are short, loads may be out of reach of the pointers that a loop of products
    advances. Its products are then like those of other loops.
    """
    inputs = (loop, outs, frame, aliases, encoding)
    try:
        lowering = Lowering(*inputs, in_parts=in_parts)
    except Unsupported:
        if not encoding.offsets_are_rare:
            raise
        lowering = Lowering(*inputs, product_loops=False)
    return without_dead_code(lowering.nodes)


def translate(
    nodes: list[Node], frame: Frame, encoding: Encoding, rows: Mapping[str, Issue]
) -> Translated:
    """The function with the code of a nest. Raises `Unsupported` if registers are not enough."""
    few = encoding.offsets_are_rare and any(dense_loops(nodes))
    tight = few or counts_bits(nodes)
    reserves = _RESERVES if tight else _RESERVES[:1]
    found: list[Translated] = []
    spilled: list[Spilled] = []
    for reserve in reserves:
        fitting = spill(nodes, frame.bytes, count(1_000_000), encoding, reserve, tight=tight)
        if fitting not in spilled:
            spilled.append(fitting)
            found.append(_allocated(fitting, encoding, rows, tight))
    return min(found, key=lambda each: each.cycles)


def _allocated(
    fitting: Spilled, encoding: Encoding, rows: Mapping[str, Issue], tight: bool
) -> Translated:
    nodes = _in_order(fitting.nodes, encoding, rows, tight)
    numbers = assign(nodes, encoding, tight=tight)
    if numbers is None:
        nodes = fitting.nodes
        numbers = assign(nodes, encoding, tight=tight)
    if numbers is None:
        raise Unsupported("there are not enough registers")
    nodes = without_copies_in_place(nodes, numbers)
    written = function(nodes, numbers, fitting.bytes, encoding)
    places = witnesses(nodes, numbers, fitting.slots)
    return Translated(written, nodes, places, predicted_cycles(nodes, encoding, rows))


def _in_order(
    nodes: list[Node], encoding: Encoding, rows: Mapping[str, Issue], tight: bool
) -> list[Node]:
    """The function with its blocks in the order in which the core should run them."""
    after = live_after(nodes)

    def arranged(inside: Sequence[Node]) -> list[Node]:
        return [_arranged(node) for node in inside]

    def _arranged(node: Node) -> Node:
        if isinstance(node, Loop):
            return replace(node, body=arranged(node.body))
        if node.fixed or len(node.ops) < 2:
            return node
        out = after[id(node)]
        mine = {reg for op in node.ops for reg in op.registers}
        free = _free(out, mine, encoding)

        def fits(order: Order) -> bool:
            return enough(free, order.ops, out & mine, tight=tight)

        # The scheduler may need more registers than are free. One such block must not cost all
        # others their order.
        orders = Orders(StraightLine(node.ops, encoding, rows, out, free))
        if not (tight and (is_dense(node) or counts_bits([node]))):
            is_long = len(node.ops) >= _LONG and not encoding.offsets_are_rare
            of_long = [orders.in_turn()] if is_long else []
            found = [order for order in (orders.early(), *of_long) if fits(order)]
            found = found or [order for order in (orders.careful(tight=tight),) if fits(order)]
            return Code(min(found, key=Order.cycles).ops) if found else node
        if is_dense(node):
            tried = [*(orders.early(window) for window in _WINDOWS), orders.careful(tight=tight)]
        else:
            tried = [orders.in_turn()]
        fitting = [order for order in tried if fits(order)]
        return Code(min([*fitting, orders.given()], key=Order.cycles).ops) if fitting else node

    return arranged(nodes)


def _free(out: frozenset[Reg], mine: set[Reg], encoding: Encoding) -> dict[Bank, int]:
    """How many registers a block may use beside those that only live through it."""
    through = [reg for reg in out if reg not in mine]
    return {
        bank: len(order) - sum(r.bank == bank for r in through)
        for bank, order in encoding.registers.items()
    }
