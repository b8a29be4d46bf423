"""The class of test cases with a single TensorFlow Lite operator, and functions to make cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from tflite_files import T, single

from ellc.ir.types import Array

I32 = np.int32


@dataclass(frozen=True)
class TfliteCase:
    """An operator with operands, results and options; `calls` is above 1 if a state is tested."""

    kind: str
    label: str
    operands: tuple[T | None, ...]
    results: tuple[T, ...]
    options: object = None
    calls: int = 1
    low: float = -3.0
    high: float = 3.0
    given: tuple[Array, ...] = field(default=(), compare=False)
    intermediates: tuple[T, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.label}".strip()

    def data(self) -> bytes:
        """The bytes of the model file."""
        return single(self.kind, self.operands, self.results, self.options, self.intermediates)

    def inputs(self) -> tuple[Array, ...]:
        """Arrays for the operands that are not constant."""
        if self.given:
            return self.given
        rng = np.random.default_rng(len(str(self)))
        free = (t for t in self.operands if t and t.data is None and not t.variable)
        return tuple(self._drawn(rng, t) for t in free)

    def _drawn(self, rng: np.random.Generator, tensor: T) -> Array:
        dtype = np.dtype(tensor.dtype)
        if dtype.kind == "f":
            return rng.uniform(self.low, self.high, tensor.shape).astype(dtype)
        if dtype.kind == "b":
            return np.asarray(rng.random(tensor.shape) < 0.5)
        if not tensor.scale:
            low, high = max(int(self.low), np.iinfo(dtype).min), int(self.high)
            return rng.integers(low, high, tensor.shape, dtype, endpoint=True)
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, tensor.shape, dtype, endpoint=True)


def drawn_once(
    draw: Callable[[], Iterator[TfliteCase]],
) -> Callable[[], tuple[TfliteCase, ...]]:
    """Decorator that caches cases: their random numbers do not depend on the order of tests."""
    return cache(lambda: tuple(draw()))


def ints(*values: int) -> T:
    """A constant vector of int32."""
    return T.of(np.array(values, I32))


def scalar(value: int | float, dtype: str = "int32") -> T:
    """A constant without axes."""
    return T.of(np.array(value, dtype))


def stored(
    dtype: str,
    shape: Sequence[int],
    scale: float = 0.05,
    zero: int | None = None,
    data: Array | None = None,
) -> T:
    """A tensor of 8- or 16-bit integers that stand for real numbers.

    `zero` is counted from the lowest number of the type, so it has the same meaning for int8 and
    uint8.
    """
    lowest = 0 if dtype == "int16" else int(np.iinfo(dtype).min)
    place = 131 if zero is None and dtype != "int16" else (zero or 0)
    return T(tuple(shape), dtype, data, scale=(scale,), zero=(lowest + place,))
