"""Numbers of 4 and 2 bits: they are stored, quantised and moved, but never computed with."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx_models import compare, floats, model, node, read

from ellc.ir.errors import EllcError
from ellc.ir.types import Array

KINDS = {
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int2": TensorProto.INT2,
    "uint2": TensorProto.UINT2,
}
OPSET, IR_VERSION = 25, 13


def drawn(kind: str, *shape: int) -> Array:
    """Random numbers from the whole range of a type."""
    dtype = getattr(ml_dtypes, kind)
    info = ml_dtypes.iinfo(dtype)
    numbers = np.random.default_rng(3).integers(int(info.min), int(info.max) + 1, shape)
    return np.asarray(np.asarray(numbers).astype(dtype))


def with_narrow(
    nodes: Sequence[NodeProto],
    x: Array,
    constants: dict[str, Array],
    narrow: dict[str, Array],
    kind: str,
    *,
    listed: bool = False,
) -> ModelProto:
    """A model with constants of a narrow type, stored as bytes or as a list of integers."""
    made = model(nodes, {"x": x}, ["y"], constants, opset=OPSET)
    made.ir_version = IR_VERSION
    for name, array in narrow.items():
        if listed:
            numbers = array.reshape(-1).astype(np.int32)
            tensor = helper.make_tensor(name, KINDS[kind], array.shape, numbers)
        else:
            tensor = numpy_helper.from_array(array, name)
        assert tensor.HasField("raw_data") != listed
        made.graph.initializer.append(tensor)
    return made


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weights(kind: str, listed: bool) -> None:
    """One scale per row and one per block of three, with an odd number of elements."""
    x = floats(2, 9)
    for shape, how in (((5,), {"axis": 0}), ((5, 3), {"axis": 1, "block_size": 3})):
        scales = np.abs(floats(*shape)) + np.float32(0.1)
        narrow = {"w": drawn(kind, 5, 9), "z": drawn(kind, *shape)}
        nodes = [
            node("DequantizeLinear", ["w", "s", "z"], ["r"], **how),
            node("Gemm", ["x", "r"], ["y"], transB=1),
        ]
        compare(with_narrow(nodes, x, {"s": scales}, narrow, kind, listed=listed), {"x": x})


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_quantised_convolution(kind: str) -> None:
    """The layer computes with floats; it is not turned into an integer operator."""
    x = floats(1, 3, 6, 5)
    scales = {"s": 0.02, "ws": 0.3, "os": 0.0317}  # so that no sum is halfway between two steps
    constants = {n: np.float32(v) for n, v in scales.items()} | {"b": np.int8(3)}
    narrow = {"w": drawn(kind, 4, 3, 3, 3)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "b"], ["q"]),
        node("DequantizeLinear", ["q", "s", "b"], ["d"]),
        node("DequantizeLinear", ["w", "ws"], ["r"]),
        node("Conv", ["d", "r"], ["c"]),
        node("QuantizeLinear", ["c", "os", "b"], ["o"]),
        node("DequantizeLinear", ["o", "os", "b"], ["y"]),
    ]
    compare(with_narrow(nodes, x, constants, narrow, kind), {"x": x}, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_computed_numbers(kind: str) -> None:
    """Computed numbers saturate, are moved, and are read by DequantizeLinear or Cast."""
    x = floats(2, 9) * np.float32(20)
    constants = {"s": np.float32(0.7), "shape": np.array([3, 6])}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("Transpose", ["q"], ["t"]),
        node("Reshape", ["t", "shape"], ["u"]),
        node("DequantizeLinear", ["u", "s", "z"], ["y"]),
    ]
    compare(with_narrow(nodes, x, constants, {"z": drawn(kind)}, kind), {"x": x})
    nodes = [
        node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=KINDS[kind]),
        node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    compare(with_narrow(nodes, x, constants, {}, kind), {"x": x})


BODY = helper.make_graph(
    [node("Identity", ["w"], ["inner"])],
    "body",
    [],
    [helper.make_tensor_value_info("inner", TensorProto.INT4, [3])],
)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Identity", ["w"], ["y"])], "the output 'y' is of type int4"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["y"])], "the output 'y' is of type int4"),
        (
            [node("Concat", ["w", "w"], ["y"], axis=0)],
            r"y \(Concat\): computation with int4 is not supported",
        ),
        ([node("Cast", ["x"], ["y"], to=TensorProto.INT4)], "int4 are not computed; Quantize"),
        ([node("CastLike", ["x", "w"], ["y"])], "computation with int4 is not supported"),
        ([node("If", ["c"], ["y"], then_branch=BODY, else_branch=BODY)], "int4"),
    ],
)
def test_what_would_compute_with_them(nodes: list[NodeProto], said: str) -> None:
    x, narrow = floats(3), {"w": drawn("int4", 3), "z": drawn("int4")}
    constants = {"s": np.float32(1), "c": np.array(True)}
    with pytest.raises(EllcError, match=said):
        read(with_narrow(nodes, x, constants, narrow, "int4"))


def test_an_input_of_four_bits_says_what_to_do() -> None:
    x = [helper.make_tensor_value_info("x", TensorProto.UINT4, [4])]
    nodes = [node("DequantizeLinear", ["x", "s"], ["y"])]
    with pytest.raises(EllcError, match=r"'x'.*uint4.*uint8 holds the same numbers"):
        read(model(nodes, x, ["y"], {"s": np.float32(1)}))


def test_the_bytes_must_be_those_of_the_shape() -> None:
    made = with_narrow(
        [node("DequantizeLinear", ["w", "s"], ["y"])],
        floats(3),
        {"s": np.float32(1)},
        {"w": drawn("int4", 5)},
        "int4",
    )
    made.graph.initializer[-1].raw_data += b"0"
    with pytest.raises(EllcError, match="'w' has 4 bytes, but 5 x int4 need 3"):
        read(made)
