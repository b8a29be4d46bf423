"""Loops: a body that runs several times, often for each element of sequences, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import ShapeError
from ellc.ir.graph import Graph, Node
from ellc.ir.op import (
    Arrays,
    Case,
    Op,
    Range,
    Types,
    everything,
    of_largest,
    register_attribute,
    register_op,
    require,
)
from ellc.ir.ops.common import normal, weights
from ellc.ir.ops.pointwise import Add, Mul, Tanh
from ellc.ir.ops.recurrent import GRUCell, LSTMCell
from ellc.ir.types import Array, DType, TensorType

AnyT = TypeVar("AnyT")
RunNode = Callable[[Node, Mapping[str, Array]], Arrays]


@register_attribute("walk")
@dataclass(frozen=True, slots=True)
class Walk:
    """How a loop walks along a sequence: each trip reads or writes one index along `axis`.

    With `reverse` it begins at the last index.
    """

    axis: int = 0
    reverse: bool = False

    def element(self, sequence: TensorType) -> TensorType:
        """The type of a trip's element: `sequence` without the axis. Raises `ShapeError`."""
        require(0 <= self.axis < sequence.rank, f"loop: no axis {self.axis} in {sequence.shape}")
        shape = (*sequence.shape[: self.axis], *sequence.shape[self.axis + 1 :])
        return sequence.with_shape(*shape)

    def sequence(self, element: TensorType, trips: int) -> TensorType:
        """The type of a sequence of `trips` elements of this type. Raises `ShapeError`."""
        require(0 <= self.axis <= element.rank, f"loop: no axis {self.axis} for {element.shape}")
        return element.with_shape(*element.shape[: self.axis], trips, *element.shape[self.axis :])

    def position(self, trip: int, trips: int) -> int:
        """The index of a trip's element along the axis."""
        return trips - 1 - trip if self.reverse else trip


@register_op("loop")
@dataclass(frozen=True, slots=True)
class Loop(Op):
    """(initial values.., sequences.., invariants..) -> (last values.., sequences..).

    `body` runs `trips` times. Its inputs are, in order: the `carried` values (on the first trip the
    initial values, later the results of the previous trip); one element of each operand sequence,
    taken as `inward` says; the invariants. Its outputs are the next carried values, and one element
    of each result sequence, put where `outward` says. The body has no states, and its constants are
    in the pool of the graph around it.
    """

    body: Graph
    trips: int
    carried: int = 0
    inward: tuple[Walk, ...] = ()
    outward: tuple[Walk, ...] = ()

    reads = everything
    own_error = of_largest

    @property
    def recurrent(self) -> bool:
        return self.carried > 0

    def infer(self, *inputs: TensorType) -> Types:
        body, moving = self.body, self.carried + len(self.inward)
        require(1 <= self.trips < 2**31, f"loop: cannot have {self.trips} trips")
        require(self.carried >= 0, f"loop: cannot have {self.carried} carried values")
        require(not body.states, "loop: its body must not have states")
        good = len(inputs) == len(body.inputs) >= moving
        require(good, f"loop: {len(inputs)} operands, its body has {len(body.inputs)} inputs")
        good = len(body.outputs) == self.carried + len(self.outward) > 0
        wanted = self.carried + len(self.outward)
        require(good, f"loop: its body has {len(body.outputs)} outputs, expected {wanted}")
        for given, walk in zip(inputs[self.carried : moving], self.inward, strict=True):
            along = given.shape[walk.axis] if walk.axis < given.rank else None
            good = along == self.trips
            require(good, f"loop: {self.trips} trips do not fit axis {walk.axis} of {given.shape}")
        starts, sequences, fixed = self.parts(inputs)
        given_types = (
            *starts,
            *(w.element(t) for w, t in zip(self.inward, sequences, strict=True)),
            *fixed,
        )
        for port, want, have in zip(body.inputs, body.input_types(), given_types, strict=True):
            _want_same(f"operand '{port.name}'", want, have)
        results = body.output_types()
        for port, want, have in zip(body.outputs, starts, results, strict=False):
            _want_same(f"'{port.name}'", want, have)
        result_elements = zip(self.outward, results[self.carried :], strict=True)
        return (*starts, *(w.sequence(t.meaning, self.trips) for w, t in result_elements))

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        positions = {port.value: index for index, port in enumerate(self.body.inputs)}
        ranges: dict[int, Range] = {}
        for node in self.body.nodes:
            of_node = node.op.ranges(*(self.body.types[v].meaning for v in node.inputs))
            for operand, accepted in of_node.items():
                position = positions.get(node.inputs[operand])
                if position is not None:
                    ranges[position] = accepted.within(ranges.get(position, accepted))
        return ranges

    def parts(self, operands: tuple[AnyT, ...]) -> tuple[tuple[AnyT, ...], ...]:
        """A tuple with one item per operand, split into (initial values, sequences, invariants)."""
        moving = self.carried + len(self.inward)
        return operands[: self.carried], operands[self.carried : moving], operands[moving:]

    def reference(self, *inputs: Array) -> Arrays:
        double = any(x.dtype == np.float64 for x in inputs)
        constants = {
            v: a.astype(np.float64) if double and a.dtype == np.float32 else a
            for v, a in self.body.constant_arrays().items()
        }
        return self.run(inputs, constants, _reference)

    def run(self, inputs: Arrays, constants: Mapping[str, Array], step: RunNode) -> Arrays:
        """The results; `constants` are the body's, and `step` evaluates a node of the body."""
        carried, sequences, fixed = self.parts(inputs)
        sequences_out: list[list[Array]] = [[] for _ in self.outward]
        for trip in range(self.trips):
            elements = [
                np.take(x, walk.position(trip, self.trips), walk.axis)
                for walk, x in zip(self.inward, sequences, strict=True)
            ]
            ports = (p.value for p in self.body.inputs)
            env = dict(constants)
            env.update(zip(ports, (*carried, *elements, *fixed), strict=True))
            for node in self.body.nodes:
                env.update(zip(node.outputs, step(node, env), strict=True))
            results = tuple(env[p.value] for p in self.body.outputs)
            carried = results[: self.carried]
            for values, value in zip(sequences_out, results[self.carried :], strict=True):
                values.append(value)
        stacked = (
            np.stack([values[walk.position(t, self.trips)] for t in range(self.trips)], walk.axis)
            for walk, values in zip(self.outward, sequences_out, strict=True)
        )
        return (*carried, *stacked)

    def macs(self, inputs: Types, outputs: Types) -> int:
        body = self.body
        return self.trips * sum(n.op.macs(*body.node_types(n)) for n in body.nodes)

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        body, steps = self.body, 0
        for node in body.nodes:
            operands, results = body.node_types(node)
            steps += sum(t.elements for t in (*operands, *results))
            steps += node.op.inner_steps(operands, results)
        return self.trips * steps

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield _running_sum(rng)
        for walk, label in (
            (Walk(), "lstm"),
            (Walk(reverse=True), "lstm backwards"),
            (Walk(1), "lstm, batch first"),
        ):
            yield _lstm(rng, walk, label)
        yield _swap(rng)
        yield _gru_of_weights(rng)
        yield _reads_what_it_read(rng)


