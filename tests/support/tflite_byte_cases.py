"""Test cases of TFLite operators on quantised 8- and 16-bit integers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from tflite_cases import TfliteCase, drawn_once, ints, stored
from tflite_files import T, options

BYTES = ("int8", "uint8")
_IMAGE = (1, 5, 6, 7)
_RNG = np.random.default_rng(11)


@drawn_once
def byte_cases() -> Iterator[TfliteCase]:
    """Cases of every operator on quantised integers."""
    for dtype in BYTES:
        yield from _functions(dtype)
        yield from _normalizations(dtype)
        yield from _arithmetic(dtype)
        yield from _quotients(dtype)
        yield from _whole_numbers(dtype)
        yield from _comparisons(dtype)
        yield from _reductions(dtype)
        yield from _halves(dtype)
        yield from _conversions(dtype)
        yield from _layers(dtype)
    for dtype in ("int8", "int16"):
        yield from _products(dtype)
    yield from _halves("int16")
    yield from _quotients("int16")
    yield from _whole_numbers("int16")
    yield from _sixteen_bits()


def _every(dtype: str) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1).astype(dtype).reshape(1, 256)


def _unary(
    kind: str,
    dtype: str,
    scale: float,
    to: tuple[float, int],
    chosen: object = None,
    label: str = "",
) -> TfliteCase:
    """A function of all 256 values of a byte."""
    return TfliteCase(
        kind,
        f"{dtype} {scale} {label}",
        (stored(dtype, (1, 256), scale),),
        (stored(dtype, (1, 256), *to),),
        chosen,
        given=(_every(dtype),),
    )


def _functions(dtype: str) -> Iterator[TfliteCase]:
    for scale in (0.05, 0.011, 0.3):
        yield _unary("LOGISTIC", dtype, scale, (1 / 256, 0))
        yield _unary("TANH", dtype, scale, (1 / 128, 128))
        yield _unary("RELU", dtype, scale, (0.04, 10))
        yield _unary("RELU6", dtype, scale, (0.03, 0))
        yield _unary("RELU_N1_TO_1", dtype, scale, (0.01, 128))
        yield _unary("RELU_0_TO_1", dtype, scale, (0.01, 128))
        yield _unary("HARD_SWISH", dtype, scale, (0.1, 3))
        for slope in (0.13, -0.4):
            chosen = options("LeakyReluOptions", alpha=slope)
            yield _unary("LEAKY_RELU", dtype, scale, (0.04, 20), chosen, f"slope {slope}")
        for exact in (True, False):
            chosen = options("GeluOptions", approximate=not exact)
            yield _unary("GELU", dtype, scale, (0.04, 20), chosen, f"exact {exact}")
        if dtype == "int8":
            yield _unary("ELU", dtype, scale, (0.05, 60))
            yield _unary("EXP", dtype, scale, (0.9, 3))
            yield _unary("LOG", dtype, scale, (0.03, 90))
            yield _unary("ABS", dtype, scale, (scale, 7), label="same scale")
            yield _unary("ABS", dtype, scale, (0.06, 7))
    if dtype == "int8":
        positive = T((1, 256), dtype, scale=(0.05,), zero=(-128,))
        yield TfliteCase(
            "SQRT", dtype, (positive,), (stored(dtype, (1, 256), 0.02, 3),), given=(_every(dtype),)
        )
        for scale, to in ((0.05, 0.02), (0.002, 0.1), (3.0, 1e-4), (1e-6, 9.0)):
            positive = T((1, 256), dtype, scale=(scale,), zero=(-128,))
            results = (stored(dtype, (1, 256), to, 3),)
            yield TfliteCase(
                "RSQRT", f"{dtype} {scale}", (positive,), results, given=(_every(dtype),)
            )
    slopes = _RNG.integers(0, 256, (1, 1, 6), np.uint8).view(dtype)
    yield TfliteCase(
        "PRELU",
        dtype,
        (stored(dtype, (4, 5, 6)), stored(dtype, (1, 1, 6), 0.01, 100, slopes)),
        (stored(dtype, (4, 5, 6), 0.04, 20),),
    )
    for beta in (1.0, 0.3):
        yield TfliteCase(
            "SOFTMAX",
            f"{dtype} {beta}",
            (stored(dtype, (30, 40)),),
            (stored(dtype, (30, 40), 1 / 256, 0),),
            options("SoftmaxOptions", beta=beta),
        )


def _normalizations(dtype: str) -> Iterator[TfliteCase]:
    every = _pairs_of_bytes(dtype)
    # With these parameters, lowest + 128 is 0 in a unit vector, and the highest value is log(1).
    for scale in (0.011, 0.07, 0.3, 1.3):
        to = (stored(dtype, every.shape, 1 / 16, 255),)
        operand, chosen = (stored(dtype, every.shape, scale),), options("LogSoftmaxOptions")
        yield TfliteCase("LOG_SOFTMAX", f"{dtype} {scale}", operand, to, chosen, given=(every,))
    for length in (1, 7, 1001):
        operand, to = (
            (stored(dtype, (3, length), 0.08),),
            (stored(dtype, (3, length), 1 / 16, 255),),
        )
        yield TfliteCase("LOG_SOFTMAX", f"{dtype} {length}", operand, to, chosen)
    chosen = options("L2NormOptions")
    for zero in (0, 131, 255):
        operand, to = (
            (stored(dtype, every.shape, 0.1, zero),),
            (stored(dtype, every.shape, 1 / 128, 128),),
        )
        yield TfliteCase("L2_NORMALIZATION", f"{dtype} {zero}", operand, to, chosen, given=(every,))
        operand, to = (
            (stored(dtype, (4, 5, 600), 0.1, zero),),
            (stored(dtype, (4, 5, 600), 1 / 128, 128),),
        )
        yield TfliteCase("L2_NORMALIZATION", f"{dtype} long {zero}", operand, to, chosen)


def _pairs_of_bytes(dtype: str) -> np.ndarray:
    """All pairs of values, including the lowest int8."""
    every = _every(dtype).reshape(-1)
    return np.stack([np.repeat(every, 256), np.tile(every, 256)], axis=-1)


def _arithmetic(dtype: str) -> Iterator[TfliteCase]:
    for x, y in ((_IMAGE, _IMAGE), ((6, 1), _IMAGE), (_IMAGE, (7,)), ((1, 1, 6, 1), (5, 1, 7))):
        operands = (stored(dtype, x), stored(dtype, y, 0.031, 99))
        for activation in (0, 1, 2, 3):
            label = f"{dtype} {x} {y} {activation}"
            for kind, scale in (("ADD", 0.0713), ("SUB", 0.0713), ("MUL", 0.2), ("MUL", 0.0009)):
                to = (stored(dtype, _IMAGE, scale, 120),)
                name = f"{kind.title()}Options"
                chosen = options(name, fusedActivationFunction=activation)
                yield TfliteCase(kind, f"{label} {scale}", operands, to, chosen)
        if dtype == "int8":
            to = (stored(dtype, _IMAGE, 0.2, 0),)
            yield TfliteCase("SQUARED_DIFFERENCE", f"{dtype} {x} {y}", operands, to)
        same = (stored(dtype, x), stored(dtype, y))
        for kind in ("MAXIMUM", "MINIMUM"):
            yield TfliteCase(kind, f"{dtype} {x} {y}", same, (stored(dtype, _IMAGE),))


def _quotients(dtype: str) -> Iterator[TfliteCase]:
    """Cases of quotients. The runtime refuses divisors of 0, so there are none. No quotient is so
    far below the result's scale that the runtime would shift by more bits than an integer has."""
    zero, least = (0, 1024) if dtype == "int16" else (99, 4)
    for x, y in ((_IMAGE, _IMAGE), ((6, 1), _IMAGE), (_IMAGE, (7,)), ((1, 1, 6, 1), (5, 1, 7))):
        above, below = stored(dtype, x, zero=zero), stored(dtype, y, 0.031, zero)
        for scale in (0.0713, 0.002, 1e-4):
            to = (stored(dtype, _IMAGE, scale, zero and 120),)
            first, second = TfliteCase("DIV", "", (above, below), to).inputs()
            near, middle = first.astype(int) - above.zero[0], above.zero[0]
            first = np.where(abs(near) < least, middle + least, first).astype(dtype)
            second = np.where(second == below.zero[0], below.zero[0] + 1, second).astype(dtype)
            for activation in (0, 1, 2, 3) if scale == 0.0713 else (0,):
                chosen = options("DivOptions", fusedActivationFunction=activation)
                label, given = f"{dtype} {x} {y} {activation} {scale}", (first, second)
                yield TfliteCase("DIV", label, (above, below), to, chosen, given=given)


