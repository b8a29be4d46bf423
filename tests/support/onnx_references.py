"""Reference implementations of ONNX operators that ONNX's evaluator does not fully implement.

ONNX's evaluator does not support directions, lengths, activations and clip of recurrent layers, nor
axes, directions and version 8 of Scan. It concatenates results of Loop instead of stacking them,
and represents optional values as lists. In this file, a value is an array, a list of values, or
None for a missing value. Recurrent layers are computed with the formulas of the specification in
float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ellc.ir.types import Array

Known = Mapping[str, Any]


def run(graph: onnx.GraphProto, given: Known) -> list[Any]:
    """The outputs of a graph; `given` holds its inputs and the values of outer graphs."""
    known = {**given, **{t.name: numpy_helper.to_array(t) for t in graph.initializer}, "": None}
    for node in graph.node:
        known.update(zip(node.output, _computed(node, known), strict=False))
    return [known[o.name] for o in graph.output]


def _computed(node: onnx.NodeProto, known: Known) -> Sequence[Any]:
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    operands = [known[n] for n in node.input]
    match node.op_type:
        case "RNN" | "GRU" | "LSTM":
            results = _layer(node.op_type, said, operands)
            return [y.astype(operands[0].dtype) for y in results]
        case "If":
            return run(said["then_branch" if operands[0].all() else "else_branch"], known)
        case "Loop":
            return _looped(said["body"], operands, known)
        case "Scan" if "directions" in said or len(operands) > len(said["body"].input):
            return _scanned_batch(said, operands, known)
        case "Scan":
            return _scanned(said, operands, known)
        case "SequenceMap":
            return _mapped(said["body"], operands, known)
        case "Optional":
            return [operands[0] if operands else None]
        case "OptionalGetElement":
            return operands
        case "OptionalHasElement":
            return [np.array(bool(operands) and operands[0] is not None)]
    read = {n: known[n] for n in node.input if n}
    return ReferenceEvaluator(node).run(None, read)  # type: ignore[no-any-return]


def _looped(body: onnx.GraphProto, operands: Sequence[Any], known: Known) -> list[Any]:
    limit, go, *carried = operands
    names = [i.name for i in body.input]
    trip, going, rows = 0, go is None or go.all(), list[list[Any]]()
    while going and (limit is None or trip < limit):
        given = dict(zip(names, [np.array(trip), np.array(going), *carried], strict=True))
        going, *results = run(body, {**known, **given})
        carried, trip = results[: len(carried)], trip + 1
        rows.append(results[len(carried) :])
    return [*carried, *(np.stack(values) for values in zip(*rows, strict=True))]


def _scanned(said: Known, operands: Sequence[Any], known: Known) -> list[Any]:
    body, count = said["body"], said["num_scan_inputs"]
    states, sequences = list(operands[:-count]), operands[-count:]
    results = len(body.output) - len(states)
    inward = list(zip(*(_each(said, f"scan_input_{k}", count) for k in _TURNS), strict=True))
    outward = list(zip(*(_each(said, f"scan_output_{k}", results) for k in _TURNS), strict=True))
    walked = [np.moveaxis(v, axis, 0) for v, (axis, _) in zip(sequences, inward, strict=True)]
    walked = [v[::-1] if back else v for v, (_, back) in zip(walked, inward, strict=True)]
    rows = []
    for elements in zip(*walked, strict=True):
        given = zip([i.name for i in body.input], [*states, *elements], strict=True)
        outputs = run(body, {**known, **dict(given)})
        states = outputs[: len(states)]
        rows.append(outputs[len(states) :])
    stacked = []
    for values, (axis, back) in zip(zip(*rows, strict=True), outward, strict=True):
        stacked.append(np.moveaxis(np.stack(values[::-1] if back else values), 0, axis))
    return [*states, *stacked]


_TURNS = ("axes", "directions")


def _each(said: Known, name: str, count: int) -> Sequence[int]:
    numbers: Sequence[int] = said.get(name, [0] * count)
    return numbers


def _scanned_batch(said: Known, operands: Sequence[Any], known: Known) -> list[Any]:
    """Scan of version 8: lengths are the first operand, and axis 0 of the others is the batch."""
    turned = {**said, "scan_input_directions": _each(said, "directions", said["num_scan_inputs"])}
    items = [_scanned(turned, item, known) for item in zip(*operands[1:], strict=True)]
    return [np.stack(values) for values in zip(*items, strict=True)]


def _mapped(body: onnx.GraphProto, operands: Sequence[Any], known: Known) -> list[Any]:
    names = [i.name for i in body.input]
    rows = []
    for index in range(len(operands[0])):
        own = [v[index] if isinstance(v, list) else v for v in operands]
        rows.append(run(body, {**known, **dict(zip(names, own, strict=True))}))
    return [list(values) for values in zip(*rows, strict=True)]


Activation = Callable[[Array], Array]
_USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_ALPHAS = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0, "HardSigmoid": 0.2}
_BETAS = {"HardSigmoid": 0.5}


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    """The activation of this name, whose parameters are the next ones in `alphas` and `betas`."""
    a = next(alphas, _ALPHAS[name]) if name in _ALPHAS else 0.0
    b = next(betas, _BETAS[name]) if name in _BETAS else 0.0
    known: dict[str, Activation] = {
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "Tanh": np.tanh,
        "Relu": lambda x: np.maximum(x, 0),
        "Softplus": lambda x: np.log1p(np.exp(x)),
        "Softsign": lambda x: x / (1 + np.abs(x)),
        "LeakyRelu": lambda x: np.where(x < 0, a * x, x),
        "ThresholdedRelu": lambda x: np.where(x > a, x, 0),
        "Elu": lambda x: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
        "HardSigmoid": lambda x: np.clip(a * x + b, 0, 1),
    }
    return known[name]


def _layer(kind: str, said: Known, operands: Sequence[Any]) -> list[Array]:
    """[Y, Y_h], and Y_c of an LSTM, for operands X, W, R, B, lengths, states, P."""
    wide = [v if v is None or v.dtype.kind == "i" else v.astype(np.float64) for v in operands]
    x, w, r, bias, lengths, *rest = [*wide, *(None,) * (8 - len(wide))]
    first = (lambda v: np.swapaxes(v, 0, 1)) if said.get("layout") else (lambda v: v)
    x = first(x)
    (steps, batch, _), (ways, _, hidden) = x.shape, r.shape
    count = 2 if kind == "LSTM" else 1
    last = np.zeros((count, ways, batch, hidden))
    every = np.zeros((steps, ways, batch, hidden))
    for index in range(count):
        last[index] = 0 if rest[index] is None else first(rest[index])
    names = [n.decode() for n in said.get("activations", [])] or _USUAL[kind] * ways
    parameters = iter(said.get("activation_alpha", ())), iter(said.get("activation_beta", ()))
    used = [_activation(n, *parameters) for n in names]
    backward = {b"forward": [1], b"reverse": [-1], b"bidirectional": [1, -1]}
    for number, way in enumerate(backward[said.get("direction", b"forward")]):
        part = [v if v is None else v[number] for v in (w, r, bias, rest[2])]
        own = used[number * len(_USUAL[kind]) :]
        for row, length in enumerate([steps] * batch if lengths is None else lengths):
            for t in range(length)[::way]:
                last[:, number, row] = _step(kind, said, own, part, x[t, row], last[:, number, row])
                every[t, number, row] = last[0, number, row]
    results = [every, *last]
    if said.get("layout"):
        return [every.transpose(2, 0, 1, 3), *(first(v) for v in last)]
    return results


def _step(
    kind: str,
    said: Known,
    used: Sequence[Activation],
    part: Sequence[Any],
    x: Array,
    states: Array,
) -> list[Array]:
    """The new states of an item of the batch after a step in one direction."""
    w, r, bias, peepholes = part
    limit = said.get("clip", math.inf)

    def act(index: int, total: Array) -> Array:
        return used[index](np.clip(total, -limit, limit))

    gates, h = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind], states[0]
    wb, rb = np.split(np.zeros(2 * len(w)) if bias is None else bias, 2)
    xs, hs = np.split(x @ w.T + wb, gates), np.split(h @ r.T + rb, gates)
    if kind == "RNN":
        return [act(0, xs[0] + hs[0])]
    if kind == "GRU":
        z, reset = act(0, xs[0] + hs[0]), act(0, xs[1] + hs[1])
        inner = reset * hs[2]
        if not said.get("linear_before_reset"):
            inner = (reset * h) @ np.split(r, 3)[2].T + np.split(rb, 3)[2]
        return [(1 - z) * act(1, xs[2] + inner) + z * h]
    c = states[1]
    pi, po, pf = np.split(np.zeros(3 * len(h)) if peepholes is None else peepholes, 3)
    i, o, f, g = (a + b for a, b in zip(xs, hs, strict=True))
    i = act(0, i + pi * c)
    f = 1 - i if said.get("input_forget") else act(0, f + pf * c)
    c = f * c + i * act(1, g)
    return [act(0, o + po * c) * used[2](c), c]
