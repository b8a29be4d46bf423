"""Operators, compared with independent formulas and with known numbers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from ellc.ir.errors import ShapeError
from ellc.ir.op import Case, Op
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.detection import RegionDetection
from ellc.ir.ops.norm import LRN, BatchNorm
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.pointwise import (
    Add,
    And,
    Cast,
    Clip,
    Div,
    Gelu,
    HardSwish,
    Less,
    Maximum,
    Minimum,
    Mod,
    MulAdd,
    Not,
    Pow,
    PRelu,
    Relu,
    Round,
    Select,
    Selu,
    Sigmoid,
    Sign,
    Softplus,
    Sqrt,
    Tanh,
)
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.recurrent import FastGRNNCell, GRUCell, LSTMCell, RNNCell
from ellc.ir.ops.reduce import ArgMax, ArgMin, LogSoftmax, Reduce, Softmax
from ellc.ir.ops.shape import Concat, Expand, Gather, Reshape, Slice, Split, Transpose
from ellc.ir.types import Array, DType, Padding, TensorType

F32 = np.float32
INF, NAN = math.inf, math.nan


def run(op: Op, *operands: object) -> Array:
    with np.errstate(all="ignore"):
        (result,) = op.reference(*(np.asarray(o) for o in operands))
    return result


def f32(*values: float) -> Array:
    return np.array(values, F32)


def pixel(x: Array, padding: Padding, n: int, r: int, c: int, ch: int) -> float | None:
    """The element of x at a position in the padded image; None if it is outside of x."""
    r, c = r - padding.top, c - padding.left
    inside = 0 <= r < x.shape[1] and 0 <= c < x.shape[2]
    return float(x[n, r, c, ch]) if inside else None


def outside(padding: Padding, channel: int) -> float:
    return padding.values[channel] if len(padding.values) > 1 else padding.values[0]


def small_cases(cls: type[Op], limit: int) -> list[Case]:
    found = []
    for case in cls.samples(np.random.default_rng(2)):
        types = case.types()
        if case.op.macs(types, case.op.infer(*types)) < limit:
            found.append(case)
    assert len(found) > 3
    return found


def tap_pixel(
    op: Conv2D | MaxPool2D | AvgPool2D, r: int, c: int, i: int, j: int
) -> tuple[int, int]:
    """(row, column) in the padded image of tap (i, j) of window (r, c)."""
    return (
        r * op.stride[0] + i * op.dilation[0],
        c * op.stride[1] + j * op.dilation[1],
    )


@pytest.mark.parametrize("case", small_cases(Conv2D, 30_000), ids=lambda c: c.label)
def test_convolution_cell_by_cell(case: Case) -> None:
    op = case.op
    assert isinstance(op, Conv2D)
    x, w, *bias = case.inputs
    got = run(op, *case.inputs)
    depth, per_group = w.shape[3], w.shape[0] // op.groups
    for n, r, c, f in product(*map(range, got.shape)):
        total = float(bias[0][f]) if bias else 0.0
        for i, j, k in product(*map(range, w.shape[1:])):
            channel = f // per_group * depth + k
            row, column = tap_pixel(op, r, c, i, j)
            value = pixel(x, op.padding, n, row, column, channel)
            total += float(w[f, i, j, k]) * (
                outside(op.padding, channel) if value is None else value
            )
        assert got[n, r, c, f] == pytest.approx(total, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("case", small_cases(MaxPool2D, 1)[:-1], ids=lambda c: c.label)
def test_max_pooling_cell_by_cell(case: Case) -> None:
    op = case.op
    assert isinstance(op, MaxPool2D)
    (x,) = case.inputs
    got = run(op, x)
    for n, r, c, ch in product(*map(range, got.shape)):
        best = -INF
        for i, j in product(range(op.window[0]), range(op.window[1])):
            row, column = tap_pixel(op, r, c, i, j)
            value = pixel(x, op.padding, n, row, column, ch)
            best = max(best, outside(op.padding, ch) if value is None else value)
        assert got[n, r, c, ch] == F32(best)


@pytest.mark.parametrize("case", small_cases(AvgPool2D, 1), ids=lambda c: c.label)
def test_average_pooling_cell_by_cell(case: Case) -> None:
    op = case.op
    assert isinstance(op, AvgPool2D)
    (x,) = case.inputs
    got = run(op, x)
    for n, r, c, ch in product(*map(range, got.shape)):
        values = [
            pixel(x, op.padding, n, *tap_pixel(op, r, c, i, j), ch)
            for i, j in product(range(op.window[0]), range(op.window[1]))
        ]
        if op.include_padding:
            values = [outside(op.padding, ch) if v is None else v for v in values]
        numbers = [v for v in values if v is not None]
        assert got[n, r, c, ch] == pytest.approx(sum(numbers) / len(numbers), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", small_cases(BinaryConv2D, 100_000), ids=lambda c: c.label)
def test_binary_convolution_as_bit_counts(case: Case) -> None:
    """The result is scale * (N - P - 2 * differing bits), where P taps are masked, as in ELL."""
    op = case.op
    assert isinstance(op, BinaryConv2D)
    x, w, *scale = case.inputs
    got = run(op, *case.inputs)
    sign = op.padding.values[0]
    for n, r, c, f in product(*map(range, got.shape)):
        masked, different = 0, 0
        for i, j, k in product(*map(range, w.shape[1:])):
            bit = pixel(x, op.padding, n, r * op.stride[0] + i, c * op.stride[1] + j, k)
            if bit is None and sign == 0:
                masked += 1
            else:
                different += bool(sign > 0 if bit is None else bit) != bool(w[f, i, j, k])
        expected = F32(w[f].size - masked - 2 * different) * (scale[0][f] if scale else F32(1))
        assert got[n, r, c, f] == expected


def test_signs_of_zero_and_nan_are_minus() -> None:
    bits = run(Binarize(), f32(0.0, -0.0, NAN, -1, 1e-30, INF))
    np.testing.assert_array_equal(bits, [False, False, False, False, True, True])


@pytest.mark.parametrize(
    ("op", "x", "expected"),
    [
        (Relu(), [-1, 0, 2, NAN, INF], [0, 0, 2, NAN, INF]),
        (Clip(-1, 1), [-2, 0.5, 3, NAN], [-1, 0.5, 1, NAN]),
        (Sigmoid(), [0, -200, 200, math.log(3)], [0.5, 0, 1, 0.75]),
        (Tanh(), [0, 100, -100], [0, 1, -1]),
        (HardSwish(), [-4, -3, 0, 1, 3, 5], [0, 0, 0, 4 / 6, 3, 5]),
        (Selu(), [1, 0, -1], [1.0507009873554805, 0, -1.1113307378125625]),
        (Softplus(), [0, 100, -200], [math.log(2), 100, 0]),
        (Gelu(), [0, 1, -1], [0, 0.8413447460685429, -0.15865525393145707]),
        (Gelu(True), [0, 1, -1], [0, 0.8411919906082768, -0.15880800939172324]),
        (Round(), [0.5, 1.5, 2.5, -0.5, -1.5], [0, 2, 2, 0, -2]),
        (Sign(), [-3, 0, 5, NAN], [-1, 0, 1, NAN]),
        (Sqrt(), [4, 0, -1], [2, 0, NAN]),
    ],
)
def test_functions(op: Op, x: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(run(op, f32(*x)), f32(*expected), rtol=1e-6, atol=1e-7)


def test_integer_division_and_remainder() -> None:
    x = np.array([7, -7, 7, -7, 5, -(2**31), -(2**31)], np.int32)
    y = np.array([2, 2, -2, -2, 0, -1, 3], np.int32)
    np.testing.assert_array_equal(run(Div(), x, y), [3, -3, -3, 3, 0, -(2**31), -715827882])
    np.testing.assert_array_equal(run(Mod(), x, y), [1, -1, 1, -1, 0, 0, -2])
    np.testing.assert_array_equal(run(Mod(), f32(5.5, -5.5), f32(2, 2)), [1.5, -1.5])


def test_nan_wins_minimum_and_maximum() -> None:
    for op in (Minimum(), Maximum()):
        assert np.isnan(run(op, f32(NAN, 1), f32(1, NAN))).all()


def test_casts_saturate_and_truncate() -> None:
    x = f32(-1.9, 1.9, 300, -300, NAN, INF, -INF)
    np.testing.assert_array_equal(run(Cast(DType.I8), x), [-1, 1, 127, -128, 0, 127, -128])
    np.testing.assert_array_equal(run(Cast(DType.U8), x), [0, 1, 255, 0, 0, 255, 0])
    big = run(Cast(DType.I64), f32(INF, 2.0**62))
    np.testing.assert_array_equal(big, [2**63 - 1, 2**62])
    np.testing.assert_array_equal(run(Cast(DType.BOOL), x), [True] * 7)
    np.testing.assert_array_equal(run(Cast(DType.I8), np.array([300, -1], np.int32)), [44, -1])


def test_integer_clip_stays_between_its_bounds() -> None:
    x = np.array([-5, 0, 1, 2, 3, 9], np.int32)
    np.testing.assert_array_equal(run(Clip(0.5, 2.5), x), [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(run(Clip(-INF, INF), x), x)


def test_several_operands() -> None:
    x = f32(-2, 3)
    np.testing.assert_array_equal(run(PRelu(), x, f32(0.5)), [-1, 3])
    np.testing.assert_array_equal(run(MulAdd(), x, f32(2, 3), f32(1)), [-3, 10])
    np.testing.assert_array_equal(run(Select(), x, f32(7), np.array([True, False])), [-2, 7])
    np.testing.assert_array_equal(run(Less(), x, f32(0)), [True, False])
    np.testing.assert_array_equal(run(And(), np.array([6, 3]), np.array([3, 3])), [2, 3])
    np.testing.assert_array_equal(run(Not(), np.array([True, False])), [False, True])
    np.testing.assert_allclose(run(Pow(), f32(-2, 4), f32(3, 0.5)), [-8, 2])


def test_products() -> None:
    w = f32(1, 2, 3, 4, 5, 6).reshape(3, 2)
    np.testing.assert_array_equal(run(Dense(), f32(1, 10), w, f32(0, 0, 1)), [21, 43, 66])
    a, b = np.ones((2, 4, 3), F32), np.ones((5, 4), F32)
    np.testing.assert_array_equal(run(MatMul(True, True), a, b), np.full((2, 3, 5), 4))


def test_shape_operators() -> None:
    x = np.arange(24, dtype=F32).reshape(2, 3, 4)
    np.testing.assert_array_equal(run(Transpose((2, 0, 1)), x)[1, 0], [1, 5, 9])
    taken = run(Slice((1, 2, 3), (1, 2, 2), (1, -2, -3)), x)
    np.testing.assert_array_equal(taken, x[1:2, ::-2, ::-3])
    np.testing.assert_array_equal(run(Reshape((4, 6)), x)[1], np.arange(6, 12))
    parts = Split(2, (1, 3)).reference(x)
    np.testing.assert_array_equal(run(Concat(2), *parts), x)
    np.testing.assert_array_equal(run(Expand((2, 3)), f32(1, 2, 3)), [[1, 2, 3]] * 2)
    np.testing.assert_array_equal(run(Embed((1,)), f32(8, 9), f32(0, 1, 2, 3)), [0, 8, 9, 3])
    np.testing.assert_array_equal(run(Gather(0), f32(5, 6, 7), np.array([2, -1, 9])), [7, 5, 7])
    line = f32(1, 2, 3)
    np.testing.assert_array_equal(run(Pad((1,), (2,), 9.0), line), [9, 1, 2, 3, 9, 9])
    np.testing.assert_array_equal(run(Pad((1,), (2,), mode="edge"), line), [1, 1, 2, 3, 3, 3])
    np.testing.assert_array_equal(run(Pad((2,), (1,), mode="reflect"), line), [3, 2, 1, 2, 3, 2])
    signed = np.array([1], np.int8)
    np.testing.assert_array_equal(run(Pad((1,), (1,), -1e9), signed), [-128, 1, -128])


def test_reductions() -> None:
    x = f32(1, -2, 3, 4, 0, -6).reshape(2, 3)
    for kind, expected in (
        ("sum", [2, -2]),
        ("mean", [2 / 3, -2 / 3]),
        ("max", [3, 4]),
        ("min", [-2, -6]),
        ("prod", [-6, 0]),
        ("l2sum", [14, 52]),
    ):
        np.testing.assert_allclose(run(Reduce(kind, (1,)), x), expected, rtol=1e-6)
    assert run(Reduce("sum", (0, 1)), x).shape == ()
    equal = np.array([[2, 5, 5], [1, 1, 3]])
    np.testing.assert_array_equal(run(ArgMax(1), equal), [1, 2])
    np.testing.assert_array_equal(run(ArgMin(1, True), equal), [[0], [0]])
    p = run(Softmax((0,)), f32(1e4, 1e4 + math.log(3) - 0.0, -1e4))
    np.testing.assert_allclose(p, [0.25, 0.75, 0], atol=1e-3)
    logs = run(LogSoftmax((0,)), f32(0, math.log(3)))
    np.testing.assert_allclose(logs, [math.log(0.25), math.log(0.75)], rtol=1e-6)


@pytest.mark.parametrize("case", small_cases(LRN, 1), ids=lambda c: c.label)
def test_local_response_cell_by_cell(case: Case) -> None:
    op = case.op
    assert isinstance(op, LRN)
    (x,) = case.inputs
    got = run(op, x)
    last = x.shape[-1] - 1
    for n, r, c, ch in product(*map(range, x.shape)):
        first = max(0, ch - math.floor((op.size - 1) / 2))
        end = min(last, ch + math.ceil((op.size - 1) / 2))
        squares = sum(float(x[n, r, c, k]) ** 2 for k in range(first, end + 1))
        expected = float(x[n, r, c, ch]) / (op.bias + op.alpha / op.size * squares) ** op.beta
        assert got[n, r, c, ch] == pytest.approx(expected, rel=1e-5)


def test_batch_normalisation() -> None:
    y = run(BatchNorm(1.0), f32(5, 2), f32(2, 1), f32(1, 0), f32(3, 2), f32(3, 8))
    np.testing.assert_allclose(y, [3, 0])


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def test_recurrent_cells_of_one_unit() -> None:
    x, h, c = f32(0.5), f32(-0.3), f32(0.8)
    wx, wh = np.arange(1, 5, dtype=F32) / 4, np.arange(-2, 2, dtype=F32) / 4
    bx, bh = f32(0.1, 0.2, -0.3, 0.4), f32(-0.5, 0.6, 0.7, -0.1)
    a = [float(wx[k]) * 0.5 + float(bx[k]) for k in range(4)]
    b = [float(wh[k]) * -0.3 + float(bh[k]) for k in range(4)]

    def stack(n: int) -> tuple[Array, ...]:
        return wx[:n, None], wh[:n, None], bx[:n], bh[:n]

    assert run(RNNCell(), x, h, *stack(1)) == pytest.approx(math.tanh(a[0] + b[0]))

    z, r = logistic(a[0] + b[0]), logistic(a[1] + b[1])
    after = math.tanh(a[2] + r * b[2])
    before = math.tanh(a[2] + float(wh[2]) * r * -0.3 + float(bh[2]))
    for n, reset_after in ((after, True), (before, False)):
        got = run(GRUCell(reset_after=reset_after), x, h, *stack(3))
        assert got == pytest.approx((1 - z) * n + z * -0.3)

    i, f, o = (logistic(a[k] + b[k]) for k in (0, 1, 3))
    cell = f * 0.8 + i * math.tanh(a[2] + b[2])
    out, kept = LSTMCell().reference(x, h, c, *stack(4))
    assert kept == pytest.approx(cell)
    assert out == pytest.approx(o * math.tanh(cell))

    p = 0.5 * 2.0 + -0.3 * 3.0 * 0.5
    z = logistic(p + 0.25)
    expected = (0.9 * (1 - z) + 0.05) * math.tanh(p - 0.5) + z * -0.3
    low_rank = (f32(2)[:, None], f32(3)[:, None], f32(0.5)[:, None])
    rest = (f32(0.25), f32(-0.5), f32(0.9), f32(0.05))
    got = run(FastGRNNCell(hidden_rank=1), x, h, *low_rank, *rest)
    assert got == pytest.approx(expected)


def test_the_reset_gate_acts_before_the_product() -> None:
    """There are two units, so that r * (W h) and W (r * h) differ."""
    x, h = f32(0.0), f32(1.0, -2.0)
    wx, bx, bh = np.zeros((6, 1), F32), np.zeros(6, F32), np.zeros(6, F32)
    wh = np.zeros((6, 2), F32)
    wh[2:4] = [[1, 0], [0, 1]]  # reset gates: logistic(1), logistic(-2)
    wh[4] = [0, 1]  # the first new value depends only on the second unit
    r = (logistic(1), logistic(-2))
    for reset_after, inner in ((True, r[0] * -2), (False, r[1] * -2)):
        got = run(GRUCell(reset_after=reset_after), x, h, wx, wh, bx, bh)
        assert got[0] == pytest.approx(0.5 * math.tanh(inner) + 0.5 * 1.0, rel=1e-6)


def test_region_detection() -> None:
    x = f32(9, -9, 0, 1, 1, 5, 6, 100, 0, math.log(3)).reshape(1, 1, 1, 10)
    plain = run(RegionDetection(2, 2, 2), x).reshape(2, 5)
    np.testing.assert_allclose(plain[0], [9, -9, 0.5, 1, 1])
    softened = run(RegionDetection(2, 2, 2, True), x).reshape(2, 5)
    np.testing.assert_allclose(softened, [[9, -9, 0.5, 0.5, 0.5], [5, 6, 1, 0.25, 0.75]])


def t(*shape: int, dtype: DType = DType.F32) -> TensorType:
    return TensorType(dtype, shape)


IMAGE = t(1, 6, 5, 4)
BITS = t(1, 6, 5, 4, dtype=DType.BIT)
INTS = t(1, 6, 5, 4, dtype=DType.I32)


@pytest.mark.parametrize(
    ("op", "types"),
    [
        (Conv2D(), (IMAGE, t(8, 3, 3, 5))),
        (Conv2D(), (IMAGE, t(8, 7, 3, 4))),
        (Conv2D(), (IMAGE, t(8, 3, 3, 4), t(7))),
        (Conv2D(), (IMAGE, t(8, 3, 3, 4, dtype=DType.F64))),
        (Conv2D(), (INTS, t(8, 3, 3, 4, dtype=DType.I32))),
        (Conv2D(), (t(6, 5, 4), t(8, 3, 3, 4))),
        (Conv2D(groups=2), (IMAGE, t(7, 3, 3, 2))),
        (Conv2D(groups=0), (IMAGE, t(8, 3, 3, 4))),
        (Conv2D(stride=(0, 1)), (IMAGE, t(8, 3, 3, 4))),
        (Conv2D(dilation=(3, 1)), (IMAGE, t(8, 3, 3, 4))),
        (Conv2D(padding=Padding(-1)), (IMAGE, t(8, 3, 3, 4))),
        (Conv2D(padding=Padding(1, 1, 1, 1, (0.0, 1.0))), (IMAGE, t(8, 3, 3, 4))),
        (MaxPool2D((7, 1), (1, 1)), (IMAGE,)),
        (MaxPool2D((2, 2), (1, 0)), (IMAGE,)),
        (MaxPool2D((2, 2), (1, 1)), (BITS,)),
        (AvgPool2D((2, 2), (1, 1)), (INTS,)),
        (Dense(), (t(1, 5), t(3, 4))),
        (Dense(), (t(1, 5), t(3, 5), t(4))),
        (Dense(), (t(), t(3, 5))),
        (MatMul(), (t(2, 3), t(2, 3))),
        (MatMul(), (t(2, 2, 3), t(3, 3, 4))),
        (MatMul(), (t(3), t(3, 4))),
        (BinaryConv2D(), (IMAGE, t(8, 3, 3, 4))),
        (BinaryConv2D(), (BITS, t(8, 3, 3, 5, dtype=DType.BIT))),
        (BinaryConv2D(padding=Padding.same(1, 0.5)), (BITS, t(8, 3, 3, 4, dtype=DType.BIT))),
        (Binarize(), (BITS,)),
        (Relu(), (BITS,)),
        (Sigmoid(), (INTS,)),
        (Clip(2, 1), (IMAGE,)),
        (Clip(NAN, 1), (IMAGE,)),
        (Add(), (IMAGE, t(5))),
        (Add(), (t(4), IMAGE)),
        (Add(), (IMAGE, INTS)),
        (And(), (IMAGE, IMAGE)),
        (Not(), (IMAGE,)),
        (Select(), (IMAGE, IMAGE, IMAGE)),
        (Cast(DType.BIT), (IMAGE,)),
        (Reshape((2, 61)), (IMAGE,)),
        (Reshape((-2, -60)), (IMAGE,)),
        (Transpose((0, 1, 1, 2)), (IMAGE,)),
        (Slice((0,), (5,), (1,)), (t(4),)),
        (Slice((0,), (2,), (0,)), (t(4),)),
        (Slice((1,), (3,), (-1,)), (t(4),)),
        (Concat(1), (t(2, 3), t(3, 3))),
        (Concat(2), (t(2, 3), t(2, 3))),
        (Split(0, (1, 2)), (t(4),)),
        (Pad((1,), (1,), mode="wrap"), (t(4),)),
        (Pad((4,), (0,), mode="reflect"), (t(4),)),
        (Pad((1,), (0,), mode="edge"), (t(0),)),
        (Embed((2,)), (t(3), t(4))),
        (Expand((2, 3)), (t(2),)),
        (Gather(1), (t(4), t(2, dtype=DType.I32))),
        (Gather(0), (t(4), t(2))),
        (Reduce("sum", (-1,)), (t(4),)),
        (Reduce("sum", (0, 0)), (t(4),)),
        (Reduce("median", (0,)), (t(4),)),
        (Reduce("max", (0,)), (t(0),)),
        (Reduce("mean", (0,)), (t(4, dtype=DType.I8),)),
        (ArgMax(1), (t(4),)),
        (Softmax((1,)), (t(4),)),
        (LRN(0), (IMAGE,)),
        (BatchNorm(), (IMAGE, t(4), t(4), t(4), t(5))),
        (RNNCell(), (t(1, 3), t(1, 2), t(2, 3), t(2, 2), t(2), t(3))),
        (RNNCell(Less()), (t(1, 3), t(1, 2), t(2, 3), t(2, 2), t(2), t(2))),
        (RNNCell(Cast(DType.I8)), (t(1, 3), t(1, 2), t(2, 3), t(2, 2), t(2), t(2))),
        (GRUCell(), (t(1, 3), t(2, 2), t(6, 3), t(6, 2), t(6), t(6))),
        (RegionDetection(2, 3), (IMAGE,)),
    ],
)
def test_operands_that_do_not_fit(op: Op, types: tuple[TensorType, ...]) -> None:
    with pytest.raises(ShapeError) as error:
        op.infer(*types)
    assert op.name in error.value.message


def test_padding_may_make_a_window_fit() -> None:
    (result,) = Conv2D(padding=Padding(1, 0, 0, 2)).infer(t(1, 2, 1, 1), t(1, 3, 3, 1))
    assert result.shape == (1, 1, 1, 1)


@pytest.mark.parametrize("stride", [1, 2, 5, 10**9])
def test_a_transposed_convolution_makes_no_more_than_it_keeps(stride: int) -> None:
    """Compare with products one at a time; strides of 10^9 crop everything except the ends."""
    rng = np.random.default_rng(stride)
    x, w = rng.integers(-9, 9, (1, 4, 1, 1)), rng.integers(-9, 9, (1, 3, 1, 1))
    for dilation, before, extra in product((1, 3), (0, 1, 4), (0, 2)):
        reach = 3 * stride + 2 * dilation + 1
        after = max(0, reach - before - 12)
        op = ConvTranspose2D((stride, 1), (before, 0, after, 0), (extra, 0), (dilation, 1))
        want = np.zeros(reach - before - after + extra)
        for i, tap in product(range(4), range(3)):
            place = i * stride + tap * dilation - before
            if 0 <= place < len(want):
                want[place] += x[0, i, 0, 0] * w[0, tap, 0, 0]
        (got,) = op.reference(x.astype(np.float32), w.astype(np.float32))
        np.testing.assert_array_equal(got[0, :, 0, 0], want)
