"""Writes a product loop with its loads placed between its multiply-adds, trip over trip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ellc.codegen.kir.in_order.affine import Affine, Atom, Writer, of_terms
from ellc.codegen.kir.in_order.code import Access, Code, Loop, Op, Reg, undefined
from ellc.codegen.kir.in_order.encoding import Encoding, Half
from ellc.codegen.kir.in_order.loop_schedule import (
    NoSchedule,
    PlacedPart,
    Schedule,
    core_registers,
)
from ellc.codegen.kir.in_order.placing import placed
from ellc.codegen.kir.in_order.product_loop import Product, ProductLoop
from ellc.codegen.kir.ir import For, Let, Load, Operand, Param, Prefetch

LEAST_TRIPS = 2
_NEAR = 256
_POINTER_LATENCY = 4
"""Cycles from an addition to a load that uses the sum as its address, plus one."""
LINE_BYTES = 64
LAST_WORD = 12
"""The distance from a vector to its last number, in bytes."""
AHEAD_BYTES = 256
"""The distance of a prefetch from the loads of the same trip."""
_FETCHED_BEFORE = 10
"""A prefetch comes at most so many cycles before a load from the same stream, if there is room. The
model that counts cycles takes the address of a prefetch from the next access by the same pointer in
the about 120 instructions that it translates at once; in loops of 6x12 and 7x8, rows of the image
were not fetched for it. A core would execute all prefetches. Million modelled cycles on pi3_64 of
1x1 layers of MNasNet, anywhere, 28 cycles, 20 and 10 before a load: 7x7, 1152 -> 192 5.95, 5.51,
4.20, 4.19; 7x7, 1152 -> 320 7.54, 6.82, 6.85, 6.83; 56x56, 48 -> 24 1.72, 1.64, 1.42, 1.42."""


_HALVES: tuple[Half, Half] = (0, 1)


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

    def define(self, name: str, value: Affine | Reg) -> None:
        """Define an index or a vector."""


def steady(loop: ProductLoop, carried: int, encoding: Encoding) -> Schedule | None:
    """The schedule of a product loop with so many carried values; None if there is none."""
    if loop.trips < LEAST_TRIPS:
        return None
    for accumulators in (carried, len({p.accumulator for p in loop.products})):
        free = len(encoding.registers["v"]) - accumulators
        try:
            found = placed(loop.products, len(loop.loads), free, encoding)
        except NoSchedule:
            continue
        if found.spans_two_trips and _core_registers(found, encoding) is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Stream:
    """A pointer that advances by `step_bytes` in every trip."""

    pointer: Reg
    base: Affine
    step_bytes: int


@dataclass(frozen=True, slots=True)
class _Place:
    """An address in the first trip: a stream and a displacement."""

    stream: int
    displacement: int
    address: Affine


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
        self._writer, self._label, self._encoding = writer, label, writer.encoding
        self._loop, self._schedule, self._cells = product, found, cells
        self._stream_rows: list[_Stream] = []
        self._addresses = addresses
        self._counted = Atom(writer.new("x"), writer.depth + 1)
        addresses.define(loop.index.name, Affine(((self._counted, 1),)))
        for let in product.indices:
            addresses.index_let(let)
        self._alias = [addresses.alias(load.param) for load in product.loads]
        self._places = [self._place(load) for load in product.loads]
        self._fetched = list(self._fetched_places())
        self._assign_registers(writer)
        self._split_loads()
        self._products = dict(zip(found.product_cycles, product.products, strict=True))

    def _assign_registers(self, writer: Writer) -> None:
        found, encoding = self._schedule, self._encoding
        used = {place // 2 for places in found.places for place in places}
        self._vectors = {r: writer.new("v") for r in sorted(used)}
        numbers = _core_registers(found, encoding)
        assert numbers is not None
        halves = {n: writer.new(encoding.halves) for n in sorted(set(numbers.values()))}
        self._half = {half: halves[number] for half, number in numbers.items()}

    def _split_loads(self) -> None:
        self._parts: dict[int, list[PlacedPart]] = defaultdict(list)
        for part in self._schedule.parts:
            self._parts[part.time % self._schedule.cycles].append(part)

    def write(self) -> None:
        """Add the loop to the open level."""
        writer, loop = self._writer, self._loop
        counter = writer.fresh_index(Affine((), (loop.trips - 1) * loop.step))
        for op in self._first_loads():
            writer.emit(op)
        body = Code(list(self._body(counter)), fixed=True)
        latch = (self._encoding.branch("ne", f".Lloop{self._label}"),)
        node = Loop(
            self._label,
            (),
            [body],
            latch,
            tuple(self._cells),
            ("",) * len(self._cells),
            None,
            loop.trips - 1,
            True,
        )
        writer.levels[-1].nodes += [node, Code(list(self._last()))]

    # --- addresses -------------------------------------------------------------------------------

    def _first_address(self, param: Param, index: Operand, offset: int) -> tuple[Affine, int]:
        """An address in the first trip, and the bytes by which it advances in every trip."""
        address = self._addresses.byte_address(param, index, offset)
        step = dict(address.terms).get(self._counted, 0)
        terms = [t for t in address.terms if t[0] != self._counted]
        first = of_terms(terms, address.constant + step * self._loop.start)
        return first, step * self._loop.step

    def _place(self, access: Load | Prefetch) -> _Place:
        first, step_bytes = self._first_address(access.param, access.index, access.offset)
        encoding = self._encoding
        displacement = 0 if encoding.stream_reach else first.constant % encoding.reach_bytes
        displacement -= displacement % 8
        if not 0 <= step_bytes <= _NEAR:
            # Displacements from a pointer that has advanced must not be below those of loads.
            displacement += -(-abs(step_bytes) // 8) * 8
        base = Affine(first.terms, first.constant - displacement)
        for number, far in self._distances(first, step_bytes):
            reaches = 0 <= far <= encoding.stream_reach - step_bytes
            if self._stream_rows[number].base == base or reaches:
                return _Place(number, far, first)
        pointer = self._pointer(base, step_bytes)
        self._stream_rows.append(_Stream(pointer, base, step_bytes))
        return _Place(len(self._stream_rows) - 1, displacement, first)

    def _fetched_places(self) -> Iterator[_Place]:
        """The places to prefetch. If pointers are few, a prefetch is not worth another one."""
        for prefetch in self._loop.prefetches:
            if not self._encoding.stream_reach:
                yield self._place(prefetch)
                continue
            address = (prefetch.param, prefetch.index, prefetch.offset)
            first, step_bytes = self._first_address(*address)
            near = sorted((abs(far), far, n) for n, far in self._distances(first, step_bytes))
            if near:
                yield _Place(near[0][2], near[0][1], first)

    def _pointer(self, base: Affine, step_bytes: int) -> Reg:
        """A pointer to `base`. Where registers are few, it is computed from another pointer."""
        encoding = self._encoding
        for number, far in self._distances(base, step_bytes) if encoding.stream_reach else ():
            immediate = encoding.immediate(abs(far))
            if immediate:
                pointer, other = self._writer.new("x"), self._stream_rows[number].pointer
                text = f"{'add' if far > 0 else 'sub'} {{0}}, {{1}}, {immediate}"
                self._writer.emit(Op("integer", text, (pointer,), (), (other,)))
                return pointer
        return self._writer.fresh_index(base)

    def _distances(self, first: Affine, step_bytes: int) -> Iterator[tuple[int, int]]:
        """The streams that differ from an address by a constant, and this constant."""
        for number, row in enumerate(self._stream_rows):
            if row.step_bytes == step_bytes and row.base.terms == first.terms:
                yield number, first.constant - row.base.constant

    # --- before and after the loop ---------------------------------------------------------------

    def _first_loads(self) -> Iterator[Op]:
        """What the trip before the first one would have loaded."""
        if self._encoding.loads_halves_apart:
            yield from self._first_halves()
            return
        for _, parts in self._by_load():
            early = [part for part in parts if part.time < 0]
            # Moves hide half of the parts. These loads need not share core registers.
            through = self._writer.new("x") if len(early) == len(parts) else None
            yield from (self._part_op(part, 0, 0, through) for part in early)

    def _first_halves(self) -> Iterator[Op]:
        """The same in the 32-bit state, where each half can be loaded without another register."""
        yield from (undefined(vector) for vector in self._vectors.values())
        early = [part for part in self._schedule.parts if part.time < 0]
        inserted = {(part.load, part.half) for part in early if part.kind == "insert"}
        for part in sorted(early, key=lambda part: part.time):
            if part.kind != "core":
                yield self._part_op(replace(part, kind="half"), 0, 0)
            elif (part.load, part.half) not in inserted:
                yield self._part_op(part, 0, 0)

    def _by_load(self) -> list[tuple[int, list[PlacedPart]]]:
        """The parts of each load, in the order of time."""
        parts: dict[int, list[PlacedPart]] = defaultdict(list)
        for part in self._schedule.parts:
            parts[part.load].append(part)
        for mine in parts.values():
            mine.sort(key=lambda part: part.time)
        return sorted(parts.items(), key=lambda item: min(_changes(item[1])))

    def _last(self) -> Iterator[Op]:
        """The last trip, without loads for another one."""
        for cycle in range(self._schedule.cycles):
            if cycle in self._products:
                yield self._product(self._products[cycle])
            for part in self._parts.get(cycle, ()):
                if part.time >= 0:
                    yield self._part_op(part, 0, self._loop.trips - 1)

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
                yield from (self._moved(part, advanced) for part in self._parts[cycle])
                for op, stream in behind.get(cycle, ()):
                    yield op
                    if stream is not None:
                        advanced.add(stream)
            else:
                yield from self._gap(cycle, advanced, behind)

    def _behind(self, counter: Reg) -> dict[int, list[tuple[Op, int | None]]]:
        """Instructions behind multiply-adds: prefetches, and at last pointers and the counter."""
        last = max(self._products)
        free = [cycle for cycle in self._products if cycle != last and not self._parts[cycle]]
        behind: dict[int, list[tuple[Op, int | None]]] = defaultdict(list)
        step = f"subs {{0}}, {{0}}, #{self._loop.step}"
        behind[free.pop() if free else last].append((Op("integer", step, (), (counter,)), None))
        for number, row in enumerate(self._stream_rows):
            if row.step_bytes:
                cycle = self._place_of_advance(number, free)
                behind[cycle].append((_advance(row.pointer, row.step_bytes), number))
                free = [c for c in free if c != cycle]
        for cycle, op in self._next_tile(free):
            behind[cycle].append((op, None))
            free = [c for c in free if c != cycle]
        for stream, op in self._prefetches():
            if free:
                loads = self._loads(stream)
                near = (c for c in free if any(0 < load - c <= _FETCHED_BEFORE for load in loads))
                cycle = next(near, free[0])
                behind[cycle].append((op, None))
                free.remove(cycle)
        return behind

    def _loads(self, stream: int) -> set[int]:
        """The cycles of loads from a stream in a trip."""
        return {
            cycle
            for cycle, parts in self._parts.items()
            for part in parts
            if part.kind != "insert" and self._places[part.load].stream == stream
        }

    def _place_of_advance(self, stream: int, free: Sequence[int]) -> int:
        """The last free cycle behind which no load soon needs the pointer, if there is one."""
        cycles, loads = self._schedule.cycles, self._loads(stream)
        for cycle in reversed(free):
            if loads.isdisjoint((cycle + n) % cycles for n in range(1, _POINTER_LATENCY)):
                return cycle
        return free[-1] if free else max(self._products)

    def _prefetches(self) -> Iterator[tuple[int, Op]]:
        """Those of the loop, and own ones, for lines that it does not fetch, with their streams."""
        for place in self._fetched:
            for op in self._prefetch(place.stream, place.displacement):
                yield place.stream, op
        given = {(place.stream, place.displacement // LINE_BYTES) for place in self._fetched}
        for number, row in enumerate(self._stream_rows):
            if self._has_gaps(number, row):
                continue
            for at in self._own_displacements(number, row):
                # From memory, the lines of several rows take longer than the next line lasts.
                further = LINE_BYTES if (number, at // LINE_BYTES) in given else 0
                for op in self._prefetch(number, at + further):
                    yield number, op

    def _prefetch(self, stream: int, at: int) -> Iterator[Op]:
        if at >= 0 and at % 8 == 0:
            yield from self._encoding.prefetch(self._stream_rows[stream].pointer, at)

    def _own_displacements(self, number: int, row: _Stream) -> list[int]:
        """Streams of whole lines are fetched some trips ahead, others from the next line on."""
        if row.step_bytes and row.step_bytes % LINE_BYTES == 0:
            return [offset + AHEAD_BYTES for offset in range(0, row.step_bytes, LINE_BYTES)]
        return sorted(at + LINE_BYTES for at in self._displacements(number))

    def _displacements(self, number: int) -> set[int]:
        return {place.displacement for place in self._places if place.stream == number}

    def _has_gaps(self, number: int, row: _Stream) -> bool:
        """Whether a trip leaves out lines of a stream: it reads a part of a row of an image."""
        lines = {at // LINE_BYTES for at in self._displacements(number)}
        return 0 < len(lines) * LINE_BYTES < row.step_bytes

    def _next_tile(self, free: Sequence[int]) -> Iterator[tuple[int, Op]]:
        """Prefetches for the next tile, which follows in each row of an image, and their cycles.

        A trip fetches for the next row: the first row of a window is often the last one of another
        window, which is there already. A prefetch comes just before a load from the same stream.
        """
        left = list(free)
        for number, row in enumerate(self._stream_rows):
            if not self._has_gaps(number, row):
                continue
            mine = self._displacements(number)
            loads = sorted(self._loads(number))
            last = max(mine) + LAST_WORD
            lines = len({at // LINE_BYTES for at in mine})
            for line in range(1, max(2, lines)):
                before = [cycle for cycle in left if loads and cycle < loads[-1]]
                at = -(-(last + line * LINE_BYTES + row.step_bytes) // 8) * 8
                for op in self._prefetch(number, at):
                    if before:
                        left.remove(before[-1])
                        yield before[-1], op

    def _gap(
        self, cycle: int, advanced: set[int], behind: dict[int, list[tuple[Op, int | None]]]
    ) -> Iterator[Op]:
        """The instructions of a cycle without a multiply-add.

        If there are none, two `nop` keep it: one fills the cycle before, one this cycle.
        """
        parts = self._parts[cycle]
        if parts or self._encoding.loads_beside:
            yield from (self._moved(part, advanced) for part in parts)
            return
        before = cycle - 1
        occupied = before in behind or self._parts.get(before)
        if before in self._products and not occupied:
            yield Op("nop", "nop")
        yield Op("nop", "nop")

    # --- instructions ----------------------------------------------------------------------------

    def _product(self, product: Product) -> Op:
        total, vector = self._cells[product.accumulator], self._register(product.vector)
        if product.lane is None:
            return self._encoding.product(total, vector, self._register(product.other), None)
        place = self._schedule.places[product.other][product.lane // 2]
        lane = 2 * (place % 2) + product.lane % 2
        return self._encoding.product(total, vector, self._vectors[place // 2], lane)

    def _register(self, load: int) -> Reg:
        """The register of a load that is read as a vector."""
        return self._vectors[self._schedule.places[load][0] // 2]

    def _moved(self, part: PlacedPart, advanced: set[int]) -> Op:
        """A part of a load, with the displacement from the stream's present pointer."""
        stream = self._places[part.load].stream
        step = self._stream_rows[stream].step_bytes
        ahead = step if part.time < 0 else 0
        return self._part_op(part, ahead - (step if stream in advanced else 0), 0)

    def _part_op(self, part: PlacedPart, moved: int, trip: int, through: Reg | None = None) -> Op:
        encoding, place = self._encoding, self._places[part.load]
        number = self._schedule.places[part.load][part.half]
        register, half = self._vectors[number // 2], _HALVES[number % 2]
        pointer = self._stream_rows[place.stream].pointer
        at = place.displacement + moved + 8 * part.half
        access = self._access(part.load, trip, 8 + 8 * part.half)
        match part.kind:
            case "half":
                return encoding.half_load(register, half, pointer, at, access)
            case "core":
                through = through or self._half[part.load, part.half]
                return encoding.core_load(through, pointer, at, access)
        return encoding.insertion(register, half, through or self._half[part.load, part.half])

    def _access(self, load: int, trip: int, size: int) -> Access:
        place = self._places[load]
        start = place.address.constant + trip * self._stream_rows[place.stream].step_bytes
        return Access(self._alias[load], Affine(place.address.terms), start, size, False)


def _core_registers(found: Schedule, encoding: Encoding) -> dict[tuple[int, Half], int] | None:
    """The numbers of core registers for halves; where there are enough, they go round."""
    if encoding.loads_halves_apart or encoding.loads_beside:
        return core_registers(found, encoding.half_registers)
    lows = [part for part in found.parts if part.kind == "half"]
    lows.sort(key=lambda part: part.time % found.cycles)
    # The last one of a trip must not share its register with the first one.
    count = encoding.half_registers - (len(lows) % encoding.half_registers == 1)
    return {(part.load, 1): number % count for number, part in enumerate(lows)}


def _changes(parts: Sequence[PlacedPart]) -> Iterator[int]:
    """When the parts of a load change its register."""
    return (part.time for part in parts if part.kind != "core")


def _advance(pointer: Reg, step_bytes: int) -> Op:
    sign = "add" if step_bytes > 0 else "sub"
    return Op("integer", f"{sign} {{0}}, {{0}}, #{abs(step_bytes)}", (), (pointer,))
