"""Test cases of operators on floats, integers without quantisation, and booleans."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tflite_cases import I32, TfliteCase, ints, scalar
from tflite_files import T, options

_PAIRS = (
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (4,)),
    ((3, 1), (2, 3, 4)),
    ((2, 1, 4), (1, 3, 1)),
    ((), (2, 3)),
)


def float_cases() -> Iterator[TfliteCase]:
    """Cases of elementwise operators and reductions."""
    yield from _functions()
    for x, y in _PAIRS:
        yield from _arithmetic(x, y)
        yield from _logic(x, y)
    yield from _choices()
    yield from _reductions()
    yield from _normalisations()


def _functions() -> Iterator[TfliteCase]:
    x = T((3, 50))
    for kind in (
        *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "TANH", "ELU", "EXP"),
        *("SIN", "COS", "FLOOR", "CEIL", "ROUND", "NEG", "SQUARE", "SIGN", "ABS", "HARD_SWISH"),
    ):
        yield TfliteCase(kind, "", (x,), (x,), low=-9, high=9)
    for kind in ("LOG", "SQRT", "RSQRT"):
        yield TfliteCase(kind, "", (x,), (x,), low=0.01, high=9)
    for approximate in (False, True):
        chosen = options("GeluOptions", approximate=approximate)
        yield TfliteCase("GELU", str(approximate), (x,), (x,), chosen)
    yield TfliteCase("LEAKY_RELU", "", (x,), (x,), options("LeakyReluOptions", alpha=0.2))
    slopes = T.of(np.linspace(-1, 1, 6, dtype=np.float32).reshape(1, 1, 6))
    yield TfliteCase("PRELU", "", (T((3, 5, 6)), slopes), (T((3, 5, 6)),))
    for beta in (1.0, 0.7):
        yield TfliteCase("SOFTMAX", str(beta), (x,), (x,), options("SoftmaxOptions", beta=beta))
    yield TfliteCase("LOG_SOFTMAX", "", (x,), (x,), options("LogSoftmaxOptions"))


def _arithmetic(x: tuple[int, ...], y: tuple[int, ...]) -> Iterator[TfliteCase]:
    shape = np.broadcast_shapes(x, y)
    label = f"{x} {y}"
    for kind in ("ADD", "SUB", "MUL", "DIV"):
        for activation in (0, 1, 3):
            chosen = options(f"{kind.title()}Options", fusedActivationFunction=activation)
            yield TfliteCase(kind, f"{label} {activation}", (T(x), T(y)), (T(shape),), chosen)
    operands = (T(x, "int32"), T(y, "int32"))
    for kind in ("ADD", "SUB", "MUL"):
        yield TfliteCase(
            kind,
            f"int32 {label}",
            operands,
            (T(shape, "int32"),),
            options(f"{kind.title()}Options"),
            high=90,
        )
    rng = np.random.default_rng(3)
    divided = (
        np.asarray(rng.integers(-50, 50, x), I32),
        np.asarray(rng.integers(1, 9, y) * rng.choice([-1, 1], y), I32),
    )
    for kind in ("DIV", "FLOOR_DIV", "FLOOR_MOD"):
        chosen = options("DivOptions") if kind == "DIV" else None
        to = (T(shape, "int32"),)
        yield TfliteCase(kind, f"int32 {label}", operands, to, chosen, given=divided)
    for kind in ("MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD"):
        yield TfliteCase(kind, label, (T(x), T(y)), (T(shape),))
        if not kind.startswith("FLOOR"):
            yield TfliteCase(kind, f"int32 {label}", operands, (T(shape, "int32"),), high=90)
    chosen = options("PowOptions")
    if x == y:  # these operators do not broadcast in the runtime
        yield TfliteCase("ATAN2", label, (T(x), T(y)), (T(shape),))
    yield TfliteCase("POW", label, (T(x), T(y)), (T(shape),), chosen, low=0.1)


def _logic(x: tuple[int, ...], y: tuple[int, ...]) -> Iterator[TfliteCase]:
    shape, label = np.broadcast_shapes(x, y), f"{x} {y}"
    result = (T(shape, "bool"),)
    for kind in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
        for dtype in ("float32", "int32", "int64"):
            rng = np.random.default_rng(4)
            few = tuple(np.asarray(rng.integers(-2, 3, s), dtype) for s in (x, y))
            operands = (T(x, dtype), T(y, dtype))
            yield TfliteCase(kind, f"{dtype} {label}", operands, result, given=few)
    for kind in ("LOGICAL_AND", "LOGICAL_OR"):
        yield TfliteCase(kind, label, (T(x, "bool"), T(y, "bool")), result)
    for others in ((T(x), T(y)), (T(y), T(x))):
        operands = (T(x, "bool"), *others)
        yield TfliteCase("SELECT_V2", f"{label} {others[0].shape}", operands, (T(shape),))


def _choices() -> Iterator[TfliteCase]:
    x = T((3, 4))
    yield TfliteCase("SELECT", "rows", (T((3,), "bool"), x, x), (x,))
    yield TfliteCase("SELECT", "elements", (T((3, 4), "bool"), x, x), (x,))
    yield TfliteCase("LOGICAL_NOT", "", (T((3, 4), "bool"),), (T((3, 4), "bool"),))
    yield TfliteCase("ADD_N", "", (x, x, x), (x,))
    whole = T((3, 4), "int32")
    yield TfliteCase("BITWISE_XOR", "", (whole, whole), (whole,), low=-99, high=99)
    shifts = TfliteCase("RIGHT_SHIFT", "", (whole, ints(0, 1, 5, 31)), (whole,), low=-99, high=99)
    yield shifts
    yield TfliteCase("POW", "int32", (whole, ints(0, 1, 2, 3)), (whole,), options("PowOptions"))
    values = (scalar(2, "float32"), scalar(-1, "float32"))
    for axis, shape in ((-1, (3, 4, 5)), (1, (3, 5, 4))):
        chosen = options("OneHotOptions", axis=axis)
        operands = (whole, scalar(5), *values)
        yield TfliteCase("ONE_HOT", str(axis), operands, (T(shape),), chosen, low=-1, high=6)


def _reductions() -> Iterator[TfliteCase]:
    shape = (2, 5, 6, 7)
    for axes in ((1, 2), (3,), (0, 1, 2, 3), (-1, 1), ()):
        gone = {a % 4 for a in axes}
        for keep in (True, False):
            kept = tuple(
                1 if a in gone else e for a, e in enumerate(shape) if keep or a not in gone
            )
            chosen, label = options("ReducerOptions", keepDims=keep), f"{axes} {keep}"
            for kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
                for dtype in ("float32", "int32"):
                    operands = (T(shape, dtype), ints(*axes))
                    to = (T(kept, dtype),)
                    yield TfliteCase(kind, f"{dtype} {label}", operands, to, chosen)
            for kind in ("REDUCE_ANY", "REDUCE_ALL"):
                operands = (T(shape, "bool"), ints(*axes))
                yield TfliteCase(kind, label, operands, (T(kept, "bool"),), chosen)
    for kind, name in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
        for axis, code in ((0, 2), (2, 4), (-1, 2)):
            kept = tuple(e for a, e in enumerate((3, 4, 5)) if a != axis % 3)
            to = (T(kept, "int32" if code == 2 else "int64"),)
            chosen = options(name, outputType=code)
            yield TfliteCase(kind, f"{axis}", (T((3, 4, 5)), ints(axis)), to, chosen)


def _normalisations() -> Iterator[TfliteCase]:
    x = T((3, 4, 5))
    for exclusive in (False, True):
        for reverse in (False, True):
            chosen = options("CumsumOptions", exclusive=exclusive, reverse=reverse)
            label = f"{exclusive} {reverse}"
            yield TfliteCase("CUMSUM", label, (x, scalar(-2)), (x,), chosen)
    yield TfliteCase("L2_NORMALIZATION", "", (x,), (x,), options("L2NormOptions"))
    for align, half in ((False, False), (True, False), (False, True)):
        for size in ((7, 9), (3, 2), (12, 4), (10, 8), (1, 1)):
            operands = (T((1, 5, 4, 3)), ints(*size))
            to, label = (T((1, *size, 3)),), f"{align} {half} {size}"
            flags = {"alignCorners": align, "halfPixelCenters": half}
            chosen = options("ResizeBilinearOptions", **flags)
            yield TfliteCase("RESIZE_BILINEAR", label, operands, to, chosen)
            chosen = options("ResizeNearestNeighborOptions", **flags)
            yield TfliteCase("RESIZE_NEAREST_NEIGHBOR", label, operands, to, chosen)
