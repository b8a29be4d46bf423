"""Errors from operands and from rounding stay within the intervals that `ellc check` computes."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised import Quantize
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.resize import Resample
from ellc.ir.ops.scan import CumSum
from ellc.ir.ops.shape import Concat, Expand, Gather, Transpose
from ellc.ir.rounding import SINGLE, interval, reachable
from ellc.ir.types import Array, DType, Padding

PLACES = np.array([3, 0, 1], np.int32)


def drawn(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


CASES: list[tuple[Op, tuple[Array, ...]]] = [
    (Conv2D(padding=Padding.same(1, 2.0)), (drawn(1, 5, 6, 4), drawn(7, 3, 3, 4))),
    (Dense(), (drawn(2, 30), drawn(5, 30))),
    (MatMul(), (drawn(6, 30), drawn(30, 5))),
    (AvgPool2D((2, 3), (1, 2)), (drawn(1, 6, 7, 5),)),
    (MaxPool2D((2, 3), (1, 2)), (drawn(1, 6, 7, 5),)),
    (Softmax((1,)), (drawn(3, 11),)),
    (Reduce("sum", (1,)), (drawn(4, 50),)),
    (Reduce("min", (1,)), (drawn(4, 50),)),
    (Pad((1, 0), (2, 3), -5.0), (drawn(4, 6),)),
    (Gather(1), (drawn(3, 4), PLACES)),
    (Expand((3, 4, 5)), (drawn(4, 1),)),
    (Concat(1), (drawn(3, 4), drawn(3, 2))),
    (Transpose((1, 0)), (drawn(3, 4),)),
    (CumSum(1), (drawn(3, 40),)),
    (Resample(1), (drawn(3, 5), PLACES.reshape(3, 1).repeat(2, 1), drawn(3, 2))),
    (LRN(3, 0.5, 0.75, 1.0), (drawn(1, 3, 3, 8),)),
]


@pytest.mark.parametrize(("op", "operands"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_what_errors_make_lies_in_the_interval(op: Op, operands: tuple[Array, ...]) -> None:
    rng = np.random.default_rng(3)
    weighted = isinstance(op, Conv2D | Dense | Resample)  # has constant weights
    errors = [
        np.full(x.shape, 1e-3) if x.dtype.kind == "f" and not (weighted and i) else 0.0
        for i, x in enumerate(operands)
    ]
    low, _, high = interval(op, operands, errors, SINGLE)
    for _ in range(50):
        moved = tuple(
            (x + rng.choice([-1e-3, 1e-3], x.shape)).astype(np.float32) if np.any(e) else x
            for x, e in zip(operands, errors, strict=True)
        )
        (got,) = op.reference(*moved)
        slack = 1e-7 * np.abs(got).max()  # for the rounding of the operands to float32
        assert np.all((low - slack <= got) & (got <= high + slack))


@pytest.mark.parametrize(("op", "operands"), CASES, ids=lambda x: getattr(x, "name", ""))
def test_float32_lies_in_the_interval(op: Op, operands: tuple[Array, ...]) -> None:
    (got,) = op.reference(*operands)
    low, _, high = interval(op, operands, (0.0,) * len(operands), SINGLE)
    assert np.all((low <= got) & (got <= high))


def test_integers_between_the_ends_can_be_reached_and_no_others() -> None:
    step, zero = np.array([0.01], np.float32), np.array([2], np.int32)
    op = Fused(Relu(), 1, (Stage(Quantize("half_even", DType.I8), 2),))
    x = np.array([0.5, 0.504999], np.float32)
    ends = interval(op, (x, step, zero), (np.full(2, 0.03), 0.0, 0.0), SINGLE)
    for code in range(40, 60):
        want = 49 <= code <= 55
        assert reachable(ends, np.array([code, code], np.int8)).tolist() == [want, want]
    exact = interval(op, (x, step, zero), (0.0, 0.0, 0.0), SINGLE)
    assert reachable(exact, np.array([52, 52], np.int8)).tolist() == [True, True]
    assert reachable(exact, np.array([51, 53], np.int8)).tolist() == [False, False]
