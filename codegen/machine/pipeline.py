"""How in-order cores issue instructions: a table per core, and a model that counts cycles.

Cycles are those of the issue stage. Memory always answers from the first-level cache.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.target import Target

HALVES = 2
"""The SIMD unit of the modelled cores has two halves of 64 bits."""


@dataclass(frozen=True, slots=True)
class Issue:
    """How one kind of instruction issues, and when it reads operands and gives its result."""

    cycles: int = 1
    """Cycles that it occupies the issue stage."""
    halves: int = 0
    """Halves of the SIMD unit that it uses."""
    first: bool = False
    """It is never the second instruction of a pair."""
    alone: bool = False
    """Nothing pairs with it."""
    memory: bool = False
    """It uses the load and store unit, which accepts one instruction in a cycle."""
    stage_after: int | None = None
    """Cycles from issue to its use of the SIMD add stage, which has as many halves as the unit.

    None if it does not use the stage. A multiply-add, which reaches the stage late, blocks loads,
    insertions and moves that issue then."""
    busy: int = 0
    """Cycles until the unit of multiplications and divisions of integers is free again."""
    latency: int = 2
    """Cycles until another instruction can read the result as an ordinary operand."""
    need: int = 0
    """Cycles after issue when it reads its operands."""
    update_need: int = 0
    """The same for the operand that it updates, such as the sum of a multiply-add."""
    late: bool = False
    """A late operand delays its result by a cycle, not its issue: an addition of integers."""


_SIMD = Issue(halves=2, first=True, stage_after=0, latency=4)
_A53: Mapping[str, Issue] = {
    "integer": Issue(need=2, late=True),
    "constant": Issue(need=1),
    "shifted": Issue(need=1, latency=3),
    "select": Issue(cycles=2, need=2, late=True),
    "multiply": Issue(need=1, latency=5, busy=2, update_need=3),
    "divide": Issue(need=1, latency=14, busy=12),
    "branch": Issue(need=3),
    "nop": Issue(),
    "load": Issue(memory=True, latency=4),
    "store": Issue(memory=True, update_need=3),
    "prefetch": Issue(memory=True),
    "half_load": Issue(halves=1, memory=True, stage_after=0, latency=3),
    "vector_load": Issue(cycles=2, halves=2, alone=True, memory=True, stage_after=0, latency=4),
    "vector_store": Issue(halves=2, memory=True, update_need=1),
    "half_store": Issue(halves=1, memory=True, update_need=1),
    "insert": Issue(halves=1, stage_after=0, need=3, update_need=2),
    "multiply_add": Issue(halves=2, first=True, stage_after=4, latency=8, update_need=4),
    "half_multiply_add": Issue(halves=1, stage_after=4, latency=8, update_need=4),
    "vector_add": _SIMD,
    "half_add": Issue(halves=1, stage_after=0, latency=4),
    "vector_multiply": Issue(halves=2, first=True, latency=4),
    "half_multiply": Issue(halves=1, latency=4),
    "vector_move": Issue(halves=2, first=True, stage_after=0),
    "vector_splat": Issue(halves=2, first=True, stage_after=0, latency=3, need=3),
    "vector_logic": Issue(halves=2, first=True, stage_after=0),
    "vector_pairs": Issue(halves=2, first=True, stage_after=0, latency=3),
    "integer_vector": Issue(halves=2, first=True, stage_after=0),
    "integer_half": Issue(halves=1, stage_after=0),
    "integer_slow": Issue(halves=2, first=True, stage_after=0, latency=3),
    "integer_multiply_add": Issue(halves=2, first=True, latency=4, update_need=3),
    "widening_add": Issue(halves=2, first=True, stage_after=0, latency=4, update_need=3),
}
_A53_32: Mapping[str, Issue] = {
    **_A53,
    # Two instructions for a half each.
    "vector_load": Issue(cycles=2, halves=1, memory=True, stage_after=0, latency=4),
    "vector_store": Issue(cycles=2, halves=1, memory=True, update_need=1),
    "whole_store": Issue(halves=2, memory=True, update_need=1),
}
_A55_SIMD = Issue(halves=2, first=True, latency=4)
_A55: Mapping[str, Issue] = {
    "integer": Issue(need=1),
    "constant": Issue(need=1),
    "shifted": Issue(),
    "select": Issue(cycles=2, need=1),
    "multiply": Issue(latency=3, update_need=1),
    "divide": Issue(latency=8, busy=8),
    "branch": Issue(need=2),
    "nop": Issue(),
    "load": Issue(memory=True, latency=4),
    "store": Issue(memory=True, update_need=1),
    "prefetch": Issue(memory=True),
    "half_load": Issue(memory=True, latency=3),
    "vector_load": Issue(cycles=2, halves=2, alone=True, memory=True, latency=4),
    "vector_store": Issue(halves=2, memory=True, update_need=1),
    "half_store": Issue(halves=1, memory=True, update_need=1),
    "insert": Issue(latency=4),
    "multiply_add": _A55_SIMD,
    "half_multiply_add": Issue(halves=1, latency=4),
    "vector_add": _A55_SIMD,
    "half_add": Issue(halves=1, latency=4),
    "vector_multiply": _A55_SIMD,
    "half_multiply": Issue(halves=1, latency=4),
    "vector_move": Issue(halves=2, first=True, latency=2),
    "vector_splat": Issue(halves=2, first=True, latency=3),
    "vector_logic": Issue(halves=2, first=True, latency=2),
    "vector_pairs": Issue(halves=2, first=True, latency=3),
    "integer_vector": Issue(halves=2, first=True, latency=2),
    "integer_half": Issue(halves=1, latency=2),
    "integer_slow": Issue(halves=2, first=True, latency=3),
    "integer_multiply_add": Issue(halves=2, first=True, latency=4, update_need=3),
    "widening_add": Issue(halves=2, first=True, latency=4, update_need=3),
}
"""The Cortex-A55 from revision 1 on. Nobody has compared this with another model or with hardware
for ellc. They come from LLVM's model (AArch64SchedA55.td), from slothy's model, which follows Arm's
optimization guide, and from what ncnn, ONNX Runtime and XNNPACK measured for their kernels:

