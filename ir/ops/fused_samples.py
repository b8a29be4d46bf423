"""Test cases of fused operators, some for every operator that can be an anchor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ellc.ir.op import Case, Op, Pointwise
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.common import dyadic, normal, weights
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.fused import Fused, Stage, fused_samples
from ellc.ir.ops.pointwise import (
    Add,
    Clip,
    HardSwish,
    LeakyRelu,
    Minimum,
    Mul,
    MulAdd,
    PRelu,
    Relu,
    Sigmoid,
    Tanh,
)
from ellc.ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised import Dequantize, Lookup, Quantize, Requantize
from ellc.ir.ops.quantised_arithmetic import QuantAdd, QuantMul
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.ops.quantised_pool import IntAvgPool2D
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import Array, DType, Padding, Quant


class _Chain:
    """Builds a test case of a fused operator from its stages and operands in order.

    All operands of the anchor except the first are constants.
    """

    def __init__(self, anchor: Op, *inputs: Array, bits: bool = False) -> None:
        self._anchor = anchor
        self._count = len(inputs)
        self._operands = list(inputs)
        self._stages: list[Stage] = []
        self._constants = list(range(1, len(inputs)))
        self._dtypes = (DType.BIT,) * 2 if bits else ()

    def then(self, op: Pointwise, *fixed: Array, computed: tuple[Array, ...] = ()) -> _Chain:
        """Add a stage with its further operands: constants (`fixed`), then computed ones."""
        self._stages.append(Stage(op, len(fixed) + len(computed)))
        start = len(self._operands)
        self._constants += range(start, start + len(fixed))
        self._operands += [*fixed, *computed]
        return self

    def case(self, label: str) -> Case:
        """The finished case."""
        op = Fused(self._anchor, self._count, tuple(self._stages))
        return Case(op, tuple(self._operands), tuple(self._constants), self._dtypes, label)


@fused_samples
def fused_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Anchors with epilogues that occur in networks."""
    yield from _convolutions(rng)
    yield from _depthwise(rng)
    yield from _others(rng)
    yield from _signs(rng)
    yield from _bytes(rng)
    yield from _bytes_without_products(rng)
    yield from _matrices_and_tables(rng)


def _convolutions(rng: np.random.Generator) -> Iterator[Case]:
    same = Padding.same(1)
    x, w = normal(rng, 1, 7, 6, 12), weights(rng, 21, 3, 3, 12)
    conv, bias = Conv2D(padding=same), normal(rng, 21)
    yield _Chain(conv, x, w, bias).then(Relu()).case("conv with bias, relu")
    yield _Chain(conv, x, w).then(Add(), bias).then(Relu()).case("conv, add, relu")
    residual = normal(rng, 1, 7, 6, 21)
    yield (
        _Chain(conv, x, w)
        .then(Add(), bias)
        .then(Add(), computed=(residual,))
        .then(Relu())
        .case("conv, bias, residual, relu")
    )
    scale = normal(rng, 1, 1, 1, 21)
    yield (
        _Chain(conv, x, w, bias)
        .then(MulAdd(), scale, normal(rng, 1))
        .then(LeakyRelu(0.1))
        .then(Mul(), normal(rng, 1))
        .case("conv, scale and shift, leaky relu, factor")
    )
    image, first = normal(rng, 1, 15, 15, 3), weights(rng, 8, 3, 3, 3)
    first_op = Conv2D((2, 2), Padding(0, 0, 1, 1))
    yield (
        _Chain(first_op, image, first)
        .then(Add(), normal(rng, 8))
        .then(HardSwish())
        .case("first layer, hard swish")
    )
    one = _Chain(Conv2D(), normal(rng, 1, 5, 5, 40), weights(rng, 17, 1, 1, 40))
    yield one.then(Add(), normal(rng, 17)).then(Clip(0.0, 6.0)).case("1x1, relu6")
    pixel = _Chain(Conv2D(), normal(rng, 1, 1, 1, 1), weights(rng, 1, 1, 1, 1))
    yield pixel.then(Tanh()).case("one pixel, tanh")
    grouped = _Chain(
        Conv2D(padding=same, groups=2), normal(rng, 1, 5, 5, 10), weights(rng, 6, 3, 3, 5)
    )
    slopes = normal(rng, 6)
    yield grouped.then(PRelu(), slopes).then(Sigmoid()).case("groups, prelu, sigmoid")
    # The convolution and its stages are exact in float32, so that no sign depends on rounding.
    yield (
        _Chain(conv, dyadic(rng, 1, 5, 7, 4), dyadic(rng, 33, 3, 3, 4, span=2))
        .then(MulAdd(), dyadic(rng, 33, span=4), dyadic(rng, 33))
        .then(PRelu(), dyadic(rng, 5, 7, 33, span=2))
        .then(Binarize())
        .case("conv, scale and shift, prelu, sign")
    )
    halves = dyadic(rng, 6, 3, 3, 2, span=2)
    shared = _Chain(Conv2D(padding=same, groups=2), dyadic(rng, 1, 5, 7, 4), halves)
    yield shared.then(Binarize()).case("groups that share a byte of signs")


