"""Operators, in each version that changed them, compared with ONNX's evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import compare, computed, expected, floats, model, node, read

from ellc.frontends.onnx.registry import all_operators
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

IMAGE = floats(2, 3, 9, 7)
ROW = floats(2, 3, 11)


@dataclass(frozen=True)
class Example:
    """A node with the input `x`; its further operands are constants."""

    operator: str
    x: Array
    constants: tuple[Array | None, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 21
    outputs: int = 1

    def __str__(self) -> str:
        said = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.operator}-{self.opset}-{len(self.constants)}-{said}"[:80]


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _windows() -> Iterator[Example]:
    w, b = floats(4, 3, 3, 2, seed=1), floats(4, seed=2)
    yield Example("Conv", IMAGE, (w, b))
    yield Example("Conv", IMAGE, (w,), {"pads": [1, 0, 2, 1], "strides": [2, 3]})
    yield Example("Conv", IMAGE, (w,), {"dilations": [2, 1], "kernel_shape": [3, 2]})
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Example("Conv", IMAGE, (w,), {"auto_pad": mode, "strides": [2, 1]})
    yield Example("Conv", IMAGE, (floats(6, 1, 3, 3, seed=3),), {"group": 3, "pads": [1] * 4})
    yield Example("Conv", ROW, (floats(4, 3, 5, seed=4), b), {"pads": [2, 1], "strides": [2]})
    for kind in ("MaxPool", "AveragePool"):
        yield Example(kind, IMAGE, (), {"kernel_shape": [3, 2], "strides": [2, 2]})
        yield Example(kind, IMAGE, (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})
        yield Example(kind, ROW, (), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]})
        yield Example(kind, IMAGE, (), {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"})
        yield Example(kind, floats(1, 2, 5, 5), (),
                      {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})  # fmt: skip
    yield Example("MaxPool", IMAGE, (), {"kernel_shape": [2, 3], "dilations": [2, 2]})
    yield Example("AveragePool", IMAGE, (), {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1]})
    yield Example("AveragePool", IMAGE, (),
                  {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1})  # fmt: skip
    for counts in (0, 1):
        spread = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]}
        yield Example("AveragePool", IMAGE, (), {**spread, "count_include_pad": counts})
    yield Example("GlobalAveragePool", IMAGE)
    yield Example("GlobalMaxPool", IMAGE)
    yield Example("GlobalAveragePool", ROW)


def _volumes() -> Iterator[Example]:
    x = floats(2, 4, 6, 7, 5)
    w, grouped = floats(6, 4, 3, 2, 2, seed=1), floats(6, 2, 2, 3, 2, seed=2)
    yield Example("Conv", x, (w, floats(6)))
    yield Example("Conv", x, (w,), {"pads": [1, 0, 2, 1, 1, 0], "strides": [2, 1, 3]})
    yield Example("Conv", x, (w,), {"dilations": [2, 1, 2], "auto_pad": "SAME_UPPER"})
    yield Example("Conv", x, (grouped,), {"group": 2, "pads": [1] * 6})
    back = floats(4, 3, 3, 2, 2, seed=3)
    yield Example("ConvTranspose", x, (back, floats(3)))
    yield Example("ConvTranspose", x, (back,), {"strides": [2, 1, 3], "pads": [1, 0, 1, 0, 1, 1]})
    yield Example(
        "ConvTranspose",
        x,
        (back,),
        {"strides": [3, 2, 1], "dilations": [2, 1, 1], "output_padding": [1, 1, 0]},
    )
    window = {"kernel_shape": [3, 2, 2], "strides": [2, 1, 2]}
    for kind in ("MaxPool", "AveragePool", "LpPool"):
        yield Example(kind, x, (), window)
        yield Example(kind, x, (), {**window, "pads": [1, 0, 1, 1, 1, 0]})
    yield Example("AveragePool", x, (), {**window, "pads": [1] * 6, "count_include_pad": 1})
    yield Example("GlobalAveragePool", x)


def _products() -> Iterator[Example]:
    a, b = floats(4, 5), floats(5, 6, seed=1)
    yield Example("MatMul", a, (b,))
    yield Example("MatMul", floats(2, 3, 4, 5), (b,))
    yield Example("MatMul", floats(5), (b,))
    yield Example("MatMul", a, (floats(5, seed=1),))
    yield Example("MatMul", floats(2, 1, 4, 5), (floats(3, 5, 2, seed=1),))
    yield Example("Gemm", a, (b, floats(6)), {"alpha": 0.5, "beta": 2.0})
    yield Example("Gemm", a, (b, floats(4, 1)), {})
    yield Example("Gemm", floats(5, 4), (floats(6, 5),), {"transA": 1, "transB": 1})
    yield Example("Gemm", a, (b, floats(1)), {"beta": 0.25}, opset=7)
    four = [floats(3, seed=i) for i in range(1, 4)]
    yield Example("BatchNormalization", IMAGE, (*four, np.abs(four[0])), {"epsilon": 1e-2})
    yield Example("BatchNormalization", floats(2, 3), (*four, np.abs(four[0])))


def _shapes() -> Iterator[Example]:
    x = floats(2, 3, 4, 1)
    yield Example("Reshape", x, (ints(0, -1),))
    yield Example("Reshape", x, (ints(4, 2, 3),), {"allowzero": 1})
    yield Example("Flatten", x, (), {"axis": -2})
    yield Example("Flatten", x, (), {"axis": 0})
    yield Example("Squeeze", x)
    yield Example("Squeeze", x, (ints(-1),))
    yield Example("Squeeze", x, (), {"axes": [3]}, opset=11)
    yield Example("Unsqueeze", x, (ints(0, -1),))
    yield Example("Unsqueeze", x, (), {"axes": [1, 5]}, opset=11)
    yield Example("Transpose", x)
    yield Example("Transpose", x, (), {"perm": [1, 3, 0, 2]})
    yield Example("Expand", x, (ints(3, 1, 1, 1, 5),))
    yield Example("Expand", x, (ints(1),))
    yield Example("Tile", x, (ints(1, 2, 1, 3),))
    yield Example("Split", floats(7, 2), (), {"num_outputs": 3}, opset=18, outputs=3)
    yield Example("Split", floats(2, 7), (ints(3, 4),), {"axis": 1}, outputs=2)
    yield Example("Split", floats(2, 7), (), {"axis": -1, "split": [2, 5]}, opset=11, outputs=2)
    yield Example("Slice", x, (), {"starts": [1, -3], "ends": [9, -1], "axes": [0, 2]}, opset=9)
    for starts, ends, steps in ((0, 3, 2), (-1, -9, -1), (9, 0, -2), (-99, 99, 3)):
        yield Example("Slice", x, (ints(starts), ints(ends), ints(2), ints(steps)))
    yield Example("Gather", x, (ints(2, -1),), {"axis": 2})
    yield Example("Gather", x, (np.array(1),), {"axis": -2})
    yield Example("Gather", x, (np.array([[3, 0], [0, 2]]),), {"axis": 2})
    yield Example("Concat", x, (floats(2, 1, 4, 1),), {"axis": -3})
    yield Example("Pad", x, (), {"pads": [0, 1, 0, 2, 0, 0, 3, 0], "value": 1.5}, opset=10)
    yield Example("Pad", x, (ints(1, 2), None, ints(2)), {"mode": "reflect"}, opset=18)
    yield Example("Pad", x, (ints(0, 2, 2, 0, 0, 1, 0, 0),), {"mode": "edge"})
    yield Example("Pad", x, (ints(0, 2, 2, 0, 0, 1, 0, 0),), {"mode": "wrap"})


def _pointwise() -> Iterator[Example]:
    x = floats(2, 3, 4)
    for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "Exp", "Abs", "Neg", "Floor", "Ceil",
                 "Round", "Sign", "HardSwish", "Elu", "Selu", "LeakyRelu", "HardSigmoid",
                 "Identity", "Reciprocal", "Sin", "Cos"):  # fmt: skip
        yield Example(kind, x)
    yield Example("Selu", x, (), {"alpha": 1.2, "gamma": 2.0})
    yield Example("Gelu", x, (), {"approximate": "tanh"})
    yield Example("Clip", x, (), {"min": -0.5}, opset=10)
    yield Example("Clip", x, (None, np.float32(0.25)))
    yield Example("Clip", x, (np.float32(0.5), np.float32(-0.5)), opset=13)
    yield Example("PRelu", x, (floats(3, 1),))
    for kind in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"):
        base = np.abs(x) + np.float32(0.5)
        for other in (floats(4, seed=1), floats(5, 2, 1, 1, seed=1), floats(1, seed=1)):
            yield Example(kind, base, (np.abs(other) + np.float32(0.5),))
    yield Example("Mean", x, (floats(4, seed=1), floats(1, seed=2)))
    yield Example("Pow", x, (ints(2),))
    for fmod in (0, 1):
        yield Example("Mod", np.array([-7, -3, 0, 5, 9]), (ints(3, -2, 4, -3, 5),), {"fmod": fmod})
    for kind in ("Less", "GreaterOrEqual", "Equal"):
        yield Example(kind, np.round(x), (np.round(floats(2, 3, 4, seed=1)),))
    yield Example("Cast", 100 * x, (), {"to": 6})
    yield Example("Where", x > 0, (floats(4), floats(2, 1, 1)))
    yield Example("Dropout", x, (), {"ratio": 0.3}, opset=11)


def _reductions() -> Iterator[Example]:
    x = floats(2, 3, 4)
    for kind in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
        operator = f"Reduce{kind}"
        yield Example(operator, x, (ints(1, -1),), {"keepdims": 0})
        yield Example(operator, x, (), {"axes": [0]}, opset=11)
        yield Example(operator, x)
    yield Example("ReduceLogSum", np.abs(x), (ints(1),))
    yield Example("ReduceSum", x, (ints(),), {"noop_with_empty_axes": 1})
    few = np.array([[3, 1, 3, 1], [2, 2, 0, 0]], np.float32)
    for kind in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            yield Example(kind, few, (), {"axis": 1, "select_last_index": last, "keepdims": last})
    for kind in ("Softmax", "LogSoftmax"):
        yield Example(kind, x)
        yield Example(kind, x, (), {"axis": 0})


def _resizes() -> Iterator[Example]:
    scales = np.array([1, 1, 1.6, 0.8], np.float32)
    for mode in ("nearest", "linear", "cubic"):
        yield Example("Resize", IMAGE, (None, scales), {"mode": mode})
    corners = {"coordinate_transformation_mode": "align_corners", "mode": "linear"}
    yield Example("Resize", IMAGE, (None, None, ints(2, 3, 5, 9)), corners)
    yield Example("Resize", IMAGE, (None, None, ints(5, 9)),
                  {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"})  # fmt: skip


EXAMPLES = [
    *_windows(), *_volumes(), *_products(), *_shapes(), *_pointwise(), *_reductions(), *_resizes(),
]  # fmt: skip


def of_one_node(example: Example) -> Any:
    names = [f"c{i}" if c is not None else "" for i, c in enumerate(example.constants)]
    outputs = [f"y{i}" for i in range(example.outputs)]
    made = node(example.operator, ["x", *names], outputs, "the node", **example.attributes)
    constants = {n: c for n, c in zip(names, example.constants, strict=True) if c is not None}
    return model([made], {"x": example.x}, outputs, constants, opset=example.opset)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_operator_is_what_onnx_computes(example: Example) -> None:
    compare(of_one_node(example), {"x": example.x}, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("scales", [(0.6, 2.5), (1.5, 0.75), (0.4, 0.7), (1.3, 1.0), (1.2, 0.5)])
@pytest.mark.parametrize(("operator", "opset"), [("Resize", 10), ("Upsample", 9)])
def test_old_resizing_rounds_up_along_axes_that_shrink(
    operator: str, opset: int, scales: tuple[float, float]
) -> None:
    """Here ellc does what onnxruntime does; ONNX's evaluator differs from both."""
    if operator == "Upsample":
        scales = (max(scales[0], 1.0), max(scales[1], 1.0))
    x = floats(5, 7)
    stated = np.array(scales, np.float32)
    made = model([node(operator, ["x", "s"], ["y"])], {"x": x}, ["y"], {"s": stated}, opset=opset)
    rows, columns = (
        [min(int(np.ceil(p) if s < 1 else p), e - 1) for p in np.arange(int(e * s)) / s]
        for e, s in zip(x.shape, stated, strict=True)
    )
    np.testing.assert_array_equal(evaluate(read(made), (x,)).outputs[0], x[np.ix_(rows, columns)])


