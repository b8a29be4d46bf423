"""Files that ONNX Runtime optimised: they mean what the model before it meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import computed, expected, floats, model, node

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
    """Filters as ONNX Runtime stores them: blocks of output channels, of inputs if there are so
    many, under a shape filled up to whole blocks."""
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
    """A first layer on planes, a depthwise one, a full one, pools, and a result cut to size."""
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
    """Filters in multiples of 16 only could be stored either way."""
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
