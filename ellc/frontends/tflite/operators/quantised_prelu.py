"""Imports PRELU of stored 8-bit integers."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, expanded
from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.tflite.common import result, tensor
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.quantised_tables import result_by_table, scaled_by
from ellc.frontends.tflite.scales import limits_of, scalar_quant, scale_of, zero_of
from ellc.ir.ops.comparisons import GreaterEqual, Select
from ellc.ir.ops.quantised_arithmetic import QuantMul


def stored_prelu(emitter: Emitter, node: TfliteNode, x: Value, slopes: Value) -> Value:
    """Compute x if x >= 0, else x * slope, in the scale of the result."""
    source, factor, to = tensor(node, 0), tensor(node, 1), result(node)
    x = expanded(emitter, x, common_shape(x, slopes))
    above = result_by_table(
        emitter, node, x, scaled_by(source, to, float(scale_of(source) / scale_of(to)))
    )
    product = QuantMul.of(
        scalar_quant(source), scalar_quant(factor), to.dtype, scalar_quant(to), *limits_of(to.dtype)
    )
    zero = emitter.constant(np.full(1, zero_of(source), x.dtype.numpy))
    positive = emitter.add(GreaterEqual(), x, zero)
    return emitter.add(Select(), above, emitter.add(product, x, slopes), positive)
