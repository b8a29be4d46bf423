"""Imports recurrent layers, each as a loop that runs a cell over a sequence of known length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.recurrence import run_cell
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.activations import activation
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.comparisons import Less
from ellc.ir.ops.loop import Walk
from ellc.ir.ops.recurrent import GRUCell, LSTMCell, RNNCell
from ellc.ir.ops.shape import Concat, Slice
from ellc.ir.types import DType

_LIMITS = "a length known at import; no activations `Affine` or `ScaledTanh`"
_PARAMETRIC = "an activation (Affine, ScaledTanh) that has no kernel"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A layer type: its cell, ONNX's default activations, its gates and its number of states.

    Gate i of the graph's cell has the position `gates[i]` in ONNX's weights.
    """

    cell: Callable[[OnnxNode, list[Pointwise]], Op]
    activations: tuple[str, ...]
    gates: tuple[int, ...]
    states: int = 1


def _rnn(node: OnnxNode, used: list[Pointwise]) -> Op:
    return RNNCell(used[0], _clip(node))


def _gru(node: OnnxNode, used: list[Pointwise]) -> Op:
    return GRUCell(used[1], used[0], node.flag("linear_before_reset"), _clip(node))


def _lstm(node: OnnxNode, used: list[Pointwise]) -> Op:
    """An LSTM cell. As in ONNX Runtime, `clip` bounds the sums of the four gates, not the state."""
    peepholes, coupled = len(node.inputs) > 7 and bool(node.inputs[7]), node.flag("input_forget")
    output_activation = None if used[2] == used[1] else used[2]
    return LSTMCell(
        used[1], used[0], output_activation, _clip(node), peepholes=peepholes, coupled=coupled
    )


def _clip(node: OnnxNode) -> float:
    """The bound on the activations' operands; infinity if the attribute `clip` is 0 or less."""
    limit = node.number("clip", math.inf)
    return limit if limit > 0 else math.inf


_KINDS = {
    "RNN": _Kind(_rnn, ("Tanh",), (0,)),
    "GRU": _Kind(_gru, ("Sigmoid", "Tanh"), (0, 1, 2)),
    # ONNX orders the gates input, output, forget, cell; the graph's cell orders them input, forget,
    # cell, output.
    "LSTM": _Kind(_lstm, ("Sigmoid", "Tanh", "Tanh"), (0, 2, 3, 1), states=2),
}


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The operand x [steps, batch, inputs], and a boolean mask of the valid steps.

    `counts` [steps, batch, 1] is true before the end of each sequence. It is None if all steps are
    valid.
    """

    x: Value
    counts: Value | None


@ONNX.imports(
    *_KINDS, limits=_LIMITS, declines=(Declined("attribute", "activations", _PARAMETRIC),)
)
def recurrent(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The hidden states after every step, and all states after the last step, per direction."""
    kind = _KINDS[node.operator]
    batch_first = node.flag("layout")
    hidden = operand(inputs, 2).shape[-1]
    node.ignore("hidden_size")
    sequence = _sequence(emitter, inputs, batch_first)
    by_name = {"forward": (1,), "reverse": (-1,), "bidirectional": (1, -1)}
    directions = by_name.get(node.text("direction", "forward"))
    if directions is None:
        raise Unsupported(f"the direction '{node.text('direction')}'")
    every, lasts = [], []
    for number, direction in enumerate(directions):
        op = kind.cell(node, _activations(node, kind, number, len(directions)))
        weights = _weights(emitter, inputs, kind, number, hidden)
        states = _initial(emitter, inputs, kind, number, sequence, hidden, batch_first)
        walk = Walk(reverse=direction == -1)
        y, last = run_cell(emitter, op, sequence.x, states, weights, walk, sequence.counts)
        every.append(y)
        lasts.append(last)
    batch = sequence.x.shape[1]
    thin = [reshaped(emitter, e, (e.shape[0], 1, batch, hidden)) for e in every]
    results = [_joined(emitter, thin, 1)]
    for index in range(kind.states):
        final = [reshaped(emitter, last[index], (1, batch, hidden)) for last in lasts]
        results.append(_joined(emitter, final, 0))
    if batch_first:
        results = [
            transposed(emitter, results[0], (2, 0, 1, 3)),
            *(transposed(emitter, r, (1, 0, 2)) for r in results[1:]),
        ]
    return results[: max(len(node.outputs), 1)]


def _sequence(emitter: Emitter, inputs: Inputs, batch_first: bool) -> _Sequence:
    x = operand(inputs, 0)
    if x.type.rank != 3:
        raise Unsupported(f"a sequence of shape {x.shape}")
    if batch_first:
        x = transposed(emitter, x, (1, 0, 2))
    lengths = optional(inputs, 4)
    return _Sequence(x, None if lengths is None else _counting(emitter, x, lengths))


