"""Products of tensors with two values are computed with bits; results are equal, also at bounds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.pointwise import Cast, Greater, GreaterEqual, Less, LessEqual, MulAdd, Select
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType

COMPARISONS = [Greater(), GreaterEqual(), Less(), LessEqual()]
BOUNDS = [np.zeros(1), np.array([1.0]), np.array([1.0, 0.0, -2.0])]
VALUES = [(-1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (-0.5, 0.75)]
SHAPE = (1, 5, 6, 3)


def floats(array: object) -> Array:
    return np.asarray(array, np.float32)


def chosen(b: GraphBuilder, x: Ref, op: Op, bound: Array, low: float, high: float) -> Ref:
    """`high` if the comparison is true, else `low`: with arithmetic or a `Select`."""
    condition = b.add(op, x, b.constant(floats(bound)))
    if low + high == 0:
        numbers = (b.constant(np.full(x.type.shape, v, np.float32)) for v in (high, low))
        return b.add(Select(), *numbers, condition)
    scale, offset = (b.constant(floats([v])) for v in (high - low, low))
    return b.add(MulAdd(), b.add(Cast(DType.F32), condition), scale, offset)


def weights(*shape: int) -> Array:
    """Random signs times a number per filter."""
    rng = np.random.default_rng(3)
    sizes = rng.choice([0.5, 1.0, 2.0], (shape[0], *(1,) * (len(shape) - 1)))
    return floats(rng.choice([-1.0, 1.0], shape) * sizes)


def anchors(graph: Graph) -> list[type[Op]]:
    return [type(n.op.anchor if isinstance(n.op, Fused) else n.op) for n in graph.nodes]


def agrees(b: GraphBuilder, y: Ref) -> Graph:
    """The graph after the passes, which is compared on small integers that often equal a bound."""
    b.output("y", y)
    before = b.build()
    after, _ = run_pipeline(before, paranoid=True)
    x = np.random.default_rng(8).integers(-2, 3, SHAPE).astype(np.float32)
    both = (evaluate(g, (x,)).outputs for g in (after, before))
    for got, want in zip(*both, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    return after


@pytest.mark.parametrize(
    ("op", "bound", "values"),
    list(product(COMPARISONS, BOUNDS, VALUES)),
    ids=lambda v: v.name if isinstance(v, Op) else str(np.asarray(v).tolist()),
)
def test_convolutions_and_dense_layers(op: Op, bound: Array, values: tuple[float, float]) -> None:
    low, high = values
    for outside in (None, low, high, (low + high) / 2):
        b = GraphBuilder("signs")
        x = b.input("x", TensorType(DType.F32, SHAPE))
        padding = Padding() if outside is None else Padding(1, 0, 2, 1, (outside,))
        y = chosen(b, x, op, bound, low, high)
        bias = b.constant(floats([1, 2, 3, 4]))
        y = b.add(Conv2D((1, 2), padding), y, b.constant(weights(4, 2, 3, 3)), bias)
        b.output("picture", y)
        signs = chosen(b, y, GreaterEqual(), floats([2]), low, high)
        flat = b.add(Reshape((1, signs.type.elements)), signs)
        after = agrees(b, b.add(Dense(), flat, b.constant(weights(5, flat.type.elements))))
        assert anchors(after).count(BinaryConv2D) == 2
        assert not {Conv2D, Dense} & set(anchors(after))


@pytest.mark.parametrize(("op", "values"), list(product(COMPARISONS, VALUES[:2])))
def test_pools_in_between(op: Op, values: tuple[float, float]) -> None:
    """A pool can be moved before the comparison only if larger numbers give the larger value."""
    b = GraphBuilder("signs")
    x = b.input("x", TensorType(DType.F32, SHAPE))
    y = b.add(MaxPool2D((2, 2), (1, 2)), chosen(b, x, op, floats([1, 0, -1]), *values))
    after = agrees(b, b.add(Conv2D(), y, b.constant(weights(4, 2, 2, 3))))
    rises = isinstance(op, Greater | GreaterEqual) == (values[1] > values[0])
    assert (BinaryConv2D in anchors(after)) == rises


@pytest.mark.parametrize(
    ("conv", "size", "outside"),
    [
        (Conv2D(groups=3), (3, 2, 2, 1), None),
        (Conv2D(dilation=(2, 1)), (4, 2, 2, 3), None),
        (Conv2D(padding=Padding.same(1, 0.3)), (4, 2, 2, 3), None),
        (Conv2D(), (4, 2, 2, 3), 3.0),
        (Conv2D(), (4, 2, 2, 3), 0.0),
    ],
    ids=["groups", "dilation", "another padding", "a third size", "zeros"],
)
def test_what_stays(conv: Conv2D, size: tuple[int, ...], outside: float | None) -> None:
    b = GraphBuilder("signs")
    x = b.input("x", TensorType(DType.F32, SHAPE))
    array = weights(*size)
    if outside is not None:
        array.flat[5] = outside
    y = chosen(b, x, Greater(), floats([0]), -1.0, 1.0)
    after = agrees(b, b.add(conv, y, b.constant(array)))
    assert BinaryConv2D not in anchors(after)
