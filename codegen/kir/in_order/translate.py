"""Translates a loop nest to an assembly function: all steps in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from ellc.codegen.kir.assembly import Frame
from ellc.codegen.kir.in_order.allocate import assign, spill
from ellc.codegen.kir.in_order.code import Bank, Code, Loop, Node, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.list_schedule import scheduled
from ellc.codegen.kir.in_order.live import liveness, without_dead_code
from ellc.codegen.kir.in_order.lower import Lowering
from ellc.codegen.kir.in_order.write import Witness, function, witnesses
from ellc.codegen.kir.ir import AssemblyFunction, For, Var
from ellc.codegen.machine.pipeline import Issue


@dataclass(frozen=True, slots=True)
class Translated:
    """A function, its code with virtual registers, and where its loops keep their values."""

    function: AssemblyFunction
    nodes: list[Node]
    witnesses: Mapping[str, Witness]


def translate(
    loop: For,
    outs: Sequence[Var],
    frame: Frame,
    aliases: Mapping[str, str],
    encoding: Encoding,
    rows: Mapping[str, Issue],
) -> Translated:
    """The function that computes a nest. Raises `Unsupported` outside the subset."""
    lowered = without_dead_code(Lowering(loop, outs, frame, aliases, encoding).nodes)
    fitting = spill(lowered, frame.bytes, count(1_000_000), encoding)
    nodes = _in_order(fitting.nodes, encoding, rows)
    numbers = assign(nodes, encoding)
    if numbers is None:
        nodes = fitting.nodes
        numbers = assign(nodes, encoding)
    if numbers is None:
        raise Unsupported("there are not enough registers")
    written = function(nodes, numbers, fitting.bytes, encoding)
    return Translated(written, nodes, witnesses(nodes, numbers, fitting.slots))


def _in_order(nodes: list[Node], encoding: Encoding, rows: Mapping[str, Issue]) -> list[Node]:
    """The function with its blocks in the order in which the core should run them."""
    found = liveness(nodes)
    after = found.after

    def arranged(inside: Sequence[Node]) -> list[Node]:
        return [_arranged(node) for node in inside]

    def _arranged(node: Node) -> Node:
        if isinstance(node, Loop):
            return Loop(
                node.label,
                node.guard,
                arranged(node.body),
                node.latch,
                node.carried,
                node.index,
                node.trips,
                node.peeled,
            )
        if node.fixed or len(node.ops) < 2:
            return node
        out = after[id(node)]
        mine = {reg for op in node.ops for reg in op.registers}
        free = _free(out, mine, encoding)
        ordered = scheduled(node.ops, encoding, rows, out, free)
        # The scheduler may need more registers than are free. One such block must not cost all
        # others their order.
        return Code(ordered) if _fits(ordered, out & mine, free) else node

    return arranged(nodes)


def _fits(ops: Sequence[Op], out: frozenset[Reg], free: Mapping[Bank, int]) -> bool:
    """Whether no more registers than `free` are in use at the same time, as `assign` counts them.

    `out` are live after the block.
    """
    live = set(out)
    for op in reversed(ops):
        live.update(op.registers)
        if any(sum(r.bank == bank for r in live) > count for bank, count in free.items()):
            return False
        live.difference_update(set(op.writes).difference(op.used))
    return True


def _free(out: frozenset[Reg], mine: set[Reg], encoding: Encoding) -> dict[Bank, int]:
    """How many registers a block may use beside those that only live through it."""
    through = [reg for reg in out if reg not in mine]
    return {
        bank: len(order) - sum(r.bank == bank for r in through)
        for bank, order in encoding.registers.items()
    }
