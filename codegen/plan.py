"""The plan: which kernels run in which order on which bytes; what follows only prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.kernels.border import fill_border
from codegen.kernels.movement import copy_call
from codegen.kir.types import Elem
from codegen.lowering import (
    BufferArg,
    KernelCall,
    NodeContext,
    Options,
    WeightArg,
    constant_access,
    lower_node,
)
from codegen.memory import ArenaPlan, Lifetime, plan_arena
from codegen.storage import ARENA_ALIGN, WEIGHT_ALIGN, Access, Buffer, Storage, Weight
from codegen.targets import Target
from codegen.verify_plan import verify_plan
from ir.errors import EllcError
from ir.graph import Graph, Node
from ir.ops.fused import Fused
from ir.types import Array


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call of `predict`, in order.

    `values` are the graph values it makes, `source` the layers of the model it stands for, `macs`
    its multiply-adds and `moved_bytes` the operands, weights and results it touches once.
    """

    name: str
    call: KernelCall
    op: str
    values: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    macs: int = 0
    moved_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """A network made into steps over an arena.

    `once` runs in init: borders that nothing else ever overwrites. `weights` lists every constant
    with its byte offset in the weight section. `viewed` are results that are views: their node's
    kernel does not write them.
    """

    graph: Graph
    target: Target
    options: Options
    steps: tuple[Step, ...]
    once: tuple[Step, ...]
    accesses: Mapping[str, Access]
    buffers: Mapping[str, Buffer]
    arena: ArenaPlan
    weights: tuple[tuple[Weight, int], ...]
    weight_bytes: int
    viewed: frozenset[str] = frozenset()

    def arena_offset(self, buffer: Buffer) -> int:
        """Byte offset of a state, arena or scratch buffer in the arena."""
        return self.arena.offsets[buffer.id]

    def weight_offset(self, weight: Weight) -> int:
        """Byte offset of a constant in the weight section."""
        return next(offset for w, offset in self.weights if w.key == weight.key)


def make_plan(graph: Graph, target: Target, options: Options, prefix: str) -> Plan:
    """Choose kernels and memory for a graph that has been through the passes.

    Kernel names start with `prefix`. Raises one `EllcError` (E300) that lists every operator
    without a kernel, and `InternalError` for a plan that does not hold (`verify_plan`).
    """
    storage = Storage(graph)
    plan = _Steps(graph, storage, target, options, prefix).plan()
    verify_plan(plan)
    return plan


