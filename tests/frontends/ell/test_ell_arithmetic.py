"""Elementwise, broadcasting and reducing nodes, and products with matrices."""

from __future__ import annotations

import numpy as np
import pytest
from ell_nodes import constant, link, node, numbers, read, run, source, two_inputs, unary
from ell_oracle import layout

from ellc.frontends.ell.values import ArchiveObject
from ellc.ir.errors import EllcError
from ellc.ir.types import DType


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("none", lambda x: x),
        ("abs", np.abs),
        ("cos", np.cos),
        ("sin", np.sin),
        ("exp", np.exp),
        ("tanh", np.tanh),
        ("square", np.square),
        ("sign", np.sign),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("hardSigmoid", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("hardTanh", lambda x: np.clip(x, -1, 1)),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum()),
    ],
)
def test_unary_operations(name: str, function: object) -> None:
    x = numbers(7) * 3
    got = unary("UnaryOperationNode<float>", x, ("operation", name))
    np.testing.assert_allclose(got, function(x), rtol=1e-5, atol=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "function"), [("log", np.log), ("log10", np.log10), ("sqrt", np.sqrt)]
)
def test_unary_operations_of_positive_numbers(name: str, function: object) -> None:
    x = np.abs(numbers(7)) + 0.1
    got = unary("UnaryOperationNode<float>", x, ("operation", name))
    np.testing.assert_allclose(got, function(x), rtol=1e-5, atol=1e-6)  # type: ignore[operator]


BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "coordinatewiseMultiply": np.multiply,
    "coordinatewiseDivide": np.divide,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "modulo": np.fmod,
}


@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary_operations(name: str) -> None:
    x, y = numbers(5), numbers(5, seed=2) + 3
    (got,) = run(two_inputs("BinaryOperationNode<float>", "float", ("operation", name)), x, y)
    np.testing.assert_allclose(got, BINARY[name](x, y), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [("logicalAnd", np.logical_and), ("logicalOr", np.logical_or), ("logicalXor", np.logical_xor)],
)
def test_logical_operations(name: str, function: object) -> None:
    x, y = np.array([0, 0, 1, 1, 1], bool), np.array([0, 1, 0, 1, 1], bool)
    graph = two_inputs("BinaryOperationNode<bool>", "bool", ("operation", name))
    (got,) = run(graph, x, y)
    np.testing.assert_array_equal(got, function(x, y))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("equal", np.equal),
        ("notEqual", np.not_equal),
        ("less", np.less),
        ("lessOrEqual", np.less_equal),
        ("greater", np.greater),
        ("greaterOrEqual", np.greater_equal),
    ],
)
def test_predicates(name: str, function: object) -> None:
    x, y = np.array([1, 2, 3, 4, 5], np.int32), np.array([5, 2, 1, 4, 6], np.int32)
    graph = two_inputs("BinaryPredicateNode<int>", "int", ("predicate", name))
    (got,) = run(graph, x, y)
    assert graph.output_types()[0].dtype is DType.BOOL
    np.testing.assert_array_equal(got, function(x, y))  # type: ignore[operator]


def test_broadcasting_operations() -> None:
    image, row, one = numbers(2, 3, 4), numbers(4), numbers(1, 1, 4)
    nodes = [
        source("1", 2, 3, 4),
        source("2", 4),
        source("3", 1, 1, 4),
        node(
            "BroadcastBinaryOperationNode<float>",
            "4",
            ("outputLayout", layout(2, 3, 4, padding=(1, 1, 0))),
            ("padding", 9),
            link("input1", "1.output", "4"),
            link("input2", "2.output", "4"),
            ("operation", "subtract"),
        ),
        node(
            "BroadcastTernaryOperationNode<float>",
            "5",
            ("outputLayout", layout(2, 3, 4)),
            ("padding", 0),
            link("input1", "3.output", "5"),
            link("input2", "1.output", "5"),
            link("input3", "2.output", "5"),
            ("operation", "fma"),
        ),
        node(
            "BroadcastUnaryOperationNode<float>",
            "6",
            ("outputLayout", layout(2, 3, 4)),
            ("padding", 0),
            link("input", "3.output", "6"),
            ("operation", "abs"),
        ),
    ]
    graph = read(nodes, ["4.output", "5.output", "6.output"])
    got = run(graph, image, row, one)
    want = np.pad(image - row, ((1, 1), (1, 1), (0, 0)), constant_values=9)
    np.testing.assert_allclose(got[0][0], want, rtol=1e-6)
    np.testing.assert_allclose(got[1][0], one * image + row, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[2][0], np.broadcast_to(np.abs(one), (2, 3, 4)))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("axis", [0, 2])
def test_broadcast_linear(scale: bool, bias: bool, axis: int) -> None:
    x = numbers(2, 3, 4)
    extent = x.shape[axis]
    factors, terms = numbers(extent), numbers(extent, seed=5)
    nodes = [
        source("1", 2, 3, 4),
        constant("2", factors),
        constant("3", terms),
        node(
            "BroadcastLinearFunctionNode<float>",
            "4",
            ("inputLayout", layout(2, 3, 4)),
            ("outputLayout", layout(2, 3, 4, padding=(0, 1, 0))),
            ("broadcastDimension", axis),
            ("paddingValue", -1),
            link("primaryInput", "1.output", "4"),
            link("secondaryInput1", "2.output" if scale else "{}", "4"),
            link("secondaryInput2", "3.output" if bias else "{}", "4"),
        ),
    ]
    (got,) = run(read(nodes, ["4.output"]), x)
    shape = [1, 1, 1]
    shape[axis] = extent
    want = x * factors.reshape(shape) if scale else x
    want = want + terms.reshape(shape) if bias else want
    want = np.pad(want, ((0, 0), (1, 1), (0, 0)), constant_values=-1)
    np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-6)


