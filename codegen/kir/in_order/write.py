"""Writes a function whose registers are assigned as lines of assembly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ellc.codegen.kir.in_order.allocate import used_numbers
from ellc.codegen.kir.in_order.code import Code, Loop, Node, Op, Reg
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.ir import AssemblyFunction

NOWHERE = ""
"""The place of a value that no instruction reads."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Where the values of a loop of kernel IR are at the head of its loop in assembly.

    A place is the name of a register, such as `v3` or `x4`, or the offset of a slot in the frame.
    Where `streams` names a parameter, the place holds the address of its element whose index is
    carried. The checker does not trust it: with a wrong witness it finds no proof.
    """

    carried: tuple[str | int, ...]
    streams: tuple[str, ...]
    index: str | int | None
    peeled: bool


_COPIES = frozenset({"mov {0}, {1}", "vmov {0}, {1}", "mov {0}.16b, {1}.16b"})
"""The texts of instructions that copy a register to another one, and do nothing else."""


def without_copies_in_place(nodes: Sequence[Node], numbers: Mapping[Reg, int]) -> list[Node]:
    """The function without copies of registers to themselves."""

    def moves(op: Op) -> bool:
        return op.text not in _COPIES or len({numbers[reg] for reg in op.registers}) > 1

    def kept(node: Node) -> Node:
        if isinstance(node, Code):
            return replace(node, ops=[*filter(moves, node.ops)])
        body = without_copies_in_place(node.body, numbers)
        guard, latch = (tuple(filter(moves, ops)) for ops in (node.guard, node.latch))
        return replace(node, guard=guard, body=body, latch=latch)

    return [kept(node) for node in nodes]


def function(
    nodes: Sequence[Node], numbers: Mapping[Reg, int], scratch_bytes: int, encoding: Encoding
) -> AssemblyFunction:
    """The function; it saves the registers that it must."""
    names = {reg: encoding.name(reg.bank, number) for reg, number in numbers.items()}
    saves = encoding.saves(used_numbers(nodes, numbers))
    return AssemblyFunction(tuple(_lines(nodes, names)), saves, scratch_bytes)


def witnesses(
    nodes: Sequence[Node], numbers: Mapping[Reg, int], slots: Mapping[Reg, int]
) -> dict[str, Witness]:
    """A witness for each loop, by the number in its label."""

    def place(reg: Reg) -> str | int:
        if reg in slots:
            return slots[reg]
        return f"{reg.bank}{numbers[reg]}" if reg in numbers else NOWHERE

    found: dict[str, Witness] = {}
    for loop in _loops(nodes):
        carried = tuple(map(place, loop.carried))
        index = None if loop.index is None else place(loop.index)
        found[loop.label] = Witness(carried, loop.streams, index, loop.peeled)
    return found


def _loops(nodes: Sequence[Node]) -> Iterator[Loop]:
    for node in nodes:
        if isinstance(node, Loop):
            yield node
            yield from _loops(node.body)


def _lines(nodes: Sequence[Node], names: Mapping[Reg, object]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Code):
            yield from _texts(node.ops, names)
            continue
        yield from _texts(node.guard, names)
        if node.peeled:
            yield ".p2align 4"
        yield f".Lloop{node.label}:"
        yield from _lines(node.body, names)
        yield from _texts(node.latch, names)
        if node.guard:
            yield f".Ldone{node.label}:"


def _texts(ops: Sequence[Op], names: Mapping[Reg, object]) -> Iterator[str]:
    for op in ops:
        if not op.text:
            continue
        yield from op.text.format(*(names[reg] for reg in op.registers)).split("\n")
