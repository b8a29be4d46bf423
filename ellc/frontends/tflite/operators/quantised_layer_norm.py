"""Adds the layer normalisation of an LSTM of stored integers, bit for bit as in LiteRT's kernel.

For each batch element, the sums of a gate are scaled to mean 0 and standard deviation 2^10. Then
they are multiplied by weights, and a bias is added. As in LiteRT, the sum of the squares is
multiplied by the factor 2^20 / units, which is truncated first. So variances are slightly too small
if the number of units is not a power of two. A variance below 1 is replaced by a number that
depends on the scale of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.operators.fixed_point_parts import (
    HIGH,
    LOW,
    WIDE_HIGH,
    WIDE_LOW,
    bounded,
    number,
    scaled,
    shifted,
)
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.ops.arithmetic import Add, Mul, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import Greater, Select, ShiftRight
from ellc.ir.ops.fixed_point_functions import PARTS, InverseRoot
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import Array, DType

_BITS = 10  # fraction bits of normalised numbers
_UNIT_BITS = 12  # fraction bits of the gates' sums
_MOST_SHIFT = 31
_GUARD = np.float32(10_000)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """A layer normalisation.

    `weights` are int32 [1, units], and `bias` is int32 [units]. `factor` is the factor of
    the result, a mantissa and a shift. `least` replaces variances below 1.
    """

    weights: Array
    bias: Array
    factor: tuple[int, int]
    least: int

    @staticmethod
    def of(weights: Array, bias: Array, scale: np.float32) -> LayerNorm:
        """Create a layer normalisation from stored weights with the scale `scale`."""
        mantissa, shift = quantize_multiplier(float(scale))
        if shift + _UNIT_BITS > _MOST_SHIFT:
            raise Unsupported(f"the scale {scale} of the layer normalisation's weights")
        least = max(1, int(_GUARD * scale))
        widened = weights[None].astype(np.int32)
        return LayerNorm(widened, bias, (mantissa, shift + _UNIT_BITS), least)

    def apply(self, body: Emitter, x: Value) -> Value:
        """Normalise the sums of a gate.

        The sums x and the result are int32 [batch, units], within 16 bits.
        """
        raised = body.add(Mul(), x, number(body, 1 << _BITS))
        mean = body.add(_over_units("mean"), raised)
        difference = body.add(Sub(), raised, body.add(Cast(DType.I32), mean))
        variance = self._variance(body, x, mean)
        factor = (body.add(InverseRoot(part), variance) for part in PARTS)
        op = Requantize("tflite", 0, WIDE_LOW, WIDE_HIGH, DType.I32)
        weighted = body.add(Mul(), body.add(op, difference, *factor), body.constant(self.weights))
        total = body.add(Add(), weighted, body.constant(self.bias))
        total = shifted(body, bounded(body, total, WIDE_LOW + 1, WIDE_HIGH), _BITS)
        return scaled(body, total, self.factor, LOW, HIGH)

    def _variance(self, body: Emitter, x: Value, mean: Value) -> Value:
        """The int32 variance [batch, 1] of the sums x; `mean` is the int64 mean times 2^10."""
        share = number(body, (1 << (2 * _BITS)) // x.shape[-1], DType.I64)
        squares = body.add(Mul(), body.add(_over_units("l2sum"), x), share)
        widened = body.add(Sub(), squares, body.add(Mul(), mean, mean))
        bits = number(body, 2 * _BITS, DType.I64)
        variance = body.add(Cast(DType.I32), body.add(ShiftRight(), widened, bits))
        is_some = body.add(Greater(), variance, number(body, 0))
        return body.add(Select(), variance, number(body, self.least), is_some)


def _over_units(kind: str) -> Reduce:
    return Reduce(kind, (1,), True, DType.I64)