def _depthwise(rng: np.random.Generator) -> Iterator[Case]:
    op = Conv2D(padding=Padding.same(1), groups=19)
    x, w = normal(rng, 1, 6, 7, 19), weights(rng, 19, 3, 3, 1)
    yield (
        _Chain(op, x, w)
        .then(Add(), normal(rng, 19))
        .then(Clip(0.0, 6.0))
        .case("depthwise, bias, relu6")
    )
    strided = Conv2D((2, 2), Padding(0, 0, 1, 1), groups=16)
    even = _Chain(strided, normal(rng, 1, 8, 8, 16), weights(rng, 16, 3, 3, 1), normal(rng, 16))
    residual = normal(rng, 1, 4, 4, 16)
    yield even.then(Relu()).then(Add(), computed=(residual,)).case("depthwise, relu, residual")


def _others(rng: np.random.Generator) -> Iterator[Case]:
    x, w = normal(rng, 1, 37), weights(rng, 19, 37)
    yield (
        _Chain(Dense(), x, w)
        .then(Add(), normal(rng, 19))
        .then(Sigmoid())
        .case("dense, bias, sigmoid")
    )
    yield (
        _Chain(Dense(), normal(rng, 1, 64), weights(rng, 32, 64), normal(rng, 32))
        .then(Relu())
        .case("dense with bias, relu")
    )
    pool = MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values))
    yield (
        _Chain(pool, normal(rng, 1, 7, 9, 10))
        .then(MulAdd(), normal(rng, 10), normal(rng, 10))
        .case("max pool, scale and shift")
    )
    mean = AvgPool2D((5, 4), (1, 1))
    yield (
        _Chain(mean, normal(rng, 1, 5, 4, 33))
        .then(Mul(), normal(rng, 33))
        .then(Relu())
        .case("mean of an image, scale, relu")
    )
    a, b = dyadic(rng, 1, 5, 5, 6), dyadic(rng, 1, 5, 5, 6)
    op = Fused(Add(), 2, (Stage(Relu()), Stage(MulAdd(), 2), Stage(Binarize())))
    factors = (dyadic(rng, 6), dyadic(rng, 6))
    yield Case(op, (a, b, *factors), (2, 3), label="add, relu, scale and shift, sign")


def _signs(rng: np.random.Generator) -> Iterator[Case]:
    def chain(filters: int, channels: int, *more: Array) -> _Chain:
        x, w = rng.random((1, 5, 6, channels)) < 0.5, rng.random((filters, 3, 3, channels)) < 0.5
        return _Chain(BinaryConv2D(padding=Padding.same(1)), x, w, *more, bits=True)

    slopes = dyadic(rng, 5, 6, 33, span=4)
    yield (
        chain(33, 64)
        .then(Add(), dyadic(rng, 33))
        .then(PRelu(), slopes)
        .then(Binarize())
        .case("binary conv, bias, prelu, sign")
    )
    yield (
        chain(16, 40)
        .then(MulAdd(), dyadic(rng, 16), dyadic(rng, 16))
        .then(Binarize())
        .case("binary conv, scale and shift, sign")
    )
    limits = np.array([-np.inf, -600.0, -1.0, 0.0, 1.0, np.nan, 0.5, np.inf], np.float32)
    yield (
        chain(64, 64).then(Add(), np.resize(limits, 64)).then(Binarize()).case("limits of counts")
    )
    yield (
        chain(32, 64)
        .then(Add(), np.resize(limits, (5, 6, 32)))
        .then(Binarize())
        .case("limits by position")
    )
    yield (
        chain(16, 64)
        .then(Add(), normal(rng, 16))
        .then(PRelu(), normal(rng, 5, 6, 16))
        .case("counts in registers, bias, prelu")
    )
    yield (
        chain(9, 32, normal(rng, 9))
        .then(Add(), normal(rng, 9))
        .then(PRelu(), normal(rng, 5, 6, 9))
        .case("scaled binary conv, bias, prelu")
    )


