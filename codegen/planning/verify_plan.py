"""Verifies that no step of a plan reads bytes that are unwritten or belong to another value.

The verifier simulates the steps of a plan without computing values. For every element of every
buffer it records the *owner*: the value for which the element was last written. The code of a
step's kernel shows which buffers the step loads from and stores to; the operands and results of
the step's node show which elements of these buffers it uses. The verifier reports:

* a load from a buffer without contents: neither `init` nor this call has written it, or a buffer
  that shares its bytes was written later;
* an operand, a guard's condition, an output or a state's next value that does not own all its
  elements, or whose border is unwritten;
* two buffers that share bytes, if one step uses both, or if the contents of both are read later;
* an argument at or past the end of its buffer;
* a buffer of the arena, or an output, that no step writes;
* a state or a carried value that is not updated, and contents from `init` that a call overwrites.

The verifier simulates the first two trips and the last trip of a loop. At the end of each trip,
next values become carried values, and elements become parts of sequences: the carried values and
the sequences become the owners of the cells.

The elements of scratch memory have no owners: for scratch memory, and for buffers through which the
kernels of one node exchange data, the verifier records only whether the buffer was written.

Owners are recorded per *cell*. A cell is a run of consecutive elements, chosen so that each tensor
in the buffer contains either the whole cell or no part of it. Typically a cell is a pixel or the
whole buffer. The owner of a cell is a number of 1, 2 or 4 bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from math import gcd
from typing import Any

import numpy as np

from ellc.codegen.blocks.access import Access, Buffer, element_access
from ellc.codegen.blocks.calls import BufferArg
from ellc.codegen.kir.ir import Kernel, Load, Store, walk
from ellc.codegen.planning.bands import operand_parts
from ellc.codegen.planning.loops import Leave
from ellc.codegen.planning.memories import verify_regions
from ellc.codegen.planning.plan import MOVE, PartAccess, Plan, Step, StepPart
from ellc.codegen.planning.rolling import unrolled
from ellc.ir.errors import InternalError
from ellc.ir.graph import Node
from ellc.ir.types import Array

_NO_OWNER, _BORDER, _COPY, _FIRST = 0, 1, 2, 3
"""Owner numbers: no owner (the cell is unwritten), a border, a copy step, and the first value.
Values are numbered from `_FIRST` on."""
_DTYPES = (np.uint8, np.uint16, np.uint32)


def verify_plan(plan: Plan) -> None:
    """Raise `InternalError` for the first error in a plan; it names the step, value or buffer."""
    verify_regions(plan)
    simulation = _Simulation(unrolled(plan))
    simulation.init()
    simulation.call()


class _Simulation:
    """Simulates the steps of a plan, and records the owner of each cell."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._producers = {v: n for n in plan.graph.nodes for v in n.outputs}
        self._operands = _operands(plan, self._producers)
        self._occupied = _OccupiedBytes(plan)
        self._leaves = {n.op.repeat.number: n for n in plan.graph.nodes if isinstance(n.op, Leave)}
        self._maps = _maps(plan, self._leaves.values())
        self._bordered = {
            a.buffer.id: a
            for a in (*plan.accesses.values(), *plan.windows.values())
            if a.border and not a.border.is_empty
        }
        self._owners: dict[str, Array] = {}  # by buffer with contents: the owners of its cells
        self._stored: set[str] = set()  # buffers that were written at any time
        self._lost: set[str] = set()  # buffers whose contents were overwritten in this call
        self._recent: set[str] = set()  # buffers that kernels of the current node have written
        self._trip = 0  # the trip of the current loop
        self._stored_now: set[str] = set()  # buffers that were written on this trip

    def init(self) -> None:
        """Simulate `init`, which sets the states and runs the steps `once`."""
        graph, accesses = self._plan.graph, self._plan.accesses
        for index, _ in enumerate(graph.inputs):
            self._stored.add(f"input{index}")
        for state in graph.states:
            access = accesses[state.current]
            self._store(access.buffer)
            self._give(access, state.current)
        for step in self._plan.once:
            self._run(step)

    def call(self) -> None:
        """Simulate one call. It must not overwrite anything that `init` wrote."""
        kept, self._lost = set(self._owners), set()
        steps, count = self._plan.steps, len(self._plan.steps)
        copies = next((i for i, s in enumerate(steps) if s.op == "copy" and not s.values), count)
        index = 0
        for repeat, group in groupby(steps, key=lambda step: step.repeat and step.repeat.number):
            inside = tuple(group)
            if repeat is not None:
                self._loop(inside, self._leaves[repeat])
                index += len(inside)
                continue
            for step in inside:
                if index == copies:
                    self._require_results()
                self._run(step)
                index += 1
        if copies == count:
            self._require_results()
        self._require_states()
        if lost := kept & self._lost:
            raise InternalError(f"a call overwrites {_listed(lost)}, which init wrote")
        results = {b.id for b in self._plan.buffers.values() if b.kind == "output" and b.bytes}
        if idle := (self._plan.arena.offsets.keys() | results) - self._stored:
            raise InternalError(f"memory is reserved for {_listed(idle)}, which no step writes")

    def _loop(self, steps: tuple[Step, ...], leave: Node) -> None:
        """Simulate the first two trips and the last trip of a loop."""
        assert isinstance(leave.op, Leave)
        trips, held = leave.op.repeat.trips, leave.op.held
        simulated = sorted({0, min(1, trips - 1), trips - 1})
        for self._trip in simulated:
            self._stored_now = set()
            for step in steps:
                self._run(step)
            self._end_trip(leave, leave.op)
        # The trips that were not simulated write the rest of each sequence.
        for sequence_walk, value in zip(leave.op.walks, leave.outputs[len(held) :], strict=True):
            access = element_access(self._plan.accesses[value], sequence_walk, trips)
            self._on_trips(access, 2, trips - 1)[...] = self._number(access, value)
        for current, value in zip(held, leave.outputs, strict=False):
            self._give(self._plan.accesses[current], value)
        self._trip = 0

    def _end_trip(self, leave: Node, op: Leave) -> None:
        """Let each next value become a carried value, and each element part of its sequence."""
        accesses, carried = self._plan.accesses, len(op.held)
        moves = [(v, accesses[c], c) for v, c in zip(leave.inputs, op.held, strict=False)]
        for sequence_walk, value, sequence in zip(
            op.walks, leave.inputs[carried:], leave.outputs[carried:], strict=True
        ):
            element = element_access(accesses[sequence], sequence_walk, op.repeat.trips)
            moves.append((value, element, sequence))
        for value, access, owner in moves:
            if accesses.get(value) == access:
                self._require(value, f"the end of trip {self._trip}")
            elif access.buffer.id not in self._stored_now:
                raise InternalError(f"a trip does not update '{owner}'")
        for _, access, owner in moves:
            self._give(access, owner)

    def _run(self, step: Step) -> None:
        loaded, stored = _traffic(step)
        for buffer in loaded:
            if buffer.kind != "input" and buffer.id not in self._owners:
                raise _error(step, f"reads '{buffer.id}', which nothing has written")
        for value in (*self._operands.get(step.name, ()), *(g.value for g in step.guards)):
            self._require(value, f"step '{step.name}'")
        if step.part is not None:
            self._require_operands(step, step.part)
        for buffer in stored:
            self._store(buffer)
        for buffer in (*loaded, *stored):
            if buffer.kind != "input" and buffer.id not in self._owners:
                raise _error(step, f"'{buffer.id}' shares bytes with another buffer of the step")
        self._mark(step, stored)

    def _mark(self, step: Step, stored: list[Buffer]) -> None:
        """Record the owners of the cells that a step has written."""
        self._recent |= {b.id for b in stored}
        if step.part is not None:
            self._mark_part(step, step.part.result)
        for value in () if step.part else step.values:
            access = self._plan.accesses[value]
            if value in self._plan.viewed or 0 in access.shape:
                continue
            if isinstance(self._producers[value].op, Leave):
                continue  # `_end_trip` sets the owners of a loop's results
            if access.buffer.id not in self._recent:
                raise _error(step, f"does not write '{value}' to '{access.buffer.id}'")
            self._give(access, value)
        if step.values or step.part:
            self._recent = set()
        if step.op == "border" and not step.values:
            image = self._bordered[stored[0].id]
            inside = self._elements(image).copy()
            self._owners[image.buffer.id][...] = _BORDER
            self._elements(image)[...] = inside
        elif step.op == "copy" and not step.values:
            self._owners[stored[0].id][...] = _COPY

    def _require_operands(self, step: Step, part: StepPart) -> None:
        """Require that the parts of operands that a step needs are where it reads them."""
        reader, result = f"step '{step.name}'", part.result
        if step.op != MOVE:
            node = self._producers[result.value]
            wanted = operand_parts(self._plan.graph, node, result.box)
            if [x.box for x in wanted] != [x and x.box for x in part.operands]:
                raise _error(step, "does not read what its part of the result needs")
            for operand in wanted:
                if operand.box is None:
                    self._require(operand.value, reader)
        for x in part.operands:
            if x is not None and x.access.buffer.kind != "input":
                self._require_part(x, reader)

    def _require_part(self, x: PartAccess, reader: str) -> None:
        if x.access.buffer.id not in self._owners:
            raise InternalError(f"{reader} reads '{x.value}', whose bytes nothing has written")
        self._require_placed(x)
        for row, access in _rows(x):
            owners = self._elements(access)
            owned = np.zeros(owners.shape, np.bool_)
            for name in self._owner_names(x, row):
                if number := self._maps[access.buffer.id].numbers.get(name):
                    owned |= owners == number
            if not owned.all():
                raise InternalError(f"{reader} reads row {row} of '{x.value}', which is not there")
        if x.access.border is not None:
            whole = self._plan.windows.get(x.value) or self._plan.accesses[x.value]
            every, inside = self._owners[whole.buffer.id], self._elements(whole)
            if (every == _BORDER).sum() != every.size - inside.size:
                raise InternalError(f"{reader} reads '{x.value}' with an unwritten border")

    def _mark_part(self, step: Step, x: PartAccess) -> None:
        """Record that a part is written. After the last part, the whole value must be there."""
        if x.access.buffer.id not in self._recent:
            raise _error(step, f"does not write '{x.value}' to '{x.access.buffer.id}'")
        self._require_placed(x)
        for row, access in _rows(x):
            (name,) = self._owner_names(x, row)
            self._give(access, name)
        for value in step.values:
            self._require(value, f"the last band of '{value}'")

    def _require_placed(self, x: PartAccess) -> None:
        """Require that a part of a value without a window lies where the value has it."""
        if x.value in self._plan.windows:
            return
        whole, box = self._plan.accesses[x.value], x.box
        steps = whole.strides[1] * box.rows[0] + whole.strides[2] * box.columns[0]
        rows, columns = box.rows[1] - box.rows[0], box.columns[1] - box.columns[0]
        place = (whole.offset + steps, (1, rows, columns, whole.shape[3]), whole.strides)
        if place != (x.access.offset, x.access.shape, x.access.strides):
            raise InternalError(f"a part of '{x.value}' is not at its place")

    def _owner_names(self, x: PartAccess, row: int) -> Iterator[str]:
        """The owners of a row: of a window's row its number, and the column where it begins."""
        window = self._plan.windows.get(x.value)
        if window is None:
            yield from self._parts(x.value)
            return
        inside = (x.access.offset - window.offset) % window.strides[1] // window.strides[2]
        yield f"{x.value} {row} {x.box.columns[0] - inside}"

    def _store(self, buffer: Buffer) -> None:
        """Record that a buffer is written; buffers that share its bytes lose their contents."""
        self._stored.add(buffer.id)
        self._stored_now.add(buffer.id)
        for other in self._occupied.add(buffer):
            del self._owners[other]
            self._lost.add(other)
        if buffer.id not in self._owners:
            # Scratch memory has no cells.
            self._owners[buffer.id] = self._maps.get(buffer.id, _SCRATCH).unwritten()

    def _require(self, value: str, reader: str) -> None:
        """Raise `InternalError` unless a value owns all its elements and has its border.

        The elements of a view must be owned by the values of which it is a view. `reader` is the
        subject of the message.
        """
        access = self._plan.accesses.get(value)
        if access is None or access.buffer.kind == "input" or 0 in access.shape:
            return
        if access.buffer.id not in self._owners:
            raise InternalError(f"{reader} reads '{value}', whose bytes nothing has written")
        owners = self._elements(access)
        owned = np.zeros(owners.shape, np.bool_)
        for part in self._parts(value):
            if number := self._maps[access.buffer.id].numbers.get(part):
                owned |= owners == number
        if not owned.all():
            raise InternalError(f"{reader} reads '{value}', but a part is overwritten")
        if access.buffer.id in self._bordered and access.border and not access.border.is_empty:
            all_owners = self._owners[access.buffer.id]
            if (all_owners == _BORDER).sum() != all_owners.size - owned.size:
                raise InternalError(f"{reader} reads '{value}' with an unwritten border")

    def _require_results(self) -> None:
        graph = self._plan.graph
        for value in (*(p.value for p in graph.outputs), *(s.next for s in graph.states)):
            self._require(value, "the end of a call")

    def _require_states(self) -> None:
        """Require that every state has been updated, either directly or by a copy step."""
        accesses = self._plan.accesses
        for state in self._plan.graph.states:
            current = accesses[state.current]
            if accesses.get(state.next) != current and (self._elements(current) != _COPY).any():
                raise InternalError(f"a call does not update the state '{state.name}'")

    def _parts(self, value: str) -> Iterator[str]:
        """The values of which `value` is a view. If it is not a view, `value` itself."""
        pending = [value]
        while pending:
            name = pending.pop()
            if name in self._plan.viewed:
                pending += self._producers[name].inputs
            else:
                yield name

    def _number(self, access: Access, value: str) -> int:
        """The number that stands for a value as an owner of cells in its buffer."""
        numbers = self._maps[access.buffer.id].numbers
        return numbers.setdefault(value, _FIRST + len(numbers))

    def _give(self, access: Access, value: str) -> None:
        """Make a value the owner of the cells of an access on the current trip."""
        self._elements(access)[...] = self._number(access, value)

    def _elements(self, access: Access) -> Array:
        """The owners of the cells of an access on the current trip, as a numpy view."""
        return self._on_trips(access, self._trip, self._trip + 1)[0, ...]

    def _on_trips(self, access: Access, first: int, end: int) -> Array:
        """The owners of the cells of an access on the trips [first, end), as a numpy view.

        The first axis of the view runs over the trips.
        """
        owners, cell = self._owners[access.buffer.id], self._maps[access.buffer.id].cell
        if any(number % cell for number in _multiples(access)):
            name = access.buffer.id
            raise InternalError(f"an access to '{name}' does not consist of whole cells")
        run, outer, outer_strides = _runs(access)
        shape = (max(0, end - first), *outer, run // cell)
        if 0 in (*shape, *access.shape):
            return np.empty((shape[0], 0), owners.dtype)
        size = owners.itemsize
        strides = tuple(s // cell * size for s in (access.trip, *outer_strides))
        start = access.offset + access.trip * first
        return np.ndarray(shape, owners.dtype, owners, start // cell * size, (*strides, size))


@dataclass(frozen=True, slots=True)
class _Map:
    """How a buffer is divided: into `cells` cells of `cell` elements each.

    `numbers` maps a value to the number that stands for it as an owner. `dtype` is the numpy type
    of these numbers.
    """

    cell: int
    cells: int
    dtype: np.dtype[Any]
    numbers: dict[str, int]

    def unwritten(self) -> Array:
        """The owners of all cells before anything is written to the buffer."""
        return np.full(self.cells, _NO_OWNER, self.dtype)


_SCRATCH = _Map(1, 0, np.dtype(np.uint8), {})


def _maps(plan: Plan, leaves: Iterable[Node]) -> dict[str, _Map]:
    """The cells of every buffer that holds values, by the id of the buffer."""
    placed: dict[str, list[Access]] = {}
    owners: dict[str, set[str]] = {}
    every = (*plan.accesses.items(), *_of_leaves(plan, leaves), *_of_parts(plan))
    for value, access in every:
        placed.setdefault(access.buffer.id, []).append(access)
        owners.setdefault(access.buffer.id, set()).add(value)
    maps = {}
    for name, accesses in placed.items():
        size = accesses[0].buffer.bytes // accesses[0].elem.bytes
        cell = cell_elements(size, accesses)
        largest_number = _FIRST + len(owners[name])
        dtype = next(d for d in _DTYPES if largest_number <= np.iinfo(d).max)
        maps[name] = _Map(cell, size // cell, np.dtype(dtype), {})
    return maps


def _of_leaves(plan: Plan, leaves: Iterable[Node]) -> Iterator[tuple[str, Access]]:
    """Accesses to the results of loops: the last carried values, and elements of sequences."""
    for leave in leaves:
        assert isinstance(leave.op, Leave)
        for current, value in zip(leave.op.held, leave.outputs, strict=False):
            yield value, plan.accesses[current]
        sequences = leave.outputs[len(leave.op.held) :]
        for sequence_walk, value in zip(leave.op.walks, sequences, strict=True):
            yield value, element_access(plan.accesses[value], sequence_walk, leave.op.repeat.trips)


def _of_parts(plan: Plan) -> Iterator[tuple[str, Access]]:
    """Accesses to parts and to windows. Every row of a window has an owner of its own."""
    yield from plan.windows.items()
    for step in plan.steps:
        if step.part is not None:
            for x in (step.part.result, *step.part.operands):
                if x is not None:
                    for row, access in _rows(x):
                        yield f"{x.value} {row} {x.box.columns}", access


def _rows(x: PartAccess) -> Iterator[tuple[int, Access]]:
    """(number, access) of every row of a part."""
    first, end = x.box.rows
    for row in range(first, end):
        offset = x.access.offset + (row - first) * x.access.strides[1]
        yield row, replace(x.access, shape=(1, 1, *x.access.shape[2:]), offset=offset)


def cell_elements(size: int, accesses: Iterable[Access]) -> int:
    """The number of elements in a cell of a buffer that has `size` elements.

    It is the largest number for which every access consists of whole cells on every trip.
    """
    return gcd(size, *(n for access in accesses for n in _multiples(access))) or 1


def _multiples(access: Access) -> Iterator[int]:
    """The lengths, offsets and strides of an access that must be multiples of the cell size."""
    if 0 in access.shape:
        return
    run, _, strides = _runs(access)
    yield from (run, access.offset, access.trip, *strides)


def _runs(access: Access) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(number of consecutive elements, extents of the outer axes, strides of the outer axes)."""
    run, axes = 1, list(zip(access.shape, access.strides, strict=True))
    while axes and (axes[-1][0] == 1 or axes[-1][1] == run):
        run *= axes.pop()[0]
    outer = [axis for axis in axes if axis[0] != 1]
    return run, tuple(n for n, _ in outer), tuple(s for _, s in outer)


def _traffic(step: Step) -> tuple[list[Buffer], list[Buffer]]:
    """(buffers that a step's kernel only loads from, buffers that the kernel stores to)."""
    loads, stores = _touched(step.call.kernel)
    loaded: list[Buffer] = []
    stored: list[Buffer] = []
    for param, arg in zip(step.call.kernel.params, step.call.placed_args, strict=True):
        if not isinstance(arg, BufferArg) or param.name not in loads | stores:
            continue
        if arg.offset_bytes >= arg.buffer.bytes:
            raise _error(step, f"'{param.name}' points past the end of '{arg.buffer.id}'")
        (stored if param.name in stores else loaded).append(arg.buffer)
    return loaded, stored


def _touched(kernel: Kernel) -> tuple[set[str], set[str]]:
    loads, stores = set(), set()
    for statement in walk(kernel.body):
        if isinstance(statement, Load):
            loads.add(statement.param.name)
        elif isinstance(statement, Store):
            stores.add(statement.param.name)
    return loads, stores


def _operands(plan: Plan, producers: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """The operands of each node, by the name of the node's first step."""
    by_step: dict[str, tuple[str, ...]] = {}
    first = ""
    for step in plan.steps:
        if step.part is not None:
            first = ""
        elif step.values:
            producer = producers[step.values[0]]
            if not isinstance(producer.op, Leave):
                by_step[first or step.name] = producer.inputs
            first = ""
        elif step.op not in ("border", "copy", Leave.name):
            first = first or step.name
    return by_step


class _OccupiedBytes:
    """The buffers of the arena that have contents, sorted by address.

    No two of these buffers share bytes, so they are sorted by their ends as well.
    """

    def __init__(self, plan: Plan) -> None:
        self._offsets = plan.arena.offsets
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._names: list[str] = []

    def add(self, buffer: Buffer) -> list[str]:
        """Add a buffer. Remove all others that share bytes with it, and return their names."""
        start = self._offsets.get(buffer.id)
        if start is None or buffer.bytes == 0:
            return []
        stop = start + buffer.bytes
        first, last = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        lost = [name for name in self._names[first:last] if name != buffer.id]
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        self._names[first:last] = [buffer.id]
        return lost


def _error(step: Step, what: str) -> InternalError:
    values = f" (of {', '.join(step.values)})" if step.values else ""
    return InternalError(f"step '{step.name}'{values}: {what}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
