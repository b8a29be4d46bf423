"""The LSTM of stored integers: 8-bit operands and results, a cell state of 16 bits.

Gates' sums are Q numbers of three integer bits, gates are Q0 (`ellc.ir.fixed_point_16`); the cell
state is a Q number whose integer bits its scale says. A layer normalisation makes such sums of
others, whose steps the file says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import operand, optional, result, tensor
from ellc.frontends.tflite.model import Activation, Tensor, TfliteNode
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

_WEIGHTS, _RECURRENT, _BIASES = 1, 5, 12  # where the operands of the four gates begin
_PEEPHOLES = {0: 9, 1: 10, 3: 11}  # operands by gate
_PROJECTION, _PROJECTION_BIAS = 16, 17
_STATE, _CELL = 18, 19
_NORMS = 20  # where the weights of the gates' layer normalisation begin
_HIDDEN = 4  # the intermediate that says how the product of output gate and cell is stored
_SUM_BITS = 3  # integer bits of the gates' sums
_UNIT_BITS = 15  # of 1 as Q0
_UNIT = np.float32(2.0 ** (_SUM_BITS - _UNIT_BITS))  # of the gates' sums


@dataclass(frozen=True, slots=True)
class _Sums:
    """Products with one operand: weights, bias without zero points, factors of the rows."""

    weights: Array
    bias: Array
    factors: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Peephole:
    """What a gate sees of the cell state: weights [1, units] and their factor."""

    weights: Array
    factor: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Projection:
    """What makes the output state of the hidden one."""

    sums: _Sums
    zero: int
    clip: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one step needs to know.

    `coupled` gates have no input gate: it is what the forget gate leaves of 1. `peepholes` and
    `norms` are by the gate's number in the file. `cell_bits` are the cell state's integer bits. Of
    both clips 0 says that there is none.
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
        """Cells."""
        return len(self.recurrent.weights) // (3 if self.coupled else 4)

    @property
    def outputs(self) -> int:
        """Numbers of the output state."""
        return int(self.recurrent.weights.shape[1])


def stored_lstm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """UNIDIRECTIONAL_SEQUENCE_LSTM of int8."""
    if node.options.activation is not Activation.TANH:
        raise Unsupported(
            f"{NO_SUCH_CELL.reason}: {node.options.activation.name} of stored integers"
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


# --- numbers of the file -------------------------------------------------------------------------


def _cell(node: TfliteNode, inputs: Inputs) -> _Cell:
    state, cells = tensor(node, _STATE), tensor(node, _CELL)
    fraction, exponent = math.frexp(scale_of(cells))
    bits = _UNIT_BITS + exponent - 1
    if fraction != 0.5 or not 0 <= bits <= MOST_INTEGER_BITS:
        raise Unsupported(f"cells in steps of {scale_of(cells)}")
    hidden = _between(node, _HIDDEN, "the hidden state is")
    recurrent = operand(inputs, _RECURRENT + 1, "recurrent weights")
    if recurrent.type.rank != 2:
        raise Unsupported(f"recurrent weights {recurrent.shape}")
    units, outputs = recurrent.shape
    projection = _projection(node, inputs, hidden, (outputs, units))
    if projection is None and units != outputs:
        raise Unsupported(f"recurrent weights {recurrent.shape} without a projection")
    coupled = optional(inputs, _WEIGHTS) is None
    if coupled:
        refuse(inputs, (_RECURRENT, _BIASES), "parts of an input gate without its weights")
    gates = range(1 if coupled else 0, 4)
    norms = _norms(node, inputs, gates, units)
    steps = {g: scale_of(_between(node, g, "sums of gates are")) if norms else _UNIT for g in gates}
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


def _between(node: TfliteNode, index: int, what: str) -> Tensor:
    """The intermediate that says how something is stored."""
    found = node.intermediates[index] if len(node.intermediates) > index else None
    if found is None:
        raise Unsupported(f"its file does not say how {what} stored")
    return found


def _norms(node: TfliteNode, inputs: Inputs, gates: range, units: int) -> dict[int, LayerNorm]:
    """Those of all gates, or of none; their biases are those of the gates."""
    found = {}
    for gate in range(4):
        if optional(inputs, _NORMS + gate) is None:
            continue
        weights = _stored(inputs, _NORMS + gate, "INT16 norms", np.int16, (units,))
        bias = _stored(inputs, _BIASES + gate, "INT32 biases", np.int32, (units,))
        found[gate] = LayerNorm.of(weights, bias, scale_of(tensor(node, _NORMS + gate)))
    if found and set(found) != {*gates}:
        raise Unsupported(f"a layer normalisation of {len(found)} of {len(gates)} gates")
    return found


def _peepholes(
    node: TfliteNode, inputs: Inputs, steps: Mapping[int, np.float32], shape: tuple[int, int]
) -> dict[int, _Peephole]:
    """Those of gates that may have one; either all or none of them do."""
    found = {}
    for gate, place in _PEEPHOLES.items():
        if optional(inputs, place) is None:
            continue
        weights = _stored(inputs, place, "INT16 peepholes", np.int16, shape[:1])
        scale = (
            scale_of(tensor(node, place)) * scale_of(tensor(node, _CELL)) / steps.get(gate, _UNIT)
        )
        found[gate] = _Peephole(weights[None].astype(np.int32), quantize_multiplier(float(scale)))
    if found and set(found) != {*steps} & {*_PEEPHOLES}:
        raise Unsupported(f"{len(found)} peepholes")
    if found and shape[0] != shape[1]:
        raise Unsupported(
            "peepholes beside a projection to another size, of which TensorFlow Lite's kernel "
            "reads other cells; export it without peepholes"
        )
    return found


def _clip(node: TfliteNode, option: str, to: Tensor) -> int:
    """The stored number of a bound, cut off."""
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
    """The products of x with the weights of gates, of this shape, in the order of the file.

    `steps` are those of each gate's sums; weights and biases, if any, begin at `first`.
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
    places: tuple[int, int | None],
    x: Tensor,
    unit: np.float32,
    shape: tuple[int, int],
) -> _Sums:
    """The products of x with weights, and a bias, in steps of `unit`.

    Factors are computed in float32. A zero point of x goes into the bias.
    """
    declared = tensor(node, places[0])
    if zero_of(declared):
        raise Unsupported(f"'{declared.name}': weights with a zero point")
    weights = _stored(inputs, places[0], "INT8 weights", np.int8, shape)
    bias = -zero_of(x) * weights.sum(axis=1, dtype=np.int64)
    if places[1] is not None:
        bias += _stored(inputs, places[1], "INT32 biases", np.int32, shape[:1])
    factor = quantize_multiplier(float(scale_of(declared) * scale_of(x) / unit))
    return _Sums(weights, bias.astype(np.int32), [factor] * shape[0])


