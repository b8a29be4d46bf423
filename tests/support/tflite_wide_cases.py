"""Test cases of operators on 16-bit activations: layers with 8-bit weights, and others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tflite_cases import TfliteCase, drawn_once, ints, stored
from tflite_files import T, options

_RNG = np.random.default_rng(14)
_IN, _OUT = 1e-4, 6e-4
_INT32 = 2  # the code of int32 in an option that gives the type of the bias


@drawn_once
def wide_cases() -> Iterator[TfliteCase]:
    """Cases of all operators on 16-bit numbers that are not in `byte_cases`."""
    for bias in ("int64", "int32"):
        yield from _dense(bias)
        yield from _convolutions(bias)
        yield from _transposed(bias)
    yield from _fine_steps()
    yield from _products()
    yield from _depthwise()
    yield from _dense("")
    yield from _transposed("")
    yield from _functions()
    yield from _slopes()
    yield from _comparisons()
    yield from _rows()
    yield from _images()


def _weights(shape: tuple[int, ...], filters: int, axis: int = 0) -> T:
    scales = tuple(_RNG.uniform(0.0002, 0.002, filters).astype(np.float32).tolist())
    data = _RNG.integers(-127, 128, shape).astype(np.int8)
    return T(shape, "int8", data, scale=scales, zero=(0,) * filters, axis=axis)


def _bias(dtype: str, count: int, span: int) -> list[T]:
    if not dtype:
        return []
    data = _RNG.integers(-span, span, count).astype(dtype)
    return [T.of(data, scale=(1e-7,) * count, zero=(0,) * count)]


def _chosen(kind: str, bias: str, **rest: int) -> object:
    return options(kind, quantizedBiasType=_INT32 if bias == "int32" else 0, **rest)


def _dense(bias: str) -> Iterator[TfliteCase]:
    """Cases in which long rows or large biases give sums of more than 32 bits."""
    for length, scale, span in ((70, _OUT, 10**6), (2000, 0.02, 10**9), (5000, 0.9, 10**9)):
        for activation in (0, 1):
            weights = _weights((9, length), 9)
            if activation:
                weights = T(weights.shape, "int8", weights.data, scale=(0.001,), zero=(0,))
            operands = (stored("int16", (6, length), _IN), weights, *_bias(bias, 9, span))
            yield TfliteCase(
                "FULLY_CONNECTED",
                f"int16 {bias} {length} {activation}",
                operands if bias else (*operands, None),
                (stored("int16", (6, 9), scale),),
                _chosen("FullyConnectedOptions", bias, fusedActivationFunction=activation),
            )


def _convolutions(bias: str) -> Iterator[TfliteCase]:
    for depth, scale, span in ((5, _OUT, 10**6), (300, 0.05, 2 * 10**9)):
        for stride, activation in ((1, 0), (2, 1)):
            operands = (stored("int16", (1, 6, 5, depth), _IN), _weights((7, 3, 3, depth), 7))
            size = (1, -(-6 // stride), -(-5 // stride), 7)
            yield TfliteCase(
                "CONV_2D",
                f"int16 {bias} {depth} {stride}",
                (*operands, *_bias(bias, 7, span)),
                (stored("int16", size, scale),),
                _chosen(
                    "Conv2DOptions", bias, padding=0, strideH=stride, strideW=stride,
                    dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=activation,
                ),
            )  # fmt: skip


def _fine_steps() -> Iterator[TfliteCase]:
    """Cases with factors around 1 and far above 1, and sums that still fit into the result."""
    for scale, depth, span in ((3e-7, 3, 30), (1e-7, 3, 30), (4e-9, 2, 3), (1e-7, 300, 2)):
        given = _RNG.integers(-span, span + 1, (1, 6, 5, depth)).astype(np.int16)
        operands = (stored("int16", given.shape, _IN), _weights((7, 1, 1, depth), 7))
        yield TfliteCase(
            "CONV_2D",
            f"int16 steps {scale} {depth}",
            (*operands, *_bias("int64", 7, span * 100)),
            (stored("int16", (1, 6, 5, 7), scale),),
            _chosen(
                "Conv2DOptions", "int64", padding=0, strideH=1, strideW=1,
                dilationHFactor=1, dilationWFactor=1,
            ),
            given=(given,),
        )  # fmt: skip


def _products() -> Iterator[TfliteCase]:
    """Cases of two computed matrices, with factors far below 1 and around 1."""
    most = 2**15
    for turn, depth, scale, span in (
        (False, 20, 6e-3, most), (True, 20, 3e-8, 30), (True, 600, 3e-2, most), (False, 9, 1e-9, 9),
    ):  # fmt: skip
        shapes = (2, 3, 5, depth), ((3, 7, depth) if turn else (3, depth, 7))
        given = tuple(_RNG.integers(-span, span, shape).astype(np.int16) for shape in shapes)
        operands = (stored("int16", shapes[0], _IN), stored("int16", shapes[1], 3e-4))
        to = (stored("int16", (2, 3, 5, 7), scale),)
        chosen = options("BatchMatMulOptions", adjX=False, adjY=turn)
        label = f"int16 {turn} {depth}"
        yield TfliteCase("BATCH_MATMUL", label, operands, to, chosen, given=given)


def _depthwise() -> Iterator[TfliteCase]:
    for scale, span in ((_OUT, 10**6), (0.9, 10**11)):
        yield TfliteCase(
            "DEPTHWISE_CONV_2D",
            f"int16 {scale}",
            (
                stored("int16", (2, 6, 5, 4), _IN),
                _weights((1, 3, 3, 8), 8, 3),
                *_bias("int64", 8, span),
            ),
            (stored("int16", (2, 6, 5, 8), scale),),
            options(
                "DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, depthMultiplier=2,
                dilationHFactor=1, dilationWFactor=1,
            ),
        )  # fmt: skip


def _transposed(bias: str) -> Iterator[TfliteCase]:
    for depth, scale, span in ((6, _OUT, 10**6), (600, 0.05, 2 * 10**9)):
        yield TfliteCase(
            "TRANSPOSE_CONV",
            f"int16 {bias} {depth}",
            (
                ints(1, 8, 6, 5),
                _weights((5, 3, 3, depth), 5),
                stored("int16", (1, 4, 3, depth), _IN),
                *_bias(bias, 5, span),
            ),
            (stored("int16", (1, 8, 6, 5), scale),),
            _chosen("TransposeConvOptions", bias, padding=0, strideH=2, strideW=2),
        )


def _every() -> np.ndarray:
    """All 16-bit numbers."""
    return np.arange(-(2**15), 2**15).astype(np.int16).reshape(64, 1024)


def _functions() -> Iterator[TfliteCase]:
    every = _every()
    for scale in (1 / 4096, 1 / 2048, 1e-4, 2e-3):
        for kind, to, chosen in (
            ("LOGISTIC", 1 / 32768, None),
            ("TANH", 1 / 32768, None),
            ("EXP", 1e-3, None),
            ("LOG", 3e-4, None),
            ("RSQRT", 1e-3, None),
            ("SQRT", 3e-4, None),
            ("GELU", 2e-4, options("GeluOptions", approximate=True)),
            ("GELU", 2e-4, options("GeluOptions", approximate=False)),
            ("RELU", 2e-4, None),
            ("RELU6", 2e-4, None),
            ("ABS", 2e-4, None),
            ("LEAKY_RELU", 2e-4, options("LeakyReluOptions", alpha=0.13)),
            ("LEAKY_RELU", 2e-4, options("LeakyReluOptions", alpha=-0.4)),
        ):
            operand, results = stored("int16", every.shape, scale), stored("int16", every.shape, to)
            given = np.maximum(every, 0) if kind in ("RSQRT", "SQRT") else every
            label = f"int16 {scale} {chosen and vars(chosen)}"
            yield TfliteCase(kind, label, (operand,), (results,), chosen, given=(given,))


def _slopes() -> Iterator[TfliteCase]:
    every = _every()
    for shape in ((1024,), (64, 1), (1, 1)):
        data = _RNG.integers(-128, 128, shape).astype(np.int8)
        slopes = T(shape, "int8", data, scale=(0.02,), zero=(0,))
        for scale, to in ((1e-4, 1e-4), (2e-3, 3e-3)):
            operands = (stored("int16", every.shape, scale), slopes)
            results = (stored("int16", every.shape, to),)
            yield TfliteCase("PRELU", f"int16 {shape} {scale}", operands, results, given=(every,))


def _comparisons() -> Iterator[TfliteCase]:
    """Cases of comparisons that the runtime does on stored 16-bit numbers."""
    for kind in ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
        operands = (stored("int16", (3, 50), _IN), stored("int16", (50,), _IN))
        yield TfliteCase(kind, "int16", operands, (T((3, 50), "bool"),))


def _rows() -> Iterator[TfliteCase]:
    for beta, scale, length in ((1.0, 1e-4, 40), (0.3, 1e-3, 7), (1.0, 1e-5, 3000), (1.0, 0.1, 1)):
        operand, to = stored("int16", (30, length), scale), stored("int16", (30, length), 1 / 32768)
        chosen = options("SoftmaxOptions", beta=beta)
        yield TfliteCase("SOFTMAX", f"int16 {beta} {length}", (operand,), (to,), chosen)


def _images() -> Iterator[TfliteCase]:
    """Cases of pools, and of operators that move or concatenate elements."""
    image = stored("int16", (2, 9, 8, 4), 1e-4)
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for window, activation in ((3, 0), (2, 1), (8, 3)):
            rest = {"padding": 0, "strideH": 2, "strideW": 2, "filterHeight": window}
            chosen = options(
                "Pool2DOptions", **rest, filterWidth=window, fusedActivationFunction=activation
            )
            to = stored("int16", (2, 5, 4, 4), 1e-4)
            yield TfliteCase(kind, f"int16 {window}", (image,), (to,), chosen)
    for axes, shape in (((1, 2), (2, 4)), ((3,), (2, 9, 8)), ((0, 1, 2, 3), ())):
        to = stored("int16", shape, 3e-5)
        yield TfliteCase("MEAN", f"int16 {axes}", (image, ints(*axes)), (to,))
    frame = T.of(np.array([[0, 0], [1, 2], [0, 1], [0, 3]], np.int32))
    yield TfliteCase("PAD", "int16", (image, frame), (stored("int16", (2, 12, 9, 7), 1e-4),))
    chosen = options("ConcatenationOptions", axis=-1)
    to = stored("int16", (2, 9, 8, 8), 1e-4)
    yield TfliteCase("CONCATENATION", "int16", (image, image), (to,), chosen)
    to = stored("int16", (2, 72, 4), 1e-4)
    yield TfliteCase("RESHAPE", "int16", (image, ints(2, 72, 4)), (to,))