def _whole_numbers(dtype: str) -> Iterator[TfliteCase]:
    """Cases of operators that ignore the quantisation of stored integers."""
    x, to = stored(dtype, _IMAGE), (stored(dtype, _IMAGE),)
    signed = dtype != "uint8"
    if signed:
        yield TfliteCase("NEG", dtype, (x,), to)
    shifts = np.arange(210).reshape(_IMAGE).astype(dtype) % 8
    rows = (
        (
            ("FLOOR_DIV", None, shifts - 4),
            ("FLOOR_MOD", None, shifts - 4),
        )
        if signed
        else ()
    )
    for kind, chosen, y in (
        *rows,
        ("RIGHT_SHIFT", options("RightShiftOptions"), shifts),
        ("BITWISE_XOR", options("BitwiseXorOptions"), shifts),
    ):
        second = (
            y
            if kind in ("RIGHT_SHIFT", "BITWISE_XOR")
            else np.where(abs(y) < 2, 3, y).astype(dtype)
        )
        yield TfliteCase(kind, dtype, (x, stored(dtype, _IMAGE, data=second)), to, chosen)


def _comparisons(dtype: str) -> Iterator[TfliteCase]:
    for kind in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
        for scale, zero in ((0.05, 131), (0.03, 99)):
            for x in ((6, 7), _IMAGE):
                operands = (stored(dtype, x), stored(dtype, _IMAGE, scale, zero))
                yield TfliteCase(kind, f"{dtype} {scale} {x}", operands, (T(_IMAGE, "bool"),))


