"""Stepwise networks: their calls give the same bits as the whole sequence, in all kinds of code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import floats, model, node, read
from parts import quick_part
from tflite_files import saved
from tflite_layer_cases import layer_cases

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Outputs, Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.pipeline import run_pipeline
from ellc.ir.stepwise import STEPS_KEY, stepwise
from ellc.ir.types import Array, DType
from ellc.ir.verify import verify

STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 9, 21
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
SQUEEZED = node("Squeeze", ["y", "directions"], ["s"])


@dataclass(frozen=True)
class Network:
    """A network for a whole sequence, and the number of sequences that a test computes with it."""

    name: str
    whole: Graph
    calls: int = 1


def layer(kind: str, x: str = "x", **said: object) -> tuple[onnx.NodeProto, dict[str, Array]]:
    """An ONNX node of a recurrent layer that reads x and computes y and the last state h."""
    gates, ways = GATES[kind], 2 if said.get("direction") == "bidirectional" else 1
    arrays = {
        "w": floats(ways, gates * HIDDEN, INPUTS, seed=1) / 4,
        "r": floats(ways, gates * HIDDEN, HIDDEN, seed=2) / 4,
        "b": floats(ways, 2 * gates * HIDDEN, seed=3),
        "directions": np.array([1 if not said.get("layout") else 2]),
    }
    made = node(kind, [x, "w", "r", "b"], ["y", "h"], hidden_size=HIDDEN, **said)
    return made, arrays


def onnx_network(
    kind: str, nodes: list[onnx.NodeProto], outputs: list[str], **said: object
) -> Graph:
    """A layer on a scaled sequence. `nodes` read s, the layer's results for all steps."""
    made, arrays = layer(kind, "scaled", **said)
    shape = (BATCH, STEPS, INPUTS) if said.get("layout") else (STEPS, BATCH, INPUTS)
    arrays |= {
        "scale": floats(INPUTS, seed=4), "m": floats(HIDDEN, 7, seed=5), "one": np.float32(1),
        "last": np.array(STEPS - 1), "chosen": np.arange(STEPS) == STEPS - 1,
        "from": np.array([-1]), "to": np.array([STEPS]), "base": np.abs(floats(HIDDEN, seed=7)) + 1,
        "first": np.array([0]), "sum": np.array([0]),
    }  # fmt: skip
    scaled = node("Mul", ["scale", "x"], ["scaled"])
    return read(model([scaled, made, SQUEEZED, *nodes], {"x": floats(*shape)}, outputs, arrays))


def scan() -> Graph:
    """A Scan over two sequences: running sums of products, and their tangents."""
    ports = [[onnx.ValueInfoProto(name=n) for n in names] for names in ("sab", "tz")]
    nodes = [
        node("Mul", ["a", "b"], ["p"]),
        node("Add", ["p", "s"], ["t"]),
        node("Tanh", ["t"], ["z"]),
    ]
    body = helper.make_graph(nodes, "body", *ports)
    made = node("Scan", ["zero", "x", "u"], ["end", "every"], body=body, num_scan_inputs=2)
    inputs = {"x": floats(STEPS, 3), "u": floats(STEPS, 3)}
    return read(model([made], inputs, ["every", "end"], {"zero": floats(3, seed=6)}))


def linear_attention() -> Graph:
    """LinearAttention, which the specification defines as a Scan."""
    said = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear"}
    made = node("LinearAttention", ["x", "k", "v"], ["y", "state"], **said)
    inputs = {n: floats(1, STEPS, 8) for n in ("x", "k", "v")}
    return read(model([made], inputs, ["y", "state"], opset=27))


