"""Numbers of 4 and 2 bits: as weights, they give the same results as bytes, or are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_files import PACKED, T, TFLiteFile, reference, saved, single

from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array


def options(name: str, **values: object) -> Any:
    made = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        setattr(made, key, value)
    return made


WINDOW: Mapping[str, int] = dict.fromkeys(
    ("strideW", "strideH", "dilationWFactor", "dilationHFactor"), 1
)
DENSE = options("FullyConnected")
SCALES = (0.02, 0.03, 0.05)
BIAS = T.of(np.zeros(3, np.int32), scale=tuple(0.1 * s for s in SCALES), zero=(0, 0, 0))


def weights(kind: str, *shape: int) -> Array:
    """Random numbers from the whole range of a type; an odd shape has an odd number of them."""
    high = 1 << PACKED[kind]
    low = 0 if kind == "uint4" else -high // 2
    drawn = np.random.default_rng(1).integers(low, low + high, shape)
    return drawn.astype(np.uint8 if kind == "uint4" else np.int8)


def stored(kind: str, data: Array, axis: int = 0, *, each: bool = True) -> T:
    scale = SCALES if each else SCALES[:1]
    return T(data.shape, kind, data, scale, (0,) * len(scale), axis)


def layer(operator: str, kind: str, as_type: str) -> bytes:
    """A layer whose weights have a narrow range, stored in the narrow type or as bytes."""
    x8, y8 = (T(s, "int8", None, (0.1,), (3,)) for s in ((2, 7), (2, 3)))
    match operator:
        case "dense":
            w = stored(as_type, weights(kind, 3, 7))
            return single("FULLY_CONNECTED", (x8, w, None), (y8,), DENSE)
        case "wide dense":
            w = stored(as_type, weights(kind, 3, 7))
            x, y = (T(s, "int16", None, (0.002,), (0,)) for s in ((2, 7), (2, 3)))
            return single("FULLY_CONNECTED", (x, w, None), (y,), DENSE)
        case "hybrid dense":
            w = stored(as_type, weights(kind, 3, 7), each=False)
            return single("FULLY_CONNECTED", (T((2, 7)), w, None), (T((2, 3)),), DENSE)
        case "embedding":
            w = stored(as_type, weights(kind, 3, 8), each=False)
            return single("EMBEDDING_LOOKUP", (T((2,), "int32"), w), (T((2, 8)),))
        case "convolution":
            w = stored(as_type, weights(kind, 3, 3, 3, 3))
            x, y = (T((1, 5, 4, 3), "int8", None, (0.1,), (3,)) for _ in range(2))
            return single("CONV_2D", (x, w, BIAS), (y,), options("Conv2D", **WINDOW))
        case "depthwise":
            w = stored(as_type, weights(kind, 1, 3, 3, 3), 3)
            x, y = (T((1, 5, 4, 3), "int8", None, (0.1,), (3,)) for _ in range(2))
            how = options("DepthwiseConv2D", depthMultiplier=1, **WINDOW)
            return single("DEPTHWISE_CONV_2D", (x, w, BIAS), (y,), how)
    file = TFLiteFile()
    x, y, r = file.add(T((2, 7))), file.add(T((2, 3))), file.add(T((3, 7)))
    w = file.add(stored(as_type, weights(kind, 3, 7), each=False))
    file.apply("DEQUANTIZE", [w], [r])
    file.apply("FULLY_CONNECTED", [x, r, -1], [y], DENSE)
    return file.data([x], [y])


EXACT = ("dense", "wide dense", "embedding", "convolution", "depthwise")
CASES = [
    *(("int4", o) for o in (*EXACT, "hybrid dense", "dequantised")),
    *(("int2", o) for o in ("dense", "wide dense", "embedding", "hybrid dense", "dequantised")),
    ("uint4", "dequantised"),
]


@pytest.mark.parametrize(("kind", "operator"), CASES)
def test_weights_of_a_few_bits(kind: str, operator: str, tmp_path: Path) -> None:
    """Results equal those with the same numbers as bytes, and those of the runtime."""
    in_bytes = "uint8" if kind == "uint4" else "int8"
    data = layer(operator, kind, kind)
    graph = read_tflite(saved(data, tmp_path))
    (port,) = graph.inputs
    dtype = graph.types[port.value].dtype.numpy
    drawn = np.random.default_rng(2).integers(-128, 128, graph.types[port.value].shape)
    x = np.abs(drawn) % 3 if operator == "embedding" else drawn
    given = (x.astype(dtype),)
    (found,) = evaluate(graph, given).outputs
    plain = read_tflite(saved(layer(operator, kind, in_bytes), tmp_path))
    np.testing.assert_array_equal(found, evaluate(plain, given).outputs[0])
    if operator in EXACT:
        np.testing.assert_array_equal(found, reference(data, given)[0][0])
    elif operator == "dequantised":
        np.testing.assert_allclose(found, reference(data, given)[0][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("as_type", ["int8", "int4", "float32"])
@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_rounding_that_is_left_out_is_said(operator: str, as_type: str, tmp_path: Path) -> None:
    """The runtime rounds floats before it multiplies them by integers; ellc does not."""
    how = {
        "CONV_2D": ((3, 3, 3, 3), options("Conv2D", **WINDOW)),
        "DEPTHWISE_CONV_2D": (
            (1, 3, 3, 3),
            options("DepthwiseConv2D", depthMultiplier=1, **WINDOW),
        ),
        "FULLY_CONNECTED": ((3, 3), DENSE),
    }
    shape, chosen = how[operator]
    numbers = weights("int4", *shape)
    is_float = as_type == "float32"
    axis = 3 if operator == "DEPTHWISE_CONV_2D" else 0
    w = T.of(numbers, as_type) if is_float else stored(as_type, numbers, axis)
    x = T((1, 5, 4, 3)) if len(shape) == 4 else T((2, 3))
    y = T((*x.shape[:-1], 3))
    graph = read_tflite(saved(single(operator, (x, w, None), (y,), chosen), tmp_path))
    said = [text for key, text in graph.metadata.items() if key.startswith("note.")]
    assert ["rounds what they multiply" in text for text in said] == ([] if is_float else [True])


@pytest.mark.parametrize(
    ("kind", "tensors", "said"),
    [
        ("QUANTIZE", (T((3,)), T((3,), "int4", None, (0.1,), (0,))), "INT4 and not a constant"),
        ("CAST", (T((3,)), T((3,), "int4")), "with 8 bits (INT8)"),
        ("CAST", (T((3,)), T((3,), "uint4")), "with 8 bits (UINT8)"),
        ("DEQUANTIZE", (T((3,), "int2", None, (0.1,), (0,)), T((3,))), "INT2 and not a"),
    ],
)
def test_what_is_computed_has_eight_bits(
    kind: str, tensors: tuple[T, T], said: str, tmp_path: Path
) -> None:
    x, y = tensors
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(single(kind, (x,), (y,)), tmp_path))
    assert said in caught.value.problems[0]


def test_other_operators_do_not_take_their_bytes(tmp_path: Path) -> None:
    w = stored("int4", weights("int4", 3, 5), each=False)
    x, y = (T((3, 5), "int8", None, (0.1,), (0,)) for _ in range(2))
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(single("ADD", (x, w), (y,), options("Add")), tmp_path))
    assert "(ADD): it reads 't1' of type INT4" in caught.value.problems[0]


def test_a_buffer_of_another_size_is_damage(tmp_path: Path) -> None:
    w = T((3, 7), "int4", weights("int4", 3, 5), SCALES, (0, 0, 0))
    x, y = (T(s, "int8", None, (0.1,), (3,)) for s in ((2, 7), (2, 3)))
    with pytest.raises(EllcError, match="8 bytes for 21 numbers of 4 bits"):
        read_tflite(saved(single("FULLY_CONNECTED", (x, w, None), (y,), DENSE), tmp_path))
