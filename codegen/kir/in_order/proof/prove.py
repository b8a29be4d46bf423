"""Proves that an assembly function computes what a loop nest computes.

The function is read as text, with nothing assumed about how it was written. Straight-line code of
both runs on symbols. Each loop of the function belongs to one loop of the nest, in the same order.
At its head, registers and slots that the loop never changes keep their symbols; those that a
`Witness` names hold the carried values and the index, for which new symbols stand; all others are
unknown. One trip must lead from this state to the same state of the next trip, and must leave the
loop in the same trip as the nest does. So the proof is an induction over the trips.

The loop of a product loop runs ahead: its registers hold parts of vectors of the next trip. There,
what is known at its head is what two trips in a row have in common, and the induction proves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.kir.assembly import Frame
from ellc.codegen.kir.dataflow import inputs, params_accessed
from ellc.codegen.kir.in_order.proof.machine import Machine, Place
from ellc.codegen.kir.in_order.proof.source import Source
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Half,
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    Value,
    between,
)
from ellc.codegen.kir.in_order.write import Witness
from ellc.codegen.kir.ir import AssemblyFunction, For, Imm, Operand, Store, Var, walk
from ellc.codegen.kir.types import INDEX


def problem(
    loop: For,
    results: Sequence[Var],
    frame: Frame,
    aliases: Mapping[str, str],
    function: AssemblyFunction,
    witnesses: Mapping[str, Witness],
    machine: type[Machine],
) -> str:
    """Why the function is not proved to compute the nest; empty if it is.

    Lines and witnesses may be any text.
    """
    try:
        _Proof(loop, results, frame, aliases, function, witnesses, machine).run()
    except (Unproved, LookupError, ValueError, TypeError) as error:
        return str(error) or repr(error)
    return ""


class _Proof:
    def __init__(
        self,
        loop: For,
        results: Sequence[Var],
        frame: Frame,
        aliases: Mapping[str, str],
        function: AssemblyFunction,
        witnesses: Mapping[str, Witness],
        machine: type[Machine],
    ) -> None:
        self._loop, self._results, self._frame = loop, results, frame
        self._aliases, self._witnesses = aliases, witnesses
        self._lines = [line for line in function.lines if not line.startswith(".p2align")]
        self._at = 0
        self._check_registers(function, machine)
        self._symbols = Symbols()
        params = {p.name: self._symbols.integer("param", p.name) for p in params_accessed((loop,))}
        buffers = {v.terms[0][0]: aliases.get(name, name) for name, v in params.items()}
        self._source = Source(self._symbols, Memory(dict(buffers)), params)
        end = frame.bytes + function.scratch_bytes
        spans = [range(at, at + 16) for at in frame.results.values()]
        writable = (range(frame.bytes, end), *spans)
        self._machine = machine(self._symbols, Memory(dict(buffers)), writable)
        self._start(params)

    def run(self) -> None:
        """Prove it, or raise `Unproved`."""
        self._nest(self._loop)
        self._straight()
        if self._at < len(self._lines):
            raise Unproved(f"{self._lines[self._at]}: belongs to no loop")
        self._same_stores()
        for result in self._results:
            found = self._machine.values.get(self._frame.results[result.name])
            if found != self._source.lanes(result):
                raise Unproved(f"the result {result.name} differs")

    def _check_registers(self, function: AssemblyFunction, machine: type[Machine]) -> None:
        owned = machine.forbidden | (machine.kept - machine.saved(function.saves))
        for line in self._lines:
            if not owned.isdisjoint(machine.written(line)):
                raise Unproved(f"{line}: changes a register that belongs to the caller")

    def _start(self, params: Mapping[str, Linear]) -> None:
        for name, offset in self._frame.params.items():
            self._machine.values[offset] = params[name]
        types = _input_types(self._loop)
        for name, offset in self._frame.inputs.items():
            if types[name] == INDEX:
                value: Linear | Lanes = self._symbols.integer("input", name)
            else:
                value = self._symbols.lanes(name)
            self._machine.values[offset] = self._source.values[name] = value

    # --- code without loops ----------------------------------------------------------------------

    def _straight(self) -> None:
        """Run the function up to the next label or branch."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith(".L") or self._machine.branch(line):
                self._machine.settle()
                return
            self._machine.run(line)
            self._at += 1

    def _line(self) -> str:
        if self._at >= len(self._lines):
            raise Unproved("the function ends too early")
        self._at += 1
        return self._lines[self._at - 1]

    def _same_stores(self) -> None:
        """Both have stored the same since the last boundary, and the function loads no more.

        Other elements may lie outside the buffers, where a load can end the program.
        """
        if self._machine.memory.differs(self._source.memory):
            raise Unproved(f"other stores before line {self._at}")
        if not self._machine.memory.loaded <= self._source.memory.loaded:
            raise Unproved(f"other loads before line {self._at}")

    def _boundary(self, body: For | None) -> None:
        """Begin a new stretch; `body` is a loop that stores any number of times, or None."""
        self._same_stores()
        epoch = self._symbols.fresh("epoch")
        for memory in (self._machine.memory, self._source.memory):
            names = {memory.buffer(s.address) for s in memory.stores}
            if body is not None:
                stored = (s.param.name for s in walk((body,)) if isinstance(s, Store))
                names |= {self._aliases.get(name, name) for name in stored}
            memory.boundary(names, epoch)

    # --- loops -----------------------------------------------------------------------------------

    def _nest(self, loop: For) -> None:
        """Prove a loop of the nest, whose loop in the function comes next."""
        self._straight()
        start, stop = self._source.integer(loop.start), self._source.integer(loop.stop)
        line = self._line()
        condition, done = self._machine.branch(line) or ("", "")
        guarded = condition == "ge"
        if guarded:
            if self._machine.compared != (start, stop):
                raise Unproved(f"{line}: leaves on another condition")
            line = self._line()
        elif start.terms or stop.terms or not start.constant < stop.constant:
            raise Unproved(f"{line}: the loop may have no trip")
        if not line.startswith(".Lloop") or not line.endswith(":"):
            raise Unproved(f"{line}: a loop should begin here")
        label = line[:-1]
        witness = self._witnesses[label.removeprefix(".Lloop")]
        carried = self._carried(loop, witness)
        inits = [self._source.value(c.init) for c in carried]
        self._require(self._placed(carried, inits), f"before {label}")
        if witness.peeled:
            self._ahead(loop, label, carried)
        else:
            self._plain(loop, label, witness.index, carried, (start, stop))
        if guarded and self._line() != f"{done}:":
            raise Unproved(f"{done} is not behind its loop")

    def _carried(self, loop: For, witness: Witness) -> list[_Carried]:
        """The carried values that the loop changes. The others are what they were before it."""
        found = []
        values = zip(loop.carried, loop.inits, loop.yields, loop.results, strict=True)
        places = zip(witness.carried, witness.streams, strict=True)
        for (place, stream), (value, init, after, result) in zip(places, values, strict=True):
            if after == value:
                known = self._source.value(init)
                self._source.values[value.name] = self._source.values[result.name] = known
            else:
                found.append(_Carried(place, stream, value, init, after, result))
        return found

    def _placed(self, carried: Sequence[_Carried], values: Sequence[Value]) -> dict[Place, Value]:
        """The state in which each place holds its value, or the address of that element.

        Two values cannot have the same place.
        """
        places: dict[Place, Value] = {}
        for each, value in zip(carried, values, strict=True):
            if each.place in places:
                raise Unproved("two carried values in one place")
            if each.stream and isinstance(value, Linear):
                value = self._source.element_address(each.stream, value)
            places[each.place] = value
        return places

    def _require(self, wanted: Mapping[Place, Value], where: str) -> None:
        for place, value in wanted.items():
            if self._machine.values.get(place) != value:
                raise Unproved(f"{where}: {place} has another value")

    def _changed(self, label: str) -> set[Place]:
        """The places that a loop changes; raises `Unproved` if its branch is missing."""
        for end in range(self._at, len(self._lines)):
            line = self._lines[end]
            if (self._machine.branch(line) or ("", ""))[1] == label:
                inside = self._lines[self._at : end]
                return {place for line in inside for place in self._machine.written(line)}
        raise Unproved(f"nothing branches to {label}")

    def _plain(
        self,
        loop: For,
        label: str,
        index_place: Place | None,
        carried: Sequence[_Carried],
        bounds: tuple[Linear, Linear],
    ) -> None:
        """The induction for a loop that runs as often as that of the nest."""
        start, stop = bounds
        if index_place is None:
            raise Unproved(f"{label} has no index")
        self._require({index_place: start}, label)
        self._boundary(loop)
        unchanged = self._unchanged(label)
        for each in carried:  # A value that only loops inside carry may stay where it is.
            unchanged.pop(each.place, None)
        index = self._symbols.integer("index", self._symbols.fresh(label))
        inside = [self._unknown(c.value) for c in carried]
        self._machine.values = {**unchanged, index_place: index, **self._placed(carried, inside)}
        self._machine.forget_flags()
        self._source.values[loop.index.name] = index
        self._source.values.update(zip((c.value.name for c in carried), inside, strict=True))
        for statement in loop.body:
            if isinstance(statement, For):
                self._nest(statement)
            else:
                self._source.run(statement)
        self._straight()
        after = index.shifted(loop.step)
        if self._machine.branch(self._line()) != ("lt", label) or self._machine.compared != (
            after,
            stop,
        ):
            raise Unproved(f"{label}: branches back on another condition")
        yields = [self._source.value(c.after) for c in carried]
        self._require({index_place: after, **self._placed(carried, yields)}, label)
        self._require(unchanged, label)
        self._boundary(loop)
        results = [self._unknown(c.result) for c in carried]
        self._machine.values = {**unchanged, **self._placed(carried, results)}
        self._machine.forget_flags()
        self._source.values.update(zip((c.result.name for c in carried), results, strict=True))

    def _unknown(self, value: Var) -> Linear | Lanes:
        """New symbols for a value."""
        if value.type == INDEX:
            return self._symbols.integer("carried", self._symbols.fresh(value.name))
        return self._symbols.lanes(value.name)

    def _unchanged(self, label: str) -> dict[Place, Value]:
        changed = self._changed(label)
        return {p: v for p, v in self._machine.values.items() if p not in changed}

    def _ahead(self, loop: For, label: str, carried: Sequence[_Carried]) -> None:
        """The induction for a loop of which the last trip is behind the function's loop."""
        start, stop = loop.start, loop.stop
        if not (isinstance(start, Imm) and isinstance(stop, Imm)):
            raise Unproved(f"{label}: the number of trips is not known")
        trips = range(int(start.value), int(stop.value), loop.step)
        if len(trips) < 2 or any(isinstance(s, For | Store) for s in loop.body):
            raise Unproved(f"{label}: the loop is not that of a product")
        unchanged, before = self._unchanged(label), dict(self._machine.values)
        loaded, head = set(self._machine.memory.loaded), self._at
        self._trip(label)
        index = self._symbols.integer("index", self._symbols.fresh(label))
        changed = self._changed_from(head, label)
        both = changed & before.keys() & self._machine.values.keys()
        common = {
            place: _moving(self._symbols, before[place], self._machine.values[place], loop.step)
            for place in both - {c.place for c in carried}
        }
        moving = {place: value for place, value in common.items() if value is not None}
        self._induction(loop, label, carried, trips, (unchanged, moving), head, index)
        # The induction is about loads in the loop. Those before it may belong to the first trip.
        self._machine.memory.loaded = loaded

    def _induction(
        self,
        loop: For,
        label: str,
        carried: Sequence[_Carried],
        trips: range,
        known: tuple[dict[Place, Value], dict[Place, _Moving]],
        head: int,
        index: Linear,
    ) -> None:
        unchanged, moving = known
        lanes = [self._symbols.lanes(c.value.name) for c in carried]
        far = index.shifted(-trips[0])
        self._machine.values = {**unchanged, **_at(moving, far), **self._placed(carried, lanes)}
        self._at = head
        self._machine.memory.loaded = set()
        counted = self._trip(label)
        last = Linear((), trips[-1])
        if counted != last.plus(index, -1).shifted(-loop.step):
            raise Unproved(f"{label}: runs another number of trips")
        yields = self._run_source(loop, index, carried, lanes)
        self._require(self._placed(carried, yields), label)
        self._check_loads(loop, label, index, carried, lanes)
        after = _at(moving, far.shifted(loop.step))
        kept = {p: moving[p].known(v, self._machine.values.get(p)) for p, v in after.items()}
        if kept != moving:
            # What two trips had in common by chance is not known. The rest may still be enough.
            rest = {place: value for place, value in kept.items() if value is not None}
            self._induction(loop, label, carried, trips, (unchanged, rest), head, index)
            return
        # Behind the loop, the last trip is still to come.
        end = last.shifted(-trips[0])
        lanes = [self._symbols.lanes(c.value.name) for c in carried]
        self._run_source(loop, Linear((), trips[0]), carried, lanes)
        self._machine.values = {**unchanged, **_at(moving, end), **self._placed(carried, lanes)}
        yields = self._run_source(loop, last, carried, lanes)
        self._source.values.update(zip((c.result.name for c in carried), yields, strict=True))

    def _check_loads(
        self,
        loop: For,
        label: str,
        index: Linear,
        carried: Sequence[_Carried],
        lanes: Sequence[Lanes],
    ) -> None:
        """A trip loads only elements of its trip and of the next one, which always follows."""
        self._run_source(loop, index.shifted(loop.step), carried, lanes)
        if not self._machine.memory.loaded <= self._source.memory.loaded:
            raise Unproved(f"{label}: loads other elements")

    def _run_source(
        self, loop: For, index: Linear, carried: Sequence[_Carried], lanes: Sequence[Lanes]
    ) -> list[Lanes]:
        """One trip of the nest's loop; returns what it yields."""
        self._source.values[loop.index.name] = index
        self._source.values.update(zip((c.value.name for c in carried), lanes, strict=True))
        for statement in loop.body:
            self._source.run(statement)
        return [self._source.lanes(c.after) for c in carried]

    def _trip(self, label: str) -> Linear | None:
        """One trip of the function's loop; returns the number that is 0 after the last trip."""
        self._straight()
        if self._machine.branch(self._line()) != ("ne", label):
            raise Unproved(f"{label}: branches back on another condition")
        return self._machine.counted

    def _changed_from(self, head: int, label: str) -> set[Place]:
        end = self._at
        self._at = head
        changed = self._changed(label)
        self._at = end
        return changed


