"""Bases (`onnx_schema_bases`) of operators with layers, graphs or sequences of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx_models import floats, node
from onnx_schema_bases import Base, ints

from ellc.ir.types import Array

HIDDEN = 4
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_A, _B = floats(3, 4, seed=1), floats(3, 4, seed=2)
_TURNED = ints(1, 2, 0)
_LISTED = tuple(floats(2, 3, seed=i) for i in range(3))


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    **constants: Array,
) -> onnx.GraphProto:
    """A graph for an attribute; its ports have no types, since exporters may omit them."""
    ports = [[onnx.ValueInfoProto(name=n) for n in names] for names in (inputs, outputs)]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    return helper.make_graph(nodes, "inside", *ports, stored)


def _layer(operator: str) -> Base:
    """A base with all operands, and with sequences that end early."""
    rows = _GATES[operator] * HIDDEN
    states = 2 if operator == "LSTM" else 1
    operands = [
        floats(5, 2, 3),
        floats(1, rows, 3, seed=1),
        floats(1, rows, HIDDEN, seed=2) / np.float32(2),
        floats(1, 2 * rows, seed=3),
        np.array([3, 5], np.int32),
        *(floats(1, 2, HIDDEN, seed=4 + i) for i in range(states)),
        *([floats(1, 3 * HIDDEN, seed=6)] if operator == "LSTM" else []),
    ]
    return Base(tuple(operands), {"hidden_size": HIDDEN}, 1 + states)


def both_ways(base: Base) -> Base:
    """The base with different weights and states for two directions."""
    x, w, r, bias, lengths, *rest = base.operands
    twice = [np.concatenate([v, v[..., ::-1]]) for v in (w, r, bias, *rest)]  # type: ignore[index]
    return replace(base, operands=(x, *twice[:3], lengths, *twice[3:]))


def batch_first(base: Base) -> Base:
    """The base with `layout` 1: the batch is the first axis of the sequence and the states."""
    x, w, r, bias, lengths, *rest = base.operands
    states = [v.swapaxes(0, 1) if np.ndim(v) == 3 else v for v in rest]  # type: ignore[union-attr]
    return replace(base, operands=(x.swapaxes(0, 1), w, r, bias, lengths, *states))  # type: ignore[union-attr]


def _branches(nodes: Sequence[onnx.NodeProto], others: Sequence[onnx.NodeProto]) -> dict[str, Any]:
    return {
        "then_branch": graph(nodes, [], ["t"], turned=_TURNED),
        "else_branch": graph(others, [], ["t"]),
    }


def _trips(*nodes: onnx.NodeProto, ends: bool = False, stacked: bool = True) -> onnx.GraphProto:
    """A body that carries v; with `ends` it stops after three trips."""
    go = node("Less", ["i", "two"], ["c_o"]) if ends else node("Identity", ["c"], ["c_o"])
    outputs = ["c_o", "v_o", *(["z"] if stacked else [])]
    return graph([*nodes, go], ["i", "c", "v"], outputs, two=np.array(2), turned=_TURNED)


_TURNING = (node("Gather", ["v", "turned"], ["v_o"], axis=0), node("Identity", ["v"], ["z"]))
_GROWING = (node("SequenceInsert", ["v", "a"], ["v_o"]),)
_SCANNED = graph(
    [node("Where", ["flag", "e", "s"], ["s_o"]), node("Gather", ["s", "turned"], ["y"], axis=0)],
    ["s", "e"],
    ["s_o", "y"],
    flag=np.array([True, False, True]),
    turned=_TURNED,
)
_MAPPED = graph(
    [node("Gather", ["x", "turned"], ["y"], axis=1), node("Identity", ["b"], ["z"])],
    ["x", "b"],
    ["y", "z"],
    turned=_TURNED,
)

BASES: dict[str, Base] = {
    **{operator: _layer(operator) for operator in _GATES},
    "If": Base(
        (np.array(True),),
        _branches([node("Gather", ["a", "turned"], ["t"])], [node("Identity", ["b"], ["t"])]),
        around={"a": _A, "b": _B},
    ),
    "Loop": Base((np.array(4), np.array(True), _A), {"body": _trips(*_TURNING)}, 2, computed=2),
    "Scan": Base(
        (floats(3), floats(4, 3, seed=1)), {"body": _SCANNED, "num_scan_inputs": 1}, 2, computed=1
    ),
    "ConcatFromSequence": Base((_LISTED,), {"axis": 1}),
    "SequenceAt": Base((_LISTED, np.array(1))),
    "SequenceConstruct": Base(_LISTED, listed=(0,)),
    "SequenceEmpty": Base((), listed=(0,)),
    "SequenceErase": Base((_LISTED, np.array(1)), listed=(0,)),
    "SequenceInsert": Base((_LISTED, floats(2, 3, seed=9), np.array(1)), listed=(0,)),
    "SequenceLength": Base((_LISTED,)),
    "SequenceMap": Base((_LISTED, floats(1, 3)), {"body": _MAPPED}, 2, listed=(0, 1)),
    "SplitToSequence": Base((floats(6, 2, 6), ints(2, 4)), listed=(0,)),
    "Optional": Base((_A,), optional_out=True),
    "OptionalGetElement": Base((_A,)),
    "OptionalHasElement": Base((_A,)),
}
OLD_BASES: dict[tuple[str, int], Base] = {
    ("Scan", 8): replace(
        BASES["Scan"], operands=(ints(4, 4), floats(2, 3), floats(2, 4, 3, seed=1)), computed=2
    )
}
"""Bases for versions whose operands differ, instead of only being fewer."""


def bases_of(listed: bool, optional: bool) -> dict[str, Base]:
    """Bases in which an operand of tensor type is a sequence (`listed`) or an optional value."""
    value = _LISTED if listed else _A
    results = (0,) if listed else ()
    growing = listed and not optional
    nodes = _GROWING if growing else (node("Identity", ["v"], ["v_o"]),)
    either = _branches(_value("a", "b", listed, optional), _value("b", "a", listed, optional))
    whole = Base((value,), {}, listed=results, optional_in=optional, optional_out=optional)
    return {
        "Identity": whole,
        "If": replace(BASES["If"], attributes=either, listed=results, optional_out=optional),
        "Loop": replace(
            whole,
            operands=(np.array(3), np.array(True), value),
            attributes={"body": _trips(*nodes, stacked=False)},
            computed=2,
            around={"a": _A} if growing else {},
        ),
        "Optional": replace(whole, optional_in=False, optional_out=True),
        "OptionalGetElement": replace(whole, optional_out=False),
        "OptionalHasElement": replace(whole, listed=(), optional_out=False),
        "SequenceMap": replace(BASES["SequenceMap"], operands=(_LISTED, _LISTED)),
    }


def _value(a: str, b: str, listed: bool, optional: bool) -> list[onnx.NodeProto]:
    """Nodes that make the value `t` from tensors."""
    made = node("SequenceConstruct", [a, b], ["l"]) if listed else node("Identity", [a], ["l"])
    return [made, node("Optional" if optional else "Identity", ["l"], ["t"])]


_LAYER: dict[str, list[Any]] = {
    "clip": [0.5], "direction": ["reverse", "bidirectional"], "layout": [1], "hidden_size": [],
    "activation_alpha": [[0.3], [0.3, 0.7]], "activation_beta": [[0.4]],
}  # fmt: skip
VALUES: dict[str, dict[str, list[Any]]] = {
    "RNN": {**_LAYER, "activations": [
        [n] for n in ("Relu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign",
                      "Softplus", "Sigmoid", "Affine", "ScaledTanh")]},
    "GRU": {**_LAYER, "activations": [["HardSigmoid", "LeakyRelu"], ["Sigmoid", "ScaledTanh"]]},
    "LSTM": {**_LAYER, "activations": [["Sigmoid", "Softsign", "Relu"],
                                       ["HardSigmoid", "Elu", "ThresholdedRelu"],
                                       ["Sigmoid", "Affine", "Tanh"]]},
    "Scan": {"directions": [[1]], "num_scan_inputs": [], "scan_input_axes": [[0], [-2]],
             "scan_input_directions": [[1]], "scan_output_axes": [[1], [-1]],
             "scan_output_directions": [[1]]},
    "ConcatFromSequence": {"axis": [0, -1]},
    "SequenceEmpty": {"dtype": [1, 7]},
    "SplitToSequence": {"axis": [-3]},
    "Optional": {"type": [helper.make_tensor_type_proto(1, [3, 4])]},
}  # fmt: skip
WITH: dict[tuple[str, str], dict[str, Any]] = {
    ("RNN", "activation_alpha"): {"activations": ["LeakyRelu"]},
    ("RNN", "activation_beta"): {"activations": ["HardSigmoid"]},
    ("GRU", "activation_alpha"): {"activations": ["HardSigmoid", "Elu"]},
    ("GRU", "activation_beta"): {"activations": ["HardSigmoid", "LeakyRelu"]},
    ("LSTM", "activation_alpha"): {"activations": ["HardSigmoid", "LeakyRelu", "Tanh"]},
    ("LSTM", "activation_beta"): {"activations": ["Sigmoid", "HardSigmoid", "Tanh"]},
}
"""Attributes that another attribute needs."""
WITHOUT: dict[tuple[str, str], dict[str, Any]] = {
    ("Loop", "M"): {"body": _trips(*_TURNING, ends=True)},
    ("Optional", "input"): {"type": helper.make_tensor_type_proto(1, [3, 4])},
}