def _stored(
    inputs: Inputs, index: int, what: str, dtype: type[np.integer], shape: tuple[int, ...]
) -> Array:
    """A constant operand of a gate."""
    array = known(operand(inputs, index, what), what)
    if array.dtype != dtype or array.shape != shape:
        raise Unsupported(f"{array.dtype}{array.shape}, where {what} {shape} are expected")
    return array


# --- one step ------------------------------------------------------------------------------------


def _step(body: Emitter, cell: _Cell, x: Value, h: Value, c: Value) -> tuple[Value, Value]:
    """The next output state and cell state."""
    from_x = _product(body, cell.inputs, x, LOW, HIGH)
    from_h = _product(body, cell.recurrent, h)
    total = bounded(body, body.add(Add(), from_x, from_h), LOW, HIGH)
    c = body.add(Cast(DType.I32), c)
    first = 1 if cell.coupled else 0
    *update, forget, new = (_gate(body, cell, total, gate, c) for gate in range(first, 3))
    kept = shifted(body, body.add(Mul(), forget, c), _UNIT_BITS)
    if cell.coupled:
        one = body.constant(body.full(forget.shape, ONE, np.int32))
        update = [body.add(Sub(), one, forget)]
    added = shifted(body, body.add(Mul(), update[0], new), _UNIT_BITS + cell.cell_bits)
    low, high = (-cell.cell_clip, cell.cell_clip) if cell.cell_clip > 0 else (LOW, HIGH)
    wide = bounded(body, body.add(Add(), kept, added), low, high)
    output = _gate(body, cell, total, 3, wide)
    shown = body.add(Function16("tanh", cell.cell_bits), wide)
    hidden = Requantize("tflite", cell.hidden_zero, -128, 127, DType.I8, cell.quant)
    factor = (number(body, part) for part in cell.hidden)
    state = body.add(hidden, body.add(Mul(), output, shown), *factor)
    if cell.projection is not None:
        state = _projected(body, cell.projection, state)
    return state, body.add(Cast(DType.I16), wide)


def _projected(body: Emitter, projection: _Projection, hidden: Value) -> Value:
    """The output state; its bounds are stored numbers, whatever the zero point."""
    clip = projection.clip
    low, high = (-clip, clip) if clip > 0 else (-128, 127)
    op = Requantize("tflite", projection.zero, low, high, DType.I8)
    return _summed(body, projection.sums, hidden, op)


def _product(
    body: Emitter, sums: _Sums, x: Value, low: int = WIDE_LOW, high: int = WIDE_HIGH
) -> Value:
    """The sums of all gates, as 32-bit numbers between two bounds."""
    return _summed(body, sums, x, Requantize("tflite", 0, low, high, DType.I32))


def _summed(body: Emitter, sums: _Sums, x: Value, op: Requantize) -> Value:
    """Sums times their factors."""
    total = body.add(IntDense(), x, body.constant(sums.weights), body.constant(sums.bias))
    pairs = np.array(sums.factors, np.int32)
    return body.add(op, total, *(body.constant(pairs[:, side].copy()) for side in (0, 1)))


def _gate(body: Emitter, cell: _Cell, total: Value, gate: int, c: Value) -> Value:
    """A gate, by its number in the file, of the sums of all; through its peephole it sees c."""
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
