"""Compares compiled code with the reference: whole networks, and kernel by kernel.

To compare kernel by kernel, a second build of the same kernels records what each kernel wrote. Then
numpy evaluates every node of the compiled graph with the operands that the compiled code had. So
one wrong layer does not make all later layers look wrong, and an undecided sign does not affect the
comparison of later nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ellc import __version__
from ellc.check.agreement import Agreement, compare
from ellc.check.calls import as_type, calls_of, plausible_inputs, references, typed
from ellc.check.following import follow
from ellc.check.growth import (
    movement,
    node_movement,
    recurrent_values,
    sampled_movement,
    sampled_node_movement,
)
from ellc.check.halves import moved_by_stages
from ellc.check.transformed import (
    HALF_OF_LARGEST,
    Transformed,
    output_tolerances,
    tolerances,
    transformed_layers,
)
from ellc.check.weights_change import (
    WeightsChange,
    change_of_weights,
    weights_change,
    what_changes,
)
from ellc.codegen.blocks.calls import Options
from ellc.codegen.languages.names import valid_name
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.instrument import KeptProgram, Memory, build_kept, model_case
from ellc.codegen.measure.testing import from_bytes, to_bytes
from ellc.codegen.output.build import BuildOptions, build
from ellc.codegen.planning.halving import halved
from ellc.codegen.planning.narrowing import narrowed
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.rolling import unrolled
from ellc.codegen.planning.threads import plan_for_threads
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.repeats import first_and_steady, repeated
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import run_double, run_node
from ellc.ir.ops.fused import Fused
from ellc.ir.pipeline import run_pipeline
from ellc.ir.rounding import takes_steps, undecided
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.work_folders import temporary_folder
from ellc.progress import Progress, silent
from ellc.tuning import tuned_kernels

_OTHER_SEED = 1 << 20  # seeds of calls whose results are not compared
_VIEW = "view "  # begins the names of values that no kernel computes; kernels' names have no space

Bytes = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Options of a check.

    `seeds` is the number of seeds for random inputs. With `layers`, every kernel is compared as
    well. `threads` is the number of threads of the shipped build; None means as many as the network
    can use on the target. `max_ram_bytes` is that of `codegen.blocks.calls.Options`.
    """

    seeds: int = 3
    layers: bool = False
    threads: int | None = None
    max_ram_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A result of the network or of a kernel, compared over all seeds.

    `name` is the name of a kernel or an output, or it begins with "view ", "state " or "signs ".
    `source` lists the layers of the model that the kernel computes. `seed` is the first seed with
    a wrong element, None if there is none. `is_view` is true if no kernel computes the result,
    because it is a view of an operand.
    """

    name: str
    operator: str
    source: tuple[str, ...]
    type: str
    agreement: Agreement
    seed: int | None = None
    is_view: bool = False

    @property
    def agrees(self) -> bool:
        """Whether no element is wrong."""
        return not self.agreement.wrong


@dataclass(frozen=True)
class CheckReport:
    """The results of a check. `layers` is empty if only outputs were compared.

    `decides` is true if the network has step functions, such as signs, whose results rounding can
    change. Then not `outputs` but `layers` and `guided` tell whether the code is right.
    `guided` compares the signs and outputs with a reference that takes the signs from the
    compiled code (`ellc.check.following`). `same_bytes` says whether the build that records results
    gives the same bytes as the shipped build; it is None if that was not compared. `steady` says
    whether repeated calls gave the same bytes, whatever memory contained before
    (`ellc.codegen.toolchain.repeats`). If weights are stored in fewer bits than in the file, the
    code is compared with the reference for the stored weights, and `weights` tells how far the
    outputs are from those for the weights in the file; with half precision, it tells how far
    the outputs of the compiled code are from those in float32. `notes` are those of the plan.
    `transformed` lists the layers whose kernels do not add products directly.
    """

    name: str
    target: str
    seeds: int
    outputs: tuple[Checked, ...]
    layers: tuple[Checked, ...] = ()
    guided: tuple[Checked, ...] = ()
    same_bytes: bool | None = None
    decides: bool = False
    steady: bool = True
    weights: WeightsChange | None = None
    notes: tuple[str, ...] = ()
    transformed: tuple[Transformed, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the compiled code agrees with the reference."""
        if self.same_bytes is False or not self.steady:
            return False
        return all(c.agrees for c in self._compared)

    @property
    def first_difference(self) -> Checked | None:
        """The first layer that differs, or else the first sign or output that differs, or None."""
        return next((c for c in self._compared if not c.agrees), None)

    @property
    def undecided(self) -> int:
        """The number of undecided signs that differ from those of the guided reference."""
        return sum(c.agreement.undecided for c in self.guided)

    @property
    def undecided_in_kernels(self) -> int:
        """The number of undecided signs that differ from the reference with the same operands."""
        return sum(c.agreement.undecided for c in self.layers)

    @property
    def grown(self) -> tuple[Checked, ...]:
        """The results that agree only because measured rounding explains their error."""
        return tuple(c for c in self._compared if c.agreement.grown)

    @property
    def _compared(self) -> tuple[Checked, ...]:
        return (*self.layers, *(self.guided if self.guided and self.decides else self.outputs))


