"""Imports operators with which ONNX Runtime replaces groups of nodes: Gelu, integer products."""

from __future__ import annotations

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.quantised import dynamically_quantised, product_from_zeros
from ellc.frontends.onnx.registry import MICROSOFT, ONNX, operand, optional
from ellc.ir.ops.pointwise import Add, Cast, Gelu, Mul, Swish
from ellc.ir.types import DType


@ONNX.imports(f"{MICROSOFT}.BiasGelu", f"{MICROSOFT}.FastGelu")
def gelu_of_sum(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Gelu of x + bias. FastGelu uses the approximation by tanh, and its bias is optional."""
    x, fast = operand(inputs, 0), node.operator == "FastGelu"
    bias = optional(inputs, 1) if fast else operand(inputs, 1)
    return emitter.add(Gelu(fast), _plus(emitter, x, bias))


@ONNX.imports(f"{MICROSOFT}.QuickGelu")
def quick_gelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x * sigmoid(alpha * x)."""
    return emitter.add(Swish(node.number("alpha", 1.702)), operand(inputs, 0))


_BYTES = "8 bits; the first operand has one scale and one zero point"


@ONNX.imports(f"{MICROSOFT}.MatMulIntegerToFloat", limits=_BYTES)
def integer_product_as_real(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The product of two dequantised matrices of bytes, plus an optional bias; f32."""
    a, b, scale_a, scale_b = (operand(inputs, i) for i in range(4))
    points = optional(inputs, 4), optional(inputs, 5)
    total = product_from_zeros(emitter, a, b, *points)
    return _real(emitter, total, scale_a, scale_b, optional(inputs, 6))


@ONNX.imports(f"{MICROSOFT}.DynamicQuantizeMatMul", limits="8 bits; known zero points")
def dynamic_product(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`DynamicQuantizeLinear` of the first operand, then `MatMulIntegerToFloat`."""
    stored, scale, point = dynamically_quantised(emitter, operand(inputs, 0))
    total = product_from_zeros(emitter, stored, operand(inputs, 1), point, optional(inputs, 3))
    return _real(emitter, total, scale, operand(inputs, 2), optional(inputs, 4))


def _real(
    emitter: Emitter, total: Value, scale_a: Value, scale_b: Value, bias: Value | None
) -> Value:
    """Multiply 32-bit sums by both scales, and add an optional bias.

    `scale_b` may have one scale for each column.
    """
    if scale_a.type.elements != 1:
        raise Unsupported(f"its first operand has {scale_a.type.elements} scales, not 1")
    factor = pointwise(emitter, Mul(), scale_b, scale_a)
    result = pointwise(emitter, Mul(), emitter.add(Cast(DType.F32), total), factor)
    return _plus(emitter, result, bias)


def _plus(emitter: Emitter, x: Value, bias: Value | None) -> Value:
    return x if bias is None else pointwise(emitter, Add(), x, bias)


ONNX.advice |= {
    f"{MICROSOFT}.DynamicQuantizeLSTM": (
        "quantise the model without its LSTM (`op_types_to_quantize` of `quantize_dynamic`)"
    ),
    f"{MICROSOFT}.MatMulNBits": (
        "store its weights with DequantizeLinear (`quant_format=QuantFormat.QDQ` in the quantiser)"
    ),
}
