"""Scan and Loop, compared with ONNX's evaluator.

The evaluator does not support axes, directions and version 8 of Scan. So its operands are
transposed or reversed before the call, and its results afterwards. It concatenates results of Loop
along axis 0 instead of stacking them, so these results are vectors here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx_graph_bases import graph as body
from onnx_models import compare, computed, expected, floats, model, node, read

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.nested import all_graphs
from ellc.ir.ops.loop import Loop
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

TRIPS = 4
SEQUENCES = {"a": floats(TRIPS, 2, 3, seed=1), "b": floats(TRIPS, 2, seed=2)}
STATES = {"s": floats(2, 3, seed=3), "n": floats(2, seed=4), "k0": floats(3, seed=5)}
STACKED = ("y", "z")


def scan(opset: int = 21, **attributes: Sequence[int]) -> tuple[onnx.NodeProto, ...]:
    """A Scan of two states, sequences and results; it reads two values of the outer graph."""
    inside = body(
        [
            node("Mul", ["a_i", "k"], ["scaled"]),
            node("Add", ["scaled", "s_i"], ["sum"]),
            node("Tanh", ["sum"], ["s_o"]),
            node("Add", ["n_i", "b_i"], ["n_o"]),
            node("MatMul", ["s_o", "w"], ["y_o"]),
            node("Mul", ["n_o", "two"], ["z_o"]),
        ],
        ["s_i", "n_i", "a_i", "b_i"],
        ["s_o", "n_o", "y_o", "z_o"],
        two=np.float32(2),
    )
    lengths = [""] if opset < 9 else []
    results = ["s_last", "n_last", *STACKED]
    return (
        node("Relu", ["k0"], ["k"]),
        node("Scan", [*lengths, "s", "n", "a", "b"], results, body=inside, num_scan_inputs=2,
             **attributes),
    )  # fmt: skip


def scan_model(opset: int = 21, **attributes: Sequence[int]) -> onnx.ModelProto:
    given = {**STATES, **SEQUENCES}
    for index, name in enumerate(SEQUENCES):
        axis = attributes.get("scan_input_axes", [0, 0])[index]
        given[name] = np.moveaxis(given[name], 0, axis)
    results = ["s_last", "n_last", *STACKED]
    constants = {"w": floats(3, 5, seed=6)}
    return model(scan(opset, **attributes), given, results, constants, opset=opset)


def loops(graph: Graph) -> list[Loop]:
    return [n.op for g in all_graphs(graph) for n in g.nodes if isinstance(n.op, Loop)]


@pytest.mark.parametrize("opset", [9, 11, 16, 21])
@pytest.mark.parametrize(
    ("axes", "backward", "out_axes", "out_backward"),
    [
        ([0, 0], [0, 0], [0, 0], [0, 0]),
        ([1, 1], [1, 0], [1, 0], [0, 1]),
        ([2, 0], [0, 1], [-1, 1], [1, 1]),
        ([-3, -1], [1, 1], [2, -2], [0, 0]),
    ],
)
def test_scan(
    axes: list[int], backward: list[int], out_axes: list[int], out_backward: list[int], opset: int
) -> None:
    wanted = expected(scan_model(), {**STATES, **SEQUENCES})
    turned = {n: x[::-1] if b else x for (n, x), b in zip(SEQUENCES.items(), backward, strict=True)}
    placed = {n: np.moveaxis(x, 0, a) for (n, x), a in zip(turned.items(), axes, strict=True)}
    tested = scan_model(
        opset,
        scan_input_axes=axes,
        scan_input_directions=backward,
        scan_output_axes=out_axes,
        scan_output_directions=out_backward,
    )
    found = list(computed(tested, {**STATES, **placed}))
    for index, (axis, back) in enumerate(zip(out_axes, out_backward, strict=True), 2):
        found[index] = np.moveaxis(found[index], axis, 0)
        found[index] = found[index][::-1] if back else found[index]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_scan_of_a_batch() -> None:
    """For each item of the batch, version 8 gives the result of version 9."""
    rng = np.random.default_rng(0)
    batch = {n: rng.normal(size=(2, *x.shape)).astype(np.float32)
             for n, x in {**STATES, **SEQUENCES}.items() if n != "k0"}  # fmt: skip
    k0 = STATES["k0"]
    nodes = scan(8, directions=[0, 1])
    results = ["s_last", "n_last", *STACKED]
    tested = model(nodes, {**batch, "k0": k0}, results, {"w": floats(3, 5, seed=6)}, opset=8)
    found = computed(tested, {**batch, "k0": k0})
    for index in range(2):
        item = {n: x[index] for n, x in batch.items()} | {"k0": k0}
        item["b"] = item["b"][::-1]
        for a, b in zip(found, expected(scan_model(), item), strict=True):
            np.testing.assert_allclose(a[index], b, rtol=1e-5, atol=1e-6)


@dataclass
class _Parts:
    """The parts of a loop; `carried` are the initial values of the body's outputs `NAME_o`."""

    nodes: list[onnx.NodeProto]
    carried: dict[str, str]
    results: list[str]
    constants: dict[str, Array]
    trips: str = "five"
    condition: str = "go"