def _counting(emitter: Emitter, x: Value, lengths: Value) -> Value | None:
    """The boolean mask `step < length` [steps, batch, 1]; None if it would be true everywhere.

    x is [steps, batch, inputs]; `lengths` [batch] may be computed.
    """
    steps, batch, _ = x.shape
    if lengths.shape != (batch,):
        raise Unsupported(f"lengths of shape {list(lengths.shape)} for a batch of {batch}")
    if lengths.dtype not in (DType.I32, DType.I64):
        raise Unsupported(f"lengths of type {lengths.dtype.value}")
    if lengths.is_constant and min(known_ints(lengths, "a length"), default=0) >= steps:
        return None
    emitter.want_room(steps, batch)
    numbers = emitter.constant(emitter.counted(steps, 1, 1, dtype=lengths.dtype.numpy))
    return pointwise(emitter, Less(), numbers, reshaped(emitter, lengths, (1, batch, 1)))


def _activations(node: OnnxNode, kind: _Kind, number: int, directions: int) -> list[Pointwise]:
    """The activations of one direction."""
    count = len(kind.activations)
    names = node.texts("activations", kind.activations * directions)
    alphas = iter(node.numbers("activation_alpha", ()))
    betas = iter(node.numbers("activation_beta", ()))
    # ONNX's default for an RNN has two activations, even if the RNN has one direction.
    if len(names) != count * directions and not (count == 1 and len(names) > directions):
        raise Unsupported(f"its number of activations is {len(names)}, not {count * directions}")
    used = [_activation(name, alphas, betas) for name in names]
    return used[number * count : (number + 1) * count]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Pointwise:
    if name.lower() in ("affine", "scaledtanh"):
        raise Unsupported(_PARAMETRIC)
    return activation(name, alphas, betas)


def _weights(
    emitter: Emitter, inputs: Inputs, kind: _Kind, number: int, hidden: int
) -> list[Value]:
    """The weights, biases and peepholes of one direction, with the gates in the cell's order."""
    w, r = operand(inputs, 1), operand(inputs, 2)
    bias = optional(inputs, 3)
    gates = len(kind.gates)
    if bias is None:
        zeros = emitter.full((w.shape[0], 2 * gates * hidden), 0, w.dtype.numpy)
        bias = emitter.constant(zeros)
    halves = [_part(emitter, bias, number, i * gates * hidden, gates * hidden) for i in (0, 1)]
    matrices = [_part(emitter, v, number, 0, gates * hidden) for v in (w, r)]
    reordered = [_reordered(emitter, v, kind.gates, hidden) for v in (*matrices, *halves)]
    if kind.states == 2 and (peepholes := optional(inputs, 7)) is not None:
        # ONNX orders peepholes input, output, forget; the graph's cell orders them input, forget,
        # output.
        own = _part(emitter, peepholes, number, 0, 3 * hidden)
        reordered.append(_reordered(emitter, own, (0, 2, 1), hidden))
    return reordered


def _part(emitter: Emitter, value: Value, number: int, start: int, count: int) -> Value:
    """`count` rows of one direction, starting at `start`, without the axis of directions."""
    rest = value.shape[2:]
    starts = (number, start, *(0 for _ in rest))
    cut = emitter.add(Slice(starts, (1, count, *rest), (1,) * value.type.rank), value)
    return reshaped(emitter, cut, (count, *rest))


def _reordered(emitter: Emitter, value: Value, order: tuple[int, ...], hidden: int) -> Value:
    """The value with its blocks of `hidden` rows in another order."""
    if order == tuple(range(len(order))):
        return value
    rest = value.shape[1:]
    parts = [
        emitter.add(
            Slice(
                (gate * hidden, *(0 for _ in rest)),
                (hidden, *rest),
                (1,) * value.type.rank,
            ),
            value,
        )
        for gate in order
    ]
    return emitter.add(Concat(0), *parts)


def _initial(
    emitter: Emitter,
    inputs: Inputs,
    kind: _Kind,
    number: int,
    sequence: _Sequence,
    hidden: int,
    batch_first: bool,
) -> list[Value]:
    """The states before the first step: operands 5 and 6, or zeros."""
    batch = sequence.x.shape[1]
    states = []
    for index in range(kind.states):
        given = optional(inputs, 5 + index)
        if given is None:
            zeros = emitter.full((batch, hidden), 0, sequence.x.dtype.numpy)
            states.append(emitter.constant(zeros))
            continue
        if batch_first:
            given = transposed(emitter, given, (1, 0, 2))
        states.append(_part(emitter, given, number, 0, batch))
    return states


def _joined(emitter: Emitter, values: list[Value], axis: int) -> Value:
    return values[0] if len(values) == 1 else emitter.add(Concat(axis), *values)