def test_a_resized_image_without_elements_is_refused() -> None:
    policy = {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}
    narrow = Example("Resize", floats(1, 1, 2, 9), (None, None, ints(7, 2)), policy)
    message = r"result of shape \(1, 1, 0, 2\) has no elements; the operand is \(1, 1, 2, 9\)"
    with pytest.raises(EllcError, match=message):
        read(of_one_node(narrow))


@pytest.mark.parametrize("column_major", [0, 1])
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 3, 8, 6), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((1, 2, 7, 5), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 1, 1]}),
        ((2, 2, 9), {"kernel_shape": [3], "strides": [2]}),
        ((1, 2, 5, 6, 4), {"kernel_shape": [2, 3, 2], "strides": [2, 2, 2]}),
    ],
)
def test_largest_elements_go_back_to_where_they_stood(
    shape: tuple[int, ...], attributes: dict[str, Any], column_major: int
) -> None:
    x = floats(*shape)
    made = node("MaxPool", ["x"], ["y", "i"], storage_order=column_major, **attributes)
    graph = read(model([made], {"x": x}, ["y", "i"]))
    values, places = evaluate(graph, (x,)).outputs
    order = tuple(range(len(shape)))
    turned = x.transpose(*order[:2], *reversed(order[2:])) if column_major else x
    np.testing.assert_array_equal(turned.reshape(-1)[places], values)
    if column_major:
        return
    back = node("MaxUnpool", ["y", "i"], ["z"], **attributes)
    (z,) = evaluate(read(model([made, back], {"x": x}, ["z"])), (x,)).outputs
    if z.shape == x.shape:
        want = np.zeros(z.size, np.float32)
        want[places.reshape(-1)] = values.reshape(-1)
        np.testing.assert_array_equal(z.reshape(-1), want)


