"""Lowers recurrent nodes: each call computes one step of a cell and keeps the cell's states."""

from __future__ import annotations

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Poisoned, Refused
from ellc.frontends.ell.lower.layers import activation_op
from ellc.frontends.ell.values import ArchiveObject
from ellc.ir.builder import Ref
from ellc.ir.op import Pointwise
from ellc.ir.ops.pointwise import And, Equal, NotEqual, Select
from ellc.ir.ops.recurrent import FastGRNNCell, GRUCell, LSTMCell, RNNCell


def lower_rnn(lw: Lowering, job: Job) -> None:
    """`RNNNode`: a simple recurrent cell with one activation."""
    units = _units(job)
    (activation,) = _activations(job, 1)
    x, weights = _input(lw, job), _weights(lw, job, 1, units)
    h = lw.zero_state(job, "h", (1, units), x)
    following = lw.emit(RNNCell(activation), x, h, *weights)
    _finish(lw, job, {"h": (following, "output")})


def lower_gru(lw: Lowering, job: Job) -> None:
    """`GRUNode`: a GRU cell; weights are in the order update, reset, hidden.

    The second activation is that of the gates.
    """
    units = _units(job)
    activation, recurrent = _activations(job, 2)
    x, weights = _input(lw, job), _weights(lw, job, 3, units)
    h = lw.zero_state(job, "h", (1, units), x)
    following = lw.emit(GRUCell(activation, recurrent), x, h, *weights)
    _finish(lw, job, {"h": (following, "output")})


def lower_lstm(lw: Lowering, job: Job) -> None:
    """`LSTMNode`: an LSTM cell; weights are in the order input, forget, cell, output.

    The second activation is that of all gates but `cell`. The port `outputCellState` has the cell
    state.
    """
    units = _units(job)
    activation, recurrent = _activations(job, 2)
    x, weights = _input(lw, job), _weights(lw, job, 4, units)
    h, c = (lw.zero_state(job, name, (1, units), x) for name in ("h", "c"))
    hidden, cell = lw.emit_multi(LSTMCell(activation, recurrent), x, h, c, *weights)
    _finish(lw, job, {"h": (hidden, "output"), "c": (cell, "outputCellState")})


def lower_fast_grnn(lw: Lowering, job: Job) -> None:
    """`FastGRNNNode`: a FastGRNN cell.

    A weight matrix whose rank is not 0 is the product of two matrices.
    """
    units = _units(job)
    input_rank, hidden_rank = job.view.integer("wRank"), job.view.integer("uRank")
    gate, update = _activations(job, 2)
    x = _input(lw, job)
    operands: list[Ref] = []
    for prefix, rank, depth in (
        ("inputWeights", input_rank, x.type.shape[1]),
        ("updateWeights", hidden_rank, units),
    ):
        if rank:
            operands.append(_matrix(lw, job, f"{prefix}1", rank, depth))
            operands.append(_matrix(lw, job, f"{prefix}2", units, rank))
        else:
            operands.append(_matrix(lw, job, f"{prefix}1", units, depth))
    operands += [_vector(lw, job, key, units) for key in ("biasGate", "biasUpdate")]
    operands += [_vector(lw, job, key, 1) for key in ("zeta", "nu")]
    h = lw.zero_state(job, "h", (1, units), x)
    following = lw.emit(FastGRNNCell(gate, update, input_rank, hidden_rank), x, h, *operands)
    _finish(lw, job, {"h": (following, "output")})


def _units(job: Job) -> int:
    units = job.view.integer("hiddenUnits", low=1)
    job.must_be_sound()
    return units


def _activations(job: Job, count: int) -> list[Pointwise]:
    """The activations of a node, in order; the key `activation` occurs once for each."""
    objects = job.node.object.all("activation")
    if len(objects) != count:
        raise Refused(f"the number of activations is {len(objects)}, not {count}", "activation")
    ops: list[Pointwise] = []
    for value in objects:
        if not isinstance(value, ArchiveObject):
            raise Refused("expected an activation object", "activation")
        view = job.view.at(value, "activation")
        activation = ell.read_activation(view, value.type or "")
        if not view.sound:
            raise Poisoned
        ops.append(activation_op(activation))
    return ops


def _input(lw: Lowering, job: Job) -> Ref:
    x = lw.vector(job, "input")
    return lw.reshape(x, (1, x.type.elements))


def _weights(lw: Lowering, job: Job, gates: int, units: int) -> list[Ref]:
    inputs = lw.vector(job, "input").type.elements
    rows = gates * units
    return [
        _matrix(lw, job, "inputWeights", rows, inputs),
        _matrix(lw, job, "hiddenWeights", rows, units),
        _vector(lw, job, "inputBias", rows),
        _vector(lw, job, "hiddenBias", rows),
    ]


def _matrix(lw: Lowering, job: Job, key: str, rows: int, columns: int) -> Ref:
    ref = lw.vector(job, key)
    if ref.type.elements != rows * columns:
        raise Refused(f"expected {rows}x{columns} numbers, found {ref.type.elements}", key)
    return lw.reshape(ref, (rows, columns))


def _vector(lw: Lowering, job: Job, key: str, size: int) -> Ref:
    ref = lw.vector(job, key)
    if ref.type.elements != size:
        raise Refused(f"expected {size} numbers, found {ref.type.elements}", key)
    return ref


def _finish(lw: Lowering, job: Job, states: dict[str, tuple[Ref, str]]) -> None:
    """Set the new states of a node, and write them to its ports.

    `states` maps the name of a state to its new value and its port. If the reset trigger falls to
    0, the state is cleared after the update, before it is written to its port, as in ELL's
    interpreter. So the call in which the trigger falls returns zeros.
    """
    reset = _falling_edge(lw, job)
    for name, (value, port) in states.items():
        if reset is not None:
            zeros = lw.constant(np.zeros(value.type.shape, value.type.dtype.numpy))
            value = lw.emit(Select(), zeros, value, reset)
        lw.set_state(job, name, value)
        lw.write(job, lw.reshape(value, (value.type.elements,)), port)


def _falling_edge(lw: Lowering, job: Job) -> Ref | None:
    """A boolean [1]: true if the trigger is 0 and was not 0 in the previous call.

    Returns None if the trigger is constant or not connected: then it never falls.
    """
    if not lw.has_input(job, "resetTrigger"):
        return None
    trigger = lw.vector(job, "resetTrigger")
    if trigger.type.shape != (1,):
        raise Refused(f"expected one number, found {trigger.type.elements}", "resetTrigger")
    if trigger.id in lw.constants:
        return None
    last = lw.zero_state(job, "trigger", (1,), trigger)
    lw.set_state(job, "trigger", trigger)
    zero = lw.scalar(0, trigger)
    return lw.emit(And(), lw.emit(NotEqual(), last, zero), lw.emit(Equal(), trigger, zero))


HANDLERS: dict[str, Handler] = {
    "RNNNode": lower_rnn,
    "GRUNode": lower_gru,
    "LSTMNode": lower_lstm,
    "FastGRNNNode": lower_fast_grnn,
}
