"""Listings: what the text of a plan contains, that is, memory, calls in order, and candidates.

A plan holds weights, kernels and a graph. A listing holds only which kernels run on which bytes, so
that it can be printed, read back and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ellc.codegen.blocks.access import BufferKind
from ellc.codegen.blocks.calls import BufferArg, PlacedArg
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.plan import Plan, Step, StepPart


@dataclass(frozen=True, slots=True)
class ListedBuffer:
    """A buffer. In the arena, it has an `offset`, and `live` gives its first and last live step.

    Step -1 is `init`. The caller's buffers (inputs and outputs) have neither of the two fields.
    """

    id: str
    kind: BufferKind
    bytes: int
    offset: int | None = None
    live: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ListedConstant:
    """A constant: its offset in the section of constants, and its size."""

    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ListedPointer:
    """An argument: an offset into `memory`, which is a buffer's id or a constant's number.

    In a loop, the argument advances by `trip_bytes` on every trip.
    """

    memory: str | int
    offset_bytes: int = 0
    trip_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a call: the Boolean `value`, to which `flag` points, must be `wanted`."""

    value: str
    flag: ListedPointer
    wanted: bool


@dataclass(frozen=True, slots=True)
class ListedPart:
    """The rows and columns of a value that a step of a chain computes or moves."""

    value: str
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ListedCall:
    """A step (see `plan.Step`). The first candidate is the chosen one. Cycles are rounded."""

    name: str
    kernel: str
    note: str
    extent: int
    arguments: tuple[ListedPointer, ...]
    op: str
    values: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    macs: int = 0
    moved_bytes: int = 0
    repeat: Repeat | None = None
    conditions: tuple[Condition, ...] = ()
    candidates: tuple[Prediction, ...] = ()
    part: ListedPart | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole plan. The calls `once` run in `init`, the calls `steps` in every `predict`."""

    graph: str
    target: str
    threads: int
    arena_bytes: int
    lower_bound_bytes: int
    buffers: tuple[ListedBuffer, ...]
    constant_bytes: int
    constants: tuple[ListedConstant, ...]
    once: tuple[ListedCall, ...]
    steps: tuple[ListedCall, ...]


def listing(plan: Plan) -> Listing:
    """The listing of a plan. Buffers of the arena come first, by offset; then the caller's."""
    numbers = {weight.key: number for number, (weight, _) in enumerate(plan.weights)}
    return Listing(
        plan.graph.name,
        plan.target.name,
        plan.options.threads,
        plan.arena.arena_bytes,
        plan.arena.lower_bound_bytes,
        tuple(_buffers(plan)),
        plan.weight_bytes,
        tuple(ListedConstant(offset, weight.bytes) for weight, offset in plan.weights),
        tuple(_call(step, numbers) for step in plan.once),
        tuple(_call(step, numbers) for step in plan.steps),
    )


def _buffers(plan: Plan) -> Iterator[ListedBuffer]:
    live = {x.id: (x.first, x.last) for x in plan.arena.lifetimes}
    by_offset = sorted(plan.arena.offsets.items(), key=lambda item: (item[1], item[0]))
    for id_, offset in by_offset:
        buffer = plan.buffers[id_]
        yield ListedBuffer(id_, buffer.kind, buffer.bytes, offset, live[id_])
    for buffer in plan.buffers.values():
        if buffer.kind in ("input", "output"):
            yield ListedBuffer(buffer.id, buffer.kind, buffer.bytes)


def _call(step: Step, numbers: Mapping[str, int]) -> ListedCall:
    call = step.call
    return ListedCall(
        step.name,
        call.kernel.name,
        call.note,
        call.extent,
        tuple(_pointer(arg, numbers) for arg in call.placed_args),
        step.op,
        step.values,
        step.source,
        step.macs,
        step.moved_bytes,
        step.repeat,
        tuple(Condition(g.value, _pointer(g.flag, numbers), g.wanted) for g in step.guards),
        tuple(map(_rounded, step.predictions)),
        None if step.part is None else _part(step.part),
    )


def _part(part: StepPart) -> ListedPart:
    return ListedPart(part.result.value, part.result.box.rows, part.result.box.columns)


def _pointer(arg: PlacedArg, numbers: Mapping[str, int]) -> ListedPointer:
    if isinstance(arg, BufferArg):
        return ListedPointer(arg.buffer.id, arg.offset_bytes, arg.trip_bytes)
    return ListedPointer(numbers[arg.weight.key], arg.offset_bytes)


def _rounded(prediction: Prediction) -> Prediction:
    cycles = prediction.cycles
    return prediction if cycles is None else replace(prediction, cycles=float(round(cycles)))
