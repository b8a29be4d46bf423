"""QONNX: what its nodes mean, and networks of signs that run on bits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import NodeProto, helper
from onnx_models import computed, expected, floats, model, node, read

from codegen.targets import resolve
from codegen.testing import Trial, run_trials
from ir.errors import EllcError
from ir.graph import Graph
from ir.interp import evaluate
from ir.ops.fused import Fused
from ir.pipeline import run_pipeline
from ir.types import Array

DOMAIN = "qonnx.custom_op.general"
DOMAINS = {DOMAIN: 1}
BIPOLAR = helper.make_function(
    DOMAIN,
    "BipolarQuant",
    ["x", "scale"],
    ["y"],
    [
        node("Constant", [], ["zero"], value_float=0.0),
        node("GreaterOrEqual", ["x", "zero"], ["above"]),
        node("Neg", ["scale"], ["minus"]),
        node("Where", ["above", "scale", "minus"], ["y"]),
    ],
    [helper.make_opsetid("", 21)],
)
"""The definition, for ONNX's evaluator only."""


def quant(name: str, x: str, y: str, scale: str = "one") -> NodeProto:
    return node("BipolarQuant", [x, scale], [y], name, domain=DOMAIN)


def read_and_reference(
    nodes: list[NodeProto], inputs: dict[str, Array], output: str, constants: dict[str, Array]
) -> tuple[Graph, Array]:
    graph = read(model(nodes, inputs, [output], constants, domains=DOMAINS))
    known = model(nodes, inputs, [output], constants, domains=DOMAINS, functions=[BIPOLAR])
    return graph, expected(known, inputs)[0]


def test_zero_is_plus_one() -> None:
    x = np.array([[0.0, -0.0, 1e-30, -1e-30, np.inf, -np.inf]], np.float32)
    constants = {"one": np.float32(1.5)}
    graph, want = read_and_reference([quant("q", "x", "y")], {"x": x}, "y", constants)
    (got,) = evaluate(graph, (x,)).outputs
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(got, [[1.5, 1.5, 1.5, -1.5, 1.5, -1.5]])


ROUNDINGS = {
    "ROUND": [6, 2, 2, 1, 1, -1, -1, -2, -2, -6],
    "CEIL": [6, 3, 2, 2, 1, -1, -1, -1, -2, -5],
    "floor": [5, 2, 1, 1, 1, -1, -2, -2, -3, -6],
    "UP": [6, 3, 2, 2, 1, -1, -2, -2, -3, -6],
    "DOWN": [5, 2, 1, 1, 1, -1, -1, -1, -2, -5],
    "HALF_UP": [6, 3, 2, 1, 1, -1, -1, -2, -3, -6],
    "HALF_DOWN": [5, 2, 2, 1, 1, -1, -1, -2, -2, -5],
}


@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize("operator", ["Quant", "IntQuant"])
def test_rounding_modes(mode: str, operator: str) -> None:
    """The table of the dialect's specification."""
    x = np.array([5.5, 2.5, 1.6, 1.1, 1.0, -1.0, -1.1, -1.6, -2.5, -5.5], np.float32)
    constants = {"s": np.float32(1), "z": np.float32(0), "b": np.float32(5)}
    quantised = node(operator, ["x", "s", "z", "b"], ["y"], domain=DOMAIN, rounding_mode=mode)
    graph = read(model([quantised], {"x": x}, ["y"], constants, domains=DOMAINS))
    (got,) = evaluate(graph, (x,)).outputs
    np.testing.assert_array_equal(got, ROUNDINGS[mode])