def _parts(kind: str) -> _Parts:
    """The parts of a loop of the given kind: `total += x[i] * k`, and more."""
    made = _Parts(
        [
            node("Gather", ["x", "i"], ["row"]),
            node("Mul", ["row", "k"], ["part"]),
            node("Add", ["total", "part"], ["total_o"]),
            node("Identity", ["c"], ["c_o"]),
        ],
        {"total": "start"},
        ["total_o"],
        {"start": np.zeros(3, np.float32), "five": np.array(5), "go": np.array(True)},
    )
    match kind:
        case "condition":
            made.nodes[3:] = [
                node("Add", ["j", "two"], ["j_o"]),
                node("Less", ["j_o", "five"], ["c_o"]),
            ]
            made.carried["j"] = "one"
            made.results.append("j_o")
            made.constants |= {"one": np.array(1), "two": np.array(2)}
            made.trips = ""
        case "no trips":
            made.constants["go"] = np.array(False)
        case "no condition":
            made.condition = ""
        case "from the end":
            made.nodes[:1] = [
                node("Sub", ["last", "i"], ["place"]),
                node("Gather", ["x", "place"], ["row"]),
            ]
            made.constants["last"] = np.array(-1)
        case "slices":
            made.nodes[:1] = [
                node("Unsqueeze", ["i", "zero"], ["first"]),
                node("Add", ["first", "one"], ["end"]),
                node("Slice", ["x", "first", "end"], ["rows"]),
                node("Squeeze", ["rows", "zero"], ["row"]),
            ]
            made.constants |= {"zero": np.array([0]), "one": np.array([1])}
        case "grows":
            made.nodes.append(node("Concat", ["grown", "part"], ["grown_o"], axis=0))
            made.carried["grown"] = "start"
            made.results.append("grown_o")
        case "nested":
            each = [node("Mul", ["e", "k"], ["e_k"]), node("Add", ["sum", "e_k"], ["sum_o"])]
            row = body(each, ["sum", "e"], ["sum_o"])
            made.nodes[1] = node("Scan", ["start", "row"], ["part"], body=row, num_scan_inputs=1)
        case "appended" | "appended to one" | "put first":
            at = ["zero"] if kind == "put first" else []
            made.nodes.append(node("SequenceInsert", ["list", "part", *at], ["list_o"]))
            made.carried["list"] = "none"
            made.results.append("list_o")
            made.constants["zero"] = np.array(0)
        case "kept":
            made.nodes.append(node("Identity", ["kept"], ["kept_o"]))
            made.carried["kept"] = "k0"
            made.results.append("kept_o")
    return made


def loop(kind: str) -> onnx.ModelProto:
    """A loop `total += x[i] * k` over rows; its trips and other values depend on `kind`."""
    parts = _parts(kind)
    stacked = [] if kind == "no trips" else ["part"]
    inside = body(parts.nodes, ["i", "c", *parts.carried], ["c_o", *parts.results, *stacked])
    ends = [f"{n}_end" for n in parts.results]
    stacks = [f"{n}_all" for n in stacked]
    operands = [parts.trips, parts.condition, *parts.carried.values()]
    whole = [
        node("Exp", ["k0"], ["k"]),
        node("Loop", operands, [*ends, *stacks], body=inside),
    ]
    if "list" in parts.carried:
        before = (
            node("SequenceEmpty", [], ["none"])
            if kind == "appended"
            else node("SequenceConstruct", ["start"], ["none"])
        )
        whole = [before, *whole, *_joins(ends.pop())]
        ends += JOINED
    return model(whole, LOOP_INPUTS, [*ends, *stacks], parts.constants)


JOINED = ("along_0", "before_0", "before_1", "length", "second")


def _joins(name: str) -> list[onnx.NodeProto]:
    """Nodes with which results show all elements of a sequence of vectors."""
    return [
        node("ConcatFromSequence", [name], ["along_0"], axis=0),
        node("ConcatFromSequence", [name], ["before_0"], axis=0, new_axis=1),
        node("ConcatFromSequence", [name], ["before_1"], axis=-1, new_axis=1),
        node("SequenceLength", [name], ["length"]),
        node("Constant", [], ["at"], value_int=1),
        node("SequenceAt", [name, "at"], ["second"]),
    ]


