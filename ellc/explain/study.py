"""Collects all decisions of a compilation for the levels of `ellc explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ellc.codegen.blocks.calls import CodeGoal, Options
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.issue_slots import issue_slots
from ellc.codegen.languages.names import valid_name
from ellc.codegen.machine.budgets import budgets
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.loops import flattened
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.threads import plan_for_threads
from ellc.codegen.planning.tuning import TunedKernels
from ellc.explain.assembly import Assembly, assemble
from ellc.explain.cycle_tool import Modelled, modelled_cycles
from ellc.inspect import operator_text
from ellc.ir.graph import Graph, Node
from ellc.ir.pipeline import PipelineOptions, default_groups, run_pipeline
from ellc.memory_use import arena_memories
from ellc.models import DEFAULT_OPTIONS, ModelOptions, default_name, read_model
from ellc.progress import Progress, silent
from ellc.tuning import tuned_kernels


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """Options of the user with the same meaning as in `ellc.driver.CompileOptions`."""

    optimize: bool = True
    threads: int | None = None
    kernels: tuple[tuple[str, str], ...] = ()
    tuning: Path | None = None
    shipped_tuning: bool = True
    model: ModelOptions = DEFAULT_OPTIONS
    chains: bool = True
    max_ram_bytes: int | None = None
    memories: tuple[tuple[str, int], ...] | None = None
    code: CodeGoal | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A pass that changed the graph, with the graph before and after it."""

    name: str
    before: Graph
    after: Graph


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node of the graph after the passes, with the steps that compute it.

    A view has no steps, because its result is the bytes of its operand. `operator` is a short
    description of the operator.
    """

    node: Node
    operator: str
    steps: tuple[Step, ...]

    @property
    def value(self) -> str:
        """The name of the node's first result; it identifies the node."""
        return self.node.outputs[0]

    @property
    def layer(self) -> str:
        """The names of the model's layers that the node computes, joined by `+`; may be empty."""
        return "+".join(self.node.source)

    @property
    def macs(self) -> int:
        """The multiply-adds of the node in one call, on all trips of its loop."""
        return sum(step.macs for step in self.steps)

    @property
    def moved_bytes(self) -> int:
        """The bytes of operands, weights and results, each counted once per trip."""
        return sum(step.moved_bytes for step in self.steps)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The candidate kernels of the node, the chosen candidate first."""
        return next((s.predictions for s in reversed(self.steps) if s.predictions), ())

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the node's steps without duplicates; border kernels come last."""
        steps = sorted(self.steps, key=lambda step: step.op == "border")
        return tuple({s.call.kernel.name: s.call.kernel for s in steps}.values())


@dataclass(frozen=True)
class Study:
    """A network, and how it is compiled for a target.

    `passes` are the names of all passes that ran, and `changes` the passes that changed the graph.
    `graph` is the graph after the passes; the nodes of a loop's body are listed in it like other
    nodes. `nodes` are the nodes of this graph with their steps. `copies` are the other steps of the
    plan, which only move results into the caller's buffers. `tuned` has
    the kernels that tuning files name for the target.
    """

    name: str
    passes: tuple[str, ...]
    changes: tuple[Change, ...]
    graph: Graph
    plan: Plan
    nodes: tuple[PlannedNode, ...]
    copies: tuple[Step, ...]
    tuned: TunedKernels
    progress: Progress = silent

    @property
    def target(self) -> Target:
        """The target for which the network is compiled."""
        return self.plan.target

    def slots(self, step: Step) -> float:
        """The issue slots of a step in one call of the network, on all trips of its loop."""
        trips = step.repeat.trips if step.repeat else 1
        return trips * self._call_slots[step.call.kernel.name, step.call.extent]

    @cached_property
    def _call_slots(self) -> dict[tuple[str, int], float]:
        calls = {(s.call.kernel.name, s.call.extent): s.call for s in self.plan.steps}
        return {
            key: issue_slots(call.kernel, call.extent, self.target) for key, call in calls.items()
        }

    @cached_property
    def node_slots(self) -> dict[str, float]:
        """The issue slots of each node; keys are the nodes' values."""
        return {n.value: sum(map(self.slots, n.steps)) for n in self.nodes}

    @cached_property
    def all_slots(self) -> float:
        """The issue slots of one call of the network."""
        return sum(self.node_slots.values()) + sum(map(self.slots, self.copies))

    @cached_property
    def modelled(self) -> Modelled:
        """Cycles from the tool in `ELLC_CYCLE_TOOL`, or the reason why there are none."""
        self.progress("modelling cycles", 0, 0)
        return modelled_cycles(self.plan, self.name)

    def node_cycles(self, node: PlannedNode) -> float:
        """The modelled cycles of a node.

        The cycles of a kernel that several steps share are divided in proportion to the slots of
        the steps.
        """
        return sum(self._step_cycles(step) for step in node.steps)

    def _step_cycles(self, step: Step) -> float:
        kernel = step.call.kernel.name
        kernel_slots = self._kernel_slots.get(kernel, 0.0)
        part = self.slots(step) / kernel_slots if kernel_slots else 0.0
        return part * self.modelled.by_kernel.get(kernel, 0.0)

    @cached_property
    def _kernel_slots(self) -> dict[str, float]:
        slots: dict[str, float] = {}
        for step in self.plan.steps:
            name = step.call.kernel.name
            slots[name] = slots.get(name, 0.0) + self.slots(step)
        return slots

    def assemblies(self, kernels: Sequence[Kernel]) -> dict[str, Assembly]:
        """The assembly of kernels by name, with modelled cycles if they are known."""
        self.progress("compiling kernels", 0, 0)
        return assemble(kernels, self.target, self.modelled)


