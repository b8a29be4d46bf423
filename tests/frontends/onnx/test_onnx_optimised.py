"""Files that ONNX Runtime has optimised give the same results as the original model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import computed, expected, floats, model, node, read

from ellc.ir.errors import EllcError
from ellc.ir.types import Array

MICROSOFT = "com.microsoft"
NCHWC = "com.microsoft.nchwc"
DOMAINS = {MICROSOFT: 1, NCHWC: 1}
ACTIVATIONS: list[tuple[str, list[float], onnx.NodeProto]] = [
    ("Relu", [], node("Relu", ["c"], ["y"])),
    ("Tanh", [], node("Tanh", ["c"], ["y"])),
    ("LeakyRelu", [0.25], node("LeakyRelu", ["c"], ["y"], alpha=0.25)),
    ("Clip", [-0.5, 0.75], node("Clip", ["c", "low", "high"], ["y"])),
    ("HardSigmoid", [0.3, 0.4], node("HardSigmoid", ["c"], ["y"], alpha=0.3, beta=0.4)),
    ("Elu", [0.7], node("Elu", ["c"], ["y"], alpha=0.7)),
    ("Celu", [0.7], node("Celu", ["c"], ["y"], alpha=0.7)),
    ("ThresholdedRelu", [0.4], node("ThresholdedRelu", ["c"], ["y"], alpha=0.4)),
    ("Softplus", [], node("Softplus", ["c"], ["y"])),
    ("Softsign", [], node("Softsign", ["c"], ["y"])),
]
BOUNDS = {"low": np.float32(-0.5), "high": np.float32(0.75)}


def same(fused: onnx.ModelProto, plain: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    (got,), (want,) = computed(fused, inputs), expected(plain, inputs)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "numbers", "activation"), ACTIVATIONS, ids=lambda a: str(a)[:9])
def test_activation_that_was_joined(
    name: str, numbers: list[float], activation: onnx.NodeProto
) -> None:
    x, z = floats(1, 3, 7, 6), floats(1, 4, 7, 6, seed=1)
    constants = {"w": floats(4, 3, 3, 3, seed=2), "b": floats(4, seed=3), **BOUNDS}
    window = {"pads": [1, 1, 1, 1]}
    said: dict[str, Any] = {"activation": name, **window}
    if numbers:
        said["activation_params"] = numbers
    fused = node("FusedConv", ["x", "w", "b", "z"], ["y"], domain=MICROSOFT, **said)
    plain = [
        node("Conv", ["x", "w", "b"], ["s"], **window),
        node("Add", ["s", "z"], ["c"]),
        activation,
    ]
    given = {"x": x, "z": z}
    same(
        model([fused], given, ["y"], constants, domains=DOMAINS),
        model(plain, given, ["y"], constants),
        given,
    )


@pytest.mark.parametrize(("name", "numbers", "activation"), ACTIVATIONS, ids=lambda a: str(a)[:9])
def test_product_with_its_activation(
    name: str, numbers: list[float], activation: onnx.NodeProto
) -> None:
    x, constants = floats(4, 5), {"w": floats(6, 5, seed=1), "b": floats(6), **BOUNDS}
    each = dict(zip(("activation_alpha", "activation_beta"), numbers, strict=False))
    said = {"alpha": 0.5, "transB": 1}
    fused = node(
        "FusedGemm", ["x", "w", "b"], ["y"], domain=MICROSOFT, activation=name, **said, **each
    )
    plain = [node("Gemm", ["x", "w", "b"], ["c"], **said), activation]
    same(
        model([fused], {"x": x}, ["y"], constants, domains=DOMAINS),
        model(plain, {"x": x}, ["y"], constants),
        {"x": x},
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [("HardSigmoid", {"beta": 0.4}), ("Selu", {"gamma": 1.5}), ("Selu", {"alpha": 1.5})],
)
def test_parameters_of_an_activation_go_by_their_names(name: str, given: dict[str, float]) -> None:
    x, constants = {"x": floats(4, 5)}, {"w": floats(5, 6, seed=1)}
    said = {f"activation_{key}": value for key, value in given.items()}
    fused = node("FusedGemm", ["x", "w"], ["y"], domain=MICROSOFT, activation=name, **said)
    plain = [node("Gemm", ["x", "w"], ["c"]), node(name, ["c"], ["y"], **given)]
    same(model([fused], x, ["y"], constants, domains=DOMAINS), model(plain, x, ["y"], constants), x)


ROW = {"x": floats(2, 3, 8, seed=5)}
LAST = {"epsilon": 1e-3}
TINY = {"epsilon": 1e-12}
JOINED: dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]] = {
    "BiasGelu": (
        node("BiasGelu", ["x", "b"], ["y"], domain=MICROSOFT),
        [node("Add", ["x", "b"], ["s"]), node("Gelu", ["s"], ["y"])],
    ),
    "FastGelu": (
        node("FastGelu", ["x", "b"], ["y"], domain=MICROSOFT),
        [node("Add", ["x", "b"], ["s"]), node("Gelu", ["s"], ["y"], approximate="tanh")],
    ),
    "FastGelu alone": (
        node("FastGelu", ["x"], ["y"], domain=MICROSOFT),
        [node("Gelu", ["x"], ["y"], approximate="tanh")],
    ),
    "QuickGelu": (
        node("QuickGelu", ["x"], ["y"], domain=MICROSOFT),
        [
            node("Mul", ["x", "alpha"], ["m"]),
            node("Sigmoid", ["m"], ["s"]),
            node("Mul", ["x", "s"], ["y"]),
        ],
    ),
    "SkipLayerNormalization": (
        node("SkipLayerNormalization", ["x", "z", "g", "b", "c"], ["y", "", "", "sum"],
             domain=MICROSOFT, **LAST),
        [
            node("Add", ["x", "z"], ["s"]),
            node("Add", ["s", "c"], ["sum"]),
            node("LayerNormalization", ["sum", "g", "b"], ["y"], **LAST),
        ],
    ),
    "SkipLayerNormalization of two": (
        node("SkipLayerNormalization", ["x", "plane", "g"], ["y"], domain=MICROSOFT),
        [
            node("Add", ["x", "plane"], ["sum"]),
            node("LayerNormalization", ["sum", "g"], ["y"], **TINY),
        ],
    ),
    "SkipSimplifiedLayerNormalization": (
        node("SkipSimplifiedLayerNormalization", ["x", "z", "g", "c"], ["y", "", "", "sum"],
             domain=MICROSOFT, **LAST),
        [
            node("Add", ["x", "z"], ["s"]),
            node("Add", ["s", "c"], ["sum"]),
            node("RMSNormalization", ["sum", "g"], ["y"], **LAST),
        ],
    ),
    "SimplifiedLayerNormalization": (
        node("SimplifiedLayerNormalization", ["x", "g"], ["y"], stash_type=1, **LAST),
        [node("RMSNormalization", ["x", "g"], ["y"], **LAST)],
    ),
}  # fmt: skip
VECTORS = {
    **{name: floats(8, seed=seed) for seed, name in enumerate("bgc")},
    "z": floats(2, 3, 8, seed=6),
    "plane": floats(3, 8, seed=7),
    "alpha": np.float32(1.702),
}


@pytest.mark.parametrize("name", JOINED)
def test_layers_that_were_joined(name: str) -> None:
    fused, plain = JOINED[name]
    names = [output for output in fused.output if output]
    read_by = {i for each in (fused, *plain) for i in each.input} & {*VECTORS}
    constants = {key: VECTORS[key] for key in sorted(read_by)}
    made = model([fused], ROW, names, constants, domains=DOMAINS)
    wanted = expected(model(plain, ROW, names, constants, opset=23), ROW)
    for got, want in zip(computed(made, ROW), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


AS_REALS = [
    node("MatMulInteger", ["q", "w", "qz", "wz"], ["t"]),
    node("Cast", ["t"], ["f"], to=onnx.TensorProto.FLOAT),
    node("Mul", ["qs", "ws"], ["s"]),
    node("Mul", ["f", "s"], ["p"]),
    node("Add", ["p", "b"], ["y"]),
]


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("form", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_products_of_bytes_as_reals(form: str, columns: int) -> None:
    x = {"x": floats(2, 3, 5)}
    rng = np.random.default_rng(3)
    constants: dict[str, Any] = {
        "w": rng.integers(0, 256, (5, 4), np.uint8),
        "ws": (rng.random(columns) / 50 + 0.01).astype(np.float32),
        "wz": rng.integers(90, 160, columns, np.uint8),
        "b": floats(4, seed=8),
    }
    made = node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"])
    if form == "DynamicQuantizeMatMul":
        fused = [node(form, ["x", "w", "ws", "wz", "b"], ["y"], domain=MICROSOFT)]
    else:
        operands = ["q", "w", "qs", "ws", "qz", "wz", "b"]
        fused = [made, node(form, operands, ["y"], domain=MICROSOFT)]
    same(
        model(fused, x, ["y"], constants, domains=DOMAINS),
        model([made, *AS_REALS], x, ["y"], constants),
        x,
    )


@pytest.mark.parametrize("form", ["", "DynamicQuantizeMatMul"])
def test_of_zeros_alone_the_scale_is_one(form: str) -> None:
    """Silence is an example. The specification would divide 0 by 0; ONNX Runtime's result is 1."""
    x = {"x": np.zeros((2, 5), np.float32)}
    if form:
        constants = {"w": np.full((5, 4), 9, np.uint8), "ws": np.float32(0.1), "wz": np.uint8(3)}
        fused = node(form, ["x", "w", "ws", "wz"], ["y"], domain=MICROSOFT)
        (got,) = computed(model([fused], x, ["y"], constants, domains=DOMAINS), x)
        np.testing.assert_array_equal(got, np.zeros((2, 4), np.float32))
        return
    plain = node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    stored_, scale, zero = computed(model([plain], x, ["q", "s", "z"]), x)
    assert not stored_.any()
    assert (scale, zero) == (1, 0)


