"""Writes loops of products of bytes, whose first loads happen in the trip before.

Products of integers do not use the add stage of a Cortex-A53, so loads need no places of their own
between them: the order of straight-line code finds these. But a trip that begins with loads waits
for them. So what the first products of a trip read is loaded at the end of the trip before, and the
last trip is behind the loop. A vector is loaded in halves (`Encoding.core_load`), half of them
beside products. Sixteen channels of a tile of 4x4 take 58 cycles: 48 for products, one for each of
8 loads, and two in which a load has no partner; with whole loads it would be 64 and waits.

Pairs of channels are repeated by table lookups, whose two registers of places stay during all
trips: eight channels of a tile of 4x16 take 119 cycles instead of 123. With a literal that flips
the sign of the image, registers would not be enough (129 cycles instead of 126).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ellc.codegen.kir.in_order.affine import Affine, Atom, Level, Writer, of_terms
from ellc.codegen.kir.in_order.code import Access, Code, Loop, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.integers import named_literal
from ellc.codegen.kir.in_order.steady import Addresses
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import For, Imm, Let, Load, Operand, Var
from ellc.codegen.kir.types import INDEX, Elem, VType

LEAST_TRIPS = 2
_FIRST = 4
"""Loads of the first so many products of a trip happen in the trip before: the products that are
interleaved."""
_HALF_BYTES, _PAIR = 8, 2
_I32X4 = VType(Elem.I32, 4)
_VECTORS = tuple(VType(elem, lanes) for elem in (Elem.I8, Elem.U8) for lanes in (8, 16))
_FIRST_PRODUCTS = ("wide_mul", SIGNED_DOT)
_LAST_PRODUCTS = ("add_pairs", SIGNED_DOT)
_PARTS = ("part", "repeat", "join", "bitcast")
"""Operations that happen where their results are read."""
_PRODUCTS = (*_PARTS, "xor", "wide_mul_add", *_FIRST_PRODUCTS, *_LAST_PRODUCTS)


@dataclass(frozen=True, slots=True)
class ByteLoop:
    """A loop that loads vectors of bytes and adds products of them to carried values.

    `early` names the loads that the first products read.
    """

    loop: For
    trips: range
    indices: tuple[Let, ...]
    loads: tuple[Load, ...]
    early: frozenset[str]


def byte_loop(loop: For) -> ByteLoop | None:
    """The loop, if it is one of products of bytes with several trips."""
    if not (isinstance(loop.start, Imm) and isinstance(loop.stop, Imm)) or not loop.carried:
        return None
    if any(c.type != _I32X4 for c in loop.carried):
        return None
    trips = range(int(loop.start.value), int(loop.stop.value), loop.step)
    indices = tuple(s for s in loop.body if isinstance(s, Let) and s.result.type == INDEX)
    loads = tuple(s for s in loop.body if isinstance(s, Load) and s.result.type in _VECTORS)
    products = [s for s in loop.body if isinstance(s, Let) and s.op in _PRODUCTS]
    if len(indices) + len(loads) + len(products) < len(loop.body) or len(trips) < LEAST_TRIPS:
        return None
    if not any(let.op in _LAST_PRODUCTS for let in products):
        return None
    return ByteLoop(loop, trips, indices, loads, _read_early(products, loads))


def _read_early(products: Sequence[Let], loads: Sequence[Load]) -> frozenset[str]:
    """The loads on which the first products depend."""
    sources = {load.result.name: {load.result.name} for load in loads}
    early, found = set[str](), 0
    for let in products:
        names = [v.name for v in let.args if isinstance(v, Var)]
        sources[let.result.name] = set[str]().union(*(sources.get(n, ()) for n in names))
        if let.op in _FIRST_PRODUCTS and found < _FIRST:
            found += 1
            early |= sources[let.result.name]
    return frozenset(early)


def _last_reads(found: ByteLoop) -> dict[str, int]:
    """For each early load the place in the body of the statement that reads it last."""
    holders = {name: {name} for name in found.early}
    last = dict.fromkeys(found.early, -1)
    for place, statement in enumerate(found.loop.body):
        if isinstance(statement, Let):
            names = {v.name for v in statement.args if isinstance(v, Var)}
            for name, held in holders.items():
                if names & held:
                    last[name] = place
                    if statement.op in _PARTS:
                        held.add(statement.result.name)
    return last


def _has_literals(loop: For) -> bool:
    """Whether literals are in registers during all trips."""
    lets = [s for s in loop.body if isinstance(s, Let) and s.result.type != INDEX]
    return any(isinstance(a, Imm) for let in lets for a in let.args)


def _first_places(loop: For) -> tuple[int, ...]:
    """The first of each four bytes of a vector of which two pairs are repeated."""
    lets = {s.result.name: s for s in loop.body if isinstance(s, Let)}
    repeated = [let.args[0] for let in lets.values() if let.op == "repeat"]
    parts = [lets[v.name] for v in repeated if isinstance(v, Var) and v.name in lets]
    firsts = {p.attrs[0] for p in parts if p.op == "part" and p.attrs[1] == _PAIR}
    return tuple(sorted(first for first in firsts if first % (2 * _PAIR) == 0))


class Around(Addresses, Protocol):
    """What this translation needs of the one around it."""

    def vector_let(self, let: Let) -> None:
        """Translate an operation on vectors."""

    def vector(self, operand: Operand) -> Reg:
        """A register that contains a vector; nothing may write it."""

    def hold_places(self, of: Iterable[int]) -> None:
        """See `IntegerLets.hold_places`."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a load reads: a pointer that advances, and a displacement."""

    pointer: Reg
    displacement: int
    bytes: int
    alias: str


