"""Quantised models: groups of nodes that become integer operators, and ONNX's integer operators."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx_models import compare, computed, expected, floats, model, node, read

from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.quantised import Dequantize, Quantize
from ellc.ir.types import Array

MICROSOFT = {"com.microsoft": 1}
Parameters = tuple[float, int]


class Builder:
    """Builds a QDQ model: stored values with their scales and zero points as constants."""

    def __init__(self, stored: type = np.uint8) -> None:
        self.stored = stored
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def parameters(self, name: str, scale: object, zero: object, dtype: object) -> list[str]:
        self.constants[f"{name}_s"] = np.array(scale, np.float32)
        self.constants[f"{name}_z"] = np.array(zero, dtype)  # type: ignore[call-overload]
        return [f"{name}_s", f"{name}_z"]

    def quantise(self, x: str, y: str, scale: float, zero: int, stored: type | None = None) -> None:
        names = self.parameters(y, scale, zero, stored or self.stored)
        self.nodes.append(node("QuantizeLinear", [x, *names], [y], f"Q of {y}"))

    def dequantise(self, x: str, y: str, *, like: str = "", axis: int = 1) -> None:
        names = [f"{like or x}_s", f"{like or x}_z"]
        self.nodes.append(node("DequantizeLinear", [x, *names], [y], f"DQ of {x}", axis=axis))

    def weights(self, name: str, scale: object, zero: object, *shape: int, axis: int = 0) -> str:
        """Add stored bytes and their dequantisation."""
        rng = np.random.default_rng(len(self.constants))
        self.constants[name] = rng.integers(-128, 128, shape, np.int8)
        self.parameters(name, scale, zero, np.int8)
        self.dequantise(name, f"{name}_r", axis=axis)
        return f"{name}_r"

    def bias(self, name: str, scale: object, *shape: int) -> str:
        """Add a stored 32-bit bias and its dequantisation."""
        rng = np.random.default_rng(len(self.constants))
        self.constants[name] = rng.integers(-3000, 3000, shape, np.int32)
        self.parameters(name, scale, np.zeros_like(scale, np.int32), np.int32)
        self.dequantise(name, f"{name}_r", axis=0)
        return f"{name}_r"

    def activation(self, kind: str, x: str, y: str, **attributes: object) -> None:
        self.nodes.append(node(kind, [x], [y], kind, **attributes))

    def model(self, inputs: dict[str, Array], outputs: Sequence[str] = ("y",)) -> onnx.ModelProto:
        return model(self.nodes, inputs, outputs, self.constants)


def compare_steps(proto: onnx.ModelProto, inputs: dict[str, Array], steps: int = 1) -> Graph:
    """Check that stored results differ from those of real numbers only by rounding."""
    graph = read(proto)
    got = evaluate(graph, tuple(inputs[p.name] for p in graph.inputs)).outputs
    for a, b in zip(got, expected(proto, inputs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        apart = np.abs(a.astype(int) - b.astype(int))
        assert apart.max() <= steps
        assert np.unique(b).size > 10, "the results have too few different values"
        assert (apart != 0).mean() < 0.05
    return graph


def kinds(graph: Graph) -> Counter[str]:
    return Counter(n.op.name for n in graph.nodes)


@pytest.mark.parametrize("activation", ["", "Relu", "Clip"])
@pytest.mark.parametrize("stored", [np.uint8, np.int8])
@pytest.mark.parametrize("per_filter", [False, True])
def test_convolution(activation: str, stored: type, per_filter: bool) -> None:
    b = Builder(stored)
    zero = 120 if stored is np.uint8 else -7
    scale = np.array([0.01, 0.02, 0.005, 0.03]) if per_filter else 0.02
    b.quantise("x", "xq", 0.05, zero)
    b.dequantise("xq", "xr")
    w = b.weights("w", scale, np.zeros_like(scale, np.int8), 4, 3, 3, 3)
    bias = b.bias("b", np.array(scale) * np.float32(0.05), 4)
    b.nodes.append(node("Conv", ["xr", w, bias], ["c"], "conv", pads=[1, 1, 0, 0]))
    if activation == "Clip":
        b.constants |= {"low": np.float32(-1.2), "high": np.float32(3.3)}
        b.nodes.append(node("Clip", ["c", "low", "high"], ["a"]))
    elif activation:
        b.activation(activation, "c", "a")
    b.quantise("a" if activation else "c", "yq", 0.06, zero)
    graph = compare_steps(b.model({"x": floats(1, 3, 8, 7)}, ["yq"]), {"x": floats(1, 3, 8, 7)})
    assert kinds(graph)["int_conv2d"] == kinds(graph)["requantize"] == 1
    assert not kinds(graph)["conv2d"] + kinds(graph)["clip"] + kinds(graph)["relu"]


def test_weights_and_bias_may_be_stored_as_reals() -> None:
    """Some frameworks export float weights with a node that quantises them, and a float bias."""
    b = Builder(np.int8)
    b.quantise("x", "xq", 0.05, 0)
    b.dequantise("xq", "xr")
    b.constants |= {"w": floats(4, 3, 3, 3, seed=2) / 3, "b": floats(4, seed=3)}
    each = b.parameters("wq", np.array([0.008, 0.009, 0.01, 0.011]), np.zeros(4), np.int8)
    b.nodes.append(node("QuantizeLinear", ["w", *each], ["wq"], axis=0))
    b.dequantise("wq", "wr", axis=0)
    b.nodes.append(node("Conv", ["xr", "wr", "b"], ["c"], "conv"))
    b.quantise("c", "yq", 0.06, 0)
    graph = compare_steps(b.model({"x": floats(1, 3, 8, 7)}, ["yq"]), {"x": floats(1, 3, 8, 7)})
    assert kinds(graph)["int_conv2d"] == 1
    assert kinds(graph)["quantize"] == 1, "only the input is quantised"


@pytest.mark.parametrize("form", ["MatMul", "MatMul and Add", "Gemm"])
def test_product(form: str) -> None:
    b = Builder(np.int8)
    b.quantise("x", "xq", 0.03, 5)
    b.dequantise("xq", "xr")
    w = b.weights("w", [0.01, 0.02, 0.03, 0.04], [0, 3, -9, 0], 6, 4, axis=1)
    bias = b.bias("b", np.array([0.01, 0.02, 0.03, 0.04]) * np.float32(0.03), 4)
    if form == "Gemm":
        b.nodes.append(node("Gemm", ["xr", w, bias], ["c"]))
    else:
        b.nodes.append(node("MatMul", ["xr", w], ["c" if form == "MatMul" else "m"]))
    if form == "MatMul and Add":
        b.nodes.append(node("Add", [bias, "m"], ["c"]))
    b.quantise("c", "yq", 0.05, -11)
    graph = compare_steps(b.model({"x": floats(8, 6)}, ["yq"]), {"x": floats(8, 6)})
    assert kinds(graph)["int_dense"] == 1
    assert not kinds(graph)["dense"]


@pytest.mark.parametrize("form", ["Conv", "MatMul and Add", "Gemm", "Gemm with alpha"])
@pytest.mark.parametrize(
    ("scale", "zero", "is_joined"),
    [
        ([0.0007] * 4, [0] * 4, True),
        (0.0004, 0, True),
        ([0.0003, 0.0006, 0.0009, 0.0012], [0, 5000, 0, -800], True),
        ([0.0003, 0.0006, 0.0009, 3e6], [0] * 4, False),
    ],
)
def test_bias_of_other_units(form: str, scale: object, zero: object, is_joined: bool) -> None:
    """A bias is converted with its own scale and zero point, not with those of the sums."""
    b = Builder(np.int8)
    b.quantise("x", "xq", 0.03, 5)
    b.dequantise("xq", "xr")
    columns = [0.01, 0.02, 0.03, 0.04]
    is_conv = form == "Conv"
    w = b.weights("w", columns, [0] * 4, *((4, 6, 1) if is_conv else (6, 4)), axis=1 - is_conv)
    bias = b.bias("b", scale, 4)
    b.constants["b_z"] = np.array(zero, np.int32)
    match form:
        case "MatMul and Add":
            b.nodes += [node("MatMul", ["xr", w], ["m"]), node("Add", [bias, "m"], ["c"])]
        case "Gemm with alpha":
            b.nodes.append(node("Gemm", ["xr", w, bias], ["c"], alpha=1.5))
        case _:
            b.nodes.append(node(form, ["xr", w, bias], ["c"]))
    b.quantise("c", "yq", 0.05, -11)
    x = floats(2, 6, 8) if is_conv else floats(8, 6)
    graph = compare_steps(b.model({"x": x}, ["yq"]), {"x": x})
    assert (kinds(graph)["requantize"] > 0) == is_joined


@pytest.mark.parametrize("kind", ["Add", "Mul"])
@pytest.mark.parametrize("activation", [False, True])
def test_two_computed_operands(kind: str, activation: bool) -> None:
    b = Builder()
    for name, scale, zero in (("p", 0.0213, 130), ("q", 0.0531, 99)):
        b.quantise(name, f"{name}q", scale, zero)
        b.dequantise(f"{name}q", f"{name}r")
    b.nodes.append(node(kind, ["pr", "qr"], ["c"]))
    if activation:
        b.activation("Relu", "c", "a")
    b.quantise("a" if activation else "c", "yq", 0.0417, 60)
    given = {"p": floats(2, 9, 8), "q": floats(9, 8, seed=1)}
    graph = compare_steps(b.model(given, ["yq"]), given)
    assert not kinds(graph)["dequantize"]
    assert kinds(graph)["clip"] == (kind == "Add" and activation)


BYTES = (np.int8, np.uint8)
MIDDLES: dict[str, dict[str, object]] = {
    "Add": {}, "Mul": {}, "MatMul": {}, "Gemm": {}, "Concat": {"axis": 1}, "Conv": {},
    "GlobalAveragePool": {}, "MaxPool": {"kernel_shape": [2, 2]}, "Sigmoid": {}, "Relu": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", MIDDLES)
@pytest.mark.parametrize("types", list(itertools.product(BYTES, repeat=3)), ids=str)
def test_bytes_of_every_kind_meet(kind: str, types: tuple[type, ...]) -> None:
    """A group with any 8-bit types is correct, whether it becomes an integer operator or not."""
    flat = kind in ("MatMul", "Gemm")
    given = {"p": floats(6, 6) if flat else floats(2, 6, 6, 6)}
    if kind in ("Add", "Mul", "Concat", "MatMul", "Gemm", "Conv"):
        given["q"] = floats(*given["p"].shape, seed=1)
    b = Builder()
    for name, stored in zip(given, types, strict=False):
        b.quantise(name, f"{name}q", 0.03, 3, stored)
        b.dequantise(f"{name}q", f"{name}r")
    b.nodes.append(node(kind, [f"{n}r" for n in given], ["c"], "middle", **MIDDLES[kind]))
    b.quantise("c", "yq", 0.07, 2, types[2])
    proto = b.model(given, ["yq"])
    (got,), (want,) = computed(proto, given), expected(proto, given)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    apart = np.abs(got.astype(int) - want.astype(int))
    assert apart.max() <= 1
    assert (apart != 0).mean() < 0.05


def test_functions_become_tables() -> None:
    b = Builder()
    b.quantise("x", "xq", 0.03, 128)
    b.dequantise("xq", "xr")
    b.constants["low"] = np.float32(-0.9)
    b.nodes += [node("Tanh", ["xr"], ["t"]), node("Clip", ["t", "low"], ["u"])]
    b.quantise("u", "yq", 0.01, 100)
    graph = compare_steps(b.model({"x": floats(50, 9)}, ["yq"]), {"x": floats(50, 9)}, steps=0)
    assert kinds(graph) == {"quantize": 1, "lookup": 1}


def test_moving_operators_move_integers() -> None:
    b = Builder()
    b.quantise("x", "xq", 0.03, 128)
    b.dequantise("xq", "xr")
    b.activation("MaxPool", "xr", "m", kernel_shape=[2, 2])
    b.nodes.append(node("QuantizeLinear", ["m", "xq_s", "xq_z"], ["mq"]))
    b.dequantise("mq", "mr", like="xq")
    b.activation("Transpose", "mr", "t", perm=[0, 2, 3, 1])
    b.nodes.append(node("QuantizeLinear", ["t", "xq_s", "xq_z"], ["yq"]))
    x = {"x": floats(1, 3, 6, 5)}
    graph = compare_steps(b.model(x, ["yq"]), x, steps=0)
    assert set(kinds(graph)) == {"quantize", "transpose", "max_pool2d"}


def test_concat_and_mean() -> None:
    b = Builder()
    for name, scale, zero in (("p", 0.0213, 130), ("q", 0.0531, 99)):
        b.quantise(name, f"{name}q", scale, zero)
        b.dequantise(f"{name}q", f"{name}r")
    b.nodes.append(node("Concat", ["pr", "qr"], ["c"], axis=1))
    b.quantise("c", "cq", 0.0531, 99)
    b.dequantise("cq", "cr")
    b.activation("GlobalAveragePool", "cr", "m")
    b.quantise("m", "yq", 0.00317, 120)
    given = {"p": floats(1, 9, 5, 4), "q": floats(1, 8, 5, 4, seed=1)}
    graph = compare_steps(b.model(given, ["yq"]), given)
    assert kinds(graph)["lookup"] == 1, "the second operand has the result's quantisation"
    assert kinds(graph)["reduce"] == 1


def test_what_is_in_no_group_computes_with_reals() -> None:
    b = Builder()
    b.quantise("x", "xq", 0.03, 128)
    b.dequantise("xq", "xr")
    b.activation("Softmax", "xr", "s")
    b.quantise("s", "yq", 1 / 256, 0)
    graph = compare_steps(b.model({"x": floats(5, 9)}, ["yq"]), {"x": floats(5, 9)})
    assert [type(n.op) for n in graph.nodes][-1] is Quantize
    assert kinds(graph)["softmax"] == 1


def test_group_whose_middle_is_an_output_stays() -> None:
    b = Builder()
    b.quantise("x", "xq", 0.03, 128)
    b.dequantise("xq", "xr")
    b.activation("Tanh", "xr", "t")
    b.quantise("t", "yq", 0.01, 100)
    x = {"x": floats(5, 9)}
    graph = read(b.model(x, ["yq", "t"]))
    assert kinds(graph)["tanh"] == 1
    assert not kinds(graph)["lookup"]


# ---- single nodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [np.uint8(7), np.int8(-7), np.int16(-70), np.uint16(300), None])
def test_quantise_and_dequantise(zero: np.generic | None) -> None:
    names = ["s"] + ([] if zero is None else ["z"])
    constants = {"s": np.array(0.05, np.float32), "z": np.asarray(0 if zero is None else zero)}
    nodes = [node("QuantizeLinear", ["x", *names], ["q"]),
             node("DequantizeLinear", ["q", *names], ["y"])]  # fmt: skip
    x = np.linspace(-20, 20, 801).astype(np.float32)
    compare(model(nodes, {"x": x}, ["q", "y"], constants), {"x": x})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_parameters_along_an_axis(axis: int) -> None:
    x = floats(3, 4, 5)
    count = x.shape[axis]
    constants = {"s": np.linspace(0.01, 0.1, count).astype("f4"), "z": np.arange(count, dtype="i1")}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
             node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis)]  # fmt: skip
    graph = compare(model(nodes, {"x": x}, ["q", "y"], constants), {"x": x})
    assert any(isinstance(n.op, Dequantize) for n in graph.nodes)


def test_weights_of_blocks() -> None:
    stored = np.arange(24, dtype=np.int8).reshape(4, 6)
    scale = floats(4, 2, seed=3)
    nodes = [node("DequantizeLinear", ["w", "s"], ["r"], axis=1, block_size=3),
             node("Add", ["x", "r"], ["y"])]  # fmt: skip
    x = {"x": floats(4, 6)}
    compare(model(nodes, x, ["y"], {"w": stored, "s": scale}), x)


def test_dynamic_quantisation() -> None:
    """The scales and zero points of the operands of products and convolutions are computed."""
    rng = np.random.default_rng(5)
    x = floats(1, 3, 6, 5)
    constants = {
        "w": rng.integers(0, 255, (4, 3, 3, 3), np.uint8), "wz": np.uint8(100),
        "m": rng.integers(-100, 100, (5, 7), np.int8), "mz": np.int8(3),
    }  # fmt: skip
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("ConvInteger", ["q", "w", "z", "wz"], ["c"], pads=[1, 1, 1, 1]),
        node("MatMulInteger", ["q", "m", "z", "mz"], ["p"]),
    ]
    compare(model(nodes, {"x": x}, ["q", "s", "z", "c", "p"], constants), {"x": x})


def test_integer_products_with_known_zero_points() -> None:
    rng = np.random.default_rng(6)
    a, x = rng.integers(0, 255, (2, 5), np.uint8), rng.integers(0, 255, (1, 3, 6, 5), np.uint8)
    constants = {
        "w": rng.integers(0, 255, (4, 3, 3, 3), np.uint8),
        "b": rng.integers(0, 9, (5, 7), np.uint8),
        "z": np.uint8(128),
        "each": np.arange(7, dtype=np.uint8),
    }
    nodes = [
        node("MatMulInteger", ["a", "b", "z", "each"], ["p"]),
        node("ConvInteger", ["x", "w", "z"], ["c"]),
    ]
    given = {"a": a, "x": x}
    compare(model(nodes, given, ["p", "c"], constants), given)


@pytest.mark.parametrize("known", [True, False])
def test_integers_over_three_spatial_axes(known: bool) -> None:
    """Padding, also along depth, adds nothing to sums, because it equals the zero point."""
    rng = np.random.default_rng(7)
    x = rng.integers(0, 256, (2, 4, 5, 4, 6), np.uint8)
    w = rng.integers(-128, 128, (6, 2, 3, 2, 2), np.int8)
    scales, zeros = np.linspace(0.01, 0.05, 6).astype(np.float32), np.zeros(6, np.int8)
    point = np.uint8(131)
    constants = {"w": w, "xs": np.float32(0.02), "xz": point, "ws": scales, "wz": zeros,
                 "ys": np.float32(1.5), "yz": np.uint8(90),
                 "b": rng.integers(-3000, 3000, 6, np.int32)}  # fmt: skip
    window = {"group": 2, "pads": [2, 0, 1, 0, 1, 2], "strides": [2, 1, 3], "dilations": [2, 1, 1]}
    qlinear = node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["q"],
                   **window)  # fmt: skip
    nodes = [node("ConvInteger", ["x", "w", "xz" if known else "z"], ["c"], **window), qlinear]
    given = {"x": x} | ({} if known else {"z": point})
    graph = read(model(nodes, given, ["c", "q"], constants))
    sums, stored = evaluate(graph, tuple(given.values())).outputs
    plain = node("Conv", ["d", "f"], ["y"], **window)
    want = expected(model([plain], {"d": x - np.float32(point)}, ["y"], {"f": w.astype("f4")}),
                    {"d": x - np.float32(point)})[0]  # fmt: skip
    np.testing.assert_array_equal(sums, want)
    factor = np.float32(0.02) * scales / np.float32(1.5)
    total = (want + constants["b"].reshape(-1, 1, 1, 1)) * factor.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(stored, np.clip(np.rint(total) + 90, 0, 255))


def one_node(
    kind: str, inputs: Sequence[object], given: dict[str, Array], **attributes: object
) -> onnx.ModelProto:
    """A model of one node of the domain com.microsoft; operands are inputs' names or constants."""
    names, constants = [], {}
    for index, value in enumerate(inputs):
        name = value if isinstance(value, str) else f"c{index}"
        names.append(name)
        if not isinstance(value, str):
            constants[name] = np.asarray(value)
    made = node(kind, names, ["y"], domain="com.microsoft", **attributes)
    return model([made], given, ["y"], constants, domains=MICROSOFT)


