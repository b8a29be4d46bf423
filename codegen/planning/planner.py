"""Makes a plan from a graph: chooses kernels, adds copies, lays out the arena, fills borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from ellc.codegen.blocks.access import (
    ARENA_ALIGN,
    Access,
    Buffer,
    Weight,
    element_access,
)
from ellc.codegen.blocks.border import fill_border
from ellc.codegen.blocks.calls import (
    BufferArg,
    Options,
    WeightArg,
    access_arg,
)
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.blocks.movement import copy_call
from ellc.codegen.blocks.weights import constant_access
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.names import identifier
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.affine_stages import with_affine_stages
from ellc.codegen.planning.banding import ChainCalls, PartCalls
from ellc.codegen.planning.chained import BandedChain, Candidates, Chosen, layer_of
from ellc.codegen.planning.choice import (
    ASK_THE_PLAN,
    NO_SUCH_KERNEL,
    AskedKernels,
    Choice,
    Wishes,
    choose,
    code_goal,
)
from ellc.codegen.planning.halving import halved
from ellc.codegen.planning.loops import Enter, Leave, Repeat, flattened
from ellc.codegen.planning.memories import cycles_per_byte, plan_memories
from ellc.codegen.planning.memory import ArenaPlan, Lifetime, plan_arena
from ellc.codegen.planning.narrowing import narrowed
from ellc.codegen.planning.plan import MOVE, Guard, Plan, Step
from ellc.codegen.planning.planes import in_planes
from ellc.codegen.planning.rolling import rolled
from ellc.codegen.planning.sharing import SharedKernels, SharedWeights
from ellc.codegen.planning.step_costs import has_little_work
from ellc.codegen.planning.storage import Storage
from ellc.codegen.planning.tuning import NO_TUNING, TunedKernel, TunedKernels
from ellc.codegen.planning.verify_plan import verify_plan
from ellc.ir.branches import Needs, needs
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.ops.fused import Fused

_LONGEST_PART = 40
"""At most this many characters of a name in the model become part of a kernel's name."""


# Constants that are derived from weights may overflow; numpy must not warn about that.
@np.errstate(all="ignore")
def make_plan(
    graph: Graph,
    target: Target,
    options: Options,
    prefix: str,
    tuned: TunedKernels = NO_TUNING,
) -> Plan:
    """Choose kernels and memory for a graph. The passes must already have run on the graph.

    The names of kernels start with `prefix`. `tuned` names candidates for some layers, which
    are used instead of those with the lowest predicted cost.

    Raises one `EllcError` that lists all problems with operators and requested kernels. If there is
    only one, the error has its code; otherwise the code is E300 if an operator has no kernel, and
    `choice.NO_SUCH_KERNEL` if only requested kernels are wrong. Raises `EllcError` E304 as
    `plan_arena` does, and `InternalError` if `verify_plan` rejects the plan. If the graph asks for
    weights in fewer bits, the plan's graph has the rounded weights (`narrowing`).
    """
    narrow = narrowed(graph, target, [name for name, _ in options.kernels])
    half = halved(narrow.graph, target)
    planar = in_planes(with_affine_stages(half.graph, target), target)
    flat = flattened(planar)
    needed = needs(flat)
    asked = AskedKernels(dict(options.kernels), dict(narrow.kernels))
    candidates = Candidates(flat, needed, target, options, tuned, asked)
    wanted = options.chains
    if not wanted and options.depth_first:
        wanted = candidates.faster_chains()
    chains = candidates.banded(wanted)
    bands, spared = [chain.bands for chain in chains], asked.spare_images(flat)
    code = code_goal(target, options.code)
    storage = Storage(flat, needed, target, bands, spared, code)
    steps = _Steps(flat, needed, storage, target, options, prefix, tuned, asked, chains)
    plan = steps.plan()
    verify_plan(plan)
    return replace(plan, graph=planar, notes=(*narrow.notes, *half.notes, *plan.notes))


