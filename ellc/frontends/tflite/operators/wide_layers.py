"""Layers of 16-bit activations and 8-bit weights: sums of 64 bits where the kernels have them.

A bias of 64 bits says so. Weights are constants, so it is known how large a sum can be: most fit in
32 bits, the others are two sums of bytes.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.model import Activation, Tensor
from ellc.frontends.tflite.scales import requantize, zero_of
from ir.op import Op
from ir.ops.arithmetic import Add, Mul
from ir.ops.cast import Cast
from ir.ops.comparisons import ShiftRight
from ir.ops.conv_transpose import IntConvTranspose2D
from ir.ops.quantised_conv import IntConv2D, IntDense
from ir.types import DType

_Layer = IntConv2D | IntDense | IntConvTranspose2D
_ENDS_32 = 1 << 31
_LOWEST_16 = 1 << 15
_HIGHEST_BYTE = 255


def wide_layer(
    emitter: Emitter,
    op: _Layer,
    operands: tuple[Value, Value, Value | None],
    factors: list[float],
    to: Tensor,
    activation: Activation,
) -> Value:
    """A layer as the reference kernels compute it: dense ones round the whole product once.

    Convolutions multiply sums of 64 bits by 15 bits of the factor, and sums of 32 bits twice.
    """
    x, weights, bias = operands
    if weights.dtype is not DType.I8 or zero_of(to):
        raise Unsupported(f"{x.dtype.value} with {weights.dtype.value} weights or a zero point")
    dense = isinstance(op, IntDense)
    if bias.dtype is DType.I32 if bias is not None else dense:
        parts = [x, weights, *([bias] if bias is not None else [])]
        rule = "tflite_once" if dense else "tflite"
        return requantize(emitter, emitter.add(op, *parts), factors, to, activation, rule)
    total = _exact_sum(emitter, op, x, weights, bias)
    rule = "tflite_once" if dense else "tflite_reduced"
    return requantize(emitter, total, factors, to, activation, rule)


def _exact_sum(emitter: Emitter, op: Op, x: Value, weights: Value, bias: Value | None) -> Value:
    """The sum without overflow, of 32 or 64 bits."""
    stored = known(weights, "a weight").astype(np.int64)
    sizes = np.abs(stored.reshape(stored.shape[0], -1)).sum(axis=1)
    start = np.zeros(len(sizes), np.int64) if bias is None else known(bias, "a bias")
    if (_LOWEST_16 * sizes + np.abs(start.astype(np.float64))).max() < _ENDS_32:
        parts = [] if bias is None else [emitter.constant(start.astype(np.int32))]
        return emitter.add(op, x, weights, *parts)
    if _HIGHEST_BYTE * sizes.max() >= _ENDS_32:
        raise Unsupported(f"sums of {stored[0].size} products of 16-bit numbers")
    eight = emitter.constant(np.full(1, 8, np.int16))
    upper = emitter.add(Cast(DType.I8), emitter.add(ShiftRight(), x, eight))
    sums = [
        emitter.add(Cast(DType.I64), emitter.add(op, part, weights))
        for part in (upper, emitter.add(Cast(DType.U8), x))
    ]
    raised = emitter.add(Mul(), sums[0], emitter.constant(np.full(1, 256, np.int64)))
    total = emitter.add(Add(), raised, sums[1])
    return total if bias is None else emitter.add(Add(), total, emitter.constant(start))
