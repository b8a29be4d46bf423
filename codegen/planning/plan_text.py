"""The textual form of a plan: `parse(print_plan(p)) == listing(p)`.

    plan "net" for "pi3_64", threads 1
    arena 9280 bytes, lower bound 9280
    buffer "v1": arena, 9216 bytes at 64, live 0..1
    buffer "input0": input, 5184 bytes
    constants 640 bytes
    constant 0: 576 bytes at 0
    once net_border0_v1 = net_border0_v1("v1" + 0) to 22, note ""
      computes border, 0 multiply-adds, 0 bytes moved
    step net_000_conv2d = net_000_conv2d("input0" + 0, constant 0 + 0, "v1" + 0) to 3, note "gemm"
      computes conv2d, 82944 multiply-adds, 10976 bytes moved
      makes "v1"
      part "v1", rows 0..3, columns 0..11
      from "first"
      in loop 0 of 5 trips
      if "v7" at "v7" + 0 is true
      candidate depthwise:3x3x4, 18432 cycles
      candidate gemm:8x4, 26012 cycles

If a step shares the kernel of an earlier step, its own name differs from the kernel's. The first
candidate is the chosen one. Names that come from the model are JSON strings. `to 3` gives the
extent of the kernel call. `live 0..1` gives the first and the last step at which a buffer is live;
steps are counted from 0, and -1 is `init`. A pointer that advances by 64 bytes on every trip of a
loop ends in ` + 64 a trip`. A loop that one thread runs alone ends in `, alone`. A step of a chain
has a `part`: the first and the last row and column that it computes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

from ellc.codegen.blocks.access import BufferKind
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.planning.listing import (
    Condition,
    ListedBuffer,
    ListedCall,
    ListedConstant,
    ListedPart,
    ListedPointer,
    Listing,
    listing,
)
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.plan import Plan
from ellc.ir.errors import EllcError

# --- printing ------------------------------------------------------------------------------------


def print_plan(plan: Plan) -> str:
    """The plan as text."""
    return print_listing(listing(plan))


def print_listing(listed: Listing) -> str:
    """The listing as text, with a line break at the end."""
    return "".join(f"{line}\n" for line in _lines(listed))


def _lines(listed: Listing) -> Iterator[str]:
    names = f"{_quoted(listed.graph)} for {_quoted(listed.target)}"
    yield f"plan {names}, threads {listed.threads}"
    yield f"arena {listed.arena_bytes} bytes, lower bound {listed.lower_bound_bytes}"
    yield from map(_print_buffer, listed.buffers)
    yield f"constants {listed.constant_bytes} bytes"
    for number, constant in enumerate(listed.constants):
        yield f"constant {number}: {constant.bytes} bytes at {constant.offset}"
    for call in listed.once:
        yield from _print_call("once", call)
    for call in listed.steps:
        yield from _print_call("step", call)


def _print_buffer(buffer: ListedBuffer) -> str:
    text = f"buffer {_quoted(buffer.id)}: {buffer.kind}, {buffer.bytes} bytes"
    if buffer.offset is None or buffer.live is None:
        return text
    return f"{text} at {buffer.offset}, live {buffer.live[0]}..{buffer.live[1]}"


def _print_call(word: str, call: ListedCall) -> Iterator[str]:
    arguments = ", ".join(map(_print_pointer, call.arguments))
    written = f"{call.kernel}({arguments}) to {call.extent}"
    yield f"{word} {call.name} = {written}, note {_quoted(call.note)}"
    work = f"{call.macs} multiply-adds, {call.moved_bytes} bytes moved"
    yield f"  computes {call.op}, {work}"
    if call.values:
        yield f"  makes {', '.join(map(_quoted, call.values))}"
    if (part := call.part) is not None:
        rows, columns = (f"{first}..{end - 1}" for first, end in (part.rows, part.columns))
        yield f"  part {_quoted(part.value)}, rows {rows}, columns {columns}"
    if call.source:
        yield f"  from {', '.join(map(_quoted, call.source))}"
    if (loop := call.repeat) is not None:
        yield f"  in loop {loop.number} of {loop.trips} trips{', alone' if loop.alone else ''}"
    for condition in call.conditions:
        flag = f"{_quoted(condition.value)} at {_print_pointer(condition.flag)}"
        yield f"  if {flag} is {'true' if condition.wanted else 'false'}"
    for candidate in call.candidates:
        cycles = "" if candidate.cycles is None else f", {candidate.cycles:.0f} cycles"
        yield f"  candidate {candidate.name}{cycles}"


def _print_pointer(pointer: ListedPointer) -> str:
    memory = pointer.memory
    name = f"constant {memory}" if isinstance(memory, int) else _quoted(memory)
    trips = f" + {pointer.trip_bytes} a trip" if pointer.trip_bytes else ""
    return f"{name} + {pointer.offset_bytes}{trips}"


def _quoted(text: str) -> str:
    return json.dumps(text)


# --- parsing -------------------------------------------------------------------------------------


def parse(text: str) -> Listing:
    """The listing whose text this is.

    Raises `EllcError` (E321), which lists every line that cannot be read, and says whether a
    required line is missing.
    """
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), 1):
        reader.read(number, line)
    listed = reader.listing()
    if reader.problems or listed is None:
        raise EllcError(
            "this is not the text of a plan", code="E321", problems=tuple(reader.problems)
        )
    return listed


_STRING = r'"(?:[^"\\]|\\.)*"'
_STRINGS = rf"{_STRING}(?:, {_STRING})*"
_POINTER = rf"(?:{_STRING}|constant \d+) \+ -?\d+(?: \+ -?\d+ a trip)?"
_POINTER_PARTS = re.compile(rf"(?:({_STRING})|constant (\d+)) \+ (-?\d+)(?: \+ (-?\d+) a trip)?")
_KINDS = "|".join(get_args(BufferKind))


class _BadLine(Exception):
    """The current line cannot be read; the message says why."""


class _Reader:
    """Reads a text line by line. A line that cannot be read becomes a problem and is skipped."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._head: tuple[str, str, int] | None = None
        self._arena: tuple[int, int] | None = None
        self._constant_bytes: int | None = None
        self._buffers: list[ListedBuffer] = []
        self._constants: list[ListedConstant] = []
        self._calls: dict[str, list[ListedCall]] = {"once": [], "step": []}
        # Indented lines describe the last call of this list.
        self._last: list[ListedCall] | None = None

    def read(self, number: int, line: str) -> None:
        """Read one line."""
        try:
            for pattern, method in _READERS:
                if match := pattern.fullmatch(line):
                    method(self, *match.groups(default=""))
                    return
            raise _BadLine(f"not a line of a plan: {line[:80]}")
        except (_BadLine, ValueError) as problem:  # `int` raises ValueError for too many digits
            self.problems.append(f"line {number}: {problem}")

    def listing(self) -> Listing | None:
        """The listing that has been read. None, and a problem, if a required line is missing."""
        if self._head is None or self._arena is None or self._constant_bytes is None:
            self.problems.append("the lines 'plan', 'arena' and 'constants' are required")
            return None
        return Listing(
            *self._head,
            *self._arena,
            tuple(self._buffers),
            self._constant_bytes,
            tuple(self._constants),
            tuple(self._calls["once"]),
            tuple(self._calls["step"]),
        )

    def head(self, graph: str, target: str, threads: str) -> None:
        self._head = _unquoted(graph), _unquoted(target), int(threads)

    def arena(self, bytes_: str, bound: str) -> None:
        self._arena = int(bytes_), int(bound)

    def buffer(self, id_: str, kind: Any, bytes_: str, at: str, first: str, last: str) -> None:
        listed = ListedBuffer(_unquoted(id_), kind, int(bytes_))
        if at:
            listed = replace(listed, offset=int(at), live=(int(first), int(last)))
        self._buffers.append(listed)

    def constants(self, bytes_: str) -> None:
        self._constant_bytes = int(bytes_)

    def constant(self, number: str, bytes_: str, offset: str) -> None:
        if int(number) != len(self._constants):
            raise _BadLine(f"expected constant {len(self._constants)}, not {number}")
        self._constants.append(ListedConstant(int(offset), int(bytes_)))

    def call(
        self, word: str, name: str, kernel: str, arguments: str, extent: str, note: str
    ) -> None:
        pointers = tuple(_pointer(*p) for p in _POINTER_PARTS.findall(arguments))
        self._last = self._calls[word]
        self._last.append(ListedCall(name, kernel, _unquoted(note), int(extent), pointers, ""))

    def computes(self, op: str, macs: str, moved_bytes: str) -> None:
        self._extend(op=op, macs=int(macs), moved_bytes=int(moved_bytes))

    def makes(self, values: str) -> None:
        self._extend(values=_all_unquoted(values))

    def source(self, layers: str) -> None:
        self._extend(source=_all_unquoted(layers))

    def part(self, value: str, *numbers: str) -> None:
        top, bottom, left, right = map(int, numbers)
        self._extend(part=ListedPart(_unquoted(value), (top, bottom + 1), (left, right + 1)))

    def loop(self, number: str, trips: str, alone: str) -> None:
        self._extend(repeat=Repeat(int(number), int(trips), bool(alone)))

    def condition(self, value: str, pointer: str, wanted: str) -> None:
        (parts,) = _POINTER_PARTS.findall(pointer)
        condition = Condition(_unquoted(value), _pointer(*parts), wanted == "true")
        self._extend(conditions=(*self._current().conditions, condition))

    def candidate(self, family: str, schedule: str, cycles: str) -> None:
        prediction = Prediction(family, schedule, float(cycles) if cycles else None)
        self._extend(candidates=(*self._current().candidates, prediction))

    def _current(self) -> ListedCall:
        if not self._last:
            raise _BadLine("this line must follow a 'once' or 'step' line")
        return self._last[-1]

    def _extend(self, **fields: Any) -> None:
        current = self._current()
        assert self._last is not None
        self._last[-1] = replace(current, **fields)