def test_broadcast_functions() -> None:
    x = numbers(2, 3, 2) * 3

    def function(name: str) -> ArchiveObject:
        return node(
            f"BroadcastUnaryFunctionNode<float,{name}ActivationFunction<float>>",
            "2",
            ("inputLayout", layout(2, 3, 2)),
            ("outputLayout", layout(2, 3, 2)),
            ("broadcastDimension", 2),
            ("paddingValue", 0),
            link("primaryInput", "1.output", "2"),
        )

    (got,) = run(read([source("1", 2, 3, 2), function("HardSigmoid")], ["2.output"]), x)
    np.testing.assert_allclose(got[0], np.clip(0.2 * x + 0.5, 0, 1), rtol=1e-5)
    with pytest.raises(EllcError, match="leak factor"):
        read([source("1", 2, 3, 2), function("LeakyReLU")], ["2.output"])


def test_parametric_relu_function() -> None:
    x, alpha = numbers(2, 3, 2), numbers(2, 3, 2, seed=3)
    nodes = [
        source("1", 2, 3, 2),
        constant("2", alpha),
        node(
            "BinaryFunctionNode<float,ParametricReLUActivationFunction<float>>",
            "3",
            link("input1", "1.output", "3"),
            link("input2", "2.output", "3"),
            ("paddingValue", 0),
            ("inputLayout", layout(2, 3, 2)),
            ("outputLayout", layout(2, 3, 2)),
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), x)
    np.testing.assert_allclose(got[0], np.where(x > 0, x, alpha * x))


def test_reductions() -> None:
    x = numbers(9)
    np.testing.assert_allclose(unary("SumNode<float>", x), [x.sum()], rtol=1e-5)
    np.testing.assert_allclose(unary("L2NormSquaredNode<float>", x), [(x * x).sum()], rtol=1e-5)
    np.testing.assert_allclose(unary("ArgMaxNode<float>", x, out="val"), [x.max()])
    np.testing.assert_array_equal(unary("ArgMaxNode<float>", x, out="argVal"), [x.argmax()])
    np.testing.assert_allclose(unary("ArgMinNode<float>", x, out="val"), [x.min()])
    np.testing.assert_array_equal(unary("ArgMinNode<float>", x, out="argVal"), [x.argmin()])
    y = numbers(5), numbers(5, seed=2)
    np.testing.assert_allclose(
        run(two_inputs("DotProductNode<float>", "float"), *y)[0], [y[0] @ y[1]], rtol=1e-5
    )


@pytest.mark.parametrize("order", [0, 1])
def test_matrix_vector_product(order: int) -> None:
    x, w = numbers(4), numbers(3, 4)
    stored = w.reshape(-1) if order else w.T.reshape(-1)
    got = unary(
        f"MatrixVectorProductNode<float,{order}>", x, ("w_rows", 3), ("w_columns", 4), ("w", stored)
    )
    np.testing.assert_allclose(got, w @ x, rtol=1e-5)


def test_matrix_vector_multiply() -> None:
    m, v = numbers(3, 4), numbers(4)
    fields = [("m", 3), ("n", 4), ("lda", 4), ("incx", 1)]
    nodes = [
        source("1", 3, 4),
        source("2", 4),
        node(
            "MatrixVectorMultiplyNode<float>",
            "3",
            link("inputMatrix", "1.output", "3"),
            link("inputVector", "2.output", "3"),
            *fields,
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), m, v)
    np.testing.assert_allclose(got, m @ v, rtol=1e-5)


@pytest.mark.parametrize("bits", range(8))
def test_matrix_products(bits: int) -> None:
    first, second, out = bool(bits & 1), bool(bits & 2), bool(bits & 4)
    a, b = numbers(3, 5), numbers(5, 4)
    fields = [
        ("m", 3),
        ("n", 4),
        ("k", 5),
        ("transpose1", first),
        ("transpose2", second),
        ("transposeOutput", out),
    ]
    nodes = [
        source("1", 15),
        source("2", 20),
        node(
            "MatrixMatrixMultiplyNode<float>",
            "3",
            link("input1", "1.output", "3"),
            link("input2", "2.output", "3"),
            *fields,
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), a.T if first else a, b.T if second else b)
    want = (a @ b).T if out else a @ b
    np.testing.assert_allclose(got, want.reshape(-1), rtol=1e-5, atol=1e-6)


def test_squared_distance() -> None:
    x, rows = numbers(4), numbers(3, 4, seed=2)
    fields = [
        ("vectorsAsMatrix_rows", 3),
        ("vectorsAsMatrix_columns", 4),
        ("vectorsAsMatrix_values", rows),
    ]
    got = unary("SquaredEuclideanDistanceNode<float,1>", x, *fields)
    np.testing.assert_allclose(got, ((rows - x) ** 2).sum(1), rtol=1e-5)