def _reductions(dtype: str) -> Iterator[TfliteCase]:
    shape = (2, 7, 9, 5)
    for axes in ((1, 2), (3,), (0, 1, 2, 3), (-1, 1)):
        gone = {a % 4 for a in axes}
        for keep in (True, False):
            kept = [1 if a in gone else e for a, e in enumerate(shape) if keep or a not in gone]
            chosen = options("ReducerOptions", keepDims=keep)
            for kind, to in (
                *(("MEAN", to) for to in ((0.05, 131), (0.0031, 99))),
                # The runtime's SUM of int8 reads its operand as uint8: see `_halves`.
                *(("SUM", to) for to in ((1.0, 131), (0.6, 99)) if dtype == "uint8"),
                ("REDUCE_MAX", (0.05, 131)),
                ("REDUCE_MIN", (0.05, 131)),
            ):
                operands = (stored(dtype, shape), ints(*axes))
                label = f"{dtype} {axes} {keep} {to[0]}"
                yield TfliteCase(kind, label, operands, (stored(dtype, kept, *to),), chosen)
    for kind, name in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
        to = (T((2, 7, 9), "int32"),)
        operands = (stored(dtype, shape), ints(-1))
        yield TfliteCase(kind, dtype, operands, to, options(name, outputType=2))


def _products(dtype: str) -> Iterator[TfliteCase]:
    """Products of few and many factors close to 1, so that results are neither 0 nor saturated."""
    scale, zero = (6e-5, 0) if dtype == "int16" else (0.013, 121)
    shape = (6, 5, 4)
    for axes, keep in itertools.product(((1,), (2, 0), (0, 1, 2), (-1, 1), ()), (True, False)):
        gone = {a % 3 for a in axes}
        kept = [1 if a in gone else e for a, e in enumerate(shape) if keep or a not in gone]
        chosen = options("ReducerOptions", keepDims=keep)
        for to in (scale, scale / 300):
            operands = (stored(dtype, shape, scale, zero), ints(*axes))
            results = (stored(dtype, kept, to, 131 if zero else 0),)
            yield TfliteCase(
                "REDUCE_PROD", f"{dtype} {axes} {keep} {to}", operands, results, chosen
            )