def check(
    graph: Graph,
    target: Target,
    options: CheckOptions | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Compile a graph, as it was read from its file, and compare the code with the reference.

    If outputs differ and the network has step functions, the layers are compared even if the
    options do not ask for it: they show whether rounding may be the reason. Raises `EllcError` if
    the network cannot be compiled, or cannot be run here.
    """
    chosen = options or CheckOptions()
    emulate.prefix(target)
    progress("compiling", 0, 0)
    ready, plan = _plan(graph, target, chosen)
    # The reference does not come from the plan: a mistake in a plan's constants must be seen.
    narrow = narrowed(ready, target, ())
    half = halved(narrow.graph, target)
    changed = half.asked or bool(narrow.kernels)
    checker = _Checker(half.graph if changed else graph, plan, progress)
    with temporary_folder("check") as folder:
        shipped = _shipped(plan, checker.name, folder)
        runs = [checker.run_shipped(shipped, seed) for seed in range(chosen.seeds)]
        decides = any(takes_steps(node.op) for node in plan.graph.nodes)
        differs = any(not c.agrees for c in checker.outputs())
        same_bytes: bool | None = None
        if chosen.layers or (differs and decides):
            kept_folder = folder / "kept"
            kept_folder.mkdir()
            kept = build_kept(plan, checker.name, kept_folder)
            pairs = zip(range(chosen.seeds), runs, strict=True)
            equal = [checker.run_kept(kept, seed, answers) for seed, answers in pairs]
            same_bytes = all(equal)  # `equal` is a list, so that every seed runs
    halves = checker.change_by_halves(graph) if half.asked else None
    return CheckReport(
        graph.name,
        target.name,
        chosen.seeds,
        checker.outputs(),
        checker.layers(),
        checker.guided() if decides else (),
        same_bytes,
        decides,
        checker.steady,
        change_of_weights(graph, narrow.graph, chosen.seeds) if narrow.kernels else halves,
        plan.notes,
        transformed_layers(plan),
    )


def _plan(graph: Graph, target: Target, options: CheckOptions) -> tuple[Graph, Plan]:
    """(the graph after the passes, its plan)."""
    ready, _ = run_pipeline(graph)
    tuned, _ = tuned_kernels(None, target)
    name = valid_name(graph.name)
    asked = Options(max_ram_bytes=options.max_ram_bytes)
    return ready, plan_for_threads(ready, target, asked, name, tuned, threads=options.threads)


def _shipped(plan: Plan, name: str, folder: Path) -> emulate.Runner:
    """Build the object file that `ellc compile` writes, and link it into a test program."""
    options = BuildOptions(__version__, plan.options.threads)
    built = build(plan, name, ("h", "obj"), folder, options)
    return emulate.build_runner(plan.target, built.files["obj"], [model_case(built.model)], folder)


@dataclass
class _Tally:
    """Adds up the comparisons of one kernel or output, seed by seed."""

    operator: str
    source: tuple[str, ...]
    type: str
    agreement: Agreement = field(default_factory=lambda: Agreement(0))
    seed: int | None = None

    def add(self, agreement: Agreement, seed: int) -> None:
        self.agreement = self.agreement.merged(agreement)
        if agreement.wrong and self.seed is None:
            self.seed = seed

    def checked(self, name: str) -> Checked:
        facts = (self.operator, self.source, self.type, self.agreement, self.seed)
        return Checked(name, *facts, is_view=name.startswith(_VIEW))


class _Checker:
    """Runs the builds and collects the comparisons of their results."""

    def __init__(self, graph: Graph, plan: Plan, progress: Progress) -> None:
        # Layers are compared after their last bands, which a loop over bands would hide.
        self._graph, self._plan, self._progress = graph, unrolled(plan), progress
        self.name = valid_name(graph.name)
        self.steady = True
        self._constants = plan.graph.constant_arrays()
        self._recurrent = recurrent_values(graph)
        self._tolerances = output_tolerances(plan)
        self._answers: dict[int, list[Bytes]] = {}
        self._moved: dict[tuple[int, bool], list[tuple[Array, ...]]] = {}
        self._step_of = {v: i for i, step in enumerate(self._plan.steps) for v in step.values}
        self._outputs: dict[str, _Tally] = {}
        self._layers: dict[str, _Tally] = {}
        self._guided: dict[str, _Tally] = {}

    def outputs(self) -> tuple[Checked, ...]:
        """The network's outputs, compared with the reference for the graph as it was read."""
        return tuple(t.checked(name) for name, t in self._outputs.items())

    def layers(self) -> tuple[Checked, ...]:
        """The kernels, each compared with the reference on its own operands; then the states."""
        return tuple(t.checked(name) for name, t in self._layers.items())

    def guided(self) -> tuple[Checked, ...]:
        """The signs and outputs, compared with those of the guided reference."""
        return tuple(t.checked(name) for name, t in self._guided.items())

    def run_shipped(self, runner: emulate.Runner, seed: int) -> list[Bytes]:
        """Run the shipped build for one seed, compare the outputs, and return their bytes."""
        self._progress("running", seed, 0)
        calls = self._calls(seed)
        other = self._encoded(plausible_inputs(self._graph, _OTHER_SEED + seed))
        requests = repeated(0, [self._encoded(inputs) for inputs in calls], other)
        every = emulate.run_cases(runner, requests)
        answers, steady = first_and_steady(every, len(calls))
        self.steady = self.steady and steady
        self._answers[seed] = answers
        for call, wanted in enumerate(references(self._graph, calls)):
            self._compare_outputs(self._outputs, answers[call], wanted, (seed, call))
        return answers

    def change_by_halves(self, graph: Graph) -> WeightsChange:
        """How far the outputs of the compiled code are from those of a graph in float32."""
        types = [self._graph.types[p.value] for p in self._graph.outputs]
        pairs = (
            ([from_bytes(data, t) for data, t in zip(got, types, strict=True)], wanted)
            for seed, answers in self._answers.items()
            for got, wanted in zip(answers, references(graph, self._calls(seed)), strict=True)
        )
        return weights_change(pairs, what_changes(graph))

    def _compare_outputs(
        self, into: dict[str, _Tally], got: Bytes, wanted: Sequence[Array], at: tuple[int, int]
    ) -> None:
        """Compare the outputs of a call; `at` is the seed and the index of the call."""
        seed, call = at
        for i, (port, data, want) in enumerate(zip(self._graph.outputs, got, wanted, strict=True)):
            type_ = self._graph.types[port.value]
            result, of_largest = from_bytes(data, type_), self._tolerances[i]
            agreement = compare(result, want, of_largest=of_largest)
            if agreement.wrong and type_.dtype.is_float:
                moved = self._movements(seed, port.value in self._recurrent)
                moves = moved[call][i]
                agreement = compare(result, want, movement=moves, of_largest=of_largest)
            self._tally(into, port.name, "output", (), type_).add(agreement, seed)

    def _movements(self, seed: int, recurrent: bool) -> list[tuple[Array, ...]]:
        """How far rounding moves the outputs of a seed's calls, measured once for each seed."""
        if (seed, recurrent) not in self._moved:
            self._progress("measuring how rounding grows", seed, 0)
            self._moved[seed, recurrent] = (
                movement(self._plan.graph, self._calls(seed))
                if recurrent
                else sampled_movement((self._graph, self._plan.graph), self._calls(seed))
            )
        return self._moved[seed, recurrent]

    def run_kept(self, program: KeptProgram, seed: int, shipped: Sequence[Bytes]) -> bool:
        """Run the recording build for one seed, and compare every kernel.

        Returns whether the outputs equal those of the shipped build.
        """
        self._progress("comparing layers", seed, 0)
        calls = self._calls(seed)
        encoded = [self._encoded(inputs) for inputs in calls]
        answers = program.run(encoded)
        memory = Memory(program)
        states: Mapping[str, Array] | None = None
        for call, (outputs, record) in enumerate(answers):
            memory.begin(encoded[call])
            steps = self._walk(memory, record, seed)
            if steps:
                states = self._follow(calls[call], states, steps, outputs, (seed, call))
        return [outputs for outputs, _ in answers] == list(shipped)

    def _follow(
        self,
        inputs: Sequence[Array],
        states: Mapping[str, Array] | None,
        steps: Mapping[str, Array],
        outputs: Bytes,
        at: tuple[int, int],
    ) -> Mapping[str, Array]:
        """Run the guided reference for a call, compare the code with it, and return its states."""
        graph = self._plan.graph
        guided = follow(graph, inputs, states, steps, tolerances(self._plan))
        producers = {v: n for n in graph.nodes for v in n.outputs}
        for value, agreement in guided.steps.items():
            source, type_ = producers[value].source, graph.types[value]
            self._tally(self._guided, f"signs {value}", "step", source, type_).add(agreement, at[0])
        self._compare_outputs(self._guided, outputs, typed(self._graph, guided.outputs), at)
        return guided.states

    def _walk(self, memory: Memory, record: bytes, seed: int) -> dict[str, Array]:
        """Compare one call node by node; return the results of nodes with step functions."""
        steps: dict[str, Array] = {}
        done = 0
        carried: dict[str, Array] = {}
        wanted = {p.value for p in self._plan.graph.outputs}
        wanted |= {s.next for s in self._plan.graph.states}
        for node in self._plan.graph.nodes:
            operands = {v: self._value(memory, v) for v in node.inputs}
            last = self._step_of.get(node.outputs[0])
            if last is not None:
                memory.advance(record, done, last)
                done = last + 1
            got = [self._value(memory, v) for v in node.outputs]
            self._compare(node, last, operands, got, seed)
            if takes_steps(node.op):
                steps[node.output] = got[0].copy()
            carried.update(
                (v, x.copy()) for v, x in zip(node.outputs, got, strict=True) if v in wanted
            )
        memory.advance(record, done, len(self._plan.steps))
        self._compare_final(memory, carried, seed)
        return steps

    def _compare(
        self,
        node: Node,
        step: int | None,
        operands: Mapping[str, Array],
        got: Sequence[Array],
        seed: int,
    ) -> None:
        types = [self._plan.graph.types[v] for v in node.outputs]
        want = [as_type(x, t) for x, t in zip(_evaluated(node, operands), types, strict=True)]
        moved: Sequence[Array | None] = [None] * len(want)
        of_largest = 0.0 if step is None else self._plan.steps[step].sums.of_largest
        dtypes = {t.dtype for t in types}
        if DType.F16 in dtypes:
            of_largest = max(of_largest, HALF_OF_LARGEST)
        pairs = zip(got, want, strict=True)
        if any(compare(*p, of_largest=of_largest).wrong for p in pairs):
            measure = node_movement if node.op.recurrent else sampled_node_movement
            moved = measure(self._plan.graph, node, _widened(operands))
            further = moved_by_stages(node, operands) if DType.F16 in dtypes else None
            if further is not None:
                moved = [np.maximum(further, m) for m in moved]
                largest = float(np.abs(want[0][np.isfinite(want[0])]).max(initial=0.0))
                # A tenth of what may be excused.
                of_largest = max(of_largest, float(further.max()) / (10.0 * largest or 1.0))
        name = f"{_VIEW}{', '.join(node.outputs)}" if step is None else self._plan.steps[step].name
        op = node.op.anchor.name if isinstance(node.op, Fused) else node.op.name
        tally = self._tally(self._layers, name, op, node.source, types[0])
        for g, w, distance in zip(got, want, moved, strict=True):
            forgiven = None
            if takes_steps(node.op) and not np.array_equal(g, w):
                forgiven = undecided(node, [operands[v] for v in node.inputs], g)
            tally.add(compare(g, w, forgiven, distance, of_largest), seed)

    def _compare_final(self, memory: Memory, carried: Mapping[str, Array], seed: int) -> None:
        """Check that each state contains, bit for bit, the value that its kernel computed."""
        graph, accesses = self._plan.graph, self._plan.accesses
        states = [(s.name, s.next, accesses[s.current]) for s in graph.states]
        for name, value, access in states:
            if value in carried:
                type_ = graph.types[value]
                got = memory.read(access, type_.dtype, _channels(type_))
                tally = self._tally(self._layers, f"state {name}", "copy", (name,), type_)
                tally.add(_equal(got, carried[value]), seed)

    def _value(self, memory: Memory, value: str) -> Array:
        if value in self._constants:
            return self._constants[value]
        type_ = self._plan.graph.types[value]
        return memory.value(value, type_.dtype, _channels(type_))

    def _tally(
        self,
        into: dict[str, _Tally],
        name: str,
        operator: str,
        source: tuple[str, ...],
        type_: TensorType,
    ) -> _Tally:
        shape = "x".join(map(str, type_.shape)) or "scalar"
        return into.setdefault(name, _Tally(operator, source, f"{shape} {type_.dtype.value}"))

    def _calls(self, seed: int) -> list[tuple[Array, ...]]:
        return calls_of(self._graph, seed)

    def _encoded(self, inputs: Sequence[Array]) -> Bytes:
        types = self._graph.input_types()
        return tuple(to_bytes(x, t) for x, t in zip(inputs, types, strict=True))


def _evaluated(node: Node, operands: Mapping[str, Array]) -> Sequence[Array]:
    """Evaluate a node with the reference.

    The reference computes in float64, so that its own rounding does not count as a difference.
    Nodes with step functions are evaluated in the types of the graph.
    """
    if takes_steps(node.op):
        return run_node(node, operands)
    return run_double(node, _widened(operands))


def _widened(operands: Mapping[str, Array]) -> dict[str, Array]:
    return {k: x.astype(np.float64) if x.dtype == np.float32 else x for k, x in operands.items()}


def _equal(got: Array, want: Array) -> Agreement:
    same = got.tobytes() == want.tobytes()
    return Agreement(want.size, 0 if same else 1, first="" if same else "its bytes differ")


def _channels(type_: TensorType) -> int:
    return type_.shape[-1] if type_.shape else 1


def documents(checked: Sequence[Checked]) -> Iterator[dict[str, object]]:
    """The results as plain data for JSON."""
    for c in checked:
        yield {
            "name": c.name,
            "operator": c.operator,
            "source": list(c.source),
            "type": c.type,
            "elements": c.agreement.elements,
            "wrong": c.agreement.wrong,
            "undecided": c.agreement.undecided,
            "worst_of_allowed": c.agreement.worst,
            "grown": c.agreement.grown,
            "grown_by": c.agreement.growth,
            "first": c.agreement.first,
            "seed": c.seed,
        }
