"""QONNX: the meaning of its nodes, and networks of signs, which are computed with bits."""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import pytest
from onnx import NodeProto, helper
from onnx_models import computed, expected, floats, model, node, read

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.fused import Fused
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

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
"""The definition of the operator as a function, which only ONNX's evaluator needs."""


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
    """The results are those in the table of QONNX's specification."""
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
    """Test both versions of the operator; the second has a new scale and a range."""
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
        ({"s": 1.0, "z": 0.0}, {"b": 4.0}, {}, "bit width must be known at import"),
        ({"s": 1.0, "z": 0.0, "b": 0.0}, {}, {}, "bit width of"),
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
    """`channels_last` has ONNX's operators with NHWC for the first operand (for Conv, also w)."""
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
    turned = {"x": np.asarray(x.transpose(0, 2, 3, 1), order="C")}
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


def test_thresholds_need_no_memory_of_their_own() -> None:
    x = floats(1, 16, 8, 8)
    constants = {"w": floats(16, 16, 1, 1, seed=1), "t": np.sort(floats(16, 255, seed=2))}
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("MultiThreshold", ["a", "t"], ["b"], domain=DOMAIN, out_dtype="UINT8"),
        node("Conv", ["b", "w"], ["y"]),
    ]
    graph, _ = run_pipeline(read(model(nodes, {"x": x}, ["y"], constants, domains=DOMAINS)))
    plan = make_plan(graph, resolve("host"), Options(), "thresholds")
    assert plan.arena.arena_bytes <= 2 * x.nbytes


@pytest.mark.parametrize("signed", [True, False])
def test_one_bit(signed: bool) -> None:
    x = np.linspace(-2, 2, 17, dtype=np.float32)
    constants = {n: np.float32(v) for n, v in (("s", 0.5), ("z", 0), ("b", 1))}
    quantised = node("Quant", ["x", "s", "z", "b"], ["y"], domain=DOMAIN, signed=int(signed))
    (got,) = computed(model([quantised], {"x": x}, ["y"], constants, domains=DOMAINS), {"x": x})
    want = np.where(x >= 0, 0.5, -0.5) if signed else np.rint(np.clip(x / 0.5, 0, 1)) * 0.5
    np.testing.assert_array_equal(got, want)


FLOATS = {
    # Exponent bits, mantissa bits, bias, largest number, attributes.
    "float8_e4m3fn": (4, 3, 7, 448, {"saturation": 0, "has_nan": 1}),
    "float8_e5m2": (5, 2, 15, 57344, {"saturation": 0, "has_inf": 1}),
    "float6_e3m2fn": (3, 2, 3, 28, {}),
    "float6_e2m3fn": (2, 3, 1, 7.5, {}),
    "float4_e2m1fn": (2, 1, 1, 6, {}),
    "float16": (5, 10, 15, 65504, {"saturation": 0, "has_inf": 1}),
}


def float_quant(**attributes: object) -> NodeProto:
    names = ["x", "s", "e", "m", "b", "largest"]
    return node("FloatQuant", names, ["y"], domain=DOMAIN, has_subnormal=1, **attributes)


def float_constants(e: float, m: float, b: float, largest: float) -> dict[str, Array]:
    numbers = {"s": 0.25, "e": e, "m": m, "b": b, "largest": largest}
    return {name: np.float32(number) for name, number in numbers.items()}


@pytest.mark.parametrize("name", FLOATS)
def test_float_formats(name: str) -> None:
    """Formats that numpy also has: all numbers, numbers between them, and much larger ones."""
    *numbers, attributes = FLOATS[name]
    rng = np.random.default_rng(4)
    drawn = rng.standard_normal(2000) * 2.0 ** rng.integers(-20, 20, 2000)
    special = [0, -0.0, np.nan, *2.0 ** np.arange(-24, 18), *-1.5 * 2.0 ** np.arange(-24, 18)]
    plain = np.array([*drawn, *special], np.float32)
    largest = np.float32(numbers[-1])
    limit = np.inf if "saturation" in attributes else largest
    with np.errstate(all="ignore"):
        kept = np.clip(plain, -limit, limit)
        want = kept.astype(getattr(ml_dtypes, name, np.float16)).astype(np.float32)
    want[np.isnan(plain)] = np.nan  # even in formats without NaN
    if attributes.get("has_nan"):
        want[np.abs(want) > largest] = np.nan
    x = plain / np.float32(4)
    constants = float_constants(*numbers)
    quantised = model([float_quant(**attributes)], {"x": x}, ["y"], constants, domains=DOMAINS)
    (got,) = computed(quantised, {"x": x})
    np.testing.assert_array_equal(got, want / np.float32(4))