@dataclass(frozen=True, slots=True)
class _Carried:
    """A carried value of a loop, and its place in the function."""

    place: Place
    stream: str
    value: Var
    init: Operand
    after: Operand
    result: Var


class _Moving:
    """A value that depends on how far the index of a loop is from its start."""

    def __init__(self, symbols: Symbols, before: Value, after: Value, step: int) -> None:
        self._symbols, self._step = symbols, step
        self.before, self.after = before, after

    def at(self, far: Linear) -> Value:
        """The value when the index is `far` from its start."""
        match self.before, self.after:
            case Linear() as a, Linear() as b:
                return between(a, b, self._step, far) or a
            case Half(a), Half(b):
                return Half(tuple(self._lane(m, n, far) for m, n in zip(a, b, strict=True)))
            case tuple() as a, tuple() as b:
                w, x, y, z = (self._lane(m, n, far) for m, n in zip(a, b, strict=True))
                return (w, x, y, z)
        raise Unproved("a value of another type")

    def known(self, expected: Value, found: Value | None) -> _Moving | None:
        """The value without the lanes that are not as expected after a trip; None if none is."""
        if expected == found:
            return self
        if not (isinstance(expected, tuple) and isinstance(found, tuple)):
            return None
        assert isinstance(self.before, tuple)
        pairs = zip(self.before, expected, found, strict=True)
        w, x, y, z = (UNKNOWN if a not in (b, UNKNOWN) else lane for lane, a, b in pairs)
        if (w, x, y, z) == self.before:
            return self
        return _Moving(self._symbols, (w, x, y, z), self.after, self._step)

    def _lane(self, a: int, b: int, far: Linear) -> int:
        if UNKNOWN in (a, b):
            return UNKNOWN
        moved = self._symbols.moved(a, b, self._step, far)
        return UNKNOWN if moved is None else moved


def _moving(symbols: Symbols, before: Value, after: Value, step: int) -> _Moving | None:
    if type(before) is not type(after):
        return None
    if isinstance(before, Linear) and isinstance(after, Linear):
        return (
            _Moving(symbols, before, after, step) if between(before, after, step, before) else None
        )
    return _Moving(symbols, before, after, step)


def _at(moving: Mapping[Place, _Moving], far: Linear) -> dict[Place, Value]:
    return {place: value.at(far) for place, value in moving.items()}


def _input_types(loop: For) -> dict[str, object]:
    return {v.name: v.type for v in inputs((loop,))}
