"""Imports the LSTM of stored integers, with 8-bit operands and results and a 16-bit cell state.

All fixed-point numbers have 16 bits (`ellc.ir.fixed_point_16`): the sums of the gates have three
integer bits, the gates have none, and the cell state has as many as its scale implies. With a layer
normalisation, the file gives the scale of the sums before the normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import operand, optional, result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.fixed_point_parts import (
    HIGH,
    LOW,
    WIDE_HIGH,
    WIDE_LOW,
    bounded,
    number,
    scaled,
    shifted,
)
from ellc.frontends.tflite.operators.quantised_layer_norm import LayerNorm
from ellc.frontends.tflite.operators.recurrent_parts import NO_SUCH_CELL, refuse, state_of, walk_of
from ellc.frontends.tflite.scales import limits_of, scale_of, zero_of
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.fixed_point_16 import MOST_INTEGER_BITS, ONE
from ellc.ir.ops.arithmetic import Add, Mul, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.fixed_point_functions import Function16
from ellc.ir.ops.loop import Loop
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.shape import Slice
from ellc.ir.types import Array, DType, Quant

# The indices of operands. Those of weights, biases and norms are for the first gate; the other
# three gates have the next three indices.
_WEIGHTS, _RECURRENT, _BIASES = 1, 5, 12
_PEEPHOLES = {0: 9, 1: 10, 3: 11}  # by gate
_PROJECTION, _PROJECTION_BIAS = 16, 17
_STATE, _CELL = 18, 19
_NORMS = 20  # weights of the gates' layer normalisation
_HIDDEN = 4  # the intermediate with the scale of the hidden state
_SUM_BITS = 3  # integer bits of the gates' sums
_UNIT_BITS = 15  # fraction bits of a 16-bit number without integer bits
_UNIT = np.float32(2.0 ** (_SUM_BITS - _UNIT_BITS))  # the scale of the gates' sums


@dataclass(frozen=True, slots=True)
class _Sums:
    """A dense layer: its weights, a bias that includes zero points, and a factor for each row."""

    weights: Array
    bias: Array
    factors: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Peephole:
    """The connection of the cell state to a gate: weights [1, units] and a factor."""

    weights: Array
    factor: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Projection:
    """The layer from the hidden state to the output state."""

    sums: _Sums
    zero: int
    clip: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """The parameters of one step.

    With `coupled` there are no weights for an input gate, whose value is then 1 - forget gate. The
    keys of `peepholes` and `norms` are the numbers of the gates in the file. `cell_bits` is the
    number of integer bits of the cell state. A `cell_clip` of 0 means no clip.
    `hidden` is the factor of the hidden state, and `hidden_zero` its zero point.
    """

    inputs: _Sums
    recurrent: _Sums
    coupled: bool
    peepholes: Mapping[int, _Peephole]
    norms: Mapping[int, LayerNorm]
    cell_bits: int
    cell_clip: int
    hidden: tuple[int, int]
    hidden_zero: int
    projection: _Projection | None
    quant: Quant | None

    @property
    def units(self) -> int:
        """The number of cells."""
        return len(self.recurrent.weights) // (3 if self.coupled else 4)

    @property
    def outputs(self) -> int:
        """The length of the output state."""
        return int(self.recurrent.weights.shape[1])


def stored_lstm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import an int8 UNIDIRECTIONAL_SEQUENCE_LSTM; return the output states of all steps."""
    if node.options.activation is not FusedActivation.TANH:
        raise Unsupported(
            f"{NO_SUCH_CELL.reason}: {node.options.activation.name} for stored integers"
        )
    x = operand(inputs, 0)
    kinds = tuple(tensor(node, i).kind for i in (0, _STATE, _CELL))
    if kinds != ("INT8", "INT8", "INT16"):
        raise Unsupported(f"operands of {kinds[0]}, a state of {kinds[1]} and cells of {kinds[2]}")
    walk, cell = walk_of(node, x), _cell(node, inputs)
    batch = walk.element(x.type).shape[0]
    states = [
        state_of(emitter, node, _STATE, (batch, cell.outputs), zero_of(tensor(node, _STATE))),
        state_of(emitter, node, _CELL, (batch, cell.units)),
    ]
    body = emitter.inner("lstm")
    old = [body.input(f"state{i}", s.type) for i, s in enumerate(states)]
    new = _step(body, cell, body.input("x", walk.element(x.type)), *old)
    for index, value in enumerate(new):
        body.output(f"state{index}", value)
    body.output("y", new[0])
    loop = Loop(body.build(), x.shape[walk.axis], len(states), (walk,), (walk,))
    *last, every = emitter.add_multi(loop, *states, x)
    for index, value in zip((_STATE, _CELL), last, strict=True):
        emitter.set_state(tensor(node, index).name, value)
    return every


