"""Thresholds of sums of signs give the same bits as the floats between two binary layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op
from ellc.ir.ops.binary import Binarize, BinaryConv2D, BitPool2D
from ellc.ir.ops.pointwise import Add, Clip, LeakyRelu, Mul, MulAdd, PRelu, Relu, Sub
from ellc.ir.ops.pool import LOWEST, MaxPool2D
from ellc.ir.passes.fold.binary_thresholds import BinaryThresholds
from ellc.ir.types import Array, DType, Padding, TensorType

SIZE, CHANNELS, FILTERS = 6, 7, 24
Link = tuple[Op, tuple[Array, ...]]
POOL: Link = (MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values)), ())


def network(
    links: Sequence[Link], rng: np.random.Generator, padding: float = 0.0, *, scaled: bool = False
) -> Graph:
    """A binary convolution, some operators, and the next signs."""
    b = GraphBuilder("net")
    value = b.input("x", TensorType(DType.BIT, (1, SIZE, SIZE, CHANNELS)))
    weights = b.constant(rng.random((FILTERS, 3, 3, CHANNELS)) < 0.5, DType.BIT)
    scale = [b.constant(numbers(rng, FILTERS))] if scaled else []
    value = b.add(BinaryConv2D(padding=Padding.same(1, padding)), value, weights, *scale)
    for op, constants in links:
        value = b.add(op, value, *(b.constant(c) for c in constants))
    b.output("y", b.add(Binarize(), value))
    return b.build()


def numbers(rng: np.random.Generator, *shape: int, low: float = -2.0) -> Array:
    """Numbers of which a third are small integers or 0: sums are then exactly on thresholds."""
    drawn = rng.uniform(low, 2.0, shape).astype(np.float32)
    rounded = rng.random(shape) < 0.34
    return np.where(rounded, np.round(drawn), drawn).astype(np.float32)


def factors(rng: np.random.Generator, *shape: int) -> Array:
    """Factors of both signs."""
    return np.where(rng.random(shape) < 0.5, -1, 1).astype(np.float32) * numbers(rng, *shape, low=0)


def images(rng: np.random.Generator, graph: Graph) -> list[Array]:
    """Random images, images of one sign, and those that reach the extreme sums of a filter."""
    (type_,) = graph.input_types()
    drawn = [rng.random(type_.shape) < p for p in (0.0, 0.1, 0.3, 0.5, 0.5, 0.5, 0.7, 0.9, 1.0)]
    weights = graph.constant_arrays()[graph.nodes[0].inputs[1]]
    like = [np.tile(w, (2, 2, 1))[None] for w in weights[:4]]
    return [*drawn, *like, *(~image for image in like)]


def agree(before: Graph, after: Graph, rng: np.random.Generator) -> None:
    for image in images(rng, before):
        (wanted,), (got,) = (evaluate(g, (image,)).outputs for g in (before, after))
        assert np.array_equal(wanted, got)


def chains(rng: np.random.Generator) -> dict[str, list[Link]]:
    f, hw = FILTERS, (SIZE, SIZE, FILTERS)
    bias = (Add(), (numbers(rng, f) * 9,))
    slopes = (PRelu(), (numbers(rng, *hw, low=0.0),))
    norm = (MulAdd(), (factors(rng, f), numbers(rng, f) * 5))
    return {
        "scale and shift": [(Mul(), (factors(rng, f),)), bias],
        "slopes by position": [bias, slopes, norm],
        "pool": [POOL, norm],
        "ELL": [bias, slopes, POOL, (Sub(), (numbers(rng, f),)), norm, bias],
        "large numbers": [(Mul(), (factors(rng, f) * 1e30,)), (Add(), (numbers(rng, f) * 1e30,))],
        "rounded away": [(Add(), (np.full(f, 2.0**25, np.float32),)), (Add(), (-numbers(rng, f),))],
        "no sign changes": [(Relu(), ()), (Add(), (numbers(rng, f),))],
        "steps of activations": [bias, (Clip(-3.0, 6.0), ()), (LeakyRelu(0.3), ()), POOL, norm],
    }


@pytest.mark.parametrize("padding", [0.0, -1.0, 1.0])
@pytest.mark.parametrize("name", list(chains(np.random.default_rng(0))))
def test_bits_are_those_of_floats(name: str, padding: float) -> None:
    for seed in range(3):
        rng = np.random.default_rng([seed, 5])
        before = network(chains(rng)[name], rng, padding, scaled=seed == 1)
        after = BinaryThresholds().run(before)
        kinds = [type(n.op) for n in after.nodes]
        assert kinds[:3] == [BinaryConv2D, Add, Binarize]
        assert kinds[3:] == (
            [BitPool2D] if any(op is POOL[0] for op, _ in chains(rng)[name]) else []
        )
        agree(before, after, rng)
        assert BinaryThresholds().run(after) == after


def test_constants_that_forbid_thresholds() -> None:
    """The graph stays as it is where a function is not proved to be monotone or finite."""
    rng = np.random.default_rng(1)
    slopes = numbers(rng, FILTERS, low=0.0)
    slopes[5] = -0.25
    by_pixel = factors(rng, SIZE, SIZE, FILTERS)
    pooled = factors(rng, SIZE // 2, SIZE // 2, FILTERS)
    for links in (
        [(PRelu(), (slopes,))],
        [(LeakyRelu(-0.5), ())],
        [(Add(), (np.full(FILTERS, np.nan, np.float32),)), (Relu(), ())],
        [(Mul(), (np.full(FILTERS, np.inf, np.float32),))],
        [(Mul(), (by_pixel,)), (Add(), (numbers(rng, FILTERS),))],
        [POOL, (Mul(), (pooled,))],
        [(MaxPool2D((2, 2), (2, 2), Padding(1, 1, 1, 1, (0.0,))), ()), (Relu(), ())],
    ):
        graph = network(links, rng)
        assert BinaryThresholds().run(graph) == graph


def test_negative_slope_where_no_sum_is_negative() -> None:
    """A slope that is never used forbids nothing."""
    rng = np.random.default_rng(2)
    most = 9 * CHANNELS
    links = [
        (Add(), (np.float32([most]),)),
        (PRelu(), (np.float32([-1.0]),)),
        (Sub(), (np.float32([most]),)),
    ]
    before = network(links, rng)
    after = BinaryThresholds().run(before)
    assert len(after.nodes) == 3
    agree(before, after, rng)


def test_sums_that_others_read_stay() -> None:
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.BIT, (1, 3, 3, 8)))
    sums = b.add(BinaryConv2D(), x, b.constant(np.ones((8, 1, 1, 8), np.bool_), DType.BIT))
    positive = b.add(Relu(), sums)
    b.output("y", b.add(Binarize(), positive))
    b.output("z", positive)
    graph = b.build()
    assert BinaryThresholds().run(graph) == graph
