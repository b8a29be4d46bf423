"""Writes a product loop with its loads placed between its multiply-adds, trip over trip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ellc.codegen.kir.in_order.affine import Affine, Atom, Writer, of_terms
from ellc.codegen.kir.in_order.code import Access, Code, Loop, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.modulo import NoSchedule, PlacedLoad, Schedule, schedule
from ellc.codegen.kir.in_order.product_loop import Product, ProductLoop
from ellc.codegen.kir.ir import For, Let, Operand, Param

VECTOR_REGISTERS = 32
LEAST_PRODUCTS = 12
"""Multiply-adds in the body of a loop whose loads are placed."""
LEAST_REUSE = 2
"""Products for each load. Loops with fewer wait for memory: split loads, of which the core has only
two at a time, would wait longer."""
LEAST_TRIPS = 2
_HALVES = 4
"""Core registers through which the high halves of vectors are loaded."""
_REACH = 1 << 14
_NEAR = 256
_POINTER_LATENCY = 4
"""Cycles from an addition to a load that uses the sum as its address, plus one."""
LINE_BYTES = 64
AHEAD_BYTES = 256
"""The distance of a prefetch from the loads of the same trip."""
_LARGEST = 32760
"""The largest displacement of a load of 8 bytes, or of a prefetch."""


class Addresses(Protocol):
    """What a product loop needs of the translation around it."""

    def affine(self, operand: Operand) -> Affine:
        """An index as a sum."""

    def byte_address(self, param: Param, index: Operand, offset: int) -> Affine:
        """The address of an element."""

    def alias(self, param: Param) -> str:
        """The name of the buffers that may be the same as a parameter's."""

    def index_let(self, let: Let) -> None:
        """Define an index."""

    def define_index(self, name: str, value: Affine) -> None:
        """Define an index."""


def steady(loop: ProductLoop, carried: int) -> Schedule | None:
    """The schedule of a product loop with so many carried values; None if there is none."""
    if loop.trips < LEAST_TRIPS or len(loop.products) < LEAST_PRODUCTS:
        return None
    if len(loop.products) < LEAST_REUSE * len(loop.loads):
        return None
    for accumulators in (carried, len({p.accumulator for p in loop.products})):
        try:
            found = schedule(loop.uses, len(loop.products), VECTOR_REGISTERS - accumulators)
        except NoSchedule:
            continue
        if all(-found.cycles <= t < found.cycles for p in found.loads for t in (p.low, p.insert)):
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Stream:
    """A pointer that advances by `step_bytes` in every trip."""

    pointer: Reg
    step_bytes: int


