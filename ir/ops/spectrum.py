"""Fourier transforms of real signals, and their inverses, for floats and fixed-point numbers.

Fixed-point transforms equal those of KISS FFT, which TensorFlow Lite Micro uses: every butterfly
divides by its radix, products are rounded (halves up), and sums wrap around. So the result of a
transform is the spectrum divided by the length, and inverse transforms need no further division.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, of_largest, register_op, require
from ellc.ir.ops.common import normal, want_operands, want_same, want_shape
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, TensorType

_KINDS = (DType.F32, DType.I16, DType.I32)


def radices(length: int) -> tuple[int, ...]:
    """The radices of the stages of a complex transform, last stage first; `length` is 2^n."""
    fours, rest = divmod(length.bit_length() - 1, 2)
    return (4,) * fours + (2,) * rest


def rfft_tables(length: int, dtype: DType, inverse: bool = False) -> tuple[Array, Array]:
    """(turns [length/2, 2], joints [length/4, 2]): the constant operands of an `Rfft`.

    With n = length / 2, row k of the turns is e^(-2 pi i k / n), a factor in the butterflies. Row k
    of the joints is e^(-pi i ((k + 1) / n + 1/2)), a factor in the last step, from the transform
    of pairs of samples to the spectrum of the samples. Both are stored as (real, imaginary). With
    `inverse`, the tables are the complex conjugates, for an `Irfft`.
    """
    half, sign = length // 2, 1 if inverse else -1
    turns = sign * 2 * np.pi * np.arange(half) / half
    joints = sign * np.pi * (np.arange(1, half // 2 + 1) / half + 0.5)
    turned, joined = (np.stack((np.cos(p), np.sin(p)), -1) for p in (turns, joints))
    if dtype.is_float:
        return turned.astype(dtype.numpy), joined.astype(dtype.numpy)
    scale = np.iinfo(dtype.numpy).max
    stored = [np.floor(0.5 + scale * table).astype(dtype.numpy) for table in (turned, joined)]
    return stored[0], stored[1]


@register_op("rfft")
@dataclass(frozen=True, slots=True)
class Rfft(Op):
    """(x [R,L], turns [L/2,2], joints [L/4,2]) -> [R,L+2]: the spectrum of every row.

    All operands are f32, i16 or i32. L is a power of two, at least 4. The result holds L/2 + 1
    pairs (real, imaginary), from frequency 0 to half the sampling rate. `rfft_tables` returns the
    turns and joints.
    """

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        rows, length = _rows("rfft", inputs, 0)
        return (TensorType(inputs[0].dtype, (rows, length + 2)),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return apart_from((1,), 2), (None, None), (None, None)

    def reference(self, *inputs: Array) -> Arrays:
        x, turns, joints = inputs
        numbers = _Numbers(x.dtype)
        pairs = x.reshape(len(x), -1, 2)
        mixed = _transformed(numbers, pairs, turns, radices(pairs.shape[1]), inverse=False)
        return (_unmixed(numbers, mixed, joints).reshape(len(x), -1),)

    def macs(self, inputs: Types, outputs: Types) -> int:
        rows, length = inputs[0].shape
        return rows * length * (length.bit_length() + 1)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from _cases(cls(), rng, inverse=False)


@register_op("irfft")
@dataclass(frozen=True, slots=True)
class Irfft(Op):
    """(x [R,L+2], turns [L/2,2], joints [L/4,2]) -> [R,L]: a signal from the spectrum in each row.

    x has the form of the result of an `Rfft`; for floats, this is the inverse of `Rfft`. The
    imaginary parts of the first and the last pair count as 0. `rfft_tables` with `inverse` returns
    the turns and joints.
    """

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        rows, length = _rows("irfft", inputs, 2)
        return (TensorType(inputs[0].dtype, (rows, length)),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return apart_from((1,), 2), (None, None), (None, None)

    def reference(self, *inputs: Array) -> Arrays:
        x, turns, joints = inputs
        numbers = _Numbers(x.dtype)
        mixed = _mixed(numbers, x.reshape(len(x), -1, 2), joints)
        pairs = _transformed(numbers, mixed, turns, radices(mixed.shape[1]), inverse=True)
        signal = pairs.reshape(len(x), -1)
        return (signal / signal.shape[1] if x.dtype.kind == "f" else signal,)

    def macs(self, inputs: Types, outputs: Types) -> int:
        rows, length = outputs[0].shape
        return rows * length * (length.bit_length() + 1)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from _cases(cls(), rng, inverse=True)


def _rows(name: str, inputs: Types, extra: int) -> tuple[int, int]:
    """Check the operands; returns (rows, length). Rows of x have `extra` numbers more."""
    want_operands(name, inputs, 3)
    x, turns, joints = inputs
    dtype = want_same(name, *inputs)
    require(dtype in _KINDS, f"{name}: works on f32, i16 and i32, not on {dtype.value}")
    length = x.shape[1] - extra if x.rank == 2 else 0
    good = length >= 4 and length.bit_count() == 1
    more = f" + {extra}" if extra else ""
    wanted = f"[rows, length{more}] with a length of 2^n >= 4"
    require(good, f"{name}: x has shape {x.shape}, expected {wanted}")
    want_shape(name, "the table of turns", turns, length // 2, 2)
    want_shape(name, "the table of joints", joints, length // 4, 2)
    return x.shape[0], length


def _cases(op: Op, rng: np.random.Generator, *, inverse: bool) -> Iterator[Case]:
    extra = 2 if inverse else 0
    for rows, length in ((1, 4), (2, 8), (3, 16), (1, 64), (2, 128)):
        label, shape = f"{rows} x {length}", (rows, length + extra)
        tables = rfft_tables(length, DType.F32, inverse)
        yield Case(op, (normal(rng, *shape), *tables), (1, 2), label=label)
        for dtype in (DType.I16, DType.I32):
            info = np.iinfo(dtype.numpy)
            whole = rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)
            whole[0, : length // 2] //= 99
            tables = rfft_tables(length, dtype, inverse)
            yield Case(op, (whole, *tables), (1, 2), label=f"{label} {dtype.value}")
    drawn = rng.integers(0, 2, (3, 32 + extra))
    ends = np.where(drawn, 2**15 - 1, -(2**15)).astype(np.int16)
    yield Case(op, (ends, *rfft_tables(32, DType.I16, inverse)), (1, 2), label="ends")


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Arithmetic on complex numbers [.., 2]; integers are fixed-point numbers."""

    dtype: np.dtype[np.generic]

    def kept(self, x: Array) -> Array:
        """The numbers converted to the element type; integers keep their low bits."""
        return np.asarray(x).astype(self.dtype)

    def rounded(self, product: Array) -> Array:
        """The product of two fixed-point fractions, rounded (halves up); floats unchanged."""
        if self.dtype.kind == "f":
            return product
        bits = 8 * self.dtype.itemsize - 1
        return self.kept((product + (1 << (bits - 1))) >> bits)

    def shared(self, x: Array, count: int) -> Array:
        """x / count for integers; floats unchanged."""
        if self.dtype.kind == "f":
            return x
        return self.rounded(x.astype(np.int64) * (np.iinfo(self.dtype).max // count))  # type: ignore[type-var]

    def halved(self, x: Array) -> Array:
        """x / 2; integers are wrapped to 32 bits and rounded down."""
        return x / 2 if self.dtype.kind == "f" else self.kept(x.astype(np.int32) >> 1)

    def wide(self, x: Array) -> Array:
        """x in the type in which it is multiplied and added: int64 for integers."""
        return x if self.dtype.kind == "f" else x.astype(np.int64)

    def product(self, a: Array, b: Array) -> Array:
        """The complex product a * b."""
        (ar, ai), (br, bi) = (np.moveaxis(self.wide(v), -1, 0) for v in (a, b))
        return self.rounded(np.stack((ar * br - ai * bi, ar * bi + ai * br), -1))

    def sum(self, a: Array, b: Array, sign: int = 1) -> Array:
        """a + b, or a - b if the sign is -1."""
        return self.kept(self.wide(a) + sign * self.wide(b))


def _transformed(
    numbers: _Numbers, x: Array, turns: Array, stages: tuple[int, ...], *, inverse: bool
) -> Array:
    """The complex transform of [R,n,2].

    The last stage, with radix r, combines r transforms, each of every r-th number.
    """
    radix = stages[0]
    parts = [x[:, first::radix] for first in range(radix)]
    if len(stages) > 1:
        parts = [_transformed(numbers, part, turns, stages[1:], inverse=inverse) for part in parts]
    parts = [numbers.shared(part, radix) for part in parts]
    step = len(turns) // x.shape[1]
    indices = np.arange(x.shape[1] // radix) * step
    first, *rest = parts
    turned = [numbers.product(p, turns[indices * q]) for q, p in enumerate(rest, 1)]
    if radix == 2:
        results = [numbers.sum(first, turned[0]), numbers.sum(first, turned[0], -1)]
    else:
        low, high = numbers.sum(first, turned[1]), numbers.sum(first, turned[1], -1)
        both, apart = numbers.sum(turned[0], turned[2]), numbers.sum(turned[0], turned[2], -1)
        aside = np.stack((apart[..., 1], apart[..., 0]), -1)
        sign = np.array([1, -1], x.dtype)
        quarter = numbers.kept(numbers.wide(high) + sign * numbers.wide(aside))
        last = numbers.kept(numbers.wide(high) - sign * numbers.wide(aside))
        if inverse:
            quarter, last = last, quarter
        results = [numbers.sum(low, both), quarter, numbers.sum(low, both, -1), last]
    return np.concatenate(results, 1)


def _mixed(numbers: _Numbers, pairs: Array, joints: Array) -> Array:
    """[R,n,2], from the spectrum [R,n+1,2] of a real signal of 2n samples.

    The inverse complex transform of the result is the signal, as pairs of neighbouring samples.
    """
    half = pairs.shape[1] - 1
    result = np.zeros((len(pairs), half, 2), pairs.dtype)
    first, last = pairs[:, 0, 0], pairs[:, half, 0]
    ends = np.stack((numbers.sum(first, last), numbers.sum(first, last, -1)), -1)
    result[:, 0] = numbers.shared(ends, 2)
    indices = np.arange(1, half // 2 + 1)
    conjugated = numbers.kept(numbers.wide(pairs[:, half - indices]) * np.array([1, -1]))
    front, back = (numbers.shared(v, 2) for v in (pairs[:, indices], conjugated))
    both, apart = numbers.sum(front, back), numbers.sum(front, back, -1)
    joined = numbers.product(apart, joints)
    result[:, indices] = numbers.sum(both, joined)
    other = numbers.wide(both) - numbers.wide(joined)
    result[:, half - indices] = numbers.kept(other * np.array([1, -1]))
    return result


def _unmixed(numbers: _Numbers, mixed: Array, joints: Array) -> Array:
    """The spectrum [R,n+1,2] of a signal of 2n samples, from the transform [R,n,2] of its pairs."""
    half = mixed.shape[1]
    result = np.zeros((len(mixed), half + 1, 2), mixed.dtype)
    ends = numbers.shared(mixed[:, 0], 2)
    result[:, 0, 0] = numbers.sum(ends[:, 0], ends[:, 1])
    result[:, half, 0] = numbers.sum(ends[:, 0], ends[:, 1], -1)
    indices = np.arange(1, half // 2 + 1)
    conjugated = numbers.kept(numbers.wide(mixed[:, half - indices]) * np.array([1, -1]))
    front, back = (numbers.shared(v, 2) for v in (mixed[:, indices], conjugated))
    both, apart = numbers.sum(front, back), numbers.sum(front, back, -1)
    joined = numbers.wide(numbers.product(apart, joints))
    both = numbers.wide(both)
    result[:, indices] = numbers.halved(both + joined)
    result[:, half - indices] = numbers.halved((both - joined) * np.array([1, -1]))
    return result