class _Steps:
    """Collects steps, then lays out the arena and settles the borders."""

    def __init__(
        self, graph: Graph, storage: Storage, target: Target, options: Options, prefix: str
    ) -> None:
        self._graph, self._storage = graph, storage
        self._target, self._options, self._prefix = target, options, prefix
        self._steps: list[Step] = []
        self._scratch: list[tuple[Buffer, int]] = []
        self._problems: list[EllcError] = []

    def plan(self) -> Plan:
        for node in self._graph.nodes:
            self._lower(node)
        if self._problems:
            raise _all_problems(self._problems, self._target)
        self._copy_results()
        once, borders = self._borders()
        steps = [s for i, step in enumerate(self._steps) for s in (*borders.get(i, ()), step)]
        weights, weight_bytes = _place_weights([*once, *steps])
        return Plan(
            self._graph,
            self._target,
            self._options,
            tuple(steps),
            tuple(once),
            self._storage.accesses,
            {b.id: b for b in (*self._storage.buffers, *(b for b, _ in self._scratch))},
            self._arena,
            weights,
            weight_bytes,
            frozenset(self._storage.viewed),
        )

    def _lower(self, node: Node) -> None:
        if all(v in self._storage.viewed for v in node.outputs):
            return
        label = _label(node)
        name = f"{self._prefix}_{len(self._steps):03d}_{label}"
        ctx = NodeContext(
            self._graph,
            node,
            self._storage.accesses,
            self._target,
            self._options,
            name,
            self._storage.viewed,
        )
        try:
            calls = lower_node(ctx)
        except EllcError as error:
            self._problems.append(error)
            return
        self._scratch += [(b, len(self._steps)) for b in ctx.scratch]
        types = self._graph.node_types(node)
        macs = node.op.macs(*types)
        for index, call in enumerate(calls):
            final = index == len(calls) - 1
            step_name = name if len(calls) == 1 else f"{name}_{index}"
            named = replace(call, kernel=replace(call.kernel, name=step_name))
            self._steps.append(
                Step(
                    step_name,
                    named,
                    node.op.anchor.name if isinstance(node.op, Fused) else node.op.name,
                    node.outputs if final else (),
                    node.source,
                    macs if final else 0,
                    self._moved_bytes(node) if final else 0,
                )
            )

    def _moved_bytes(self, node: Node) -> int:
        total = 0
        for value in dict.fromkeys((*node.inputs, *node.outputs)):
            type_ = self._graph.types[value]
            bits = type_.dtype.value == "bit"
            total += (
                -(-type_.elements // 8) if bits else type_.elements * Elem.of(type_.dtype).bytes
            )
        return total

    def _copy_results(self) -> None:
        """Outputs that are no kernel's own result, and states whose next value lies elsewhere."""
        accesses = self._storage.accesses
        buffers = {b.id: b for b in self._storage.buffers}
        arrays = {c.value: self._graph.weights[c.key] for c in self._graph.constants}
        for index, port in enumerate(self._graph.outputs):
            target = self._storage.port_access(port.value, buffers[f"output{index}"])
            if accesses.get(port.value) == target:
                continue
            self._copy(self._source(port.value, arrays), target, port.name)
        self._carry_states(arrays)

    def _carry_states(self, arrays: Mapping[str, Array]) -> None:
        """Next values into the states; what is read from a state is set aside before any write."""
        accesses = self._storage.accesses
        moves: list[tuple[Access, Access, str]] = []
        for state in self._graph.states:
            target, source = accesses[state.current], self._source(state.next, arrays)
            if source == target:
                continue
            if isinstance(source.memory, Buffer) and source.memory.kind == "state":
                aside = Buffer(f"{state.next}.{state.name}", "scratch", target.buffer.bytes)
                self._scratch.append((aside, len(self._steps)))
                kept = replace(target, memory=aside)
                self._copy(source, kept, state.name)
                source = kept
            moves.append((source, target, state.name))
        for move in moves:
            self._copy(*move)

    def _source(self, value: str, arrays: Mapping[str, Array]) -> Access:
        """Where a value is, computed or constant."""
        if value in arrays:
            return constant_access(arrays[value], self._graph.types[value].dtype)
        return self._storage.accesses[value]

    def _copy(self, source: Access, target: Access, label: str) -> None:
        name = f"{self._prefix}_{len(self._steps):03d}_copy_{identifier(label)}"
        call = copy_call(name, self._target, source, target)
        self._steps.append(Step(name, call, "copy", (), (label,)))

    def _borders(self) -> tuple[list[Step], dict[int, list[Step]]]:
        """Lay out the arena; a border nobody overwrites is written once, others before use."""
        lifetimes = self._lifetimes()
        self._arena = plan_arena(lifetimes, ARENA_ALIGN)
        once: list[Step] = []
        each: dict[int, list[Step]] = {}
        by_id = {x.id: x for x in lifetimes}
        for access in self._bordered():
            mine = by_id[access.buffer.id]
            shared = any(self._overlap(mine, x) for x in lifetimes if x.id != mine.id)
            name = f"{self._prefix}_border_{identifier(access.buffer.id)}"
            step = Step(name, fill_border(name, self._target, access), "border")
            if shared:
                each.setdefault(mine.first, []).append(step)
            else:
                once.append(step)
        return once, each

    def _bordered(self) -> list[Access]:
        found: dict[str, Access] = {}
        for access in self._storage.accesses.values():
            if access.border is not None and not access.border.is_empty:
                found.setdefault(access.buffer.id, access)
        return list(found.values())

    def _overlap(self, a: Lifetime, b: Lifetime) -> bool:
        x, y = self._arena.offsets[a.id], self._arena.offsets[b.id]
        return x < y + b.bytes and y < x + a.bytes

    def _lifetimes(self) -> list[Lifetime]:
        spans: dict[str, tuple[int, int]] = {}
        sizes: dict[str, int] = {}
        last = len(self._steps)
        for index, step in enumerate(self._steps):
            for arg in step.call.args:
                if isinstance(arg, BufferArg) and arg.buffer.kind in ("arena", "scratch"):
                    first = spans.get(arg.buffer.id, (index, index))[0]
                    spans[arg.buffer.id] = (first, index)
                    sizes[arg.buffer.id] = arg.buffer.bytes
        for buffer in self._storage.buffers:
            if buffer.kind == "state":
                spans[buffer.id] = (-1, last)
                sizes[buffer.id] = buffer.bytes
        return [Lifetime(i, max(1, sizes[i]), *span) for i, span in spans.items()]


def identifier(text: str) -> str:
    """A C identifier for any text: other characters become `_`, a leading digit gets one before."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{name}" if not name or name[0].isdigit() else name


def _label(node: Node) -> str:
    op = node.op.anchor.name if isinstance(node.op, Fused) else node.op.name
    source = identifier(node.source[0])[:40] if node.source else ""
    return f"{op}_{source}" if source else op


def _place_weights(steps: Sequence[Step]) -> tuple[tuple[tuple[Weight, int], ...], int]:
    placed: dict[str, tuple[Weight, int]] = {}
    offset = 0
    for step in steps:
        for arg in step.call.args:
            if isinstance(arg, WeightArg) and arg.weight.key not in placed:
                placed[arg.weight.key] = (arg.weight, offset)
                offset += -(-arg.weight.bytes // WEIGHT_ALIGN) * WEIGHT_ALIGN
    return tuple(placed.values()), offset


def _all_problems(problems: list[EllcError], target: Target) -> EllcError:
    if len(problems) == 1:
        return problems[0]
    lines = [f"{p.where or '?'}: {p.message}" for p in problems]
    return EllcError(
        f"{len(problems)} operators of this model have no kernel for target {target.name}",
        code="E300",
        problems=tuple(dict.fromkeys(lines)),
        hint="`ellc ops` lists what can be compiled",
    )