class ByteLoopWriter:
    """Writes one loop: its first loads, all trips but the last, and the last."""

    def __init__(
        self, writer: Writer, label: str, found: ByteLoop, cells: Sequence[Reg], around: Around
    ) -> None:
        self._writer, self._label, self._found = writer, label, found
        self._cells, self._around = cells, around
        self._steps: dict[Reg, int] = {}
        self._bases: list[tuple[Affine, Reg]] = []
        counted = Atom(writer.new("x"), writer.depth + 1)
        around.define(found.loop.index.name, Affine(((counted, 1),)))
        for let in found.indices:
            around.index_let(let)
        self._places = {load.result.name: self._place(load, counted) for load in found.loads}
        self._early = {name: writer.new("v") for name in sorted(found.early)}
        self._last_reads = _last_reads(found)
        self._places_of_pairs = () if _has_literals(found.loop) else _first_places(found.loop)

    def write(self) -> None:
        """Add the loop to the open level."""
        writer, trips = self._writer, self._found.trips
        counter = writer.fresh_index(Affine((), (len(trips) - 1) * trips.step))
        self._define_literals()
        self._around.hold_places(self._places_of_pairs)
        for name in self._early:
            self._load(name, self._early[name])
        writer.levels.append(Level())
        self._trip()
        for name in self._early:
            pointer = self._places[name].pointer
            self._load(name, self._early[name], self._steps[pointer])
        for pointer, step in self._steps.items():
            writer.emit(self._added(pointer, step))
        body = writer.levels.pop().nodes
        latch = (self._added(counter, -trips.step, "s"), self._branch())
        none = ("",) * len(self._cells)
        count = len(trips) - 1
        node = Loop(self._label, (), body, latch, tuple(self._cells), none, None, count, True)
        writer.levels[-1].nodes += [node, Code()]
        self._trip()
        self._around.hold_places(())

    def _define_literals(self) -> None:
        """Literals stay in registers during all trips."""
        for statement in self._found.loop.body:
            if isinstance(statement, Let) and statement.result.type != INDEX:
                for literal in statement.args:
                    if isinstance(literal, Imm):
                        self._around.define(
                            named_literal(literal).name, self._around.vector(literal)
                        )

    def _trip(self) -> None:
        """The products of a trip, and the loads that only later products read.

        If registers are few, those of early loads that nothing reads any more take the values of
        later loads.
        """
        loop, unread = self._found.loop, list[str]()
        held = len(self._cells) + len(self._places_of_pairs)
        at_once = held + len(self._found.loads) + _FIRST
        if at_once >= len(self._writer.encoding.registers["v"]):
            unread = sorted(self._early, key=self._last_reads.__getitem__)
        for carried, cell in zip(loop.carried, self._cells, strict=True):
            self._around.define(carried.name, cell)
        for place, statement in enumerate(loop.body):
            match statement:
                case Load(result, _, _, _, _) if result.name in self._early:
                    self._around.define(result.name, self._early[result.name])
                case Load(result, _, _, _, _):
                    is_free = bool(unread) and self._last_reads[unread[0]] < place
                    reg = self._early[unread.pop(0)] if is_free else self._writer.new("v")
                    self._load(result.name, reg)
                    self._around.define(result.name, reg)
                case Let(result, _, args, _) if result.type != INDEX:
                    named = tuple(named_literal(a) if isinstance(a, Imm) else a for a in args)
                    self._around.vector_let(replace(statement, args=named))
        for value, cell in zip(loop.yields, self._cells, strict=True):
            if not isinstance(value, Var) or self._around.vector(value) != cell:
                raise Unsupported("a sum that is not computed in place")

    # --- addresses -------------------------------------------------------------------------------

    def _place(self, load: Load, counted: Atom) -> _Place:
        address = self._around.byte_address(load.param, load.index, load.offset)
        step = dict(address.terms).get(counted, 0)
        terms = [term for term in address.terms if term[0] != counted]
        first = of_terms(terms, address.constant + step * self._found.trips.start)
        bytes_, alias = step * self._found.trips.step, self._around.alias(load.param)
        size = load.result.type.lanes
        for base, pointer in self._bases:
            far = first.constant - base.constant
            if base.terms == first.terms and self._steps[pointer] == bytes_ and self._reaches(far):
                return _Place(pointer, far, size, alias)
        pointer = self._writer.fresh_index(first)
        self._bases.append((first, pointer))
        self._steps[pointer] = bytes_
        return _Place(pointer, 0, size, alias)

    def _reaches(self, far: int) -> bool:
        return far % _HALF_BYTES == 0 and 0 <= far < self._writer.encoding.reach_bytes

    # --- instructions ----------------------------------------------------------------------------

    def _load(self, name: str, reg: Reg, further: int = 0) -> None:
        for op in self._parts(self._places[name], reg, further):
            self._writer.emit(op)

    def _parts(self, place: _Place, reg: Reg, further: int) -> Iterator[Op]:
        """A load of 8 bytes, or in halves; nothing is known of its place but the buffer."""
        encoding = self._writer.encoding
        at = place.displacement + further
        access = Access(place.alias, (self._label, place.pointer), at, _HALF_BYTES, False)
        yield encoding.half_load(reg, 0, place.pointer, at, access)
        if place.bytes == _HALF_BYTES:
            return
        through = self._writer.new(encoding.halves)
        yield encoding.core_load(through, place.pointer, at + _HALF_BYTES, access)
        yield encoding.insertion(reg, 1, through)

    def _added(self, reg: Reg, by: int, flags: str = "") -> Op:
        step = self._writer.encoding.immediate(abs(by))
        if not step:
            raise Unsupported("a loop with a large step")
        return Op(
            "integer", f"{'sub' if by < 0 else 'add'}{flags} {{0}}, {{0}}, {step}", (), (reg,)
        )

    def _branch(self) -> Op:
        return self._writer.encoding.branch("ne", f".Lloop{self._label}")
