"""Assigns physical registers, and keeps what does not fit in the frame."""

from __future__ import annotations

import heapq
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ellc.codegen.kir.in_order.code import Access, Bank, Code, Loop, Node, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.live import life_spans

_SLOT_BYTES = 16
_TRIPS_WEIGHT = 8


@dataclass(frozen=True, slots=True)
class Spilled:
    """A function in which the registers fit, and the offsets of values that live in the frame."""

    nodes: list[Node]
    slots: Mapping[Reg, int]
    bytes: int


def spill(
    nodes: list[Node],
    first_offset: int,
    new: Iterator[int],
    encoding: Encoding,
    reserve: Mapping[Bank, int] = MappingProxyType({}),
    *,
    tight: bool = False,
) -> Spilled:
    """Move values to the frame until the others fit, and so many registers as `reserve` are free.

    Slots begin at `first_offset`, a multiple of 16; `new` are unused numbers of registers. Raises
    `Unsupported` if nothing is left that can be moved.
    """
    slots: dict[Reg, int] = {}
    small: set[Reg] = set()
    while chosen := _to_spill(nodes, small, encoding, reserve, tight):
        literals = _literals(nodes, chosen) if tight else {}
        for reg in chosen:
            if reg not in literals:
                slots[reg] = first_offset + _SLOT_BYTES * len(slots)
        mine = {reg: slots[reg] for reg in chosen if reg not in literals}
        nodes = _Rewriter(mine, literals, new, small, encoding).nodes(nodes)
    return Spilled(nodes, slots, _SLOT_BYTES * len(slots))


def _literals(nodes: Sequence[Node], regs: Sequence[Reg]) -> dict[Reg, Op]:
    """Those registers that one instruction without operands sets, and this instruction."""
    setting: dict[Reg, list[Op]] = {reg: [] for reg in regs}
    for ops in _all_ops(nodes):
        for op in ops:
            for reg in op.defined:
                if reg in setting:
                    setting[reg].append(op)
    return {reg: ops[0] for reg, ops in setting.items() if len(ops) == 1 and _is_literal(ops[0])}


def _is_literal(op: Op) -> bool:
    return op.kind == "vector_move" and op.registers == op.writes


def _to_spill(
    nodes: list[Node], small: set[Reg], encoding: Encoding, reserve: Mapping[Bank, int], tight: bool
) -> list[Reg]:
    """The cheapest registers to move at a place where too many are live; none if all fit."""
    spans = life_spans(nodes, tight=tight)
    weights, fixed = _weights(nodes)
    for bank, registers in encoding.registers.items():
        crowded = _most_crowded(spans, bank)
        excess = len(crowded) - len(registers) + reserve.get(bank, 0)
        if excess <= 0:
            continue
        candidates = [r for r in crowded if r not in small and r not in fixed]
        if len(candidates) < excess and (excess := len(crowded) - len(registers)) <= 0:
            continue
        if len(candidates) < excess:
            raise Unsupported("there are not enough registers")
        # To compute a literal again takes less time than a load.
        cheap = _literals(nodes, candidates) if tight else {}
        candidates.sort(
            key=lambda r: (r not in cheap, weights[r] / (spans[r][1] - spans[r][0] + 1), r.number)
        )
        return candidates[:excess]
    return []


def _most_crowded(spans: Mapping[Reg, tuple[int, int]], bank: Bank) -> list[Reg]:
    """The registers that are live where most are."""
    starts = sorted((first, r.number, r) for r, (first, _) in spans.items() if r.bank == bank)
    live: list[tuple[int, int, Reg]] = []
    worst: list[Reg] = []
    for first, number, reg in starts:
        while live and live[0][0] < first:
            heapq.heappop(live)
        heapq.heappush(live, (spans[reg][1], number, reg))
        if len(live) > len(worst):
            worst = [r for _, _, r in live]
    return worst


def _weights(nodes: Sequence[Node]) -> tuple[Counter[Reg], set[Reg]]:
    """How often registers are used, by a guess, and the registers of fixed blocks."""
    weights: Counter[Reg] = Counter()
    fixed: set[Reg] = set()

    def add(ops: Iterable[Op], weight: int) -> None:
        for op in ops:
            for reg in op.registers:
                weights[reg] += weight

    def visit(inside: Sequence[Node], weight: int) -> None:
        for node in inside:
            if isinstance(node, Code):
                add(node.ops, weight)
                if node.fixed:
                    fixed.update(r for op in node.ops for r in op.registers)
            else:
                add((*node.guard, *node.latch), weight * _TRIPS_WEIGHT)
                visit(node.body, weight * _TRIPS_WEIGHT)

    visit(nodes, 1)
    return weights, fixed


