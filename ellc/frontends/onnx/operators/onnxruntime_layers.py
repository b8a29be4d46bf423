"""What ONNX Runtime's optimiser makes of a few operators each: biases, activations, bytes."""

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
    """Gelu of x + bias; FastGelu takes the approximation by tanh, and the bias may be left out."""
    x, fast = operand(inputs, 0), node.operator == "FastGelu"
    bias = optional(inputs, 1) if fast else operand(inputs, 1)
    return emitter.add(Gelu(fast), _plus(emitter, x, bias))


@ONNX.imports(f"{MICROSOFT}.QuickGelu")
def quick_gelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x * sigmoid(alpha * x)."""
    return emitter.add(Swish(node.number("alpha", 1.702)), operand(inputs, 0))


_BYTES = "8 bits; one scale and zero point of the first operand"


@ONNX.imports(f"{MICROSOFT}.MatMulIntegerToFloat", limits=_BYTES)
def integer_product_as_real(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The product of bytes as the real numbers that they stand for, and a bias."""
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
    """Sums times both scales, plus a bias; the second has one scale, or one for each column."""
    if scale_a.type.elements != 1:
        raise Unsupported(f"{scale_a.type.elements} scales of the first operand; one is supported")
    factor = pointwise(emitter, Mul(), scale_b, scale_a)
    made = pointwise(emitter, Mul(), emitter.add(Cast(DType.F32), total), factor)
    return _plus(emitter, made, bias)


def _plus(emitter: Emitter, x: Value, bias: Value | None) -> Value:
    return x if bias is None else pointwise(emitter, Add(), x, bias)


ONNX.advice |= {
    f"{MICROSOFT}.DynamicQuantizeLSTM": (
        "quantise the model without its LSTM (`op_types_to_quantize` of `quantize_dynamic`)"
    ),
    f"{MICROSOFT}.MatMulNBits": (
        "write its weights with DequantizeLinear (`quant_format=QuantFormat.QDQ` of the quantiser)"
    ),
}