def test_softmax_of_old_versions_flattens() -> None:
    x = floats(2, 3, 4)
    old = of_one_node(Example("Softmax", x, (), {"axis": 1}, opset=11))
    (got,) = evaluate(read(old), (x,)).outputs
    flat = np.exp(x.reshape(2, 12))
    np.testing.assert_allclose(got, (flat / flat.sum(1, keepdims=True)).reshape(x.shape), rtol=1e-5)


def test_negative_padding_cuts_off() -> None:
    x = floats(3, 4)
    proto = of_one_node(Example("Pad", x, (ints(-1, 1, 0, -2), np.float32(2))))
    (got,) = evaluate(read(proto), (x,)).outputs
    np.testing.assert_array_equal(got, np.pad(x[1:, :2], ((0, 0), (1, 0)), constant_values=2))


def test_operands_of_a_product_may_be_computed() -> None:
    a, b = floats(2, 4, 5), floats(5, 3, seed=1)
    proto = model([node("MatMul", ["a", "b"], ["y"])], {"a": a, "b": b}, ["y"])
    compare(proto, {"a": a, "b": b})


def test_computed_indices_may_count_from_the_end() -> None:
    x, i = floats(4, 3), np.array([-1, 2, -4])
    proto = model([node("Gather", ["x", "i"], ["y"])], {"x": x, "i": i}, ["y"])
    compare(proto, {"x": x, "i": i})