def real(x: Array, scale: float, zero: int) -> Array:
    return (x.astype(np.float64) - zero) * scale


def stored(x: Array, scale: float, zero: int) -> Array:
    return np.clip(np.rint(x / scale) + zero, 0, 255)


def parameters(scale: float, zero: int) -> list[np.generic]:
    return [np.float32(scale), np.uint8(zero)]


BYTES = np.random.default_rng(9).integers(0, 256, (1, 4, 6, 5), np.uint8)
SAME, OTHER = (0.05, 120), (0.08, 90)


@pytest.mark.parametrize("kind", ["QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax",
                                  "QLinearAveragePool", "QLinearGlobalAveragePool"])  # fmt: skip
def test_extended_operators_of_one_operand(kind: str) -> None:
    x = real(BYTES, *SAME)
    raised = np.exp(x)
    want, attributes = {
        "QLinearSigmoid": (1 / (1 + np.exp(-x)), {}),
        "QLinearLeakyRelu": (np.where(x > 0, x, 0.2 * x), {"alpha": 0.2}),
        "QLinearSoftmax": (raised / raised.sum(1, keepdims=True), {"axis": 1, "opset": 13}),
        "QLinearAveragePool": (
            (x[..., :-1, :-1] + x[..., 1:, :-1] + x[..., :-1, 1:] + x[..., 1:, 1:]) / 4,
            {"kernel_shape": [2, 2]},
        ),
        "QLinearGlobalAveragePool": (x.mean((2, 3), keepdims=True), {}),
    }[kind]
    scale = 0.01
    proto = one_node(kind, ["x", *parameters(*SAME), *parameters(scale, 30)], {"x": BYTES},
                     **attributes)  # fmt: skip
    (got,) = computed(proto, {"x": BYTES})
    assert got.dtype == np.uint8
    assert np.abs(got - stored(want, scale, 30)).max() <= 1


