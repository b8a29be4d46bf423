"""Imports recurrent layers. As in TensorFlow Lite, their states are kept between calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.recurrence import run_cell
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import is_stored, operand, optional, tensor, want_float
from ellc.frontends.tflite.model import FusedActivation, TfliteNode
from ellc.frontends.tflite.operators.convolution import float_weights
from ellc.frontends.tflite.operators.quantised_recurrent import stored_lstm
from ellc.frontends.tflite.operators.recurrent_parts import (
    NO_PROJECTION_CLIP,
    NO_SUCH_CELL,
    refuse,
    state_of,
    walk_of,
)
from ellc.frontends.tflite.registry import TFLITE, DeclinedOption
from ellc.ir.op import Pointwise
from ellc.ir.ops.activations import Clip, Relu, Tanh
from ellc.ir.ops.recurrent import LSTMCell, RNNCell
from ellc.ir.ops.shape import Concat

_ACTIVATIONS: dict[FusedActivation, Pointwise] = {
    FusedActivation.RELU: Relu(),
    FusedActivation.RELU_N1_TO_1: Clip(-1.0, 1.0),
    FusedActivation.RELU6: Clip(0.0, 6.0),
    FusedActivation.TANH: Tanh(),
}
_LIMITS = "floats, or 8-bit weights with floats"


def _activation(node: TfliteNode) -> Pointwise:
    activation = _ACTIVATIONS.get(node.options.activation)
    if activation is None:
        raise Unsupported(f"{NO_SUCH_CELL.reason}: {node.options.activation.name}")
    return activation


@TFLITE.imports("UNIDIRECTIONAL_SEQUENCE_RNN", limits=_LIMITS, declines=(NO_SUCH_CELL,))
def sequence_rnn(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute h = activation(W x + R h + bias) for every step of a sequence."""
    x = want_float(operand(inputs, 0))
    walk = walk_of(node, x)
    h, fixed = _rnn_operands(emitter, node, inputs, walk.element(x.type).shape[0])
    every, (h,) = run_cell(emitter, RNNCell(_activation(node)), x, [h], fixed, walk)
    emitter.set_state(tensor(node, 4).name, h)
    return every


@TFLITE.imports("RNN", limits=_LIMITS, declines=(NO_SUCH_CELL,))
def rnn(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute h = activation(W x + R h + bias), one step in each call."""
    x = want_float(operand(inputs, 0))
    h, fixed = _rnn_operands(emitter, node, inputs, x.shape[0])
    h = emitter.add(RNNCell(_activation(node)), x, h, *fixed)
    emitter.set_state(tensor(node, 4).name, h)
    return h


def _rnn_operands(
    emitter: Emitter, node: TfliteNode, inputs: Inputs, batch: int
) -> tuple[Value, list[Value]]:
    """The state, and the operands that are the same in every step."""
    weights = float_weights(emitter, node, operand(inputs, 1), 1)
    recurrent = float_weights(emitter, node, operand(inputs, 2), 2)
    bias = operand(inputs, 3, "bias")
    none = emitter.constant(emitter.full(bias.shape, 0, np.float32))
    h = state_of(emitter, node, 4, (batch, weights.shape[0]))
    return h, [weights, recurrent, bias, none]


_LSTM_LIMITS = _LIMITS + "; no projection, layer norm or coupled gates"


@dataclass(frozen=True, slots=True)
class _Direction:
    """The operand indices of one direction: its first weights and its two states."""

    weights: int
    states: tuple[int, int]
    reverse: bool = False

    @property
    def refused(self) -> tuple[int, ...]:
        """The operand indices of a projection, which is not supported."""
        return (self.weights + 15, self.weights + 16)


@TFLITE.imports(
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    limits=f"{_LSTM_LIMITS}, except for int8 with an int16 cell state",
    declines=(
        NO_SUCH_CELL,
        NO_PROJECTION_CLIP,
        DeclinedOption("DiagonalRecurrentTensors", "diagonal recurrent weights"),
    ),
)
def sequence_lstm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import an LSTM; the file orders the gates input, forget, cell, output."""
    if is_stored(node):
        return stored_lstm(emitter, node, inputs)
    refuse(inputs, range(20, 24), "a layer normalisation; export the layer unrolled (unroll=True)")
    return _lstm(emitter, node, inputs, _Direction(1, (18, 19)))


@TFLITE.imports(
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    limits=_LSTM_LIMITS + "; no auxiliary input",
    declines=(NO_SUCH_CELL, NO_PROJECTION_CLIP),
)
def bidirectional_lstm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Import LSTMs over the sequence and the reversed sequence, with one joined or two results."""
    refuse(inputs, range(39, 48), "an auxiliary input")
    forward = _lstm(emitter, node, inputs, _Direction(1, (35, 36)))
    backward = _lstm(emitter, node, inputs, _Direction(18, (37, 38), reverse=True))
    results = [forward, backward]
    return [emitter.add(Concat(2), *results)] if node.options.flag("MergeOutputs") else results


def _lstm(emitter: Emitter, node: TfliteNode, inputs: Inputs, direction: _Direction) -> Value:
    """The output states of all steps in one direction."""
    x = want_float(operand(inputs, 0))
    walk = replace(walk_of(node, x), reverse=direction.reverse)
    refuse(inputs, direction.refused, "a projection")
    first = direction.weights
    weights, recurrent, bias = (
        _gates(emitter, node, inputs, range(first + begin, first + begin + 4))
        for begin in (0, 4, 11)
    )
    given = [i for i in range(first + 8, first + 11) if optional(inputs, i) is not None]
    if len(given) not in (0, 3):
        raise Unsupported(f"peepholes for {len(given)} of 3 gates")
    further = [_gates(emitter, node, inputs, given)] if given else []
    none = emitter.constant(emitter.full(bias.shape, 0, np.float32))
    shape = (walk.element(x.type).shape[0], recurrent.shape[1])
    states = [state_of(emitter, node, index, shape) for index in direction.states]
    # The option `CellClip` bounds the cell state, not the gates' sums; 0 means no bound.
    limit = node.options.number("CellClip") or math.inf
    cell = LSTMCell(_activation(node), cell_clip=limit, peepholes=bool(given))
    fixed = [weights, recurrent, bias, none, *further]
    every, last = run_cell(emitter, cell, x, states, fixed, walk)
    for index, value in zip(direction.states, last, strict=True):
        emitter.set_state(tensor(node, index).name, value)
    return every


def _gates(emitter: Emitter, node: TfliteNode, inputs: Inputs, indices: Sequence[int]) -> Value:
    """Concatenate the operands with these indices, one for each gate."""
    return emitter.add(Concat(0), *(_gate(emitter, node, inputs, i) for i in indices))


def _gate(emitter: Emitter, node: TfliteNode, inputs: Inputs, index: int) -> Value:
    value = operand(inputs, index, f"operand {index}")
    return float_weights(emitter, node, value, index)