# --- parameters in the file ----------------------------------------------------------------------


def _cell(node: TfliteNode, inputs: Inputs) -> _Cell:
    state, cells = tensor(node, _STATE), tensor(node, _CELL)
    fraction, exponent = math.frexp(scale_of(cells))
    bits = _UNIT_BITS + exponent - 1
    if fraction != 0.5 or not 0 <= bits <= MOST_INTEGER_BITS:
        raise Unsupported(f"a cell state of scale {scale_of(cells)}")
    hidden = _intermediate(node, _HIDDEN, "the hidden state is")
    recurrent = operand(inputs, _RECURRENT + 1, "recurrent weights")
    if recurrent.type.rank != 2:
        raise Unsupported(f"recurrent weights {recurrent.shape}")
    units, outputs = recurrent.shape
    projection = _projection(node, inputs, hidden, (outputs, units))
    if projection is None and units != outputs:
        raise Unsupported(f"recurrent weights {recurrent.shape} without a projection")
    coupled = optional(inputs, _WEIGHTS) is None
    if coupled:
        refuse(inputs, (_RECURRENT, _BIASES), "an input gate that has only some of its weights")
    gates = range(1 if coupled else 0, 4)
    norms = _norms(node, inputs, gates, units)
    steps = {
        g: scale_of(_intermediate(node, g, "sums of gates are")) if norms else _UNIT for g in gates
    }
    size = operand(inputs, 0).shape[-1]
    return _Cell(
        _gates(
            node,
            inputs,
            steps,
            (_WEIGHTS, None if norms else _BIASES),
            tensor(node, 0),
            (units, size),
        ),
        _gates(node, inputs, steps, (_RECURRENT, None), state, (units, outputs)),
        coupled,
        _peepholes(node, inputs, steps, (units, outputs)),
        norms,
        bits,
        _clip(node, "CellClip", cells),
        quantize_multiplier(float(np.float32(2.0**-30 / float(scale_of(hidden))))),
        zero_of(hidden),
        projection,
        result(node).quant,
    )


def _intermediate(node: TfliteNode, index: int, what: str) -> Tensor:
    """The declaration of a value inside the operator, with its scale and zero point."""
    declared = node.intermediates[index] if len(node.intermediates) > index else None
    if declared is None:
        raise Unsupported(f"the file does not say how {what} stored")
    return declared


def _norms(node: TfliteNode, inputs: Inputs, gates: range, units: int) -> dict[int, LayerNorm]:
    """Read each gate's layer normalisation, with its bias; either all gates have one, or none."""
    norms = {}
    for gate in range(4):
        if optional(inputs, _NORMS + gate) is None:
            continue
        weights = _stored(inputs, _NORMS + gate, "INT16 norms", np.int16, (units,))
        bias = _stored(inputs, _BIASES + gate, "INT32 biases", np.int32, (units,))
        norms[gate] = LayerNorm.of(weights, bias, scale_of(tensor(node, _NORMS + gate)))
    if norms and set(norms) != {*gates}:
        raise Unsupported(f"a layer normalisation for {len(norms)} of {len(gates)} gates")
    return norms