* Both models and Arm's guide give a load of 16 bytes a latency of 4. It takes two cycles, with
  nothing beside it, as ONNX Runtime and ncnn measured and slothy has it; LLVM assumes one cycle.
* A load of 8 bytes and an insertion issue beside a multiply-add of 16 bytes, as ncnn and XNNPACK
  measured. Slothy has a SIMD unit in use for both, so that neither does; revision 0 behaves so.
* Where latencies differ, the longer one is here: 4 for an insertion from a core register (slothy 2)
  and for a load into one (LLVM 3).
* A load and a store can issue together (LLVM). Here, as on the Cortex-A53, they do not.
"""
PIPELINES: Mapping[tuple[str, Arch], Mapping[str, Issue]] = {
    ("cortex-a53", "aarch64"): _A53,
    ("cortex-a53", "arm"): _A53_32,
    ("cortex-a55", "aarch64"): _A55,
}
"""For each core and each of its states the rows by kind of instruction."""


def pipeline_of(target: Target) -> Mapping[str, Issue] | None:
    """The rows of a target's core; None if they are not known, or if it runs other code."""
    if target.object_format != "elf" or target.is_thumb:
        return None
    return PIPELINES.get((target.core.name, target.arch))


def loads_beside_products(rows: Mapping[str, Issue]) -> bool:
    """Whether loads of halves and insertions issue in the same cycle as a multiply-add."""
    return not any(rows[kind].halves for kind in ("half_load", "insert"))