@pytest.mark.parametrize(
    ("operator", "advice"),
    [("DynamicQuantizeLSTM", "op_types_to_quantize"), ("MatMulNBits", "QuantFormat.QDQ")],
)
def test_what_is_refused_says_what_to_do(operator: str, advice: str) -> None:
    proto = model(
        [node(operator, ["x"], ["y"], "it", domain=MICROSOFT)], ROW, ["y"], domains=DOMAINS
    )
    with pytest.raises(EllcError) as caught:
        read(proto)
    assert advice in caught.value.problems[0]


@pytest.mark.parametrize("flags", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)])
def test_product_of_turned_operands(flags: tuple[int, int, int, int]) -> None:
    """transA, transB exchange the last axes; transBatchA moves the first axis after the batch."""
    trans_a, trans_b, batch_a, batch_b = flags
    a, b = floats(2, 3, 4), floats(2, 4, 5, seed=1)
    stored_a = a.swapaxes(1, 2) if trans_a else a.transpose(1, 0, 2) if batch_a else a
    stored_b = b.swapaxes(1, 2) if trans_b else b
    given = {"a": np.asarray(stored_a, order="C"), "b": np.asarray(stored_b, order="C")}
    fused = node("FusedMatMul", ["a", "b"], ["y"], domain=MICROSOFT, alpha=0.5, transA=trans_a,
                 transB=trans_b, transBatchA=batch_a, transBatchB=batch_b)  # fmt: skip
    (got,) = computed(model([fused], given, ["y"], domains=DOMAINS), given)
    np.testing.assert_allclose(got, 0.5 * (a @ b), rtol=1e-5, atol=1e-6)


