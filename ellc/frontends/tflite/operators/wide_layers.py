"""Imports layers with 16-bit activations and 8-bit weights, and products of 16-bit matrices.

The reference kernels sum in 64 bits if the bias has 64 bits, and in convolutions without a bias.
The weights are constants, so the largest possible sum is known at import. If all these sums fit
into 32 bits, they are computed in 32 bits. Otherwise the layer computes one sum for the upper
and one for the lower bytes of the operand, and adds the two in 64 bits.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.model import FusedActivation, Tensor
from ellc.frontends.tflite.scales import requantize, zero_of
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.op import Op
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import ShiftRight
from ellc.ir.ops.conv_transpose import IntConvTranspose2D
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.types import Array, DType

_Layer = IntConv2D | IntDense | IntConvTranspose2D
_ENDS_32 = 1 << 31
_ENDS_48 = 1 << 47
_MOST_SHIFT = 7  # the largest shift of a factor in the reference kernels
_MOST_REDUCED_SHIFT = -2  # the largest shift that the rule `tflite_reduced` supports
_LOWEST_16 = 1 << 15  # the magnitude of the lowest 16-bit integer
_HIGHEST_BYTE = 255
_MOST_DEPTH = 1 << 15  # the sum of fewer than 2^15 products of bytes fits into 32 bits


def wide_layer(
    emitter: Emitter,
    op: _Layer,
    operands: tuple[Value, Value, Value | None],
    factors: list[float],
    to: Tensor,
    activation: FusedActivation,
) -> Value:
    """Import a layer as the reference kernels compute it; `operands` are x, weights and bias.

    A dense layer rounds the product of sum and factor once. A convolution rounds the product twice
    if its sums have 32 bits; if they have 64 bits, it multiplies them by a factor of 15 bits.
    """
    x, weights, bias = operands
    if weights.dtype is not DType.I8 or zero_of(to):
        raise Unsupported(
            f"{x.dtype.value} with {weights.dtype.value} weights, or a result with a zero point"
        )
    dense = isinstance(op, IntDense)
    if bias.dtype is DType.I32 if bias is not None else dense:
        parts = [x, weights, *([bias] if bias is not None else [])]
        rule = "tflite_once" if dense else "tflite"
        return requantize(emitter, emitter.add(op, *parts), factors, to, activation, rule)
    total = _exact_sum(emitter, op, x, weights, bias)
    if dense:
        return requantize(emitter, total, factors, to, activation, "tflite_once")
    size, start = _sizes(weights, bias)
    largest = float((_LOWEST_16 * size + np.abs(start.astype(np.float64))).max())
    return _reduced(emitter, total, largest, factors, to, activation)


def wide_product(
    emitter: Emitter, a: Value, b: Value, transpose: tuple[bool, bool], factor: float, to: Tensor
) -> Value:
    """Import BATCH_MATMUL of 16-bit matrices, as four products of matrices of bytes."""
    depth = a.shape[-2 if transpose[0] else -1] if a.type.rank > 1 else 0
    if a.dtype is not b.dtype or zero_of(to) or depth >= _MOST_DEPTH:
        raise Unsupported(
            f"{a.dtype.value} times {b.dtype.value}, sums of {depth} products, or a zero point"
        )
    op = IntMatMul(transpose_a=transpose[0], transpose_b=transpose[1])
    left, right = _bytes(emitter, a), _bytes(emitter, b)
    sums = [
        _times(emitter, emitter.add(Cast(DType.I64), emitter.add(op, x, y)), 1 << (8 * (2 - i - j)))
        for i, x in enumerate(left)
        for j, y in enumerate(right)
    ]
    total = reduce(lambda x, y: emitter.add(Add(), x, y), sums)
    largest = float(depth * _LOWEST_16**2)
    return _reduced(emitter, total, largest, [factor], to, FusedActivation.NONE)


def _reduced(
    emitter: Emitter,
    total: Value,
    largest: float,
    factors: list[float],
    to: Tensor,
    activation: FusedActivation,
) -> Value:
    """Requantise 64-bit sums, at most `largest` in magnitude, with factors of 15 bits.

    Raises `Unsupported` if a sum may need more than 48 bits.
    """
    bits = _bits_missing(factors)
    if bits and largest * 2.0**bits >= _ENDS_48:
        raise Unsupported("the scale of the result is too small for its sums")
    if bits:
        widened = emitter.add(Cast(DType.I64), total) if total.dtype is DType.I32 else total
        total = _times(emitter, widened, 1 << bits)
        factors = [factor / (1 << bits) for factor in factors]
    return requantize(emitter, total, factors, to, activation, "tflite_reduced")


def _times(emitter: Emitter, x: Value, factor: int) -> Value:
    if factor == 1:
        return x
    return emitter.add(Mul(), x, emitter.constant(np.full(1, factor, np.int64)))


def _bytes(emitter: Emitter, x: Value) -> tuple[Value, Value]:
    """Split 16-bit integers into (upper byte as i8, lower byte as u8)."""
    eight = emitter.constant(np.full(1, 8, np.int16))
    upper = emitter.add(Cast(DType.I8), emitter.add(ShiftRight(), x, eight))
    return upper, emitter.add(Cast(DType.U8), x)


def _bits_missing(factors: list[float]) -> int:
    """The number of bits by which factors are too large for the rule `tflite_reduced`.

    The caller multiplies the sums by 2 to the power of this number, and divides the factors by the
    same power, which gives the same results.
    """
    largest = max(quantize_multiplier(factor)[1] for factor in factors)
    return max(0, min(largest, _MOST_SHIFT) - _MOST_REDUCED_SHIFT)


def _sizes(weights: Value, bias: Value | None) -> tuple[Array, Array]:
    """Return (the sums of the magnitudes of the weights, the biases), per filter."""
    stored = known(weights, "a weight").astype(np.int64)
    sizes = np.abs(stored.reshape(stored.shape[0], -1)).sum(axis=1)
    start = np.zeros_like(sizes) if bias is None else known(bias, "a bias")
    return sizes, start


def _exact_sum(emitter: Emitter, op: Op, x: Value, weights: Value, bias: Value | None) -> Value:
    """Compute the exact sums of a layer: in i32 if every possible sum fits, else in i64."""
    sizes, start = _sizes(weights, bias)
    if (_LOWEST_16 * sizes + np.abs(start.astype(np.float64))).max() < _ENDS_32:
        parts = [] if bias is None else [emitter.constant(start.astype(np.int32))]
        return emitter.add(op, x, weights, *parts)
    if _HIGHEST_BYTE * sizes.max() >= _ENDS_32:
        raise Unsupported(
            f"sums of {weights.type.elements // len(sizes)} products of bytes, which may need more"
            " than 32 bits"
        )
    sums = [
        emitter.add(Cast(DType.I64), emitter.add(op, part, weights)) for part in _bytes(emitter, x)
    ]
    total = emitter.add(Add(), _times(emitter, sums[0], 256), sums[1])
    return total if bias is None else emitter.add(Add(), total, emitter.constant(start))
