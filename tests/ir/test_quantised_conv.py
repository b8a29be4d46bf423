"""The integer convolution, dense layer and matrix product, compared with plain sums."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.ir.errors import ShapeError
from ellc.ir.op import Case
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.types import Array, DType, Padding, TensorType


def wrapped(total: int) -> int:
    return (total + 2**31) % 2**32 - 2**31


def convolved(op: IntConv2D, x: Array, w: Array, bias: Array | None, at: tuple[int, ...]) -> int:
    """An element of the result, computed with Python integers."""
    image, row, column, filter_ = at
    depth = w.shape[3]
    first = filter_ // (w.shape[0] // op.groups) * depth
    zero = op.weight_zero[filter_ % len(op.weight_zero)]
    total = 0 if bias is None else int(bias[filter_])
    for i, j in np.ndindex(w.shape[1:3]):
        r = row * op.stride[0] + i * op.dilation[0] - op.padding.top
        c = column * op.stride[1] + j * op.dilation[1] - op.padding.left
        if 0 <= r < x.shape[1] and 0 <= c < x.shape[2]:
            for channel in range(depth):
                value = int(x[image, r, c, first + channel]) - op.input_zero
                total += value * (int(w[filter_, i, j, channel]) - zero)
    return wrapped(total)


@pytest.mark.parametrize(
    "case", list(IntConv2D.samples(np.random.default_rng(5))), ids=lambda c: c.label
)
def test_convolution(case: Case) -> None:
    assert isinstance(case.op, IntConv2D)
    x, w, *bias = case.inputs
    (result,) = case.op.reference(*case.inputs)
    places = np.random.default_rng(1).permutation(result.size)[:40]
    for place in places:
        at = tuple(int(i) for i in np.unravel_index(place, result.shape))
        assert result[at] == convolved(case.op, x, w, bias[0] if bias else None, at)


@pytest.mark.parametrize(
    "case", list(IntDense.samples(np.random.default_rng(5))), ids=lambda c: c.label
)
def test_dense(case: Case) -> None:
    op = case.op
    assert isinstance(op, IntDense)
    x, w, *bias = (a.astype(object) for a in case.inputs)
    product = (x - op.input_zero) @ (w - np.reshape(op.weight_zero, (-1, 1)).astype(object)).T
    total = product + bias[0] if bias else product
    np.testing.assert_array_equal(op.reference(*case.inputs)[0], np.vectorize(wrapped)(total))


@pytest.mark.parametrize(
    "case", list(IntMatMul.samples(np.random.default_rng(5))), ids=lambda c: c.label
)
def test_matrix_product(case: Case) -> None:
    op = case.op
    assert isinstance(op, IntMatMul)
    a, b = case.inputs
    left = (a.swapaxes(-1, -2) if op.transpose_a else a).astype(np.int64) - op.a_zero
    right = (b.swapaxes(-1, -2) if op.transpose_b else b).astype(np.int64) - np.array(op.b_zero)
    np.testing.assert_array_equal(op.reference(a, b)[0], left @ right)


X = TensorType(DType.U8, (1, 4, 4, 2))
W = TensorType(DType.I8, (3, 1, 1, 2))


@pytest.mark.parametrize(
    "op, types",
    [
        (IntConv2D(input_zero=-1), (X, W)),
        (IntConv2D(weight_zero=(128,)), (X, W)),
        (IntConv2D(weight_zero=(0, 0)), (X, W)),
        (IntConv2D(padding=Padding.same(1, 3.0)), (X, W)),
        (IntConv2D(), (TensorType(DType.U16, X.shape), W)),
        (IntConv2D(input_zero=1), (TensorType(DType.I16, X.shape), W)),
        (IntConv2D(), (X, W, TensorType(DType.F32, (3,)))),
        (IntDense(), (TensorType(DType.F32, (1, 2)), TensorType(DType.I8, (3, 2)))),
        (IntDense(), (TensorType(DType.I8, (1, 2)), TensorType(DType.I8, (3, 4)))),
        (IntMatMul(b_zero=(1, 2)), (TensorType(DType.I8, (1, 2)), TensorType(DType.I8, (2, 3)))),
    ],
)
def test_what_makes_no_sense_is_refused(op: IntConv2D, types: tuple[TensorType, ...]) -> None:
    with pytest.raises(ShapeError):
        op.infer(*types)