@dataclass(slots=True)
class _Rewriter:
    """Replaces registers by short-lived ones around accesses to their slots."""

    slots: Mapping[Reg, int]
    literals: Mapping[Reg, Op]
    new: Iterator[int]
    small: set[Reg]
    encoding: Encoding

    def nodes(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes with those registers replaced."""
        return [self._node(node) for node in nodes]

    def _node(self, node: Node) -> Node:
        if isinstance(node, Code):
            return node if node.fixed else Code(list(self._ops(node.ops)))
        return replace(
            node,
            guard=tuple(self._ops(node.guard)),
            body=self.nodes(node.body),
            latch=tuple(self._ops(node.latch)),
        )

    def _ops(self, ops: Iterable[Op]) -> Iterator[Op]:
        moving = {*self.slots, *self.literals}
        for op in ops:
            if moving.isdisjoint(op.registers):
                yield op
                continue
            if op.writes and op.writes[0] in self.literals:
                continue
            moved = (reg for reg in op.registers if reg in moving)
            short = {reg: Reg(reg.bank, next(self.new)) for reg in moved}
            self.small.update(short.values())
            for reg, name in short.items():
                if reg in self.literals:
                    yield replace(self.literals[reg], writes=(name,))
                elif reg in op.used:
                    yield self._slot_access(name, self.slots[reg], stores=False)
            yield renamed(op, short)
            for reg, name in short.items():
                if reg in op.defined:
                    yield self._slot_access(name, self.slots[reg], stores=True)

    def _slot_access(self, reg: Reg, slot: int, *, stores: bool) -> Op:
        access = Access("", "frame", slot, _SLOT_BYTES, stores)
        if reg.bank == "v":
            write = self.encoding.vector_store if stores else self.encoding.vector_load
            return write(reg, None, slot, access)
        return replace(self.encoding.word_slot(reg, slot, stores=stores), access=access)


def renamed(op: Op, names: Mapping[Reg, Reg]) -> Op:
    """The instruction with other registers."""

    def named(regs: tuple[Reg, ...]) -> tuple[Reg, ...]:
        return tuple(names.get(reg, reg) for reg in regs)

    parts = (named(op.writes), named(op.updates), named(op.reads), named(op.late))
    return Op(op.kind, op.text, *parts, op.access, op.lane, op.half)


def assign(nodes: list[Node], encoding: Encoding, *, tight: bool = False) -> dict[Reg, int] | None:
    """The number of each register; None if there are not enough.

    Registers of which single lanes are operands come first, if only some registers can be that.
    """
    spans = life_spans(nodes, tight=tight)
    lanes = {op.reads[-1] for ops in _all_ops(nodes) for op in ops if op.lane is not None}
    numbers: dict[Reg, int] = {}
    for bank, order in encoding.registers.items():
        low = tuple(n for n in order if n < encoding.lane_registers)
        picky = lanes if len(low) < len(order) else set()
        mine = sorted(
            (reg not in picky, first, reg.number, reg)
            for reg, (first, _) in spans.items()
            if reg.bank == bank
        )
        taken = _Taken(order)
        for unlimited, _, _, reg in mine:
            number = taken.place(spans[reg], order if unlimited else low)
            if number is None:
                return None
            numbers[reg] = number
    return numbers


class _Taken:
    """When each register of a bank is in use. Spans that share a position overlap."""

    def __init__(self, order: Sequence[int]) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {number: [] for number in order}

    def place(self, span: tuple[int, int], allowed: Sequence[int]) -> int | None:
        """The first allowed register that is free, which from now on is in use."""
        for number in allowed:
            spans = self._spans[number]
            at = bisect(spans, span)
            if (at and spans[at - 1][1] >= span[0]) or (
                at < len(spans) and spans[at][0] <= span[1]
            ):
                continue
            spans.insert(at, span)
            return number
        return None


def used_numbers(nodes: Sequence[Node], numbers: Mapping[Reg, int]) -> set[tuple[Bank, int]]:
    """All physical registers of a function."""
    ops = (op for ops in _all_ops(nodes) for op in ops)
    return {(reg.bank, numbers[reg]) for op in ops for reg in op.registers}


def _all_ops(nodes: Sequence[Node]) -> Iterator[Sequence[Op]]:
    for node in nodes:
        if isinstance(node, Loop):
            yield (*node.guard, *node.latch)
            yield from _all_ops(node.body)
        else:
            yield node.ops