def plan_options(options: StudyOptions, target: Target) -> Options:
    """The options of the planner."""
    return Options(
        kernels=options.kernels,
        depth_first=options.chains,
        max_ram_bytes=options.max_ram_bytes,
        memories=arena_memories(budgets(target, options.memories)),
        code=options.code,
    )


def study(
    source: Path | Graph,
    target: Target,
    options: StudyOptions | None = None,
    progress: Progress = silent,
) -> Study:
    """Plan a model file or a graph for the target, and record every decision.

    Raises `EllcError` if the model cannot be read or compiled.
    """
    chosen = options or StudyOptions()
    progress("reading the model", 0, 0)
    graph = source if isinstance(source, Graph) else read_model(source, chosen.model)
    name = valid_name(source.name if isinstance(source, Graph) else default_name(source))
    changes: list[Change] = []

    def watch(name: str, before: Graph, after: Graph) -> None:
        if before != after:
            changes.append(Change(name, before, after))

    progress("passes", 0, 0)
    groups = default_groups(PipelineOptions(optimize=chosen.optimize))
    ready, _ = run_pipeline(graph, groups, watch=watch)
    progress("planning", 0, 0)
    asked = plan_options(chosen, target)
    tuned, notes = tuned_kernels(chosen.tuning, target, shipped=chosen.shipped_tuning)
    plan = plan_for_threads(ready, target, asked, name, tuned, threads=chosen.threads)
    plan = replace(plan, notes=(*notes, *plan.notes))
    flat = flattened(plan.graph)
    steps, copies = _steps_by_value(plan.steps, flat)
    nodes = tuple(_planned(flat, node, steps) for node in flat.nodes)
    names = tuple(step.name for group in groups for step in group.passes)
    return Study(name, names, tuple(changes), flat, plan, nodes, copies, tuned, progress)


def _planned(graph: Graph, node: Node, steps: dict[str, list[Step]]) -> PlannedNode:
    operands, _ = graph.node_types(node)
    operator = operator_text(node.op, operands)
    return PlannedNode(node, operator, tuple(steps.get(node.outputs[0], ())))


def _steps_by_value(
    steps: Sequence[Step], graph: Graph
) -> tuple[dict[str, list[Step]], tuple[Step, ...]]:
    """The steps of each node, by the node's first result, and the steps after the last node.

    Only the last step of a node, or of a part of it, names the node's results. The steps since the
    previous such step, which prepare operands or write borders, belong to the same node.
    """
    first = {value: node.outputs[0] for node in graph.nodes for value in node.outputs}
    by_value: dict[str, list[Step]] = {}
    waiting: list[Step] = []
    for step in steps:
        waiting.append(step)
        made = step.part.result.value if step.part else next(iter(step.values), "")
        if made:
            by_value.setdefault(first[made], []).extend(waiting)
            waiting = []
    return by_value, tuple(waiting)


def all_kernels(nodes: Sequence[PlannedNode]) -> Iterator[Kernel]:
    """All kernels of these nodes without duplicates."""
    yield from {k.name: k for node in nodes for k in node.kernels}.values()
