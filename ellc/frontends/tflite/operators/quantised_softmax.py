"""Imports SOFTMAX of stored 8-bit integers."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import BYTES
from ellc.frontends.tflite.model import Tensor
from ellc.frontends.tflite.scales import limits_of, scale_of, zero_of
from ellc.ir.fixed_point import softmax_scaling
from ellc.ir.ops.quantised_softmax import QuantSoftmax


def stored_softmax(emitter: Emitter, source: Tensor, to: Tensor, x: Value, beta: float) -> Value:
    """Import SOFTMAX in fixed point; its result has 256 levels from 0 to 255 / 256."""
    if to.dtype not in BYTES:
        raise Unsupported(f"a softmax of {source.kind} with a result of type {to.kind}")
    if scale_of(to) != np.float32(1 / 256) or zero_of(to) != limits_of(to.dtype)[0]:
        raise Unsupported(f"a result of scale {scale_of(to)} and zero point {zero_of(to)}")
    numbers = softmax_scaling(float(np.float32(beta)), float(scale_of(source)))
    return emitter.add(QuantSoftmax(*numbers, to.dtype, to.quant), x)