class Timed(Protocol):
    """What the model must know of an instruction: its kind and its registers."""

    @property
    def kind(self) -> str:
        """The name of its row."""

    @property
    def reads(self) -> Sequence[Hashable]:
        """The registers that it reads `Issue.need` cycles after it issues."""

    @property
    def late(self) -> Sequence[Hashable]:
        """The registers that it reads `Issue.update_need` cycles after it issues: data to store."""

    @property
    def updates(self) -> Sequence[Hashable]:
        """The registers that it reads as late as those, and writes: the sum of a multiply-add."""

    @property
    def writes(self) -> Sequence[Hashable]:
        """The registers that it only writes."""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a block, with its row; registers are numbers."""

    row: Issue
    reads: tuple[int, ...]
    late: tuple[int, ...]
    """The registers that it reads `Issue.update_need` cycles after it issues."""
    results: tuple[int, ...]
    """The registers that it changes."""
    loads: bool
    """Whether its results can be an address a cycle earlier."""


def steps_of(code: Sequence[Timed], rows: Mapping[str, Issue]) -> list[Step]:
    """What the model must know of some instructions, looked up once.

    An instruction is issued several times, and most of the scheduler's time is spent there.
    """
    numbers: dict[Hashable, int] = {}

    def numbered(registers: Iterable[Hashable]) -> tuple[int, ...]:
        return tuple(numbers.setdefault(register, len(numbers)) for register in registers)

    return [
        Step(
            rows[what.kind],
            numbered(what.reads),
            numbered((*what.updates, *what.late)),
            numbered((*what.writes, *what.updates)),
            what.kind == "load",
        )
        for what in code
    ]


@dataclass(slots=True)
class Timeline:
    """Issues instructions in order and counts cycles."""

    now: int = 0
    _slot: int = 0
    _halves: int = 0
    _memory: bool = False
    _closed: bool = False
    _simd_open: bool = True
    _last: int | None = None
    _ready: dict[int, int] = field(default_factory=dict)
    _loaded: set[int] = field(default_factory=set)
    _stage: dict[int, int] = field(default_factory=dict)
    _unit_free: int = 0

    @property
    def is_new(self) -> bool:
        """Whether nothing has issued in the present cycle."""
        return not self._slot

    def ready(self, step: Step) -> int:
        """The first cycle in which the operands of an instruction are there when it needs them."""
        row, ready, earliest = step.row, self._ready, self.now
        for register in step.reads:
            at = ready.get(register, 0) - row.need
            if at > earliest:
                # An address that was loaded is forwarded one cycle earlier.
                earliest = at - (not row.need and register in self._loaded)
        for register in step.late:
            at = ready.get(register, 0) - row.update_need
            if at > earliest:
                earliest = at
        return earliest

    def fits(self, step: Step) -> bool:
        """Whether an instruction can issue in the present cycle, beside what has issued in it."""
        row = step.row
        if self._slot and not self._pairs(step):
            return False
        if row.busy and self._unit_free > self.now:
            return False
        if row.stage_after is None:
            return True
        first, most, stage = self.now + row.stage_after, HALVES - row.halves, self._stage
        if row.cycles == 1:
            return stage.get(first, 0) <= most
        return all(stage.get(first + k, 0) <= most for k in range(row.cycles))

    def _pairs(self, step: Step) -> bool:
        row = step.row
        if self._slot > 1 or self._closed or row.alone or row.first:
            return False
        if self._halves + row.halves > HALVES or (row.memory and self._memory):
            return False
        if not row.halves:
            return True
        same = bool(step.results) and step.results[0] == self._last
        return self._simd_open and not same

    def advance(self, to: int) -> None:
        """Begin a later cycle."""
        self.now = to
        self._slot = self._halves = 0
        self._memory = self._closed = False
        self._simd_open, self._last = True, None

    def issue(self, step: Step) -> int:
        """Issue an instruction as early as possible; returns the cycle."""
        earliest = self.ready(step)
        if earliest > self.now:
            self.advance(earliest)
        while not self.fits(step):
            self.advance(self.now + 1)
        self._record(step)
        return self.now

    def _record(self, step: Step) -> None:
        row, start = step.row, self.now
        if row.stage_after is not None:
            for cycle in range(start + row.stage_after, start + row.stage_after + row.cycles):
                self._stage[cycle] = self._stage.get(cycle, 0) + row.halves
        if row.busy:
            self._unit_free = start + row.busy
        ready = start + row.latency
        if row.late and any(self._ready.get(r, 0) > start + 1 for r in step.reads):
            ready += 1
        for register in step.results:
            self._ready[register] = ready
            if step.loads:
                self._loaded.add(register)
            else:
                self._loaded.discard(register)
        self._occupy(row, step.results[0] if step.results else None)

    def _occupy(self, row: Issue, written: int | None) -> None:
        """Take the slots of the present cycle, or of the last one of a longer instruction."""
        if row.cycles > 1:
            self.now += row.cycles - 1
            self._slot, self._halves, self._memory = 1, row.halves, row.memory
            self._closed, self._simd_open = row.alone, False
        else:
            self._slot += 1
            self._halves += row.halves
            self._memory |= row.memory
            self._closed, self._simd_open = row.alone, True
        self._last = written

    def state(self) -> Hashable:
        """All that later instructions depend on, with times that count from the present cycle."""
        now = self.now
        waiting = {register: at - now for register, at in self._ready.items() if at > now}
        return (
            (self._slot, self._halves, self._memory, self._closed, self._simd_open, self._last),
            max(self._unit_free - now, 0),
            tuple(sorted(waiting.items())),
            tuple(sorted(self._loaded.intersection(waiting))),
            tuple(sorted((at - now, used) for at, used in self._stage.items() if at >= now)),
        )


def cycles_of(code: Sequence[Timed], rows: Mapping[str, Issue]) -> int:
    """The cycles from the first instruction to the last one, which is included."""
    line = Timeline()
    for step in steps_of(code, rows):
        line.issue(step)
    return line.now + 1


_TURNS = 6


def loop_cycles(body: Sequence[Timed], rows: Mapping[str, Issue]) -> int:
    """The cycles of one trip of a loop that runs for long; the body ends with its branch."""
    return cycles_of_turns(steps_of(body, rows))


def cycles_of_turns(body: Sequence[Step]) -> int:
    """As `loop_cycles`, for instructions that are looked up."""
    line = Timeline()
    before: Hashable = None
    cycles = 0
    for _ in range(_TURNS):
        start = line.now
        for step in body:
            line.issue(step)
        cycles = line.now - start
        state = line.state()
        if state == before:
            break  # all other trips are like this one
        before = state
    return cycles