def _peepholes(
    node: TfliteNode, inputs: Inputs, steps: Mapping[int, np.float32], shape: tuple[int, int]
) -> dict[int, _Peephole]:
    """Read the peepholes by gate; either all gates that can have a peephole have one, or none."""
    peepholes = {}
    for gate, position in _PEEPHOLES.items():
        if optional(inputs, position) is None:
            continue
        weights = _stored(inputs, position, "INT16 peepholes", np.int16, shape[:1])
        scale = (
            scale_of(tensor(node, position))
            * scale_of(tensor(node, _CELL))
            / steps.get(gate, _UNIT)
        )
        peepholes[gate] = _Peephole(
            weights[None].astype(np.int32), quantize_multiplier(float(scale))
        )
    gates = {*steps} & {*_PEEPHOLES}
    if peepholes and set(peepholes) != gates:
        raise Unsupported(f"peepholes for {len(peepholes)} of {len(gates)} gates")
    if peepholes and shape[0] != shape[1]:
        raise Unsupported(
            "peepholes with a projection to another size, for which TensorFlow Lite's kernel reads "
            "the wrong cells; export the layer without peepholes"
        )
    return peepholes


def _clip(node: TfliteNode, option: str, to: Tensor) -> int:
    """Convert a bound to a stored integer of `to`, clamped and truncated."""
    low, high = limits_of(to.dtype)
    return int(min(max(low, float(np.float32(node.options.number(option)) / scale_of(to))), high))


def _gates(
    node: TfliteNode,
    inputs: Inputs,
    steps: Mapping[int, np.float32],
    first: tuple[int, int | None],
    x: Tensor,
    shape: tuple[int, int],
) -> _Sums:
    """Combine the dense layers of x for all gates into one, in the order of the file.

    `steps` has the scale of each gate's sums. `first` has the operand indices of the first gate's
    weights and bias; None means no bias. `shape` is the shape of each gate's weights.
    """
    weights, biases = first
    parts = [
        _sums(node, inputs, (weights + g, None if biases is None else biases + g), x, step, shape)
        for g, step in steps.items()
    ]
    return _Sums(
        np.concatenate([p.weights for p in parts]),
        np.concatenate([p.bias for p in parts]),
        [f for p in parts for f in p.factors],
    )


def _projection(
    node: TfliteNode, inputs: Inputs, hidden: Tensor, shape: tuple[int, int]
) -> _Projection | None:
    if optional(inputs, _PROJECTION) is None:
        return None
    state = tensor(node, _STATE)
    bias = None if optional(inputs, _PROJECTION_BIAS) is None else _PROJECTION_BIAS
    sums = _sums(node, inputs, (_PROJECTION, bias), hidden, scale_of(state), shape)
    return _Projection(sums, zero_of(state), _clip(node, "ProjClip", result(node)))


def _sums(
    node: TfliteNode,
    inputs: Inputs,
    positions: tuple[int, int | None],
    x: Tensor,
    unit: np.float32,
    shape: tuple[int, int],
) -> _Sums:
    """Read a dense layer of x whose sums have the scale `unit`.

    `positions` has the operand indices of the weights and of the bias; the latter is None if there
    is no bias. Factors are computed in float32. The zero point of x is folded into the bias.
    """
    declared = tensor(node, positions[0])
    if zero_of(declared):
        raise Unsupported(f"the weights '{declared.name}' have a zero point")
    weights = _stored(inputs, positions[0], "INT8 weights", np.int8, shape)
    bias = -zero_of(x) * weights.sum(axis=1, dtype=np.int64)
    if positions[1] is not None:
        bias += _stored(inputs, positions[1], "INT32 biases", np.int32, shape[:1])
    factor = quantize_multiplier(float(scale_of(declared) * scale_of(x) / unit))
    return _Sums(weights, bias.astype(np.int32), [factor] * shape[0])