def _bytes(rng: np.random.Generator) -> Iterator[Case]:
    def stored(*shape: int, unsigned: bool = False) -> Array:
        low = 0 if unsigned else -128
        drawn = rng.integers(low, low + 256, shape).astype(np.uint8 if unsigned else np.int8)
        return np.asarray(drawn, order="C")

    def factors(channels: int) -> tuple[Array, Array]:
        multipliers = rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32)
        return multipliers, rng.integers(-11, -6, channels).astype(np.int32)

    def bias(channels: int) -> Array:
        return rng.integers(-9999, 9999, channels).astype(np.int32)

    fixed = Requantize("tflite", -4, -100, 127, DType.I8)
    same = IntConv2D(padding=Padding.same(1), input_zero=-9)
    yield (
        _Chain(same, stored(1, 7, 6, 12), stored(21, 3, 3, 12), bias(21))
        .then(fixed, *factors(21))
        .case("bytes, fixed point")
    )
    total = QuantAdd.of(
        Quant((0.5,), (-4,)), Quant((0.25,), (7,)), DType.I8, Quant((0.6,), (3,)), -128, 127, False
    )
    yield (
        _Chain(IntConv2D(input_zero=5), stored(1, 6, 5, 10), stored(24, 1, 1, 10), bias(24))
        .then(fixed, *factors(24))
        .then(total, computed=(stored(1, 6, 5, 24),))
        .case("bytes, fixed point, residual")
    )
    channels = IntConv2D((2, 2), Padding(0, 0, 1, 1), (1, 1), 19, 128, (120,))
    unsigned = Requantize("half_even", 128, 0, 255, DType.U8)
    scale = (rng.random(19) / 200).astype(np.float32)
    images = (stored(1, 8, 6, 19, unsigned=True), stored(19, 3, 3, 1, unsigned=True))
    yield _Chain(channels, *images).then(unsigned, scale).case("channels of bytes, float factor")
    real, zero = np.array([0.002], np.float32), np.array([0], np.int32)
    yield (
        _Chain(IntDense(3), stored(1, 37), stored(19, 37), bias(19))
        .then(Dequantize(), real, zero)
        .then(Sigmoid())
        .case("dense of bytes, sigmoid")
    )
    yield (
        _Chain(IntMatMul(1, (2,)), stored(5, 7), stored(7, 9))
        .then(fixed, *factors(1))
        .case("product of bytes, fixed point")
    )
    yield (
        _Chain(Conv2D(), dyadic(rng, 1, 5, 5, 4), dyadic(rng, 9, 1, 1, 4))
        .then(Relu())
        .then(Quantize("half_even", DType.U8), np.array([0.125], np.float32), zero)
        .case("conv, relu, to bytes")
    )


def _bytes_without_products(rng: np.random.Generator) -> Iterator[Case]:
    def stored(*shape: int) -> Array:
        return rng.integers(-128, 127, shape, np.int8, endpoint=True)

    x, y = Quant((0.5,), (-4,)), Quant((0.25,), (7,))
    total = QuantAdd.of(x, y, DType.I8, Quant((0.6,), (3,)), -128, 127, False)
    product = QuantMul.of(x, y, DType.I8, Quant((0.9,), (3,)), -100, 127)
    mean = IntAvgPool2D((3, 2), (2, 1), Padding(1, 0, 1, 0), -128, 127)
    image = stored(1, 7, 5, 12)
    yield _Chain(mean, image).then(Clip(-20.0, 33.0)).case("mean of bytes, clip")
    pool = MaxPool2D((2, 2), (2, 2))
    yield _Chain(pool, image).then(product, stored(12)).case("largest bytes, product")
    table = rng.permutation(256).astype(np.uint8).view(np.int8)
    residual = stored(1, 7, 5, 12)
    yield (
        _Chain(Lookup(DType.I8), image, table).then(total, computed=(residual,)).case("table, sum")
    )
    sums = rng.integers(-9999, 9999, (1, 6, 4, 19), np.int32)
    factor, shift = np.array([1300000000], np.int32), np.array([-9], np.int32)
    yield (
        _Chain(Reduce("sum", (1, 2)), sums)
        .then(Requantize("tflite", 5, -128, 127, DType.I8), factor, shift)
        .case("sum along axes, fixed point")
    )
    zero = np.array([3], np.int32)
    scale, step = np.array([0.25], np.float32), np.array([0.5], np.float32)
    yield (
        _Chain(Dequantize(), image, scale, zero)
        .then(Mul(), np.array([0.75], np.float32))
        .then(Quantize("half_away", DType.U8), step, zero)
        .then(Minimum(), np.array([100], np.uint8))
        .case("bytes to floats and back")
    )
    yield _Chain(total, image, residual).then(product, residual).case("sum and product of bytes")
    yield (
        _Chain(AvgPool2D((2, 4), (2, 2)), dyadic(rng, 1, 6, 8, 9))
        .then(Quantize("half_even", DType.I8), scale / 2, zero)
        .case("mean, to bytes")
    )


def _matrices_and_tables(rng: np.random.Generator) -> Iterator[Case]:
    left, right = dyadic(rng, 2, 5, 7), dyadic(rng, 7, 9)
    yield (
        _Chain(MatMul(), left, right)
        .then(Add(), dyadic(rng, 9))
        .then(Relu())
        .case("product of matrices, bias, relu")
    )
    x = rng.integers(0, 19 << 7, (1, 5, 4, 9)).astype(np.int32)
    tables = (rng.integers(-9999, 9999, 19).astype(np.int32) for _ in range(2))
    yield _Chain(Interpolate(7), x, *tables).then(Clip(-9e4, 8e5)).case("pieces, clip")
    thresholds = dyadic(rng, 7, 1, 1, 1, 12)
    yield (
        _Chain(CountReached(), dyadic(rng, 1, 5, 4, 12), thresholds)
        .then(Mul(), np.array([0.25], np.float32))
        .case("thresholds, scale")
    )