_READERS: tuple[tuple[re.Pattern[str], Callable[..., None]], ...] = tuple(
    (re.compile(pattern), method)
    for pattern, method in (
        (rf"plan ({_STRING}) for ({_STRING}), threads (\d+)", _Reader.head),
        (r"arena (\d+) bytes, lower bound (\d+)", _Reader.arena),
        (
            rf"buffer ({_STRING}): ({_KINDS}), (\d+) bytes(?: at (\d+), live (-?\d+)\.\.(-?\d+))?",
            _Reader.buffer,
        ),
        (r"constants (\d+) bytes", _Reader.constants),
        (r"constant (\d+): (\d+) bytes at (\d+)", _Reader.constant),
        (
            rf"(once|step) (\w+) = (\w+)\(((?:{_POINTER}(?:, {_POINTER})*)?)\) to (\d+),"
            rf" note ({_STRING})",
            _Reader.call,
        ),
        (r"  computes (\w+), (\d+) multiply-adds, (\d+) bytes moved", _Reader.computes),
        (rf"  makes ({_STRINGS})", _Reader.makes),
        (
            rf"  part ({_STRING}), rows (\d+)\.\.(\d+), columns (\d+)\.\.(\d+)",
            _Reader.part,
        ),
        (rf"  from ({_STRINGS})", _Reader.source),
        (r"  in loop (\d+) of (\d+) trips(, alone)?", _Reader.loop),
        (rf"  if ({_STRING}) at ({_POINTER}) is (true|false)", _Reader.condition),
        (r"  candidate (\w+)(?::(\w+))?(?:, (\d+) cycles)?", _Reader.candidate),
    )
)


def _pointer(buffer: str, constant: str, offset_bytes: str, trip_bytes: str) -> ListedPointer:
    memory = _unquoted(buffer) if buffer else int(constant)
    return ListedPointer(memory, int(offset_bytes), int(trip_bytes or 0))


def _all_unquoted(text: str) -> tuple[str, ...]:
    return tuple(map(_unquoted, re.findall(_STRING, text)))


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise _BadLine(f"not a JSON string: {text[:40]}") from None
