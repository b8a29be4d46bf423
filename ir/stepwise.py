"""Turn a network for a whole sequence into a network for a single step.

Values that a loop carries from step to step become states of the new network. A value outside the
loops has an axis of steps (one element per step), or is the same at every step, or is computed from
the last step only, or is a state of the original network: this is its *kind*. No file states the
kinds of the inputs, so the combinations that fit the inputs' shapes are tried, up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from itertools import islice, product

import numpy as np

from ellc.ir.arrangement import resized
from ellc.ir.errors import EllcError
from ellc.ir.graph import Constant, Graph, Node, State
from ellc.ir.op import Op
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.shape import Gather, Reshape
from ellc.ir.pipeline import PipelineOptions, default_groups
from ellc.ir.step_rules import (
    OTHERS,
    UNEQUAL,
    Axes,
    NotStepwise,
    last_step,
    one_step,
)
from ellc.ir.types import Array

STEPS_KEY = "about.steps"
"""Metadata key of sentences that tell the user what one call computes."""

_LATER_PASSES = ("fuse_epilogue", "fold_padding")
"""Passes that do not run here; they run when the network for one step is compiled."""
_MOST_GUESSES = 256  # the most combinations tried: of inputs' kinds, or of a node's constants' axes


class Fixed(Enum):
    """The kinds of values without an axis of steps."""

    ALWAYS = auto()
    """The same at every step."""
    LATEST = auto()
    """Computed from the last step only; the network for one step computes it from its only step."""
    KEPT = auto()
    """A state of the original network, kept from call to call."""
    UNKNOWN = auto()
    """A value that cannot be computed step by step, or depends on one that cannot."""


Kind = int | Fixed
"""The kind of a value: its axis of steps, or `Fixed` if it has none."""


def stepwise(graph: Graph, where: str = "") -> Graph:
    """The network that computes a single step of `graph` in each call.

    The k-th call after a reset gives the results of `graph` for step k. Inputs and outputs have
    extent 1 along their axis of steps. A result that `graph` computes from the last step only is
    computed in every call, as if the current step were the last.

    Values that a loop carries become states, whose initial values are those of the loop; where the
    loop reads and writes a state of `graph`, that state is used.

    Weights are folded before the graph is changed, so that both networks have the same weights. If
    their kernels also add in the same order, the results are equal to the bit.

    Raises `EllcError` (E160) if there is no loop over the steps of a sequence, or if the network
    cannot be computed step by step, for example as an operator needs other steps than the current
    one; the error lists all such problems. `where` is the file that the graph comes from.
    """
    for group in default_groups(PipelineOptions(skip=_LATER_PASSES)):
        graph = group.run(graph)
    best: _Stepped | None = None
    for steps, kinds in islice(_guesses(graph), _MOST_GUESSES):
        tried = _Stepped(graph, steps, kinds)
        if not tried.problems:
            return tried.graph()
        if best is None or tried.distance < best.distance:
            best = tried
    raise _refused(where or graph.name, best.problems if best else ())


def _refused(where: str, problems: Sequence[str]) -> EllcError:
    if not problems:
        return EllcError(
            "the network has no loop over the steps of a sequence",
            code="E160",
            where=where,
            hint="either one call already is one step, or the model was read with a sequence of "
            "one step; in that case read it with a longer sequence (--shape)",
        )
    return EllcError(
        "the network cannot be computed step by step",
        code="E160",
        where=where,
        problems=problems,
        hint="an operator outside of loops may read the current step only; "
        "--outputs NAME leaves out what comes after NAME in the network",
    )


def _guesses(graph: Graph) -> Iterator[tuple[int, tuple[Kind, ...]]]:
    """Guesses (number of steps, kinds of the inputs) to try.

    The number of steps is the number of trips of some loop. Each kind fits the shape of its input.
    """
    trips = {n.op.trips for n in graph.nodes if isinstance(n.op, Loop) and n.op.trips > 1}
    for steps in sorted(trips, reverse=True):
        choices: list[list[Kind]] = [
            [*(a for a, extent in enumerate(t.shape) if extent == steps), Fixed.ALWAYS]
            for t in graph.input_types()
        ]
        yield from ((steps, kinds) for kinds in product(*choices))


class _Stepped:
    """An attempt to make the network for one step.

    `steps` and the `kinds` of the inputs are guesses; if they do not fit, `problems` says why.
    """

    def __init__(self, graph: Graph, steps: int, kinds: Sequence[Kind]) -> None:
        self._old, self._steps = graph, steps
        self._arrays = graph.constant_arrays()
        self._kinds: dict[str, Kind] = dict.fromkeys(self._arrays, Fixed.ALWAYS)
        self._types, self._exact = dict(graph.types), dict(graph.exact)
        self._constants, self._states = list(graph.constants), list(graph.states)
        self._nodes: list[Node] = []
        self._has_other_axis = False
        self.problems: list[str] = []
        for state in graph.states:
            self._set(state.current, Fixed.KEPT)
        for port, kind in zip(graph.inputs, kinds, strict=True):
            self._set(port.value, kind)
        for node in graph.nodes:
            self._enter(node)
        self.problems += [
            f"output '{p.name}': is the value of a state before the call"
            for p in graph.outputs
            if self._kinds[p.value] is Fixed.KEPT
        ]

    @property
    def distance(self) -> tuple[bool, int]:
        """How badly the guess failed: (whether a loop walks along another axis, `UNKNOWN` values).

        The user sees the problems of the guess with the smallest distance.
        """
        unknown = sum(kind is Fixed.UNKNOWN for kind in self._kinds.values())
        return self._has_other_axis, unknown

    def graph(self) -> Graph:
        """The network for one step; `problems` must be empty."""
        sentence = (
            "One call is one step: a reset begins a new sequence, of any number of steps. A call\n"
            f"gives what the network of {self._steps} steps gives for this step."
        )
        return replace(
            self._old,
            nodes=tuple(self._nodes),
            types=self._types,
            constants=tuple(self._constants),
            states=tuple(self._states),
            exact=self._exact,
            metadata={**self._old.metadata, STEPS_KEY: sentence},
        )

    def _set(self, value: str, kind: Kind) -> None:
        """Record the kind of a value, and set the extent of its axis of steps, if any, to 1."""
        self._kinds[value] = kind
        if isinstance(kind, int):
            type_ = self._old.types[value]
            self._types[value] = type_.with_shape(*resized(type_.shape, kind, 1))

    def _enter(self, node: Node) -> None:
        """Add the part of a node for one step, or record why there is no such part."""
        kinds = [self._kinds[v] for v in node.inputs]
        try:
            if Fixed.UNKNOWN in kinds:
                self._set_all(node.outputs, Fixed.UNKNOWN)
            elif isinstance(node.op, Loop) and node.op.trips == self._steps:
                self._enter_loop(node, node.op)
            elif any(isinstance(kind, int) for kind in kinds):
                self._enter_step(node, kinds)
            else:
                _want(Fixed.KEPT not in kinds, "reads a state outside of the loop that owns it")
                self._nodes.append(node)
                latest = Fixed.LATEST in kinds
                self._set_all(node.outputs, Fixed.LATEST if latest else Fixed.ALWAYS)
        except NotStepwise as reason:
            self._set_all(node.outputs, Fixed.UNKNOWN)
            self.problems.append(f"{_label(node)}: {reason}")

    def _set_all(self, values: Sequence[str], kind: Kind) -> None:
        for value in values:
            self._set(value, kind)

    # --- nodes outside of loops ------------------------------------------------------------------

    def _enter_step(self, node: Node, kinds: Sequence[Kind]) -> None:
        """Add the part for one step of a node that has an operand with an axis of steps."""
        _want(Fixed.LATEST not in kinds, "combines every step with a result of the last step")
        _want(Fixed.KEPT not in kinds, "reads a state outside of the loop that owns it")
        axes = tuple(kind if isinstance(kind, int) else None for kind in kinds)
        types, _ = self._old.node_types(node)
        last = last_step(node.op, types, axes, self._picked(node))
        if last is not None:
            self._nodes.append(replace(node, op=last, inputs=node.inputs[:1]))
            self._set_all(node.outputs, Fixed.LATEST)
            return
        axes, op, axis = self._one_step(node, axes)
        operands = tuple(
            self._repeated(v, a) if a is not None and v in self._arrays else v
            for v, a in zip(node.inputs, axes, strict=True)
        )
        self._nodes.append(replace(node, op=op, inputs=operands))
        self._set_all(node.outputs, axis)

    def _picked(self, node: Node) -> int | None:
        """The index of a `Gather` that picks a single element, if it is constant."""
        array = self._arrays.get(node.inputs[1]) if isinstance(node.op, Gather) else None
        return int(array.item()) if array is not None and array.size == 1 else None

    def _one_step(self, node: Node, axes: Axes) -> tuple[Axes, Op, int]:
        """(the operands' axes of steps, the operator for one step, its result's axis of steps).

        If there is no such operator, constants that repeat one slice along an axis are treated as
        operands with that axis of steps.
        """
        types, _ = self._old.node_types(node)
        try:
            return axes, *one_step(node.op, types, axes)
        except NotStepwise:
            choices = [
                [axis, *self._axes_of_repetition(value)]
                for value, axis in zip(node.inputs, axes, strict=True)
            ]
            for others in islice(product(*choices), 1, _MOST_GUESSES):
                try:
                    return others, *one_step(node.op, types, others)
                except NotStepwise:
                    continue
            raise

    def _axes_of_repetition(self, value: str) -> list[int]:
        """The axes along which a constant repeats one slice for every step."""
        array = self._arrays.get(value)
        if array is None:
            return []
        axes = (a for a, extent in enumerate(array.shape) if extent == self._steps)
        return [a for a in axes if _is_repeated(array, a)]

    def _repeated(self, value: str, axis: int) -> str:
        """A constant that is one of the equal slices of `value` along `axis`, with extent 1."""
        name = f"{value}.part{axis}"
        if name not in self._types:
            part = np.take(self._arrays[value], [0], axis)
            key = self._old.weights.add(part)
            self._constants.append(Constant(name, key))
            self._types[name] = self._old.types[value].with_shape(*part.shape)
            if value in self._exact:
                self._exact[name] = np.take(self._exact[value], [0], axis)
        return name

    # --- loops -----------------------------------------------------------------------------------

    def _enter_loop(self, node: Node, op: Loop) -> None:
        """Add the nodes of a loop's body once; they read states and one step of each sequence."""
        backwards = any(walk.reverse for walk in (*op.inward, *op.outward))
        _want(not backwards, "goes through the sequence backwards, from the last step")
        _, sequences, fixed = op.parts(node.inputs)
        for value in fixed:
            _want(self._kinds[value] is Fixed.ALWAYS, OTHERS)
        states = [self._state(node, i) for i in range(op.carried)]
        walked = zip(sequences, op.inward, strict=True)
        elements = [self._element(node, value, walk) for value, walk in walked]
        prefix = f"{node.outputs[0]}."
        names = {v: prefix + v for v in op.body.types}
        ports = (p.value for p in op.body.inputs)
        operands = (*(s.current for s in states), *elements, *fixed)
        names.update(zip(ports, operands, strict=True))
        self._states += [s for s in states if s not in self._states]
        self._enter_body(node, op.body, names)
        results = [names[p.value] for p in op.body.outputs]
        axes: list[Kind] = [Fixed.LATEST] * op.carried
        axes += [walk.axis for walk in op.outward]
        for value, output, kind in zip(results, node.outputs, axes, strict=True):
            self._set(output, kind)
            copy = Reshape(self._types[output].shape)
            self._nodes.append(Node(copy, (value,), (output,), node.source))

    def _enter_body(self, node: Node, body: Graph, names: dict[str, str]) -> None:
        """Add the nodes, constants and types of a body; `names` maps its values to new names."""
        inputs_of_body = {p.value for p in body.inputs}
        self._types.update((names[v], t) for v, t in body.types.items() if v not in inputs_of_body)
        self._constants += [Constant(names[c.value], c.key) for c in body.constants]
        self._exact.update((names[v], a) for v, a in body.exact.items())
        for inner in body.nodes:
            inputs = tuple(names[v] for v in inner.inputs)
            outputs = tuple(names[v] for v in inner.outputs)
            self._nodes.append(Node(inner.op, inputs, outputs, inner.source or node.source))

    def _state(self, node: Node, index: int) -> State:
        """The state for a value that the loop carries: a state of the graph, or else a new one."""
        start, following = node.inputs[index], node.outputs[index]
        for state in self._old.states:
            if (state.current, state.next) == (start, following):
                return state
        if start not in self._arrays:
            raise NotStepwise(
                "its initial state is computed; if an input gives it, that input can be made a "
                "constant (--set INPUT=0)"
            )
        name = f"{_label(node)}.{index}"
        while any(s.name == name for s in self._states):
            name += "n"
        key = self._old.weights.add(self._arrays[start])
        current = f"{following}.before"
        self._types[current] = self._old.types[start]
        return State(name, current, following, key)

    def _element(self, node: Node, value: str, walk: Walk) -> str:
        """The element of a sequence that a loop reads at one step."""
        kind = self._kinds[value]
        if value in self._arrays:
            _want(_is_repeated(self._arrays[value], walk.axis), UNEQUAL)
            value = self._repeated(value, walk.axis)
        else:
            self._has_other_axis |= kind != walk.axis
            _want(kind == walk.axis, "walks along another axis than that of the steps")
        element = f"{node.outputs[0]}.of.{value}.{walk.axis}"
        if element not in self._types:
            type_ = walk.element(self._types[value])
            self._types[element] = type_
            self._nodes.append(Node(Reshape(type_.shape), (value,), (element,), node.source))
        return element


def _want(condition: bool, reason: str) -> None:
    if not condition:
        raise NotStepwise(reason)


def _is_repeated(array: Array, axis: int) -> bool:
    first = np.take(array, [0], axis)
    return np.broadcast_to(first, array.shape).tobytes() == array.tobytes()


def _label(node: Node) -> str:
    return ", ".join(node.source) or f"{node.op.name} %{node.outputs[0]}"
