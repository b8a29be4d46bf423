"""Recurrent layers with every attribute, compared with the specification's formulas in numpy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import floats, model, node, of_array, read
from onnx_references import run

from ellc.driver import CompileOptions, compile_model
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Activations take parameters in order; here HardSigmoid always comes before LeakyRelu.
PARAMETERS = (("activation_alpha", [0.25, 0.3]), ("activation_beta", [0.4]))


@dataclass(frozen=True)
class Layer:
    """A layer with its attributes, and whether it has peepholes and lengths."""

    operator: str
    direction: str = "forward"
    attributes: tuple[tuple[str, Any], ...] = ()
    peepholes: bool = False
    lengths: tuple[int, ...] = ()

    @property
    def said(self) -> dict[str, Any]:
        return dict(self.attributes)

    @property
    def ways(self) -> tuple[int, ...]:
        return {"forward": (1,), "reverse": (-1,), "bidirectional": (1, -1)}[self.direction]

    def operands(self) -> dict[str, Array]:
        """W, R, B and P by name."""
        gates, ways = GATES[self.operator], len(self.ways)
        found = {
            "W": floats(ways, gates * HIDDEN, INPUTS, seed=1),
            "R": floats(ways, gates * HIDDEN, HIDDEN, seed=2) / 2,
            "B": floats(ways, 2 * gates * HIDDEN, seed=3),
        }
        if self.lengths:
            found["lengths"] = np.array(self.lengths, np.int32)
        if self.peepholes:
            found["P"] = floats(ways, 3 * HIDDEN, seed=4)
        return found

    def model(self, x: Array) -> onnx.ModelProto:
        """A model of only this layer."""
        constants = self.operands()
        order = ["W", "R", "B", "lengths", "", "", "P"]
        names = ["x", *(n if n in constants else "" for n in order)]
        names = names[: 8 if self.operator == "LSTM" else 5]
        results = ["y", "yh", "yc"][: 3 if self.operator == "LSTM" else 2]
        made = node(self.operator, names, results, hidden_size=HIDDEN, direction=self.direction,
                    **self.said)  # fmt: skip
        return model([made], {"x": x}, results, constants)

    def expected(self, x: Array) -> list[Array]:
        """[Y, Y_h], and Y_c for an LSTM."""
        return run(self.model(x).graph, {"x": x})


def _layers() -> list[Layer]:
    found = []
    for kind in GATES:
        names, parameters = {
            "RNN": (["LeakyRelu"], (("activation_alpha", [0.3]),)),
            "GRU": (["HardSigmoid", "LeakyRelu"], PARAMETERS),
            "LSTM": (["HardSigmoid", "LeakyRelu", "Relu"], PARAMETERS),
        }[kind]
        found += [
            Layer(kind),
            Layer(kind, attributes=(("clip", 0.6),)),
            Layer(kind, attributes=(("activations", names), *parameters)),
            Layer(kind, "reverse", lengths=(2, 5, 3)),
            Layer(kind, "bidirectional", (("clip", 0.6),), lengths=(5, 1, 4)),
        ]
    found += [
        Layer("GRU", attributes=(("linear_before_reset", 1), ("clip", 0.5))),
        Layer("LSTM", peepholes=True),
        Layer("LSTM", attributes=(("input_forget", 1),)),
        Layer("LSTM", "bidirectional", (("clip", 0.5), ("input_forget", 1)), True, (2, 5, 3)),
        Layer("LSTM", attributes=(("activations", ["Sigmoid", "Tanh", "Relu"]),)),
    ]
    return found


@pytest.mark.parametrize("layer", _layers(), ids=str)
def test_every_attribute_means_what_the_specification_says(layer: Layer) -> None:
    x = floats(STEPS, BATCH, INPUTS)
    graph = read(layer.model(x))
    for found, wanted in zip(evaluate(graph, (x,)).outputs, layer.expected(x), strict=True):
        assert np.abs(found - wanted).max() < 2e-6


@pytest.mark.parametrize("layer", [x for x in _layers() if x.lengths], ids=str)
def test_lengths_may_change_from_call_to_call(layer: Layer) -> None:
    """The model is one that PyTorch's exporter writes for packed sequences."""
    x = floats(STEPS, BATCH, INPUTS)
    proto = layer.model(x)
    stored = next(t for t in proto.graph.initializer if t.name == "lengths")
    proto.graph.initializer.remove(stored)
    proto.graph.input.append(of_array("lengths", np.array(layer.lengths, np.int32)))
    graph = read(proto)
    for lengths in (layer.lengths, (1, 4, 3), (STEPS,) * BATCH):
        given = np.array(lengths, np.int32)
        wanted = run(proto.graph, {"x": x, "lengths": given})
        for found, right in zip(evaluate(graph, (x, given)).outputs, wanted, strict=True):
            assert np.abs(found - right).max() < 2e-6


def test_a_wrong_formula_is_seen() -> None:
    x = floats(STEPS, BATCH, INPUTS)
    clipped = Layer("LSTM", attributes=(("clip", 0.6),))
    for other in (dataclasses.replace(clipped, attributes=()), Layer("LSTM", peepholes=True)):
        assert np.abs(clipped.expected(x)[0] - other.expected(x)[0]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["GRU", "LSTM"])
def test_flash_does_not_grow_with_the_steps(operator: str, tmp_path: Path) -> None:
    """Sixteen times as many steps only change the encoding of some numbers in the code."""
    rows = GATES[operator] * HIDDEN
    fixed = {"w": floats(1, rows, INPUTS, seed=1), "r": floats(1, rows, HIDDEN, seed=2)}
    layer = node(operator, ["x", "w", "r"], ["y"], hidden_size=HIDDEN)
    sizes = []
    for steps in (100, 1600):
        graph = read(model([layer], {"x": floats(steps, 1, INPUTS)}, ["y"], fixed))
        made = compile_model(graph, "imxrt1050", CompileOptions(emit=("obj",)), tmp_path / "made")
        sizes.append(made.costs.flash_bytes or 0)
    assert 0 < sizes[1] < 1.05 * sizes[0]