class _Steps:
    """Collects steps. Finally lays out the arena and inserts the steps that fill borders."""

    def __init__(
        self,
        graph: Graph,
        needed: Sequence[Needs],
        storage: Storage,
        target: Target,
        options: Options,
        prefix: str,
        tuned: TunedKernels,
        asked: AskedKernels,
        chains: Sequence[BandedChain],
    ) -> None:
        self._chains, self._bands = {chain.bands.first: chain for chain in chains}, 0
        self._tuned, self._notes = tuned, list[str]()
        self._graph, self._needed, self._storage = graph, needed, storage
        self._target, self._options, self._prefix = target, options, prefix
        self._steps: list[Step] = []
        self._weights = SharedWeights()
        self._scratch: list[tuple[Buffer, int]] = []
        self._problems: list[EllcError] = []
        self._repeat: Repeat | None = None
        self._guards: tuple[Guard, ...] = ()
        self._constants = {c.value: c for c in graph.constants}
        self._asked = asked
        self._wishes = Wishes.of(graph, target, options)

    def plan(self) -> Plan:
        end = 0
        for index, node in enumerate(self._graph.nodes):
            if index in self._chains:
                end = self._chains[index].bands.last + 1
                self._lower_chain(self._chains[index])
            if index >= end:
                self._guards = self._as_guards(self._needed[index])
                self._lower(node)
        self._guards = ()
        self._problems += self._asked.unused(self._graph)
        if self._problems:
            raise _all_problems(self._problems, self._target)
        self._copy_results()
        once, borders = self._borders()
        steps = [s for i, step in enumerate(self._steps) for s in (*borders.get(i, ()), step)]
        arena = _renumbered(self._arena, [len(borders.get(i, ())) for i in range(len(self._steps))])
        kernels = SharedKernels(self._target)
        once, steps = (
            [replace(step, call=kernels.call(step.call)) for step in part] for part in (once, steps)
        )
        steps, arena = rolled(steps, arena, len(self._graph.nodes), self._target)
        weights, weight_bytes = _place_weights([*once, *steps], self._target.constant_align_bytes)
        return Plan(
            self._graph,
            self._target,
            self._options,
            tuple(steps),
            tuple(once),
            self._storage.accesses,
            {b.id: b for b in (*self._storage.buffers, *(b for b, _ in self._scratch))},
            arena,
            weights,
            weight_bytes,
            self._storage.viewed,
            tuple(dict.fromkeys(self._notes)),
            self._storage.windows,
        )

    def _lower(self, node: Node) -> None:
        match node.op:
            case Enter():
                self._enter(node, node.op)
                return
            case Leave():
                self._leave(node, node.op)
                return
        if all(v in self._storage.viewed for v in node.outputs):
            return
        name = self._next_name(node)
        placed = self._storage.placed(node, self._options.threads, name)
        layer, tuned = layer_of(placed, self._tuned)
        try:
            choice = choose(placed, self._asked.of(node), tuned, self._wishes)
        except EllcError as error:
            self._problems.append(error)
            return
        self._note_unused(node, layer, tuned, choice.predictions[0])
        self._append(node, name, choice, layer)

    def _next_name(self, node: Node) -> str:
        return f"{self._prefix}_{len(self._steps):03d}_{_label(node)}"

    def _note_unused(self, node: Node, layer: str, tuned: TunedKernel, chosen: Prediction) -> None:
        told = layer in self._tuned.asked and not self._asked.of(node)
        if told and not chosen.is_named(tuned.name):
            self._notes.append(f"tuning: kernel '{tuned.name[:80]}' cannot compute {layer[:200]}")

    def _lower_chain(self, chain: BandedChain) -> None:
        """Append the steps of a chain."""
        bands, chosen = chain.bands, chain.chosen
        for node in bands.nodes:
            x = chosen[node.output]
            self._note_unused(node, x.layer, x.tuned, x.predictions[0])
        candidates = {value: x.predictions[0] for value, x in chosen.items()}
        threads = self._options.threads
        named = {n.output for n in bands.nodes if self._asked.of(n) or chosen[n.output].tuned.name}
        calls = ChainCalls(
            self._graph, bands, self._storage, self._target, threads, candidates, named
        )
        begin = len(self._steps)
        for part in calls.every(self._next_name):
            self._append_part(part, chosen[part.node.output])
        self._steps[begin:] = [
            replace(step, call=calls.with_scratch(step.call)) for step in self._steps[begin:]
        ]
        self._scratch += [(buffer, begin) for buffer in calls.scratch]
        self._bands += len(bands.strips) * bands.count

    def _append_part(self, part: PartCalls, chosen: Chosen) -> None:
        """Append the steps of a part, or the step of a move inside a window."""
        node = part.node
        for call in part.calls:
            op = MOVE if part.is_move else _op(node)
            step = Step(self._next_name(node), self._weights.call(call), op, source=node.source)
            self._steps.append(replace(step, band=self._bands + part.band))
        if not part.calls:
            return
        step = replace(
            self._steps[-1], part=part.part, macs=part.macs, moved_bytes=part.moved_bytes
        )
        if part.is_last:
            step = replace(step, values=node.outputs, predictions=chosen.predictions)
            step = replace(step, layer=chosen.layer)
        self._steps[-1] = step

    def _append(self, node: Node, name: str, choice: Choice, layer: str) -> None:
        """Append the steps of a node. The last step gets the fields that are set once per node."""
        calls = choice.calls
        self._scratch += [(b, len(self._steps)) for b in choice.scratch]
        types = self._graph.node_types(node)
        trips = 1 if self._repeat is None else self._repeat.trips
        for index, call in enumerate(calls):
            step_name = name if len(calls) == 1 else f"{name}_{index}"
            named = self._weights.call(replace(call, kernel=replace(call.kernel, name=step_name)))
            self._steps.append(
                Step(
                    step_name,
                    named,
                    _op(node),
                    source=node.source,
                    repeat=self._repeat,
                    guards=self._guards,
                )
            )
        if not calls:
            return
        self._steps[-1] = replace(
            self._steps[-1],
            values=node.outputs,
            macs=node.op.macs(*types) * trips,
            moved_bytes=self._moved_bytes(node) * trips,
            predictions=choice.predictions,
            layer=layer,
        )

    def _as_guards(self, conditions: Needs) -> tuple[Guard, ...]:
        guards = []
        for condition in sorted(conditions):
            flag = access_arg(self._storage.accesses[condition.condition])
            assert isinstance(flag, BufferArg)  # a condition is never a constant
            guards.append(Guard(condition.condition, flag, condition.wanted))
        return tuple(guards)

    def _moved_bytes(self, node: Node) -> int:
        total = 0
        for value in dict.fromkeys((*node.inputs, *node.outputs)):
            type_ = self._graph.types[value]
            bits = type_.dtype.value == "bit"
            total += (
                -(-type_.elements // 8) if bits else type_.elements * Elem.of(type_.dtype).bytes
            )
        return total

    def _enter(self, node: Node, op: Enter) -> None:
        """Copy initial values to the carried values. The steps that follow belong to the loop."""
        for initial, value in zip(node.inputs[: op.carried], node.outputs, strict=False):
            self._copy_value(initial, self._storage.accesses[value], op.name)
            self._steps[-1] = replace(self._steps[-1], values=(value,))
        self._repeat = op.repeat

    def _leave(self, node: Node, op: Leave) -> None:
        """Append the copies that end a trip, and end the loop.

        First the elements that kernels did not write directly are copied to their sequences. Then
        the next values are copied to the carried values. The order matters, because an element may
        be a carried value. A loop with little work in a trip is marked to run on one thread alone.
        """
        accesses, carried = self._storage.accesses, len(op.held)
        pairs = zip(node.inputs[carried:], node.outputs[carried:], strict=True)
        for walk, (value, sequence) in zip(op.walks, pairs, strict=True):
            target = element_access(accesses[sequence], walk, op.repeat.trips)
            self._copy_value(value, target, op.name)
        moves = [
            (value, accesses[v], op.name) for value, v in zip(node.inputs, op.held, strict=False)
        ]
        self._carry(moves)
        self._repeat = None
        begin = next(i for i, s in enumerate(self._steps) if s.repeat == op.repeat)
        inside = self._steps[begin:]
        repeat = replace(op.repeat, alone=has_little_work(inside, self._target))
        self._steps[begin:] = [replace(s, repeat=repeat) for s in inside]
        last = self._steps[-1]
        self._steps[-1] = replace(last, values=(*last.values, *node.outputs))

    def _copy_value(self, value: str, target: Access, label: str) -> None:
        """Copy a computed or constant value to `target`, unless it is already there."""
        source = self._source(value)
        if source != target:
            self._copy(source, target, label)

    def _copy_results(self) -> None:
        """Copy to the caller the outputs that no kernel wrote there directly; update the states."""
        accesses = self._storage.accesses
        buffers = {b.id: b for b in self._storage.buffers}
        for index, port in enumerate(self._graph.outputs):
            target = self._storage.port_access(port.value, buffers[f"output{index}"])
            self._copy_value(port.value, target, port.name)
        moves = [(s.next, accesses[s.current], s.name) for s in self._graph.states]
        self._carry(moves)

    def _carry(self, moves: Sequence[tuple[str, Access, str]]) -> None:
        """Copy each value of `moves` to its target, as if all copies happened at the same time.

        If a value to be copied lies in the target buffer of any copy, it is saved in scratch memory
        first.
        """
        current = {target.buffer for _, target, _ in moves}
        ready: list[tuple[Access, Access, str]] = []
        for value, target, label in moves:
            source = self._source(value)
            if source == target:
                continue
            if source.memory in current:
                name = f"{value}.{label}.{len(self._steps)}"
                buffer = Buffer(name, "scratch", target.buffer.bytes)
                self._scratch.append((buffer, len(self._steps)))
                saved = replace(target, memory=buffer)
                self._copy(source, saved, label)
                source = saved
            ready.append((source, target, label))
        for move in ready:
            self._copy(*move)

    def _source(self, value: str) -> Access:
        """The access to a computed or constant value."""
        if value in self._constants:
            array = self._graph.weights[self._constants[value].key]
            return constant_access(array, self._graph.types[value].dtype)
        return self._storage.accesses[value]

    def _copy(self, source: Access, target: Access, label: str) -> None:
        name = f"{self._prefix}_{len(self._steps):03d}_copy_{_part(label)}"
        call = self._weights.call(copy_call(name, self._target, source, target))
        op = "copy" if self._repeat is None else Leave.name
        self._steps.append(
            Step(name, call, op, (), (label,), repeat=self._repeat, guards=self._guards)
        )

    def _borders(self) -> tuple[list[Step], dict[int, list[Step]]]:
        """Lay out the arena, and make the steps that fill borders.

        A border that nothing overwrites, and that shares no memory with another buffer, is filled
        once, in `init`. Any other
        border is filled in every call, before the first step that uses its buffer; if that step is
        in a loop, the border is filled on every trip. Returns the steps for `init`, and the others
        by the index of the step before which they run.
        """
        lifetimes = self._lifetimes()
        self._arena = self._laid_out(lifetimes)
        once: list[Step] = []
        each: dict[int, list[Step]] = {}
        by_id = {x.id: x for x in lifetimes}
        for index, access in enumerate(self._bordered()):
            lifetime = by_id[access.buffer.id]
            shared = access.buffer in self._storage.overwritten or any(
                self._overlap(lifetime, x) for x in lifetimes if x.id != lifetime.id
            )
            name = f"{self._prefix}_border{index}_{_part(access.buffer.id)}"
            step = Step(name, fill_border(name, self._target, access), "border")
            if shared:
                step = replace(step, repeat=self._steps[lifetime.first].repeat)
                each.setdefault(lifetime.first, []).append(step)
            else:
                once.append(step)
        return once, each

    def _laid_out(self, lifetimes: list[Lifetime]) -> ArenaPlan:
        """The arena in the memories of the options. If it does not fit, it has no regions."""
        memories, arena = self._options.memories, None
        if memories:
            density = cycles_per_byte(self._steps, self._target)
            arena = plan_memories(lifetimes, ARENA_ALIGN, memories, density)
        return arena or plan_arena(lifetimes, ARENA_ALIGN)

    def _bordered(self) -> list[Access]:
        by_buffer: dict[str, Access] = {}
        for access in (*self._storage.accesses.values(), *self._storage.windows.values()):
            if access.border is not None and not access.border.is_empty:
                by_buffer.setdefault(access.buffer.id, access)
        return list(by_buffer.values())

    def _overlap(self, a: Lifetime, b: Lifetime) -> bool:
        x, y = self._arena.offsets[a.id], self._arena.offsets[b.id]
        return x < y + b.bytes and y < x + a.bytes

    def _lifetimes(self) -> list[Lifetime]:
        spans: dict[str, tuple[int, int]] = {}
        sizes: dict[str, int] = {}
        last = len(self._steps)
        for index, step in enumerate(self._steps):
            for arg in (*step.call.placed_args, *(guard.flag for guard in step.guards)):
                if isinstance(arg, BufferArg) and arg.buffer.kind in ("arena", "scratch"):
                    first = spans.get(arg.buffer.id, (index, index))[0]
                    spans[arg.buffer.id] = (first, index)
                    sizes[arg.buffer.id] = arg.buffer.bytes
        self._widen(spans)
        for buffer in self._storage.buffers:
            if buffer.kind == "state":
                spans[buffer.id] = (-1, last)
                sizes[buffer.id] = buffer.bytes
        return [Lifetime(i, max(1, sizes[i]), *span) for i, span in spans.items()]

    def _widen(self, spans: dict[str, tuple[int, int]]) -> None:
        """Extend live ranges: a buffer used in and outside a loop is live throughout the loop."""
        loops: dict[Repeat, tuple[int, int]] = {}
        for index, step in enumerate(self._steps):
            if step.repeat is not None:
                loops[step.repeat] = (loops.get(step.repeat, (index, index))[0], index)
        for begin, end in loops.values():
            for name, (first, last) in spans.items():
                inside, overlaps = begin <= first and last <= end, first <= end and begin <= last
                if overlaps and not inside:
                    spans[name] = (min(first, begin), max(last, end))


def _renumbered(arena: ArenaPlan, inserted: Sequence[int]) -> ArenaPlan:
    """The arena plan, with live ranges renumbered for `inserted[i]` new steps before step i."""
    before = [0, *accumulate(inserted)]
    last = len(inserted)

    def moved(x: Lifetime) -> Lifetime:
        first = x.first + before[max(0, x.first)]
        return replace(x, first=first, last=x.last + before[min(last, x.last + 1)])

    return replace(arena, lifetimes=tuple(map(moved, arena.lifetimes)))


def _part(text: str) -> str:
    """A name of the model as a short part of a kernel's name. The part need not be unique."""
    return identifier(text)[:_LONGEST_PART]


def _op(node: Node) -> str:
    """The name of the operator whose kernel computes the node."""
    return node.op.anchor.name if isinstance(node.op, Fused) else node.op.name


def _label(node: Node) -> str:
    op = _op(node)
    source = _part(node.source[0]) if node.source else ""
    return f"{op}_{source}" if source else op


def _place_weights(
    steps: Sequence[Step], align_bytes: int
) -> tuple[tuple[tuple[Weight, int], ...], int]:
    placed: dict[str, tuple[Weight, int]] = {}
    offset = 0
    for step in steps:
        for arg in step.call.placed_args:
            if isinstance(arg, WeightArg) and arg.weight.key not in placed:
                placed[arg.weight.key] = (arg.weight, offset)
                offset += -(-arg.weight.bytes // align_bytes) * align_bytes
    return tuple(placed.values()), offset


def _all_problems(problems: list[EllcError], target: Target) -> EllcError:
    """One error for all: operators without a kernel, and requested kernels that cannot be used."""
    if len(problems) == 1:
        return problems[0]
    lines = tuple(dict.fromkeys(f"{p.where or '?'}: {p.message}" for p in problems))
    missing = sum(p.code != NO_SUCH_KERNEL for p in problems)
    if not missing:
        return EllcError(
            f"{len(problems)} of the requested kernels cannot be used",
            code=NO_SUCH_KERNEL,
            problems=lines,
            hint=ASK_THE_PLAN,
        )
    operators = "1 operator" if missing == 1 else f"{missing} operators"
    have = "has" if missing == 1 else "have"
    return EllcError(
        f"{operators} of this model {have} no kernel for target {target.name}",
        code="E300",
        problems=lines,
        hint="`ellc ops` lists what can be compiled",
    )