@pytest.mark.parametrize(
    ("signed", "narrow", "least", "most"),
    [(1, 0, -8, 7), (1, 1, -7, 7), (0, 0, 0, 15), (0, 1, 0, 14)],
)
def test_ranges(signed: int, narrow: int, least: int, most: int) -> None:
    x = np.linspace(-20, 20, 41, dtype=np.float32).reshape(1, 41)
    constants = {"s": np.full((1, 1), 0.5, np.float32), "z": np.float32(1), "b": np.float32(4)}
    attributes = {"signed": signed, "narrow": narrow}
    quantised = node("Quant", ["x", "s", "z", "b"], ["y"], domain=DOMAIN, **attributes)
    graph = read(model([quantised], {"x": x}, ["y"], constants, domains=DOMAINS))
    (got,) = evaluate(graph, (x,)).outputs
    want = (np.rint(np.clip(x / 0.5 + 1, least, most)) - 1) * 0.5
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("zero", [0.0, 4.0])
def test_truncation(zero: float) -> None:
    """Both versions of the operator; the second one has a new scale and a range."""
    x = np.arange(-40, 41, dtype=np.float32) / 4
    constants = {"s": 0.25, "z": zero, "i": 8.0, "o": 4.0, "t": 4.0}
    known = {k: np.float32(v) for k, v in constants.items()}
    whole = np.rint(x / 0.25 + zero) / 16
    first = node("Trunc", ["x", "s", "z", "i", "o"], ["y"], domain=DOMAIN)
    second = node(
        "Trunc", ["x", "s", "z", "i", "t", "o"], ["y"], domain=DOMAIN, rounding_mode="ceil"
    )
    for operator, want in (
        (first, (np.floor(whole) - zero) * 0.25),
        (second, (np.ceil(np.clip(whole, -8, 7)) - zero / 16) * 4),
    ):
        graph = read(model([operator], {"x": x}, ["y"], known, domains=DOMAINS))
        np.testing.assert_array_equal(evaluate(graph, (x,)).outputs[0], want)


@pytest.mark.parametrize(
    ("constants", "inputs", "attributes", "message"),
    [
        ({"s": 1.0, "z": 0.0}, {"b": 4.0}, {}, "bit width is computed"),
        ({"s": 1.0, "z": 0.0, "b": 1.0}, {}, {}, "bit width of"),
        ({"s": 1.0, "z": 0.0, "b": 2.5}, {}, {}, "bit width of"),
        ({"s": 1.0, "z": 0.0, "b": 4.0}, {}, {"rounding_mode": "ODD"}, "rounding_mode 'ODD'"),
        ({"s": 1.0, "z": 0.0, "b": 4.0}, {}, {"mean": 1}, "attribute 'mean'"),
    ],
)
def test_what_is_not_taken(
    constants: dict[str, float],
    inputs: dict[str, float],
    attributes: dict[str, object],
    message: str,
) -> None:
    given = {"x": np.zeros(3, np.float32)} | {k: np.float32(v) for k, v in inputs.items()}
    quantised = node("Quant", ["x", "s", "z", "b"], ["y"], domain=DOMAIN, **attributes)
    known = {k: np.float32(v) for k, v in constants.items()}
    with pytest.raises(EllcError, match=message):
        read(model([quantised], given, ["y"], known, domains=DOMAINS))