@dataclass(frozen=True, slots=True)
class _Place:
    """An address in the first trip: a stream and a displacement."""

    stream: int
    displacement: int
    address: Affine


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the instructions of a load: `low`, `high` or `insert`."""

    placed: PlacedLoad
    kind: str
    early: bool
    """Whether it is for the next trip."""


class SteadyLoop:
    """Writes one product loop: first loads, all trips but the last, and the last."""

    def __init__(
        self,
        writer: Writer,
        label: str,
        loop: For,
        product: ProductLoop,
        found: Schedule,
        cells: Sequence[Reg],
        addresses: Addresses,
    ) -> None:
        self._writer, self._label = writer, label
        self._loop, self._schedule, self._cells = product, found, cells
        self._streams: dict[tuple[Affine, int], int] = {}
        self._stream_rows: list[_Stream] = []
        self._addresses = addresses
        self._counted = Atom(writer.new("x"), writer.depth + 1)
        addresses.define_index(loop.index.name, Affine(((self._counted, 1),)))
        for let in product.indices:
            addresses.index_let(let)
        self._alias = [addresses.alias(load.param) for load in product.loads]
        self._places = [self._place(x.param, x.index, x.offset) for x in product.loads]
        self._fetched = [self._place(x.param, x.index, x.offset) for x in product.prefetches]
        self._assign_registers(writer)
        self._split_loads()
        self._products = dict(zip(found.product_cycles, product.products, strict=True))

    def _assign_registers(self, writer: Writer) -> None:
        loads = self._schedule.loads
        vectors = {r: writer.new("v") for r in sorted({p.register for p in loads})}
        self._register = {p.load: vectors[p.register] for p in loads}
        order = sorted(loads, key=lambda p: p.low % self._schedule.cycles)
        count = _HALVES - (len(order) % _HALVES == 1)
        halves = [writer.new("x") for _ in range(count)]
        self._half = {p.load: halves[number % count] for number, p in enumerate(order)}

    def _split_loads(self) -> None:
        self._parts: dict[int, list[_Part]] = defaultdict(list)
        for placed in self._schedule.loads:
            for kind, time in _times(placed):
                trip, cycle = divmod(time, self._schedule.cycles)
                self._parts[cycle].append(_Part(placed, kind, trip == -1))

    def write(self) -> None:
        """Add the loop to the open level."""
        writer, loop = self._writer, self._loop
        counter = writer.fresh_index(Affine((), (loop.trips - 1) * loop.step))
        for op in self._first_loads():
            writer.emit(op)
        body = Code(list(self._body(counter)), fixed=True)
        latch = (Op("branch", f"b.ne .Lloop{self._label}"),)
        node = Loop(self._label, (), [body], latch, tuple(self._cells), None, loop.trips - 1, True)
        writer.levels[-1].nodes += [node, Code(list(self._last()))]

    # --- addresses -------------------------------------------------------------------------------

    def _place(self, param: Param, index: Operand, offset: int) -> _Place:
        address = self._addresses.byte_address(param, index, offset)
        step = dict(address.terms).get(self._counted, 0)
        terms = [t for t in address.terms if t[0] != self._counted]
        first = of_terms(terms, address.constant + step * self._loop.start)
        displacement = first.constant % _REACH
        displacement -= displacement % 8
        if not 0 <= step * self._loop.step <= _NEAR:
            # Displacements from a pointer that has advanced must not be below those of loads.
            displacement += -(-abs(step * self._loop.step) // 8) * 8
        base = Affine(first.terms, first.constant - displacement)
        key = (base, step * self._loop.step)
        if key not in self._streams:
            self._streams[key] = len(self._stream_rows)
            pointer = self._writer.fresh_index(base)
            self._stream_rows.append(_Stream(pointer, step * self._loop.step))
        return _Place(self._streams[key], displacement, first)

    # --- before and after the loop ---------------------------------------------------------------

    def _first_loads(self) -> Iterator[Op]:
        """What the trip before the first one would have loaded."""
        for placed in sorted(self._schedule.loads, key=lambda p: p.low):
            early = [kind for kind, time in _times(placed) if time < 0]
            place, register = self._places[placed.load], self._register[placed.load]
            if len(early) == len(_times(placed)) and place.displacement % 16 == 0:
                text = f"ldr q{{0}}, [x{{1}}, #{place.displacement}]"
                pointer = self._stream_rows[place.stream].pointer
                access = self._access(placed.load, 0, 16)
                yield Op("vector_load", text, (register,), (), (pointer,), (), access)
            else:
                kinds = [kind for kind in ("low", "high", "insert") if kind in early]
                yield from (self._part_op(placed, kind, 0, 0) for kind in kinds)

    def _last(self) -> Iterator[Op]:
        """The last trip, without loads for another one."""
        for cycle in range(self._schedule.cycles):
            if cycle in self._products:
                yield self._product(self._products[cycle])
            for part in self._parts.get(cycle, ()):
                if not part.early:
                    yield self._part_op(part.placed, part.kind, 0, self._loop.trips - 1)

    # --- a trip ----------------------------------------------------------------------------------

    def _body(self, counter: Reg) -> Iterator[Op]:
        """One trip with loads for the next one, up to the branch.

        Instructions of the core's other half issue behind multiply-adds. Each stream's pointer
        advances behind one of the last of these; loads after that have other displacements.
        """
        behind = self._behind(counter)
        advanced: set[int] = set()
        for cycle in range(self._schedule.cycles):
            if cycle in self._products:
                yield self._product(self._products[cycle])
                high = [part for part in self._parts[cycle] if part.kind == "high"]
                yield from (self._moved(part, advanced) for part in high)
                for op, stream in behind.get(cycle, ()):
                    yield op
                    if stream is not None:
                        advanced.add(stream)
            else:
                yield from self._gap(cycle, advanced, behind)

    def _behind(self, counter: Reg) -> dict[int, list[tuple[Op, int | None]]]:
        """Instructions behind multiply-adds: prefetches, and at last pointers and the counter."""
        last = max(self._products)
        free = [
            cycle
            for cycle in self._products
            if cycle != last and not any(part.kind == "high" for part in self._parts[cycle])
        ]
        behind: dict[int, list[tuple[Op, int | None]]] = defaultdict(list)
        step = f"subs x{{0}}, x{{0}}, #{self._loop.step}"
        behind[free.pop() if free else last].append((Op("integer", step, (), (counter,)), None))
        for number, row in enumerate(self._stream_rows):
            if row.step_bytes:
                cycle = self._place_of_advance(number, free)
                behind[cycle].append((_advance(row.pointer, row.step_bytes), number))
                free = [c for c in free if c != cycle]
        for cycle, op in zip(free, self._prefetches(), strict=False):
            behind[cycle].append((op, None))
        return behind

    def _place_of_advance(self, stream: int, free: Sequence[int]) -> int:
        """The last free cycle behind which no load soon needs the pointer, if there is one."""
        cycles = self._schedule.cycles
        loads = {
            cycle
            for cycle, parts in self._parts.items()
            for part in parts
            if part.kind != "insert" and self._places[part.placed.load].stream == stream
        }
        for cycle in reversed(free):
            if loads.isdisjoint((cycle + n) % cycles for n in range(1, _POINTER_LATENCY)):
                return cycle
        return free[-1] if free else max(self._products)

    def _prefetches(self) -> Iterator[Op]:
        """Those of the loop, and own ones, for lines that it does not fetch."""
        for place in self._fetched:
            yield from self._prefetch(place.stream, place.displacement)
        given = {(place.stream, place.displacement // LINE_BYTES) for place in self._fetched}
        for number, row in enumerate(self._stream_rows):
            for at in self._own_displacements(number, row):
                # From memory, the lines of several rows take longer than the next line lasts.
                further = LINE_BYTES if (number, at // LINE_BYTES) in given else 0
                yield from self._prefetch(number, at + further)

    def _prefetch(self, stream: int, at: int) -> Iterator[Op]:
        if 0 <= at <= _LARGEST and at % 8 == 0:
            pointer = self._stream_rows[stream].pointer
            yield Op("prefetch", f"prfm pldl1keep, [x{{0}}, #{at}]", (), (), (pointer,))

    def _own_displacements(self, number: int, row: _Stream) -> list[int]:
        """Streams of whole lines are fetched some trips ahead, others from the next line on."""
        if row.step_bytes and row.step_bytes % LINE_BYTES == 0:
            return [offset + AHEAD_BYTES for offset in range(0, row.step_bytes, LINE_BYTES)]
        mine = {p.displacement for p in self._places if p.stream == number}
        return sorted(at + LINE_BYTES for at in mine)

    def _gap(
        self, cycle: int, advanced: set[int], behind: dict[int, list[tuple[Op, int | None]]]
    ) -> Iterator[Op]:
        """The instructions of a cycle without a multiply-add.

        If there are none, two `nop` keep it: one fills the cycle before, one this cycle.
        """
        parts = [part for part in self._parts[cycle] if part.kind != "high"]
        if parts:
            yield from (self._moved(part, advanced) for part in parts)
            return
        before = cycle - 1
        occupied = before in behind or any(p.kind == "high" for p in self._parts.get(before, ()))
        if before in self._products and not occupied:
            yield Op("nop", "nop")
        yield Op("nop", "nop")

    # --- instructions ----------------------------------------------------------------------------

    def _product(self, product: Product) -> Op:
        total = self._cells[product.accumulator]
        reads = (self._register[product.vector], self._register[product.other])
        lane = ".4s" if product.lane is None else f".s[{product.lane}]"
        return Op("multiply_add", f"fmla v{{0}}.4s, v{{1}}.4s, v{{2}}{lane}", (), (total,), reads)

    def _moved(self, part: _Part, advanced: set[int]) -> Op:
        """A part of a load, with the displacement from the stream's present pointer."""
        stream = self._places[part.placed.load].stream
        step = self._stream_rows[stream].step_bytes
        ahead = step if part.early else 0
        moved = ahead - (step if stream in advanced else 0)
        return self._part_op(part.placed, part.kind, moved, 0)

    def _part_op(self, placed: PlacedLoad, kind: str, moved: int, trip: int) -> Op:
        register, half = self._register[placed.load], self._half[placed.load]
        place = self._places[placed.load]
        pointer = self._stream_rows[place.stream].pointer
        at = place.displacement + moved
        if not (-_NEAR <= at < _NEAR - 8 or (at % 8 == 0 and 0 <= at <= _LARGEST - 8)):
            raise Unsupported("a displacement that has no encoding")
        match kind:
            case "low":
                access = self._access(placed.load, trip, 8)
                text = f"ldr d{{0}}, [x{{1}}, #{at}]"
                return Op("half_load", text, (register,), (), (pointer,), (), access)
            case "high":
                access = self._access(placed.load, trip, 16)
                text = f"ldr x{{0}}, [x{{1}}, #{at + 8}]"
                return Op("load", text, (half,), (), (pointer,), (), access)
        return Op("insert", "ins v{0}.d[1], x{1}", (), (register,), (half,))

    def _access(self, load: int, trip: int, size: int) -> Access:
        place = self._places[load]
        start = place.address.constant + trip * self._stream_rows[place.stream].step_bytes
        return Access(self._alias[load], Affine(place.address.terms), start, size, False)


def _times(placed: PlacedLoad) -> tuple[tuple[str, int], ...]:
    return (("insert", placed.insert), ("low", placed.low), ("high", placed.high))


def _advance(pointer: Reg, step_bytes: int) -> Op:
    sign = "add" if step_bytes > 0 else "sub"
    return Op("integer", f"{sign} x{{0}}, x{{0}}, #{abs(step_bytes)}", (), (pointer,))
