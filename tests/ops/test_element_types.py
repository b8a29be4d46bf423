"""Operators that must accept every element type and rank, compiled for the host."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from operator_graphs import sample_graph

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.op import Case
from ellc.ir.ops.arithmetic import FloorDiv, FloorMod, Maximum, Minimum
from ellc.ir.ops.comparisons import Equal, GreaterEqual, Less, NotEqual, Select
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Cast, Clip, Div, Mod, Mul, Pow, Sub
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.reduce import ArgMax, ArgMin, Reduce
from ellc.ir.ops.scan import CumSum
from ellc.ir.ops.scatter import Scatter
from ellc.ir.ops.shape import Concat, Expand, Gather, Reshape, Slice, Split, Transpose
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ellc.ir.types import Array, DType

SIGNED = (DType.I8, DType.I16, DType.I32, DType.I64)
INTEGERS = (*SIGNED, DType.U8, DType.U16, DType.U32, DType.U64)
NUMBERS = (*INTEGERS, DType.F32, DType.F64)
ALL = (*NUMBERS, DType.BOOL)


def drawn(dtype: DType, *shape: int) -> Array:
    """Small random numbers that fit into every type; divisors are not 0."""
    low = 1 if dtype.numpy.kind == "u" else -9
    values = np.random.default_rng(5).integers(low, 10, shape)
    return (values % 2 == 0) if dtype is DType.BOOL else values.astype(dtype.numpy)


def movements(dtype: DType) -> Iterator[Case]:
    six = drawn(dtype, 2, 3, 1, 4, 2, 5)
    x = drawn(dtype, 3, 4, 5)
    indices = np.array([2, 0, 2], np.int64)
    yield Case(Reshape((6, 4, 10)), (six,))
    yield Case(Transpose((5, 0, 3, 1, 4, 2)), (six,))
    yield Case(Transpose((2, 0, 1)), (x,))
    starts, sizes, steps = (1, 2, 0, 3, 0, 4), (1, 2, 1, 2, 2, 3), (1, -1, 1, -2, 1, -2)
    yield Case(Slice(starts, sizes, steps), (six,))
    yield Case(Concat(3), (six, six), (1,))
    yield Case(Split(5, (2, 3)), (six,))
    for mode in ("constant", "edge", "reflect"):
        yield Case(Pad((0, 2, 1), (1, 0, 3), 1.0, mode), (x,))
    yield Case(Expand((2, 3, 4, 5)), (x,))
    yield Case(Gather(1), (x, indices), (1,))
    yield Case(Gather(1), (x, indices))
    yield Case(Scatter(), (x, indices[:, np.newaxis], x[::-1].copy()))
    yield Case(Select(), (x, x[::-1].copy(), x == x[:1]))
    for op in (Equal, NotEqual):
        yield Case(op(), (x, x[:1].copy()))


def sums(dtype: DType) -> Iterator[Case]:
    x, y = drawn(dtype, 3, 4, 5), drawn(dtype, 4, 5)
    y = np.where(y == 0, 1, y).astype(dtype.numpy)
    for op in (Add, Sub, Mul, Minimum, Maximum, Less, GreaterEqual, Div, Mod, FloorDiv, FloorMod):
        yield Case(op(), (x, y))
    yield Case(Pow(), (np.abs(x), np.abs(y) % 4))
    yield Case(Clip(2.0, 5.0), (x,))
    yield Case(CumSum(1), (x,))
    for kind in ("sum", "prod", "max", "min", "l2sum"):
        yield Case(Reduce(kind, (1,)), (x,))
        yield Case(Reduce(kind, (2,)), (x,))
    yield Case(ArgMax(2), (x,))
    yield Case(ArgMin(1, last=True), (x,))
    yield Case(MaxPool2D((2, 2), (1, 1)), (drawn(dtype, 1, 4, 5, 3),))
    places = np.array([[[2, 0], [1, 3]], [[2, 0], [0, 4]]], np.uint8)
    for reduction in Scatter.reductions[1:]:
        yield Case(Scatter(reduction), (x, places, x[:2, :2]))
    for to in (DType.F32, DType.I64, DType.I8, DType.U8, DType.BOOL, DType.F64):
        yield Case(Cast(to), (np.abs(x),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "cases"),
    [(d, movements) for d in ALL] + [(d, sums) for d in NUMBERS],
    ids=lambda v: v.value if isinstance(v, DType) else v.__name__,
)
def test_operators_on_every_element_type(dtype: DType, cases: object) -> None:
    assert callable(cases)
    every: list[Case] = list(cases(dtype))
    trials = []
    for index, case in enumerate(every):
        graph, inputs = sample_graph(case, f"c{index}")
        ready, _ = run_pipeline(graph, default_passes(PipelineOptions(optimize=False)))
        trials.append(Trial(ready, (inputs,)))
    wrong = []
    for case, found in zip(every, run_trials(trials, resolve("host")), strict=True):
        if isinstance(found, Exception):
            wrong.append(f"{case.op}: {str(found).splitlines()[0]}")
            continue
        types = case.op.infer(*case.types())
        for got, want, type_ in zip(found[0], case.op.reference(*case.inputs), types, strict=True):
            same = got.dtype == type_.dtype.numpy and np.allclose(got, want, rtol=1e-6, atol=0)
            wrong += [] if same else [f"{case.op}: {got.flat[:9]} not {want.flat[:9]}"]
    assert not wrong, "\n".join(wrong)