def test_bounds_of_clip_may_be_computed() -> None:
    given = {"x": floats(3, 4), "low": np.float32(-0.2), "high": np.float32(0.3)}
    compare(model([node("Clip", ["x", "low", "high"], ["y"])], given, ["y"]), given)


def test_shape_arithmetic_leaves_nothing_to_compute() -> None:
    """The nodes that PyTorch writes for `x.view(x.size(0), -1)`, and constants of every kind."""
    x = floats(2, 3, 4)
    one = numpy_helper.from_array(np.array([1], np.float32))
    nodes = [
        node("Shape", ["x"], ["shape"], end=1),
        node("Constant", [], ["rest"], value_ints=[-1]),
        node("Concat", ["shape", "rest"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["flat"]),
        node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        node("Size", ["x"], ["size"]),
        node("CastLike", ["size", "two"], ["float"]),
        node("Range", ["zero", "size", "step"], ["range"]),
        node("ReduceMax", ["range"], ["last"], keepdims=0),
        node("CastLike", ["last", "two"], ["last_float"]),
        node("ConstantOfShape", ["rest_size"], ["ones"], value=one),
        node("Sum", ["flat", "float", "last_float", "ones"], ["y"]),
    ]
    constants = {"zero": np.array(0), "step": np.array(5), "rest_size": ints(12)}
    graph = compare(model(nodes, {"x": x}, ["y"], constants), {"x": x})
    assert {n.op.name for n in graph.nodes} == {"reshape", "add"}


def test_branch_of_a_known_condition_is_taken() -> None:
    x = floats(2, 3)
    branches = {
        name: helper.make_graph(
            [node(kind, ["x"], ["r"])], name, [], [helper.make_tensor_value_info("r", 1, None)]
        )
        for name, kind in (("then_branch", "Neg"), ("else_branch", "Exp"))
    }
    proto = model([node("If", ["c"], ["y"], **branches)], {"x": x}, ["y"], {"c": np.array(False)})
    compare(proto, {"x": x})


@pytest.mark.parametrize("positive", [True, False])
def test_computed_condition_chooses_between_results(positive: bool) -> None:
    """Branches with values of the outer graph, with constants, and with two results."""
    x = np.abs(floats(2, 3)) * (1 if positive else -1)

    def branch(name: str, kind: str) -> onnx.GraphProto:
        nodes = [node(kind, ["x", "c"], [f"{name}a"]), node("Neg", [f"{name}a"], [f"{name}b"])]
        results = [onnx.ValueInfoProto(name=f"{name}{r}") for r in "ab"]
        constant = numpy_helper.from_array(np.array([2.5], np.float32), "c")
        return helper.make_graph(nodes, name, [], results, [constant])

    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["y", "z"], then_branch=branch("t", "Add"),
             else_branch=branch("e", "Mul")),
    ]  # fmt: skip
    compare(model(nodes, {"x": x}, ["y", "z"], {"zero": np.float32(0)}), {"x": x})


