"""One step of recurrent layers: the old state is an operand, the new state a result.

The operands are x [...,I], the state h [...,H] (in an LSTM also c), weights and biases. The weights
and biases of all gates are stacked along the first axis. (A `FastGRNNCell` differs: its gates share
the weights.) Activations are pointwise operators with one operand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.errors import ShapeError
from ellc.ir.op import (
    Arrays,
    Case,
    Op,
    Pointwise,
    Types,
    everything,
    of_largest,
    register_op,
    require,
)
from ellc.ir.ops.common import normal, want_floats, want_operands, want_shape, weights
from ellc.ir.ops.pointwise import HardSigmoid, Relu, Sigmoid, Tanh
from ellc.ir.types import Array, TensorType


@register_op("rnn_cell")
@dataclass(frozen=True, slots=True)
class RNNCell(Op):
    """(x [...,I], h [...,H], wx [H,I], wh [H,H], bx [H], bh [H]) -> h' [...,H].

    h' = activation(wx x + bx + wh h + bh), where the operand of the activation is clipped to
    +-`clip`.
    """

    activation: Pointwise = Tanh()
    clip: float = math.inf
    composite: ClassVar[bool] = True

    reads = everything
    own_error = of_largest

    @property
    def recurrent(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        _want_limit("rnn_cell", self.clip)
        return _infer("rnn_cell", inputs, gates=1, states=1, activations=(self.activation,))

    def reference(self, *inputs: Array) -> Arrays:
        x, h, wx, wh, bx, bh = inputs
        return (_apply(self.activation, _within(x @ wx.T + bx + (h @ wh.T + bh), self.clip)),)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return _macs(inputs, inputs[2:4])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        for size, label in _SIZES:
            yield Case(cls(), _operands(rng, *size, gates=1), (2, 3, 4, 5), label=label)
        yield Case(cls(Relu()), _operands(rng, (1,), 6, 9, gates=1), (2, 3, 4, 5), label="relu")
        clipped = cls(Relu(), clip=0.4)
        yield Case(clipped, _operands(rng, (1,), 6, 9, gates=1), (2, 3, 4, 5), label="clipped")


@register_op("gru_cell")
@dataclass(frozen=True, slots=True)
class GRUCell(Op):
    """(x [...,I], h [...,H], wx [3H,I], wh [3H,H], bx [3H], bh [3H]) -> h' [...,H].

    The gates are, in this order, z (update), r (reset) and n (new):
    z, r = recurrent_activation(wx x + bx + wh h + bh)
    n = activation(wx x + bx + r * (wh h + bh)) with `reset_after`, otherwise
    n = activation(wx x + bx + wh (r * h) + bh)
    h' = (1 - z) * n + z * h

    The operands of activations are clipped to +-`clip`.
    """

    activation: Pointwise = Tanh()
    recurrent_activation: Pointwise = Sigmoid()
    reset_after: bool = True
    clip: float = math.inf
    composite: ClassVar[bool] = True

    reads = everything
    own_error = of_largest

    @property
    def recurrent(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        _want_limit("gru_cell", self.clip)
        used = (self.activation, self.recurrent_activation)
        return _infer("gru_cell", inputs, gates=3, states=1, activations=used)

    def reference(self, *inputs: Array) -> Arrays:
        x, h, wx, wh, bx, bh = inputs
        wz, wr, wn = np.split(wh, 3)
        bz, br, bn = np.split(bh, 3)
        xz, xr, xn = np.split(x @ wx.T + bx, 3, -1)
        z = _apply(self.recurrent_activation, _within(xz + h @ wz.T + bz, self.clip))
        r = _apply(self.recurrent_activation, _within(xr + h @ wr.T + br, self.clip))
        inner = r * (h @ wn.T + bn) if self.reset_after else (r * h) @ wn.T + bn
        n = _apply(self.activation, _within(xn + inner, self.clip))
        return ((1 - z) * n + z * h,)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return _macs(inputs, inputs[2:4])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        fixed = (2, 3, 4, 5)
        for size, label in _SIZES:
            yield Case(cls(), _operands(rng, *size, gates=3), fixed, label=label)
        other = cls(Relu(), HardSigmoid())
        yield Case(other, _operands(rng, (1,), 6, 9, gates=3), fixed, label="other activations")
        before = cls(reset_after=False)
        yield Case(before, _operands(rng, (1,), 7, 11, gates=3), fixed, label="reset before")
        clipped = cls(clip=0.4)
        yield Case(clipped, _operands(rng, (1,), 6, 9, gates=3), fixed, label="clipped")


@register_op("lstm_cell")
@dataclass(frozen=True, slots=True)
class LSTMCell(Op):
    """(x [...,I], h [...,H], c [...,H], wx [4H,I], wh [4H,H], bx [4H], bh [4H]) -> (h', c').

    The gates are, in this order, i (input), f (forget), g (cell) and o (output). Each is a sum
    wx x + bx + wh h + bh, to which an activation is applied: `recurrent_activation` to i, f and o,
    `activation` to g.
    c' = f * c + i * g, clipped to +-`cell_clip`
    h' = o * result_activation(c'), where `result_activation` is `activation` by default

    With `peepholes` there is an eighth operand p [3H] = (pi, pf, po): pi * c is added to the sum of
    i, pf * c to that of f and po * c' to that of o. All four sums are clipped to +-`clip`. With
    `coupled`, f = 1 - i, and neither the weights of f nor pf are used.
    """

    activation: Pointwise = Tanh()
    recurrent_activation: Pointwise = Sigmoid()
    result_activation: Pointwise | None = None
    clip: float = math.inf
    cell_clip: float = math.inf
    peepholes: bool = False
    coupled: bool = False
    composite: ClassVar[bool] = True

    reads = everything
    own_error = of_largest

    @property
    def output_activation(self) -> Pointwise:
        """The activation that is applied to c' to compute h'."""
        return self.activation if self.result_activation is None else self.result_activation

    @property
    def recurrent(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        name = "lstm_cell"
        want_operands(name, inputs, 7 + self.peepholes)
        used = (self.activation, self.recurrent_activation, self.output_activation)
        _want_limit(name, self.clip)
        _want_limit(name, self.cell_clip)
        results = _infer(name, inputs[:7], gates=4, states=2, activations=used)
        if self.peepholes:
            want_floats(name, *inputs)
            want_shape(name, "peepholes", inputs[7], 3 * inputs[1].shape[-1])
        return results

    def reference(self, *inputs: Array) -> Arrays:
        x, h, c, wx, wh, bx, bh = inputs[:7]
        i, f, g, o = np.split(x @ wx.T + bx + (h @ wh.T + bh), 4, -1)
        peep = np.split(inputs[7], 3) if self.peepholes else None
        i = self._gate(i if peep is None else i + peep[0] * c)
        f = 1 - i if self.coupled else self._gate(f if peep is None else f + peep[1] * c)
        cell = _within(f * c + i * _apply(self.activation, _within(g, self.clip)), self.cell_clip)
        o = self._gate(o if peep is None else o + peep[2] * cell)
        return (o * _apply(self.output_activation, cell), cell)

    def _gate(self, total: Array) -> Array:
        return _apply(self.recurrent_activation, _within(total, self.clip))

    def macs(self, inputs: Types, outputs: Types) -> int:
        return _macs(inputs, inputs[3:5])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        fixed = (3, 4, 5, 6)
        for size, label in _SIZES:
            yield Case(cls(), _operands(rng, *size, gates=4, states=2), fixed, label=label)
        for op, label in (
            (cls(Relu(), HardSigmoid()), "other activations"),
            (cls(Tanh(), Sigmoid(), Relu()), "other result"),
            (cls(clip=0.3), "clipped gates"),
            (cls(cell_clip=0.3), "clipped cell"),
            (cls(coupled=True), "coupled"),
        ):
            yield Case(op, _operands(rng, (1,), 6, 9, gates=4, states=2), fixed, label=label)
        for op, label in (
            (cls(peepholes=True), "peepholes"),
            (cls(Relu(), HardSigmoid(), Tanh(), 0.6, 0.5, True, True), "everything"),
        ):
            operands = (*_operands(rng, (3,), 6, 9, gates=4, states=2), normal(rng, 27))
            yield Case(op, operands, (*fixed, 7), label=label)


@register_op("fast_grnn_cell")
@dataclass(frozen=True, slots=True)
class FastGRNNCell(Op):
    """(x, h, w.., u.., gate bias [H], update bias [H], zeta [1], nu [1]) -> h' [...,H].

    p = W x + U h;  z = gate(p + gate bias);  c = update(p + update bias)
    h' = (zeta * (1 - z) + nu) * c + z * h

    If `input_rank` is 0, W is a single operand [H,I]; otherwise, W is the product W2 W1 of two
    operands W1 [rank,I] and W2 [H,rank]. In the same manner, U is given by one operand [H,H], or,
    with `hidden_rank`, by two operands [rank,H] and [H,rank].
    """

    gate: Pointwise = Sigmoid()
    update: Pointwise = Tanh()
    input_rank: int = 0
    hidden_rank: int = 0
    composite: ClassVar[bool] = True

    reads = everything
    own_error = of_largest

    @property
    def recurrent(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        name = "fast_grnn_cell"
        want_operands(name, inputs, 8 + bool(self.input_rank) + bool(self.hidden_rank))
        dtype = want_floats(name, *inputs)
        x, h, *rest = inputs
        _want_state(name, x, h)
        size = h.shape[-1]
        for what, rank, depth in (
            ("input weights", self.input_rank, x.shape[-1]),
            ("hidden weights", self.hidden_rank, size),
        ):
            if rank:
                want_shape(name, what, rest.pop(0), rank, depth)
            want_shape(name, what, rest.pop(0), size, rank or depth)
        for what, extent in (("gate bias", size), ("update bias", size), ("zeta", 1), ("nu", 1)):
            want_shape(name, what, rest.pop(0), extent)
        _want_activations(name, h, self.gate, self.update)
        return (TensorType(dtype, h.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        x, h, *rest = inputs
        product = np.zeros_like(h)
        for value, rank in ((x, self.input_rank), (h, self.hidden_rank)):
            inner = value @ rest.pop(0).T if rank else value
            product = product + inner @ rest.pop(0).T
        gate_bias, update_bias, zeta, nu = rest
        z = _apply(self.gate, product + gate_bias)
        c = _apply(self.update, product + update_bias)
        return ((zeta * (1 - z) + nu) * c + z * h,)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return _macs(inputs, inputs[2:-4])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        for op, (lead, inputs, hidden), label in (
            (cls(), ((1,), 1, 1), "one unit"),
            (cls(), ((1,), 32, 16), "full rank"),
            (cls(input_rank=3, hidden_rank=5), ((1,), 19, 11), "low rank"),
            (cls(HardSigmoid(), Relu(), 0, 2), ((), 7, 9), "mixed"),
        ):
            parts = [normal(rng, *lead, inputs), normal(rng, *lead, hidden)]
            for rank, depth in ((op.input_rank, inputs), (op.hidden_rank, hidden)):
                parts += [weights(rng, rank, depth)] if rank else []
                parts += [weights(rng, hidden, rank or depth)]
            parts += [normal(rng, hidden), normal(rng, hidden)]
            parts += [np.array([0.7], np.float32), np.array([0.1], np.float32)]
            yield Case(op, tuple(parts), tuple(range(2, len(parts))), label=label)


_SIZES: tuple[tuple[tuple[tuple[int, ...], int, int], str], ...] = (
    (((1,), 1, 1), "one unit"),
    (((1,), 32, 16), "round sizes"),
    (((1,), 19, 37), "odd sizes"),
    (((), 5, 12), "rank 1"),
    (((3,), 10, 7), "batch"),
)


def _operands(
    rng: np.random.Generator,
    lead: tuple[int, ...],
    inputs: int,
    hidden: int,
    *,
    gates: int,
    states: int = 1,
) -> Arrays:
    rows = gates * hidden
    return (
        normal(rng, *lead, inputs),
        *(normal(rng, *lead, hidden) for _ in range(states)),
        weights(rng, rows, inputs),
        weights(rng, rows, hidden),
        normal(rng, rows),
        normal(rng, rows),
    )


def _infer(
    name: str, inputs: Types, *, gates: int, states: int, activations: tuple[Pointwise, ...]
) -> Types:
    want_operands(name, inputs, 5 + states)
    dtype = want_floats(name, *inputs)
    x, *rest = inputs
    carried, (wx, wh, bx, bh) = rest[:states], rest[states:]
    for state in carried:
        _want_state(name, x, state)
    size = carried[0].shape[-1]
    rows = gates * size
    require(all(s.shape == carried[0].shape for s in carried), f"{name}: states differ in shape")
    want_shape(name, "input weights", wx, rows, x.shape[-1])
    want_shape(name, "hidden weights", wh, rows, size)
    want_shape(name, "input bias", bx, rows)
    want_shape(name, "hidden bias", bh, rows)
    _want_activations(name, carried[0], *activations)
    return (TensorType(dtype, carried[0].shape),) * states


def _want_state(name: str, x: TensorType, state: TensorType) -> None:
    good = x.rank >= 1 and state.rank >= 1 and x.shape[:-1] == state.shape[:-1]
    require(good, f"{name}: state {state.shape} does not fit input {x.shape}")


def _want_activations(name: str, state: TensorType, *activations: Pointwise) -> None:
    for op in activations:
        try:
            results = op.infer(state)
        except ShapeError as error:
            raise ShapeError(f"{name}: {op.name} is not an activation: {error.message}") from None
        same = results == (TensorType(state.dtype, state.shape),)
        require(same, f"{name}: {op.name} is not an activation")


def _want_limit(name: str, limit: float) -> None:
    require(limit > 0, f"{name}: values cannot be clipped to +-{limit}")


def _within(x: Array, limit: float) -> Array:
    return np.clip(x, -limit, limit)


def _apply(op: Pointwise, x: Array) -> Array:
    (result,) = op.reference(x)
    return result


def _macs(inputs: Types, matrices: Types) -> int:
    x = inputs[0]
    return x.elements // max(1, x.shape[-1]) * sum(m.elements for m in matrices)