@pytest.mark.parametrize("kind", ["QLinearAdd", "QLinearMul", "QLinearConcat"])
def test_extended_operators_of_two_operands(kind: str) -> None:
    other = BYTES[:, ::-1].copy()
    a, b = real(BYTES, *SAME), real(other, *OTHER)
    of_y = 0.1, 110
    pair = ["x", *parameters(*SAME), "z", *parameters(*OTHER)]
    if kind == "QLinearConcat":
        proto = one_node(kind, [*parameters(*of_y), *pair], {"x": BYTES, "z": other}, axis=1)
        want = np.concatenate([a, b], 1)
    else:
        proto = one_node(kind, [*pair, *parameters(*of_y)], {"x": BYTES, "z": other})
        want = a + b if kind == "QLinearAdd" else a * b
    (got,) = computed(proto, {"x": BYTES, "z": other})
    assert np.abs(got - stored(want, *of_y)).max() <= 1


@pytest.mark.parametrize("of_first", [SAME, OTHER])
def test_extended_choice(of_first: Parameters) -> None:
    """Both tensors are converted to the result's quantisation, unless they already have it."""
    other, chosen = BYTES[:, ::-1].copy(), np.arange(6).reshape(6, 1) % 2 == 0
    operands = ["k", "x", *parameters(*of_first), "z", *parameters(*OTHER), *parameters(*SAME)]
    given = {"k": chosen, "x": BYTES, "z": other}
    (got,) = computed(one_node("QLinearWhere", operands, given), given)
    want = np.where(chosen, real(BYTES, *of_first), real(other, *OTHER))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, stored(want, *SAME))


