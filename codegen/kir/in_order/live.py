"""Finds where the registers of a function are live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ellc.codegen.kir.in_order.code import Code, Loop, Node, Op, Reg

_NONE: frozenset[Reg] = frozenset()
_Change = tuple[frozenset[Reg], frozenset[Reg]]
"""The registers that code reads before it writes them, and those that it writes."""


def live_after(nodes: Sequence[Node]) -> dict[int, frozenset[Reg]]:
    """By the `id` of each block the registers that are live after it. After the function, none is.

    For a loop, it is those that are live at its head.
    """
    flow = _Flow()
    flow.into(nodes, _NONE)
    return flow.after


def life_spans(nodes: Sequence[Node], *, tight: bool = False) -> dict[Reg, tuple[int, int]]:
    """For each register the first and the last position between which its content matters.

    Positions count instructions, with guards and latches. If the spans are `tight`, an instruction
    may write a register that it is the last to read: positions then count the reads and the writes
    of an instruction.
    """
    flow = _Flow()
    flow.into(nodes, _NONE)
    positions = _Positions(flow, tight)
    positions.extend(nodes)
    return {reg: (first, positions.last[reg]) for reg, first in positions.first.items()}


@dataclass(slots=True)
class _Flow:
    """Which registers are live after nodes, found from the last one to the first one."""

    after: dict[int, frozenset[Reg]] = field(default_factory=dict)
    known: dict[int, _Change] = field(default_factory=dict)

    def into(self, nodes: Sequence[Node], live: frozenset[Reg]) -> frozenset[Reg]:
        """What is live before some nodes, if `live` is live after them."""
        for node in reversed(nodes):
            if isinstance(node, Code):
                self.after[id(node)] = live
                live = _before(self.change(node), live)
            else:
                live = self._head(node, live)
        return live

    def change(self, node: Node) -> _Change:
        """What a node reads before it writes it, and what it writes."""
        change = self.known.get(id(node))
        if change is None:
            if isinstance(node, Code):
                change = _of_ops(node.ops)
            else:
                read, written = self._trip(node)
                # With a guard, there may be no trip.
                inside = (read, _NONE if node.guard else written)
                change = _behind(_of_ops(node.guard), inside)
            self.known[id(node)] = change
        return change

    def _head(self, loop: Loop, live: frozenset[Reg]) -> frozenset[Reg]:
        read, _ = self._trip(loop)
        head = self.into(loop.body, _before(_of_ops(loop.latch), live | read))
        self.after[id(loop)] = head
        return _before(_of_ops(loop.guard), head | live if loop.guard else head)

    def _trip(self, loop: Loop) -> _Change:
        change = _of_ops(loop.latch)
        for node in reversed(loop.body):
            change = _behind(self.change(node), change)
        return change


def _of_ops(ops: Iterable[Op]) -> _Change:
    read, written = set[Reg](), set[Reg]()
    for op in reversed(tuple(ops)):
        read.difference_update(op.writes)
        read.update(op.used)
        written.update(op.writes)
    return frozenset(read), frozenset(written)


def _behind(first: _Change, second: _Change) -> _Change:
    """What two pieces of code do, one behind the other."""
    return first[0] | (second[0] - first[1]), first[1] | second[1]


def _before(change: _Change, live: frozenset[Reg]) -> frozenset[Reg]:
    """What is live before code, if `live` is live after it."""
    return change[0] | (live - change[1])


@dataclass(slots=True)
class _Positions:
    """Where registers are in use, in the order of nodes."""

    flow: _Flow
    tight: bool
    first: dict[Reg, int] = field(default_factory=dict)
    last: dict[Reg, int] = field(default_factory=dict)
    now: int = 0

    def extend(self, nodes: Sequence[Node]) -> None:
        """Go through some nodes. What is live at the head of a loop lives to its end."""
        after = self.flow.after
        for node in nodes:
            live = after[id(node)]
            if isinstance(node, Code):
                self._touch(_before(self.flow.change(node), live))
                self._count(node.ops)
                self._touch(live)
            else:
                self._count(node.guard)
                self.now += 1
                self._touch(live)
                self.extend(node.body)
                self._count(node.latch)
                self._touch(live)

    def _count(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.now += 1
            if self.tight and may_overwrite(op):
                self._touch(op.used)
                self.now += 1
                self._touch(op.defined)
            else:
                self._touch(op.registers)

    def _touch(self, regs: Iterable[Reg]) -> None:
        first, last, now = self.first, self.last, self.now
        for reg in regs:
            if reg not in last:
                first[reg] = now
            last[reg] = now


def may_overwrite(op: Op) -> bool:
    """Whether an instruction reads all operands before it writes a result."""
    return "\n" not in op.text


def without_dead_code(nodes: Sequence[Node]) -> list[Node]:
    """The function without instructions whose results no other one reads."""
    found = live_after(nodes)

    def kept(inside: Sequence[Node]) -> list[Node]:
        return [_kept(node) for node in inside]

    def _kept(node: Node) -> Node:
        if isinstance(node, Loop):
            return replace(node, body=kept(node.body))
        if node.fixed:
            return node
        live, ops = set(found[id(node)]), list[Op]()
        for op in reversed(node.ops):
            if op.defined and live.isdisjoint(op.defined):
                continue
            ops.append(op)
            live.difference_update(op.writes)
            live.update(op.used)
        return Code(ops[::-1])

    return kept(nodes)