def stored(w: Array, block: int) -> Array:
    """Filters in the format of ONNX Runtime: in blocks of output channels, and of input channels
    if there are at least as many, in a shape that is padded to whole blocks."""
    filters, channels, rows, columns = w.shape
    inputs = channels if channels < block else -(-channels // block) * block
    outputs = -(-filters // block) * block
    inner = 1 if channels < block else block
    made = np.zeros((outputs // block, inputs // inner, rows, columns, inner, block), np.float32)
    for f in range(filters):
        for c in range(channels):
            made[f // block, c // inner, :, :, c % inner, f % block] = w[f, c]
    return made.reshape(outputs, inputs, rows, columns)


def filled(b: Array, block: int) -> Array:
    return np.pad(b, (0, -len(b) % block))


@pytest.mark.parametrize("block", [8, 16])
def test_images_in_blocks_of_channels(block: int) -> None:
    """A first layer on NCHW, a depthwise layer, an ordinary layer, pools, and a sliced result."""
    filters = 20 if block == 8 else 40
    w, d = floats(16, 3, 3, 3, seed=1), floats(16, 1, 3, 3, seed=2)
    v, b = floats(filters, 16, 1, 1, seed=3), floats(filters, seed=4)
    plain = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2]),
        node("Conv", ["m", "d"], ["e"], group=16),
        node("Conv", ["e", "v", "b"], ["f"]),
        node("AveragePool", ["f"], ["a"], kernel_shape=[2, 2]),
        node("Resize", ["a", "", "scales"], ["y"], coordinate_transformation_mode="asymmetric",
             nearest_mode="floor"),
    ]  # fmt: skip

    def on_blocks(kind: str, inputs: list[str], output: str, **said: Any) -> onnx.NodeProto:
        return node(kind, inputs, [output], domain=NCHWC, **said)

    blocks = [
        on_blocks("Conv", ["x", "w"], "r", pads=[1] * 4, activation="Relu"),
        on_blocks("MaxPool", ["r"], "m", kernel_shape=[2, 2]),
        on_blocks("Conv", ["m", "d"], "e", group=16),
        on_blocks("Conv", ["e", "v", "b"], "f"),
        on_blocks("AveragePool", ["f"], "a", kernel_shape=[2, 2]),
        on_blocks("Upsample", ["a"], "u", scales=[1, 1, 2, 3], mode="nearest",
                  coordinate_transformation_mode="asymmetric"),
        on_blocks("ReorderOutput", ["u"], "y", channels=filters),
    ]  # fmt: skip
    x = {"x": floats(1, 3, 9, 8)}
    constants = {"w": w, "d": d, "v": v, "b": b, "scales": np.array([1, 1, 2, 3], np.float32)}
    kept = {"w": stored(w, block), "d": stored(d, block), "v": stored(v, block),
            "b": filled(b, block)}  # fmt: skip
    same(model(blocks, x, ["y"], kept, domains=DOMAINS), model(plain, x, ["y"], constants), x)


def test_blocks_of_unknown_size_are_refused_with_advice() -> None:
    """If all numbers of filters are multiples of 16, the block size is ambiguous."""
    conv = node("Conv", ["x", "w"], ["c"], domain=NCHWC)
    out = node("ReorderOutput", ["c"], ["y"], domain=NCHWC, channels=16)
    x = floats(1, 3, 4, 4)
    proto = model([conv, out], {"x": x}, ["y"], {"w": floats(16, 3, 1, 1)}, domains=DOMAINS)
    with pytest.raises(EllcError) as caught:
        computed(proto, {"x": x})
    assert "'extended'" in caught.value.problems[0]


@pytest.mark.parametrize("last", [0, 1])
def test_planes_and_pixels_become_blocks_and_back(last: int) -> None:
    x = {"x": floats(1, 4, 5, 9) if last else floats(1, 9, 4, 5)}
    v = floats(20, 9, 1, 1)
    nodes = [
        node("ReorderInput", ["x"], ["b"], domain=NCHWC, channels_last=last),
        node("Conv", ["b", "v"], ["c"], domain=NCHWC),
        node("ReorderOutput", ["c"], ["y"], domain=NCHWC, channels=20, channels_last=last),
    ]
    (got,) = computed(model(nodes, x, ["y"], {"v": stored(v, 8)}, domains=DOMAINS), x)
    planes = x["x"].transpose(0, 3, 1, 2) if last else x["x"]
    want = np.einsum("nchw,fc->nfhw", planes, v[:, :, 0, 0])
    want = want.transpose(0, 2, 3, 1) if last else want
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