@pytest.mark.parametrize("mode", ROUNDINGS)
def test_float_rounding_modes(mode: str) -> None:
    """With a mantissa of three bits, the step is 1 from 8 on, 1/2 from 4 on, 1/4 from 2 on."""
    x = np.array([5.5, 2.5, 1.6, 1.1, 1.0, -1.0, -1.1, -1.6, -2.5, -5.5], np.float32) + 8
    constants = float_constants(4, 3, 7, 448)
    constants["s"] = np.float32(1)
    quantised = model(
        [float_quant(rounding_mode=mode)], {"x": x}, ["y"], constants, domains=DOMAINS
    )
    (got,) = computed(quantised, {"x": x})
    steps = np.where(x >= 8, 1, np.where(x >= 4, 0.5, 0.25))
    rounding = {"CEIL": np.ceil, "UP": np.ceil, "ROUND": np.rint}.get(mode.upper(), np.floor)
    if mode == "HALF_UP":
        rounding = lambda v: np.floor(v + 0.5)  # noqa: E731
    if mode == "HALF_DOWN":
        rounding = lambda v: np.ceil(v - 0.5)  # noqa: E731
    np.testing.assert_array_equal(got, rounding(x / steps) * steps)


@pytest.mark.parametrize(
    ("numbers", "attributes", "message"),
    [
        ((8, 7, 127, 3e38), {}, "steps of 2"),
        ((4, 3.5, 7, 448), {}, "one integer"),
        ((4, 3, 7, 0), {}, "largest value"),
        ((4, 3, 7, 448), {"saturation": 0}, "neither infinities nor NaN"),
    ],
)
def test_float_formats_that_are_not_taken(
    numbers: tuple[float, ...], attributes: dict[str, object], message: str
) -> None:
    x = floats(3)
    constants = float_constants(*numbers)
    with pytest.raises(EllcError, match=message):
        read(model([float_quant(**attributes)], {"x": x}, ["y"], constants, domains=DOMAINS))


@pytest.mark.parametrize(
    ("kernel", "stride", "bits", "kept", "layout"),
    [(2, 2, 4, 4, "NCHW"), (3, 1, 8, 8, "NHWC"), (4, 3, 5, 20, "NCHW"), (1, 1, 8, 3, "NHWC")],
)
def test_pools_of_whole_numbers(
    kernel: int, stride: int, bits: int, kept: int, layout: str
) -> None:
    x = np.random.default_rng(2).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (1, 7, 9, 4))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))
    sums = windows[:, ::stride, ::stride].sum((-1, -2))
    dropped = ((2**bits - 1) * kernel**2).bit_length() - kept
    want = sums >> max(dropped, 0)
    image = x.astype(np.float32)
    if layout == "NCHW":
        image, want = image.transpose(0, 3, 1, 2), want.transpose(0, 3, 1, 2)
    attributes = {"kernel": kernel, "stride": stride, "ibits": bits, "obits": kept, "signed": 1}
    pool = node("QuantAvgPool2d", ["x"], ["y"], domain=DOMAIN, data_layout=layout, **attributes)
    (got,) = computed(model([pool], {"x": image}, ["y"], domains=DOMAINS), {"x": image})
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("size", "stride", "pads", "dilation"),
    [
        ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((2, 3), (2, 1), (0, 1, 2, 0), (1, 2)),
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_columns_make_a_convolution_a_product(
    size: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> None:
    x = np.random.default_rng(1).integers(-8, 8, (1, 7, 8, 3)).astype(np.float32)
    w = np.random.default_rng(2).integers(-3, 4, (5, *size, 3)).astype(np.float32)
    planes = {"x": x.transpose(0, 3, 1, 2)}
    conv = node("Conv", ["x", "w"], ["y"], strides=stride, pads=pads, dilations=dilation)
    (want,) = expected(model([conv], planes, ["y"], {"w": w.transpose(0, 3, 1, 2)}), planes)
    attributes = {"stride": stride, "pad_amount": pads, "dilations": dilation}
    columns = node(
        "Im2Col", ["x"], ["c"], domain=DOMAIN, kernel_size=size, input_shape="", **attributes
    )
    nodes = [columns, node("MatMul", ["c", "w"], ["y"])]
    constants = {"w": w.reshape(5, -1).T}
    (got,) = computed(model(nodes, {"x": x}, ["y"], constants, domains=DOMAINS), {"x": x})
    np.testing.assert_array_equal(got, want.transpose(0, 2, 3, 1))


def network() -> tuple[list[NodeProto], dict[str, Array]]:
    """Signs, two convolutions with a pool between, a dense layer; many sums are exactly 0."""
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