@pytest.mark.parametrize("real_result", [False, True])
def test_extended_gemm(real_result: bool) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 256, (5, 3), np.uint8), rng.integers(0, 256, (4, 5), np.uint8)
    c = rng.integers(-2000, 2000, 4, np.int32)
    pair = ["x", *parameters(*SAME), b, *parameters(*OTHER), c]
    result = [] if real_result else parameters(0.7, 128)
    proto = one_node("QGemm", [*pair, *result], {"x": a}, transA=1, transB=1, alpha=0.5)
    (got,) = computed(proto, {"x": a})
    unit = 0.5 * SAME[0] * OTHER[0]
    want = 0.5 * real(a, *SAME).T @ real(b, *OTHER).T + c * unit
    if real_result:
        np.testing.assert_allclose(got, want, rtol=1e-5)
    else:
        assert np.abs(got - stored(want, 0.7, 128)).max() <= 1


def test_sum_is_rounded_as_onnx_runtime_does() -> None:
    """Sums of 2 * 65536 pairs, including halves and numbers very close to halves, are exact."""
    x, z = (g.astype(np.uint8) for g in np.meshgrid(np.arange(256), np.arange(256)))
    inputs = ["x", *parameters(0.3, 10), "z", *parameters(0.1, 20), *parameters(0.2, 128)]
    (got,) = computed(one_node("QLinearAdd", inputs, {"x": x, "z": z}), {"x": x, "z": z})
    ratios = [np.float32(np.float32(s) / np.float32(0.2)) for s in (0.3, 0.1)]
    want = ratios[0] * (x - 10.0) + ratios[1] * (z - 20.0) + 128
    clear = np.abs(want - np.floor(want) - 0.5) > 1e-4
    assert 0.4 < clear.mean() < 0.6
    np.testing.assert_array_equal(got[clear], np.clip(np.rint(want), 0, 255)[clear])


def test_constants_in_nodes_are_found() -> None:
    """Some exporters store scales in Constant nodes."""
    b = Builder()
    b.quantise("x", "xq", 0.03, 128)
    b.dequantise("xq", "xr")
    b.activation("Sigmoid", "xr", "t")
    b.quantise("t", "yq", 1 / 256, 0)
    proto = b.model({"x": floats(5, 9)}, ["yq"])
    nodes = [node("Constant", [], [t.name], value=t) for t in proto.graph.initializer]
    del proto.graph.initializer[:]
    nodes += list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert kinds(read(proto))["lookup"] == 1
