"""Weights of floats that are stored in 16 or 8 bits, and that kernels widen to float32.

Each `Coding` stores the weights of a filter exactly, or not at all: `rounded` gives the nearest
weights that it can store, and `coded` the stored integers, or None if a weight would change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array

_LARGEST_BYTE = 127
_SCALE_BITS = 16
"""The significant bits of a filter's scale. Its product with a byte then fits in the 24 bits of a
float32, so that scale times byte is exact, and the scale can be found again from the weights."""


@dataclass(frozen=True, eq=False, slots=True)
class CodedWeights:
    """Weights as stored integers, and the factor of each filter, or None if all factors are 1."""

    stored: Array
    scales: Array | None = None


@dataclass(frozen=True, slots=True)
class Coding:
    """A way to store float32 weights [F, ..] in fewer bits.

    `elem` is the type of the stored integers. `rounded` returns float32 weights, and raises
    `OverflowError` if a weight is too large or not finite. `encode` codes weights that are already
    rounded; of other weights it makes anything. `decode` is the reverse. `widen` writes the
    conversion of a vector of stored integers to float32, without the factor of the filter.
    """

    name: str
    elem: Elem
    rounded: Callable[[Array], Array]
    encode: Callable[[Array], CodedWeights]
    decode: Callable[[CodedWeights], Array]
    widen: Callable[[KernelBuilder, Operand], Operand]

    def coded(self, weights: Array) -> CodedWeights | None:
        """The stored integers, or None if they would not stand for exactly these weights."""
        with np.errstate(all="ignore"):
            coded = self.encode(weights)
            exact = np.array_equal(self.decode(coded), weights)
        return coded if exact else None


# --- float16 -------------------------------------------------------------------------------------


def _to_half(weights: Array) -> Array:
    with np.errstate(over="ignore"):
        rounded = weights.astype(np.float16).astype(np.float32)
    return _finite(rounded, "float16")


def _half_bits(weights: Array) -> CodedWeights:
    return CodedWeights(weights.astype(np.float16).view(np.uint16))


def _from_half_bits(coded: CodedWeights) -> Array:
    return coded.stored.view(np.float16).astype(np.float32)


def _widen_half(b: KernelBuilder, value: Operand) -> Operand:
    return b.op("from_half", value)


# --- bfloat16: the upper half of a float32 -----------------------------------------------------


def _to_brain(weights: Array) -> Array:
    bits = np.asarray(weights, np.float32, order="C").view(np.uint32)
    # Rounding to nearest, ties to even, may carry into the exponent, as it should.
    odd = (bits >> 16) & 1
    with np.errstate(over="ignore"):
        upper = (bits + (0x7FFF + odd)) & np.uint32(0xFFFF0000)
    _finite(weights, "bfloat16")
    return _finite(upper.view(np.float32), "bfloat16")


def _brain_bits(weights: Array) -> CodedWeights:
    bits = np.asarray(weights, np.float32, order="C").view(np.uint32)
    return CodedWeights((bits >> 16).astype(np.uint16))


def _from_brain_bits(coded: CodedWeights) -> Array:
    return (coded.stored.astype(np.uint32) << 16).view(np.float32)


def _widen_brain(b: KernelBuilder, value: Operand) -> Operand:
    return b.bitcast(b.shift_left(b.convert(value, Elem.U32), 16), Elem.F32)


# --- bytes, with a factor for each filter --------------------------------------------------------


def _scales(weights: Array) -> Array:
    """The factor of each filter, rounded up to few bits so that the largest weight fits in a byte.

    It is 1 for a filter of zeros, or one whose weights are denormal numbers.
    """
    largest = np.abs(weights.reshape(len(weights), -1)).max(axis=1, initial=0.0)
    mantissa, exponent = np.frexp(largest.astype(np.float64) / _LARGEST_BYTE)
    few_bits = np.ceil(mantissa * (1 << _SCALE_BITS)) / (1 << _SCALE_BITS)
    scales = np.ldexp(few_bits, exponent)
    return np.where(scales < np.finfo(np.float32).tiny, 1.0, scales)


def _by_filter(scales: Array, weights: Array) -> Array:
    return scales.reshape(-1, *[1] * (weights.ndim - 1))


def _byte_codes(weights: Array) -> CodedWeights:
    scales = _scales(weights)
    codes = np.rint(weights / _by_filter(scales, weights))
    limited = np.clip(np.nan_to_num(codes), -_LARGEST_BYTE, _LARGEST_BYTE)
    return CodedWeights(limited.astype(np.int8), scales)


def _from_byte_codes(coded: CodedWeights) -> Array:
    assert coded.scales is not None
    products = coded.stored.astype(np.float64) * _by_filter(coded.scales, coded.stored)
    return products.astype(np.float32)


def _to_bytes(weights: Array) -> Array:
    codes = _byte_codes(_finite(weights, "int8"))
    with np.errstate(over="ignore"):
        return _finite(_from_byte_codes(codes), "int8")


def _widen_byte(b: KernelBuilder, value: Operand) -> Operand:
    # LLVM makes more instructions of a direct conversion.
    return b.convert(b.convert(b.convert(value, Elem.I16), Elem.I32), Elem.F32)


def _finite(weights: Array, coding: str) -> Array:
    if not np.isfinite(weights).all():
        raise OverflowError(f"a weight does not fit in {coding}")
    return weights


CODINGS: dict[str, Coding] = {
    coding.name: coding
    for coding in (
        Coding("f16", Elem.U16, _to_half, _half_bits, _from_half_bits, _widen_half),
        Coding("bf16", Elem.U16, _to_brain, _brain_bits, _from_brain_bits, _widen_brain),
        Coding("int8", Elem.I8, _to_bytes, _byte_codes, _from_byte_codes, _widen_byte),
    )
}
"""All codings, by the name that `--weights` has for them."""
