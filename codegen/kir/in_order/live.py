"""Finds where the registers of a function are live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ellc.codegen.kir.in_order.code import Code, Loop, Node, Op, Reg

_NONE: frozenset[Reg] = frozenset()
_Change = tuple[frozenset[Reg], frozenset[Reg]]
"""The registers that code reads before it writes them, and those that it writes."""


@dataclass(slots=True)
class Liveness:
    """The registers that are live after each block, and the extent of each register's life.

    Positions count instructions, with guards and latches. `spans` maps a register to the first and
    the last position between which its content matters.
    """

    after: dict[int, frozenset[Reg]] = field(default_factory=dict)
    """By the `id` of a block; for a loop, those that are live at its head."""
    spans: dict[Reg, tuple[int, int]] = field(default_factory=dict)
    count: int = 0
    tight: bool = False


def liveness(nodes: Sequence[Node], *, tight: bool = False) -> Liveness:
    """Where the registers of a function are live. After it, none is.

    If the spans are `tight`, an instruction may write a register that it is the last to read:
    positions then count the reads and the writes of an instruction.
    """
    found = Liveness(tight=tight)
    _into(nodes, _NONE, found.after, {})
    _spans(nodes, found)
    return found


def _into(
    nodes: Sequence[Node],
    live: frozenset[Reg],
    after: dict[int, frozenset[Reg]],
    known: dict[int, _Change],
) -> frozenset[Reg]:
    """What is live before some nodes, if `live` is live after them."""
    for node in reversed(nodes):
        if isinstance(node, Code):
            after[id(node)] = live
            live = _before(node.ops, live)
        else:
            live = _head(node, live, after, known)
    return live


def _head(
    loop: Loop,
    live: frozenset[Reg],
    after: dict[int, frozenset[Reg]],
    known: dict[int, _Change],
) -> frozenset[Reg]:
    read, _ = _trip(loop, known)
    head = _into(loop.body, _before(loop.latch, live | read), after, known)
    after[id(loop)] = head
    return _before(loop.guard, head | live if loop.guard else head)


def _trip(loop: Loop, known: dict[int, _Change]) -> _Change:
    """What a trip of a loop reads before it writes it, and what it writes."""
    change = _of_ops(loop.latch)
    for node in reversed(loop.body):
        change = _behind(_of_node(node, known), change)
    return change


def _of_node(node: Node, known: dict[int, _Change]) -> _Change:
    change = known.get(id(node))
    if change is None:
        if isinstance(node, Code):
            change = _of_ops(node.ops)
        else:
            read, written = _trip(node, known)
            # With a guard, there may be no trip.
            inside = (read, frozenset[Reg]() if node.guard else written)
            change = _behind(_of_ops(node.guard), inside)
        known[id(node)] = change
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


def _before(ops: Iterable[Op], live: frozenset[Reg]) -> frozenset[Reg]:
    now = set(live)
    for op in reversed(tuple(ops)):
        now.difference_update(op.writes)
        now.update(op.used)
    return frozenset(now)


def _spans(nodes: Sequence[Node], found: Liveness) -> None:
    """Extend the spans over some nodes. What is live at the head of a loop lives to its end."""
    for node in nodes:
        if isinstance(node, Code):
            _touch(found, _before(node.ops, found.after[id(node)]))
            _count(found, node.ops)
            _touch(found, found.after[id(node)])
        else:
            _count(found, node.guard)
            found.count += 1
            head = found.after[id(node)]
            _touch(found, head)
            _spans(node.body, found)
            _count(found, node.latch)
            _touch(found, head)


def may_overwrite(op: Op) -> bool:
    """Whether an instruction reads all operands before it writes a result."""
    return "\n" not in op.text


def _count(found: Liveness, ops: Iterable[Op]) -> None:
    for op in ops:
        found.count += 1
        if found.tight and may_overwrite(op):
            _touch(found, op.used)
            found.count += 1
            _touch(found, op.defined)
        else:
            _touch(found, op.registers)


def _touch(found: Liveness, regs: Iterable[Reg]) -> None:
    at = found.count
    for reg in regs:
        first, _ = found.spans.get(reg, (at, at))
        found.spans[reg] = (first, at)


def without_dead_code(nodes: Sequence[Node]) -> list[Node]:
    """The function without instructions whose results no other one reads."""
    found = liveness(nodes).after

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