def test_branches_of_different_shapes_need_a_known_condition() -> None:
    def branch(name: str, kind: str, **said: object) -> onnx.GraphProto:
        result = onnx.ValueInfoProto(name=name)
        return helper.make_graph([node(kind, ["x"], [name], **said)], name, [], [result])

    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=9),
             node("If", ["c"], ["y"], "the node", then_branch=branch("t", "Relu"),
                  else_branch=branch("e", "Flatten"))]  # fmt: skip
    with pytest.raises(EllcError) as caught:
        read(model(nodes, {"x": floats(2, 3, 4)}, ["y"]))
    assert "--set" in caught.value.problems[0]


def _pieces(split: Array | None, **attributes: int) -> onnx.NodeProto:
    return node("SplitToSequence", ["x", "sizes" if split is not None else ""], ["s"], **attributes)


@pytest.mark.parametrize("split", [None, np.array(2), np.array([1, 3, 1])], ids=str)
@pytest.mark.parametrize("axis", [1, -2])
def test_sequences_of_known_length(split: Array | None, axis: int) -> None:
    x = floats(2, 5, 3)
    nodes = [
        _pieces(split, axis=axis),
        node("SequenceAt", ["s", "last"], ["a"]),
        node("SequenceInsert", ["s", "a", "first"], ["t"]),
        node("SequenceErase", ["t"], ["u"]),
        node("Identity", ["u"], ["v"]),
        node("SequenceLength", ["v"], ["n"]),
        node("ConcatFromSequence", ["v"], ["joined"], axis=axis),
        node("SequenceConstruct", ["a", "a"], ["two"]),
        node("ConcatFromSequence", ["two"], ["stacked"], axis=-1, new_axis=1),
    ]
    constants = {"last": np.array(-1), "first": np.array(0)}
    if split is not None:
        constants["sizes"] = split
    compare(model(nodes, {"x": x}, ["joined", "stacked", "n"], constants), {"x": x})