def _stored(
    inputs: Inputs, index: int, what: str, dtype: type[np.integer], shape: tuple[int, ...]
) -> Array:
    """A constant operand; raises `Unsupported` if it has another type or shape."""
    array = known(operand(inputs, index, what), what)
    if array.dtype != dtype or array.shape != shape:
        raise Unsupported(f"expected {what} {shape}, found {array.dtype}{array.shape}")
    return array


# --- one step ------------------------------------------------------------------------------------


def _step(body: Emitter, cell: _Cell, x: Value, h: Value, c: Value) -> tuple[Value, Value]:
    """Compute the next output state and cell state."""
    from_x = _product(body, cell.inputs, x, LOW, HIGH)
    from_h = _product(body, cell.recurrent, h)
    total = bounded(body, body.add(Add(), from_x, from_h), LOW, HIGH)
    c = body.add(Cast(DType.I32), c)
    first = 1 if cell.coupled else 0
    *update, forget, new = (_gate(body, cell, total, gate, c) for gate in range(first, 3))
    retained = shifted(body, body.add(Mul(), forget, c), _UNIT_BITS)
    if cell.coupled:
        one = body.constant(body.full(forget.shape, ONE, np.int32))
        update = [body.add(Sub(), one, forget)]
    added = shifted(body, body.add(Mul(), update[0], new), _UNIT_BITS + cell.cell_bits)
    low, high = (-cell.cell_clip, cell.cell_clip) if cell.cell_clip > 0 else (LOW, HIGH)
    next_cells = bounded(body, body.add(Add(), retained, added), low, high)
    output = _gate(body, cell, total, 3, next_cells)
    shown = body.add(Function16("tanh", cell.cell_bits), next_cells)
    hidden = Requantize("tflite", cell.hidden_zero, -128, 127, DType.I8, cell.quant)
    factor = (number(body, part) for part in cell.hidden)
    state = body.add(hidden, body.add(Mul(), output, shown), *factor)
    if cell.projection is not None:
        state = _projected(body, cell.projection, state)
    return state, body.add(Cast(DType.I16), next_cells)


def _projected(body: Emitter, projection: _Projection, hidden: Value) -> Value:
    """Compute the output state. As in LiteRT, its bounds ignore the zero point."""
    clip = projection.clip
    low, high = (-clip, clip) if clip > 0 else (-128, 127)
    op = Requantize("tflite", projection.zero, low, high, DType.I8)
    return _summed(body, projection.sums, hidden, op)


def _product(
    body: Emitter, sums: _Sums, x: Value, low: int = WIDE_LOW, high: int = WIDE_HIGH
) -> Value:
    """The sums of all gates as clamped 32-bit integers."""
    return _summed(body, sums, x, Requantize("tflite", 0, low, high, DType.I32))


def _summed(body: Emitter, sums: _Sums, x: Value, op: Requantize) -> Value:
    """Compute the sums of a dense layer, and requantise them by `op` with the rows' factors."""
    total = body.add(IntDense(), x, body.constant(sums.weights), body.constant(sums.bias))
    pairs = np.array(sums.factors, np.int32)
    return body.add(op, total, *(body.constant(pairs[:, side].copy()) for side in (0, 1)))


def _gate(body: Emitter, cell: _Cell, total: Value, gate: int, c: Value) -> Value:
    """Compute the value of a gate, which is given by its number in the file.

    `total` has the sums of all gates. `c` is the cell state that the gate's peephole reads.
    """
    start = (gate - 1 if cell.coupled else gate) * cell.units
    own = body.add(Slice((0, start), (total.shape[0], cell.units), (1, 1)), total)
    if (peephole := cell.peepholes.get(gate)) is not None:
        through_peephole = scaled(
            body, body.add(Mul(), c, body.constant(peephole.weights)), peephole.factor
        )
        own = bounded(body, body.add(Add(), own, through_peephole), LOW, HIGH)
    if (norm := cell.norms.get(gate)) is not None:
        own = norm.apply(body, own)
    return body.add(Function16("tanh" if gate == 2 else "logistic", _SUM_BITS), own)