def networks(folder: Path) -> Iterator[Network]:
    """Networks of every kind of file and loop."""
    after = [
        node("MatMul", ["s", "m"], ["z"]),
        node("Sub", ["one", "z"], ["d"]),
        node("Softmax", ["d"], ["o"], axis=-1),
    ]
    for kind in GATES:
        yield Network(kind, onnx_network(kind, after, ["o", "h"]))
    yield Network("batch first", onnx_network("LSTM", after, ["o", "h"], layout=1))
    gathered = [node("Gather", ["s", "last"], ["g"], axis=0), node("MatMul", ["g", "m"], ["o"])]
    yield Network("last by index", onnx_network("GRU", gathered, ["o"]))
    chosen = [node("Compress", ["s", "chosen"], ["o"], axis=0)]
    yield Network("last by condition", onnx_network("GRU", chosen, ["o"]))
    cut = [node("Slice", ["s", "from", "to", "first"], ["o"])]
    yield Network("last by slice", onnx_network("GRU", cut, ["o"]))
    repeated = [node("Pow", ["base", "s"], ["o"])]
    yield Network("repeated constant", onnx_network("GRU", repeated, ["o"]))
    yield Network("scan", scan())
    yield Network("linear attention", linear_attention())
    lstms = [c for c in layer_cases() if c.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    for number in (0, len(lstms) // 2, -1):
        case = lstms[number]
        yield Network(str(case), read_tflite(saved(case.data(), folder)), 2)


def drawn(graph: Graph, calls: int) -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(3)

    def one(dtype: DType, shape: tuple[int, ...]) -> Array:
        if dtype is DType.I8:
            return rng.integers(-128, 128, shape, np.int8)
        return rng.normal(size=shape).astype(dtype.numpy)

    types = graph.input_types()
    return [tuple(one(t.dtype, t.shape) for t in types) for _ in range(calls)]


def step_of(x: Array, shape: tuple[int, ...], step: int) -> Array:
    """The part of `x` for one step; `shape` is the shape of a part. All of `x` if it has it."""
    axes = [a for a, (n, one) in enumerate(zip(x.shape, shape, strict=True)) if n != one]
    return np.take(x, [step], axes[0]) if axes else x


def differing(network: Network, small: Graph, wholes: list[Outputs], steps: list[Outputs]) -> str:
    """A description of the first output and step that differ; empty if there is none."""
    count = len(steps) // len(wholes)
    for index, got in enumerate(steps):
        whole, step = wholes[index // count], index % count
        for port, type_, g, w in zip(small.outputs, small.output_types(), got, whole, strict=True):
            is_last = w.shape == type_.shape
            wanted = w if is_last else step_of(w, type_.shape, step)
            if (not is_last or step == count - 1) and g.tobytes() != wanted.tobytes():
                return f"{network.name}: {port.name} at step {step}"
    return ""


WAYS = (("host", "llvm"), ("host", "c"), ("pi3", "llvm"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "emitter"),
    [
        ("host", "llvm"),
        ("host", "c"),
        pytest.param("pi3", "llvm", marks=(pytest.mark.slow, pytest.mark.emulated)),
    ],
)
def test_a_call_gives_the_bits_of_its_step(target: str, emitter: str, tmp_path: Path) -> None:
    every = quick_part(list(networks(tmp_path)), WAYS.index((target, emitter)), 3)
    small, trials = [stepwise(n.whole) for n in every], []
    for network, graph in zip(every, small, strict=True):
        verify(graph)
        inputs = drawn(network.whole, network.calls)
        trials.append(Trial(run_pipeline(network.whole)[0], tuple(inputs)))
        shapes = [t.shape for t in graph.input_types()]
        count = max(w // s for x, shape in zip(inputs[0], shapes, strict=True)
                    for w, s in zip(x.shape, shape, strict=True))  # fmt: skip
        calls = (
            tuple(step_of(x, s, step) for x, s in zip(call, shapes, strict=True))
            for call in inputs
            for step in range(count)
        )
        trials.append(Trial(run_pipeline(graph)[0], tuple(calls)))
    found = run_trials(trials, resolve(target), "c" if emitter == "c" else "llvm")
    errors = [f for f in found if isinstance(f, Exception)]
    assert not errors, errors
    results = [f for f in found if not isinstance(f, Exception)]
    pairs = zip(every, small, results[::2], results[1::2], strict=True)
    problems = [problem for pair in pairs if (problem := differing(*pair))]
    assert not problems, "\n".join(problems)


MEAN = node("ReduceMean", ["s", "sum"], ["o"], keepdims=0)
REFUSED = [
    ("GRU", [MEAN], ["o"], {}, "o: needs other steps, too"),
    ("GRU", [], ["s"], {"direction": "reverse"}, "y: goes through the sequence backwards"),
    ("LSTM", [], ["y"], {"direction": "bidirectional"}, "y: goes through the sequence backwards"),
    ("RNN", [node("Add", ["s", "h"], ["o"])], ["o"], {}, "o: combines every step"),
    ("RNN", [node("CumSum", ["s", "sum"], ["o"])], ["o"], {}, "o: needs other steps, too"),
]


@pytest.mark.parametrize(("kind", "nodes", "outputs", "said", "reason"), REFUSED)
def test_what_needs_other_steps_is_refused_by_name(
    kind: str, nodes: list[onnx.NodeProto], outputs: list[str], said: dict[str, str], reason: str
) -> None:
    with pytest.raises(EllcError, match="E160") as caught:
        stepwise(onnx_network(kind, nodes, outputs, **said), "rnn.onnx")
    assert any(problem.startswith(reason) for problem in caught.value.problems)
    assert caught.value.where == "rnn.onnx"


def test_every_operator_in_the_way_is_reported() -> None:
    both = [MEAN, node("CumSum", ["s", "sum"], ["c"])]
    with pytest.raises(EllcError) as caught:
        stepwise(onnx_network("GRU", both, ["o", "c"]))
    assert [p.split(":")[0] for p in caught.value.problems] == ["o", "c"]


def test_a_computed_beginning_is_refused() -> None:
    made, arrays = layer("GRU")
    made.input.extend(["", "begin"])
    inputs = {"x": floats(STEPS, BATCH, INPUTS), "begin": floats(1, BATCH, HIDDEN)}
    with pytest.raises(EllcError, match=r"its initial state is computed.*--set"):
        stepwise(read(model([made], inputs, ["y"], arrays)))


def test_constants_that_differ_between_steps_are_refused() -> None:
    made, arrays = layer("GRU", "placed")
    arrays |= {"places": floats(STEPS, 1, INPUTS, seed=8)}
    placed = node("Add", ["x", "places"], ["placed"])
    inputs = {"x": floats(STEPS, BATCH, INPUTS)}
    with pytest.raises(EllcError, match="placed: has other constants for every step"):
        stepwise(read(model([placed, made], inputs, ["y"], arrays)))


def test_a_network_without_steps_is_refused() -> None:
    with pytest.raises(EllcError, match="no loop over the steps"):
        stepwise(read(model([node("Tanh", ["x"], ["y"])], {"x": floats(3, 4)}, ["y"])))


def test_a_step_says_what_it_is() -> None:
    made, arrays = layer("GRU")
    inputs = {"x": floats(STEPS, BATCH, INPUTS)}
    small = stepwise(read(model([made], inputs, ["y", "h"], arrays)))
    assert small.metadata[STEPS_KEY].startswith("One call is one step: a reset begins")
    assert [t.shape for t in small.input_types()] == [(1, BATCH, INPUTS)]
    assert len(small.states) == 1