@pytest.mark.parametrize("kind", ["Conv", "MaxPool", "AveragePool", "BatchNormalization"])
def test_operators_on_pixels(kind: str) -> None:
    """`channels_last` has the operators of ONNX with the first operand (of Conv two) turned."""
    x = floats(1, 3, 6, 5)
    each = [np.abs(floats(3, seed=i)) + np.float32(0.5) for i in range(4)]
    w = floats(4, 3, 3, 3, seed=1)
    others, attributes = {
        "Conv": ([w, floats(4)], {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
        "BatchNormalization": (each, {"epsilon": 1e-3, "momentum": 0.5}),
    }.get(kind, ([], {"kernel_shape": [2, 3], "strides": [2, 1]}))
    names = [f"c{i}" for i in range(len(others))]
    made = node(kind, ["x", *names], ["y"], **attributes)
    plain = dict(zip(names, others, strict=True))
    (want,) = expected(model([made], {"x": x}, ["y"], plain), {"x": x})
    turned = {"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}
    if kind == "Conv":
        plain["c0"] = w.transpose(0, 2, 3, 1)
    last = "qonnx.custom_op.channels_last"
    ours = node(kind, ["x", *names], ["y"], domain=last, **attributes)
    (got,) = computed(model([ours], turned, ["y"], plain, domains={last: 1}), turned)
    np.testing.assert_allclose(got, want.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_equal_bits_are_counted() -> None:
    rng = np.random.default_rng(8)
    a, b = (rng.integers(0, 2, shape).astype(np.float32) for shape in ((5, 37), (37, 6)))
    counted = node("XnorPopcountMatMul", ["a", "b"], ["y"], domain=DOMAIN)
    (got,) = computed(model([counted], {"a": a}, ["y"], {"b": b}, domains=DOMAINS), {"a": a})
    np.testing.assert_array_equal(got, (a[:, :, None] == b).sum(1))


@pytest.mark.parametrize(
    ("shape", "layout", "axis"),
    [((2, 3, 4, 5), "", 1), ((2, 4, 5, 3), "NHWC", 3), ((2, 4, 3), "", 2), ((2, 3), "", 1)],
)
def test_thresholds_are_counted(shape: tuple[int, ...], layout: str, axis: int) -> None:
    x = np.round(floats(*shape) * 4) / np.float32(4)
    steps = np.sort(np.round(floats(3, 7, seed=2) * 4) / np.float32(4))
    attributes = {"out_dtype": "INT4", "out_scale": 0.5, "out_bias": -2.0, "data_layout": layout}
    counted = node("MultiThreshold", ["x", "t"], ["y"], domain=DOMAIN, **attributes)
    (got,) = computed(model([counted], {"x": x}, ["y"], {"t": steps}, domains=DOMAINS), {"x": x})
    last = np.moveaxis(x, axis, -1)[..., None]
    np.testing.assert_array_equal(got, np.moveaxis((last >= steps).sum(-1), -1, axis) * 0.5 - 2)


def network() -> tuple[list[NodeProto], dict[str, Array]]:
    """Signs, two convolutions with a pool between, a dense layer; numbers that often tie at 0."""
    rng = np.random.default_rng(5)

    def signs(*shape: int) -> Array:
        return rng.choice(np.array([-0.5, 0.0, 0.25], np.float32), shape)

    def whole(*shape: int) -> Array:
        return rng.integers(-2, 3, shape).astype(np.float32)

    variances = np.array([1, 4, 0.25, 1, 16], np.float32)
    constants = {
        "one": np.float32(1),
        "half": np.float32(0.5),
        "w1": signs(5, 3, 3, 3),
        "w2": signs(7, 5, 3, 3),
        "w3": signs(4, 7 * 3 * 4),
        "g": rng.choice(np.array([1, -2, 0.5], np.float32), 5),
        "b": whole(5),
        "m": whole(5),
        "v": variances,
        "two": np.float32(2),
        "shape": np.array([1, -1], np.int64),
    }
    nodes = [
        node("Mul", ["x", "two"], ["x1"]),
        node("Sub", ["x1", "one"], ["x2"]),
        quant("q0", "x2", "s0"),
        quant("qw1", "w1", "b1", "half"),
        node("Conv", ["s0", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"], epsilon=0.0),
        quant("q1", "n1", "s1"),
        node("MaxPool", ["s1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        quant("qw2", "w2", "b2"),
        node("Conv", ["p1", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        quant("q2", "c2", "s2", "half"),
        node("Reshape", ["s2", "shape"], ["f"]),
        quant("qw3", "w3", "b3"),
        node("Transpose", ["b3"], ["t3"], perm=[1, 0]),
        node("MatMul", ["f", "t3"], ["y"]),
    ]
    return nodes, constants


def test_a_network_of_signs_runs_on_bits() -> None:
    nodes, constants = network()
    x = np.random.default_rng(6).choice(np.array([0, 0.25, 0.5, 1], np.float32), (1, 3, 6, 8))
    graph, want = read_and_reference(nodes, {"x": x}, "y", constants)
    after, _ = run_pipeline(graph, paranoid=True)
    kinds = Counter((n.op.anchor if isinstance(n.op, Fused) else n.op).name for n in after.nodes)
    assert kinds["binary_conv2d"] == 3
    assert not {"conv2d", "dense", "mat_mul", "select", "greater_equal"} & set(kinds)
    np.testing.assert_array_equal(evaluate(after, (x,)).outputs[0], want)
    (calls,) = run_trials([Trial(after, ((x,),))], resolve("host"))
    assert not isinstance(calls, Exception)
    np.testing.assert_array_equal(calls[0][0], want)
