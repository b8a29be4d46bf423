"""Recurrent layers with every attribute, against the formulas of ONNX's specification in numpy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import floats, model, node, read

from ellc.driver import CompileOptions, compile_model
from ir.interp import evaluate
from ir.types import Array

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x: np.where(x < 0, 0.3 * x, x),
    "HardSigmoid": lambda x: np.clip(0.25 * x + 0.4, 0, 1),
}
# The layers here name HardSigmoid, if they do, before LeakyRelu: parameters are taken in order.
PARAMETERS = (("activation_alpha", [0.25, 0.3]), ("activation_beta", [0.4]))


@dataclass(frozen=True)
class Layer:
    """A layer, its attributes, and whether it has peepholes and lengths."""

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

    def step(self, part: dict[str, Array], number: int, x: Array, *state: Array) -> list[Array]:
        """One step of one direction in float64."""
        usual = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
        names = self.said.get("activations", usual[self.operator] * len(self.ways))
        count = len(usual[self.operator])
        used = [ACTIVATIONS[n] for n in names[number * count : (number + 1) * count]]
        limit = self.said.get("clip", math.inf)

        def act(index: int, total: Array) -> Array:
            return used[index](np.clip(total, -limit, limit))

        w, r = part["W"], part["R"]
        wb, rb = np.split(part["B"], 2)
        xs = np.split(x @ w.T + wb, GATES[self.operator], -1)
        h = state[0]
        hs = np.split(h @ r.T + rb, GATES[self.operator], -1)
        match self.operator:
            case "RNN":
                return [act(0, xs[0] + hs[0])]
            case "GRU":
                z, reset = act(0, xs[0] + hs[0]), act(0, xs[1] + hs[1])
                inner = reset * hs[2]
                if not self.said.get("linear_before_reset"):
                    inner = (reset * h) @ np.split(r, 3)[2].T + np.split(rb, 3)[2]
                return [(1 - z) * act(1, xs[2] + inner) + z * h]
        c = state[1]
        pi, po, pf = np.split(part.get("P", np.zeros(3)), 3)
        i, o, f, g = (a + b for a, b in zip(xs, hs, strict=True))
        i = act(0, i + pi * c)
        f = 1 - i if self.said.get("input_forget") else act(0, f + pf * c)
        c = f * c + i * act(1, g)
        return [act(0, o + po * c) * used[2](c), c]

    def expected(self, x: Array) -> list[Array]:
        """(Y, Y_h and for an LSTM Y_c)."""
        every = np.zeros((STEPS, len(self.ways), BATCH, HIDDEN))
        states = 2 if self.operator == "LSTM" else 1
        last = np.zeros((states, len(self.ways), BATCH, HIDDEN))
        lengths = self.lengths or (STEPS,) * BATCH
        for number, way in enumerate(self.ways):
            part = {k: v[number] for k, v in self.operands().items() if k != "lengths"}
            for row, length in enumerate(lengths):
                state = [np.zeros(HIDDEN) for _ in range(states)]
                for t in range(length)[::way]:
                    state = self.step(part, number, x[t, row], *state)
                    every[t, number, row] = state[0]
                last[:, number, row] = state
        return [every, *last]


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
    constants = layer.operands()
    order = ["W", "R", "B", "lengths", "", "", "P"]
    names = [n if n in constants else "" for n in order]
    names = ["x", *names][: 8 if layer.operator == "LSTM" else 5]
    results = ["y", "yh", "yc"][: 3 if layer.operator == "LSTM" else 2]
    made = node(layer.operator, names, results, hidden_size=HIDDEN, direction=layer.direction,
                **layer.said)  # fmt: skip
    graph = read(model([made], {"x": x}, results, constants))
    for found, wanted in zip(evaluate(graph, (x,)).outputs, layer.expected(x), strict=True):
        assert np.abs(found - wanted).max() < 2e-6


def test_a_wrong_formula_is_seen() -> None:
    x = floats(STEPS, BATCH, INPUTS)
    clipped = Layer("LSTM", attributes=(("clip", 0.6),))
    for other in (dataclasses.replace(clipped, attributes=()), Layer("LSTM", peepholes=True)):
        assert np.abs(clipped.expected(x)[0] - other.expected(x)[0]).max() > 1e-3


@pytest.mark.parametrize("operator", ["GRU", "LSTM"])
def test_flash_does_not_grow_with_the_steps(operator: str, tmp_path: Path) -> None:
    """Sixteen times the steps change how numbers are encoded, and nothing else."""
    rows = GATES[operator] * HIDDEN
    fixed = {"w": floats(1, rows, INPUTS, seed=1), "r": floats(1, rows, HIDDEN, seed=2)}
    layer = node(operator, ["x", "w", "r"], ["y"], hidden_size=HIDDEN)
    sizes = []
    for steps in (100, 1600):
        graph = read(model([layer], {"x": floats(steps, 1, INPUTS)}, ["y"], fixed))
        made = compile_model(graph, "imxrt1050", CompileOptions(emit=("obj",)), tmp_path / "made")
        sizes.append(made.costs.flash_bytes or 0)
    assert 0 < sizes[1] < 1.05 * sizes[0]