def _reference(node: Node, env: Mapping[str, Array]) -> Arrays:
    return node.op.reference(*(env[v] for v in node.inputs))


def _want_same(what: str, want: TensorType, have: TensorType) -> None:
    same = (want.dtype, want.shape) == (have.dtype, have.shape)
    if not same:
        raise ShapeError(f"loop: {what} is {have.dtype.value}{have.shape}, not {want.shape}")


def _floats(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def _running_sum(rng: np.random.Generator) -> Case:
    """Running sums: the carried value is also the element of a result sequence."""
    b = GraphBuilder("sum")
    total, x = b.input("total", _floats(3)), b.input("x", _floats(3))
    total = b.add(Add(), total, x)
    b.output("next", total)
    b.output("every", total)
    op = Loop(b.build(), 5, 1, (Walk(),), (Walk(),))
    return Case(op, (normal(rng, 3), normal(rng, 5, 3)), label="running sum")


def _lstm(rng: np.random.Generator, walk: Walk, label: str) -> Case:
    inputs, hidden, batch, trips = 6, 9, 2, 4
    b = GraphBuilder("lstm")
    h, c = b.input("h", _floats(batch, hidden)), b.input("c", _floats(batch, hidden))
    x = b.input("x", _floats(batch, inputs))
    rows = 4 * hidden
    fixed = (weights(rng, rows, inputs), weights(rng, rows, hidden), normal(rng, rows))
    wx, wh, bias = (b.constant(a) for a in fixed)
    h, c = b.add_multi(LSTMCell(), x, h, c, wx, wh, bias, bias)
    for name, value in (("h", h), ("c", c), ("y", h)):
        b.output(name, value)
    op = Loop(b.build(), trips, 2, (walk,), (walk,))
    x_shape = (trips, batch, inputs) if walk.axis == 0 else (batch, trips, inputs)
    operands = (normal(rng, batch, hidden), normal(rng, batch, hidden), normal(rng, *x_shape))
    return Case(op, operands, label=label)


def _swap(rng: np.random.Generator) -> Case:
    """Two carried values are exchanged, so both must be read before either is written."""
    b = GraphBuilder("swap")
    first, second = b.input("first", _floats(4)), b.input("second", _floats(4))
    b.output("first", second)
    b.output("second", first)
    b.output("product", b.add(Mul(), first, second))
    op = Loop(b.build(), 3, 2, (), (Walk(1),))
    return Case(op, (normal(rng, 4), normal(rng, 4)), (1,), label="swap")


def _gru_of_weights(rng: np.random.Generator) -> Case:
    """The weights are loop-invariant operands; the initial state is zero."""
    inputs, hidden = 5, 7
    b = GraphBuilder("gru")
    h, x = b.input("h", _floats(1, hidden)), b.input("x", _floats(1, inputs))
    shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
    fixed = [b.input(f"w{i}", _floats(*s)) for i, s in enumerate(shapes)]
    b.output("h", b.add(GRUCell(), x, h, *fixed))
    operands = (np.zeros((1, hidden), np.float32), normal(rng, 6, 1, inputs))
    arrays = (weights(rng, *shapes[0]), weights(rng, *shapes[1]), *(normal(rng, 21),) * 2)
    op = Loop(b.build(), 6, 1, (Walk(),))
    return Case(op, (*operands, *arrays), (0, 2, 3, 4, 5), label="gru, weights as operands")


def _reads_what_it_read(rng: np.random.Generator) -> Case:
    """Two sequences in opposite directions; the body passes elements of one to the next trip."""
    b = GraphBuilder("mixed")
    old = b.input("old", _floats(2, 3))
    there, back = b.input("there", _floats(2, 3)), b.input("back", _floats(2, 3))
    factor = b.input("factor", _floats(2, 3))
    both = b.add(Add(), b.add(Mul(), there, factor), b.add(Tanh(), back))
    b.output("old", there)
    b.output("sum", b.add(Add(), both, old))
    b.output("passed", back)
    walks = (Walk(), Walk(1, reverse=True))
    op = Loop(b.build(), 4, 1, walks, (Walk(2), Walk(reverse=True)))
    operands = (normal(rng, 2, 3), normal(rng, 4, 2, 3), normal(rng, 2, 4, 3), normal(rng, 2, 3))
    return Case(op, operands, label="handed on")