LOOP_INPUTS = {"x": floats(5, 3, seed=7), "k0": floats(3, seed=8)}
KINDS = {"plain": 1, "condition": 1, "no trips": 0, "from the end": 1, "slices": 0, "grows": 0,
         "kept": 1, "nested": 2, "appended": 1, "appended to one": 1, "put first": 0}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_loop(kind: str) -> None:
    graph = compare(loop(kind), LOOP_INPUTS)
    assert len(loops(graph)) == KINDS[kind]
    assert all(op.carried == 1 for op in loops(graph))  # counters and unchanged values are not


def test_a_condition_that_is_left_out_is_true() -> None:
    for a, b in zip(
        computed(loop("no condition"), LOOP_INPUTS),
        computed(loop("plain"), LOOP_INPUTS),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.slow
def test_compiled_loops_give_what_the_graphs_do() -> None:
    """Compiled code agrees with the interpreter; one program has all kinds of loops."""
    turned = {"scan_input_axes": [1, 1], "scan_output_directions": [0, 1]}
    protos = [scan_model(), scan_model(**turned), *map(loop, KINDS)]
    ready = [run_pipeline(read(p))[0] for p in protos]
    rng = np.random.default_rng(0)
    calls = [
        tuple(rng.normal(size=t.shape).astype(np.float32) for t in g.input_types()) for g in ready
    ]
    trials = [Trial(g, (c,)) for g, c in zip(ready, calls, strict=True)]
    for graph, given, made in zip(ready, calls, run_trials(trials, resolve("host")), strict=True):
        assert not isinstance(made, Exception), made
        for a, b in zip(made[0], evaluate(graph, given).outputs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _refused(kind: str) -> onnx.ModelProto:
    start, k0 = np.zeros(3, np.float32), floats(3)
    grow = [node("Concat", ["v", "k0"], ["v_o"], axis=0), node("Identity", ["c"], ["c_o"])]
    add = [node("Add", ["v", "k0"], ["v_o"]), node("Identity", ["c"], ["c_o"])]
    computed_end = [
        *add[:1],
        node("ReduceSum", ["v_o"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["c_o"], to=9),
    ]
    nodes, trips, before, carried = add, "m", [], ["start"]
    match kind:
        case "condition":
            nodes = computed_end
        case "trips":
            before = [node("ReduceSum", ["k0"], ["sum0"], keepdims=0),
                      node("Cast", ["sum0"], ["m2"], to=7)]  # fmt: skip
            trips = "m2"
        case "grows":
            nodes = grow
        case "for ever":
            trips = ""
        case "body":
            carried += ["k0"]
        case "sequence":
            nodes = [node("SequenceInsert", ["v", "k0", "zero"], ["v_o"]), add[1]]
            before, carried = [node("SequenceEmpty", [], ["none"])], ["none"]
    inside = body(nodes, ["i", "c", "v"], ["c_o", "v_o"])
    whole = [*before, node("Loop", [trips, "", *carried], ["y"], body=inside)]
    return model(whole, {"k0": k0}, ["y"], {"start": start, "m": np.array(65), "zero": np.array(0)})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("condition", "give it a number of trips and a condition that stays true"),
        ("trips", "its number of trips must be known at import"),
        ("grows", "'v' is f32[3] before a trip and f32[6] after it"),
        ("for ever", "more than 4096 trips; a Scan may have any number"),
        ("body", "its body does not fit its operands"),
        (
            "sequence",
            "'v' is a sequence of tensors, to which a loop of more than 64 trips can only",
        ),
    ],
)
def test_what_no_loop_of_the_graph_can_be_is_refused(kind: str, said: str) -> None:
    with pytest.raises(EllcError) as caught:
        read(_refused(kind))
    assert said in caught.value.report()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"scan_input_axes": [0, 2]}, "axis 2 of a tensor of rank 2"),
        ({"scan_input_axes": [1, 0]}, "its sequences differ in length: 2 and 4"),
        ({"scan_output_axes": [0]}, "'scan_output_axes' is 1, not 2"),
    ],
)
def test_a_scan_that_does_not_fit_is_refused(attributes: dict[str, list[int]], said: str) -> None:
    given = {**STATES, **SEQUENCES}
    results = ["s_last", "n_last", *STACKED]
    proto = model(scan(**attributes), given, results, {"w": floats(3, 5, seed=6)})
    with pytest.raises(EllcError) as caught:
        read(proto)
    assert said in caught.value.report()