def _halves(dtype: str) -> Iterator[TfliteCase]:
    """Sums and means halfway between two integers; they show how many times the runtime rounds."""
    rng = np.random.default_rng(7)
    for count, ratio in itertools.product((2, 3, 5), (0.5, 0.25, 0.75, 0.375, 0.1)):
        zeros = (0, 0) if dtype == "int16" else (9, 5)
        x = (rng.integers(0, 24, (600, count)) + zeros[0]).astype(dtype)
        operands = (T(x.shape, dtype, scale=(0.05,), zero=zeros[:1]), ints(1))
        to = (T((600,), dtype, scale=(float(np.float32(0.05 / ratio)),), zero=zeros[1:]),)
        # The runtime's SUM reads int8 and int16 as uint8. For int8 from 0 to 127 that is right.
        for kind in ("MEAN",) if dtype == "int16" else ("MEAN", "SUM"):
            chosen = options("ReducerOptions", keepDims=False)
            label = f"{dtype} halves {count} {ratio}"
            yield TfliteCase(kind, label, operands, to, chosen, given=(x,))


def _conversions(dtype: str) -> Iterator[TfliteCase]:
    yield TfliteCase("QUANTIZE", f"f32 {dtype}", (T((3, 50)),), (stored(dtype, (3, 50), 0.02, 99),))
    yield TfliteCase("DEQUANTIZE", dtype, (stored(dtype, (3, 50)),), (T((3, 50)),))
    for other, scale in (("int8", 0.03), ("uint8", 0.05), ("int16", 0.0003)):
        yield TfliteCase(
            "QUANTIZE",
            f"{dtype} {other}",
            (stored(dtype, (1, 256)),),
            (stored(other, (1, 256), scale),),
            given=(_every(dtype),),
        )
    parts = (stored(dtype, (3, 5)), stored(dtype, (3, 4)))
    chosen = options("ConcatenationOptions", axis=-1)
    yield TfliteCase("CONCATENATION", dtype, parts, (stored(dtype, (3, 9)),), chosen)
    if dtype == "uint8":
        parts = (stored(dtype, (3, 50)), stored(dtype, (3, 40), 0.02, 100))
        to = (stored(dtype, (3, 90), 0.0423),)
        yield TfliteCase("CONCATENATION", "rescaled", parts, to, chosen)
    frame = T.of(np.array([[0, 0], [1, 2], [0, 1], [0, 3]], np.int32))
    image = stored(dtype, (1, 3, 4, 2))
    yield TfliteCase("PAD", dtype, (image, frame), (stored(dtype, (1, 6, 5, 5)),))
    number = stored(dtype, (), data=np.array(17, dtype))
    yield TfliteCase("PADV2", dtype, (image, frame, number), (stored(dtype, (1, 6, 5, 5)),))


def _layers(dtype: str) -> Iterator[TfliteCase]:
    for align, half in ((False, False), (True, False), (False, True)):
        for size in ((7, 9), (3, 2), (12, 4), (10, 8), (5, 4)):
            for kind in ("Bilinear", "NearestNeighbor"):
                chosen = options(f"Resize{kind}Options", alignCorners=align, halfPixelCenters=half)
                operands = (stored(dtype, (1, 5, 4, 3)), ints(*size))
                to = (stored(dtype, (1, *size, 3)),)
                label = f"{dtype} {align} {half} {size}"
                name = "RESIZE_BILINEAR" if kind == "Bilinear" else "RESIZE_NEAREST_NEIGHBOR"
                yield TfliteCase(name, label, operands, to, chosen)
    if dtype == "int8":
        for turn in (False, True):
            shape = (3, 7, 20) if turn else (3, 20, 7)
            operands = (stored(dtype, (2, 3, 5, 20)), stored(dtype, shape, 0.0213, 121))
            to = (stored(dtype, (2, 3, 5, 7), 0.5),)
            chosen = options("BatchMatMulOptions", adjX=False, adjY=turn)
            yield TfliteCase("BATCH_MATMUL", f"{dtype} {turn}", operands, to, chosen)


def _sixteen_bits() -> Iterator[TfliteCase]:
    x, y = stored("int16", (3, 50), 0.001), stored("int16", (3, 50), 0.0021)
    to = (stored("int16", (3, 50), 0.003),)
    for kind in ("ADD", "SUB"):
        chosen = options(f"{kind.title()}Options", potScaleInt16=False)
        yield TfliteCase(kind, "int16", (x, y), to, chosen)
    yield TfliteCase("MUL", "int16", (x, y), to, options("MulOptions"))
    yield TfliteCase("QUANTIZE", "int16 int8", (x,), (stored("int8", (3, 50), 0.3),))
    yield TfliteCase("QUANTIZE", "int16 int16", (x,), to)
    yield TfliteCase("DEQUANTIZE", "int16", (x,), (T((3, 50)),))
