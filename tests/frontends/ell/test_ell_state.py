"""Nodes with states: buffers, averages, recurrent cells."""

from __future__ import annotations

import numpy as np
import pytest
from ell_nodes import constant, link, node, numbers, read, source, steps

from ellc.frontends.ell.values import ArchiveObject, ArchiveValue
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph


def stateful(kind: str, size: int, *fields: tuple[str, ArchiveValue]) -> Graph:
    return read(
        [source("1", size), node(kind, "2", link("input", "1.output", "2"), *fields)], ["2.output"]
    )


def test_nodes_with_memory() -> None:
    calls = [numbers(2, seed=s) for s in range(6)]

    def history(kind: str, *fields: tuple[str, ArchiveValue]) -> list[np.ndarray]:
        return [r[0] for r in steps(stateful(kind, 2, *fields), [(x,) for x in calls])]

    past = [np.zeros((3, 2), np.float32)]
    for x in calls:
        past.append(np.concatenate([past[-1][1:], x[None]]))
    total = np.cumsum(calls, 0)
    for at, got in enumerate(history("AccumulatorNode<float>")):
        np.testing.assert_allclose(got, total[at], rtol=1e-5)
    for at, got in enumerate(history("DelayNode<float>", ("windowSize", 3))):
        np.testing.assert_array_equal(got, past[at][0])
    for at, got in enumerate(history("MovingAverageNode<float>", ("windowSize", 3))):
        np.testing.assert_allclose(got, past[at + 1].mean(0), rtol=1e-5, atol=1e-6)
    for at, got in enumerate(history("MovingVarianceNode<float>", ("windowSize", 3))):
        np.testing.assert_allclose(got, past[at + 1].var(0), rtol=1e-4, atol=1e-5)
    stream = np.concatenate([np.zeros(5, np.float32), *calls])
    for at, got in enumerate(history("BufferNode<float>", ("windowSize", 5))):
        np.testing.assert_array_equal(got, stream[2 * at + 2 :][:5])
    for at, got in enumerate(history("BufferNode<float>", ("windowSize", 1))):
        np.testing.assert_array_equal(got, calls[at][:1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def activation(name: str) -> tuple[str, ArchiveValue]:
    return "activation", ArchiveObject(f"{name}Activation<float>", "0", ())


def recurrent(
    kind: str, gates: int, names: list[str], extra_outputs: tuple[str, ...] = ()
) -> tuple[Graph, list[np.ndarray]]:
    """A cell of 3 inputs and 2 units; its second input is the reset trigger."""
    shapes = [(gates * 2, 3), (gates * 2, 2), (gates * 2,), (gates * 2,)]
    parts = [numbers(*shape, seed=10 + at) for at, shape in enumerate(shapes)]
    keys = ("inputWeights", "hiddenWeights", "inputBias", "hiddenBias")
    nodes = [source("1", 3), source("2", 1, kind="int")]
    nodes += [constant(f"c{at}", part) for at, part in enumerate(parts)]
    ports = [link(key, f"c{at}.output", "9") for at, key in enumerate(keys)]
    nodes.append(
        node(
            kind,
            "9",
            link("input", "1.output", "9"),
            link("resetTrigger", "2.output", "9", "int"),
            ("hiddenUnits", 2),
            *ports,
            *map(activation, names),
        )
    )
    return read(nodes, ["9.output", *extra_outputs]), parts


TRIGGERS = [0, 1, 1, 0, 0, 1, 0]


def sequence() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(numbers(3, seed=40 + at), np.array([t], np.int32)) for at, t in enumerate(TRIGGERS)]


def falls(at: int) -> bool:
    """Whether the trigger falls in this step, in which case the output is cleared."""
    return at > 0 and TRIGGERS[at - 1] != 0 and TRIGGERS[at] == 0


def test_rnn() -> None:
    graph, (wx, wh, bx, bh) = recurrent("RNNNode<float>", 1, ["Tanh"])
    h = np.zeros(2)
    for at, ((x, _), (got,)) in enumerate(zip(sequence(), steps(graph, sequence()), strict=True)):
        h = np.tanh(wx @ x + bx + wh @ h + bh) * (not falls(at))
        np.testing.assert_allclose(got, h, rtol=1e-4, atol=1e-6)


def test_gru_takes_the_second_activation_for_its_gates() -> None:
    graph, (wx, wh, bx, bh) = recurrent("GRUNode<float>", 3, ["Tanh", "HardSigmoid"])
    h = np.zeros(2)
    for at, ((x, _), (got,)) in enumerate(zip(sequence(), steps(graph, sequence()), strict=True)):
        a, b = np.split(wx @ x + bx, 3), np.split(wh @ h + bh, 3)
        z, r = (np.clip(0.2 * (a[i] + b[i]) + 0.5, 0, 1) for i in (0, 1))
        n = np.tanh(a[2] + r * b[2])
        h = ((1 - z) * n + z * h) * (not falls(at))
        np.testing.assert_allclose(got, h, rtol=1e-4, atol=1e-6)


def test_lstm_has_a_second_port() -> None:
    graph, (wx, wh, bx, bh) = recurrent(
        "LSTMNode<float>", 4, ["Tanh", "Sigmoid"], ("9.outputCellState",)
    )
    h, c = np.zeros(2), np.zeros(2)
    for at, ((x, _), got) in enumerate(zip(sequence(), steps(graph, sequence()), strict=True)):
        i, f, g, o = np.split(wx @ x + bx + wh @ h + bh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        h, c = h * (not falls(at)), c * (not falls(at))
        np.testing.assert_allclose(got[0], h, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(got[1], c, rtol=1e-4, atol=1e-6)


def test_one_activation_too_few() -> None:
    with pytest.raises(EllcError, match="the number of activations is 1, not 2"):
        recurrent("LSTMNode<float>", 4, ["Tanh"])


@pytest.mark.parametrize(("w_rank", "u_rank"), [(0, 0), (2, 0), (0, 1), (2, 1)])
def test_fast_grnn(w_rank: int, u_rank: int) -> None:
    w = [numbers(w_rank, 3), numbers(2, w_rank, seed=2)] if w_rank else [numbers(2, 3)]
    u = (
        [numbers(u_rank, 2, seed=3), numbers(2, u_rank, seed=4)]
        if u_rank
        else [numbers(2, 2, seed=3)]
    )
    rest = {
        "biasGate": numbers(2, seed=5),
        "biasUpdate": numbers(2, seed=6),
        "zeta": np.array([0.7], np.float32),
        "nu": np.array([0.2], np.float32),
    }
    keys = {f"inputWeights{i + 1}": m for i, m in enumerate(w)}
    keys |= {f"updateWeights{i + 1}": m for i, m in enumerate(u)} | rest
    nodes = [source("1", 3)] + [constant(key, value) for key, value in keys.items()]
    empty = [
        link(k, "{}", "9")
        for k in ("inputWeights2", "updateWeights2", "resetTrigger")
        if k not in keys
    ]
    ports = [link(key, f"{key}.output", "9") for key in keys]
    nodes.append(
        node(
            "FastGRNNNode<float>",
            "9",
            link("input", "1.output", "9"),
            ("hiddenUnits", 2),
            ("wRank", w_rank),
            ("uRank", u_rank),
            *ports,
            *empty,
            activation("Sigmoid"),
            activation("Tanh"),
        )
    )
    graph = read(nodes, ["9.output"])
    big_w = w[1] @ w[0] if w_rank else w[0]
    big_u = u[1] @ u[0] if u_rank else u[0]
    h = np.zeros(2)
    calls = [(x,) for x, _ in sequence()]
    for (x,), (got,) in zip(calls, steps(graph, calls), strict=True):
        p = big_w @ x + big_u @ h
        z, c = sigmoid(p + rest["biasGate"]), np.tanh(p + rest["biasUpdate"])
        h = (0.7 * (1 - z) + 0.2) * c + z * h
        np.testing.assert_allclose(got, h, rtol=1e-4, atol=1e-6)