def _at_position(kind: str, position: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A sequence of three tensors of two elements, and an operator with a position in it."""
    x = floats(3, 2)
    operands = ["s", "two", "at"] if kind == "SequenceInsert" else ["s", "at"]
    nodes = [
        node("SplitToSequence", ["x", "one"], ["s"], axis=0),
        node(kind, operands, ["t"]),
        node("Identity" if kind == "SequenceAt" else "ConcatFromSequence", ["t"], ["y"]),
    ]
    if kind != "SequenceAt":
        nodes[-1].attribute.append(onnx.helper.make_attribute("axis", 0))
    constants = {"one": np.array(1), "at": np.array(position), "two": floats(2, 2, seed=8)}
    return model(nodes, {"x": x}, ["y"], constants), {"x": x}


@pytest.mark.parametrize("kind", ["SequenceInsert", "SequenceErase", "SequenceAt"])
def test_positions_in_sequences_from_both_ends(kind: str) -> None:
    """With three tensors, positions are -3 to 2; a tensor can also be inserted at 3, the end."""
    for position in range(-3, 3):
        compare(*_at_position(kind, position))
    if kind == "SequenceInsert":  # onnx.reference treats 3 as 0, unlike the specification
        proto, inputs = _at_position(kind, 3)
        (got,) = evaluate(read(proto), (inputs["x"],)).outputs
        np.testing.assert_array_equal(got, np.concatenate([inputs["x"], floats(2, 2, seed=8)]))
    for position in (-4, 3 + (kind == "SequenceInsert")):
        with pytest.raises(EllcError, match=f"position {position} of a sequence of 3"):
            read(_at_position(kind, position)[0])


@pytest.mark.parametrize("centred", [0, 1])
@pytest.mark.parametrize(("overlap", "least"), [(0.3, 0.2), (0.0, 0.0), (0.9, 1.5)])
def test_boxes_that_overlap_are_left_out(centred: int, overlap: float, least: float) -> None:
    """The selected boxes are those of ONNX's evaluator, in its order; unused rows are -1."""
    boxes = np.random.default_rng(1).uniform(0, 1, (2, 200, 4)).astype(np.float32)
    scores = floats(2, 3, 200, seed=2)
    made = node("NonMaxSuppression", ["b", "s", "most", "o", "t"], ["y"], center_point_box=centred)
    constants = {"most": ints(40), "o": np.float32([overlap]), "t": np.float32([least])}
    given = {"b": boxes, "s": scores}
    proto = model([made], given, ["y"], constants)
    graph = read(proto)
    (got,) = evaluate(graph, tuple(given[p.name] for p in graph.inputs)).outputs
    (want,) = expected(proto, given)
    np.testing.assert_array_equal(got[: len(want)], want)
    assert got.shape == (2 * 3 * 40, 3)
    assert (got[len(want) :] == -1).all()
    assert "-1" in graph.metadata["note.0"]
    assert len(graph.nodes) < 12, "there are nodes for every box"


def test_a_tensor_in_thousands_of_parts() -> None:
    with pytest.raises(EllcError) as caught:
        read(model([_pieces(None)], {"x": floats(5000, 1)}, ["s"]))
    assert "5000 parts" in caught.value.problems[0]


def test_a_sequence_is_no_tensor() -> None:
    for nodes in ([_pieces(None), node("Relu", ["s"], ["y"])], [_pieces(None)]):
        proto = model(nodes, {"x": floats(2, 3)}, ["y" if len(nodes) > 1 else "s"])
        with pytest.raises(EllcError) as caught:
            read(proto)
        assert "sequence" in "".join([caught.value.message, *caught.value.problems])


def test_every_operator_says_in_one_line_what_it_is() -> None:
    for kind, handler in all_operators().handlers.items():
        doc = handler.function.__doc__ or ""
        assert doc.strip(), f"{kind} has no docstring"
        assert len(handler.limits) < 120, f"{kind}: limits must fit into a table"


def test_the_logarithm_of_a_sum_that_is_infinite() -> None:
    x = np.array([[np.inf, 1], [-np.inf, -np.inf], [np.nan, 0], [1, -np.inf]], np.float32)
    proto = model(
        [node("ReduceLogSumExp", ["x"], ["y"], axes=[1], keepdims=0)], {"x": x}, ["y"], opset=11
    )
    with np.errstate(all="ignore"):
        (got,) = evaluate(read(proto), (x,)).outputs
    np.testing.assert_array_equal(got, np.array([np.inf, -np.inf, np.nan, 1], np.float32))


@pytest.mark.parametrize(("index", "name"), [(1, "scales"), (2, "sizes")])
def test_a_size_that_is_no_number_is_refused(index: int, name: str) -> None:
    stated = np.full(4, np.nan, np.float32)
    operands = (None, *(stated if i == index else None for i in (1, 2)))
    with pytest.raises(EllcError, match=f"the list of {name} contains numbers that are not finite"):
        read(of_one_node(Example("Resize", IMAGE, operands, {})))


@pytest.mark.parametrize("slope", [np.inf, -np.inf, np.nan])
def test_selu_of_zero_is_multiplied(slope: float) -> None:
    """Selu is alpha * e^x - alpha for x <= 0, in the specification and in ONNX Runtime."""
    x = {"x": np.array([0.0, -0.0, 1.0, -1.0], np.float32)}
    (got,) = computed(model([node("Selu", ["x"], ["y"], alpha=slope, gamma=2.0)], x, ["y"]), x)
    np.testing.assert_array_equal(got, np.array([np.nan, np.nan, 2, -slope], np.float32))


@pytest.mark.parametrize("operator", ["PRelu", "LeakyRelu", "Elu"])
@pytest.mark.parametrize("slope", [np.inf, -np.inf, np.nan])
def test_zero_is_not_below_zero(operator: str, slope: float) -> None:
    """Zero is unchanged for any slope, as in the specification and in ONNX Runtime.

    ONNX's evaluator multiplies it by the slope, which gives NaN.
    """
    x, by = {"x": np.array([0.0, -0.0, 1.0], np.float32)}, {"s": np.array([slope], np.float32)}
    if operator == "PRelu":
        made = model([node(operator, ["x", "s"], ["y"])], x, ["y"], by)
    else:
        made = model([node(operator, ["x"], ["y"], alpha=slope)], x, ["y"])
    (got,) = computed(made, x)
    np.testing.assert_array_equal(got, x["x"])
