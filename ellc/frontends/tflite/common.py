"""What handlers of several families need: operands, axes, windows, fused activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.model import Activation, Options, Tensor, TfliteNode
from ellc.ir.ops.activations import Clip, Relu, Tanh
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import Less
from ellc.ir.types import DType, Padding

_SAME = 0
_VALID = 1
# Amounts that `merge_dilations` puts in place of the padding scheme.
EXPLICIT_PADDING = "explicit padding"

BYTES = (DType.I8, DType.U8)


def operand(inputs: Inputs, index: int, what: str = "operand") -> Value:
    """An operand that must be there."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"its {what} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An operand that may be left out."""
    return inputs[index] if index < len(inputs) else None


def tensor(node: TfliteNode, index: int) -> Tensor:
    """The declaration of an operand that must be there."""
    found = node.operands[index] if index < len(node.operands) else None
    if found is None:
        raise Unsupported("an operand is missing")
    return found


def result(node: TfliteNode, index: int = 0) -> Tensor:
    """The declaration of a result."""
    if index >= len(node.results):
        raise Unsupported("it has no result")
    return node.results[index]


def axes_of(value: Value, rank: int, what: str = "the axes") -> tuple[int, ...]:
    """Known axes, sorted; the runtime takes one that is named twice as if it stood there once."""
    return tuple(sorted({axis_of(a, rank) for a in known_ints(value, what)}))


def window_padding(
    options: Options,
    x: Value,
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Padding:
    """The padding of an NHWC image that a window slides over."""
    if x.type.rank != 4 or min(*window, *stride, *dilation) < 1:
        raise Unsupported(
            f"a window {tuple(window)} with strides {tuple(stride)} and dilations"
            f" {tuple(dilation)} on {x.shape}"
        )
    return window_padding_of(options, x.shape[1:3], window, stride, dilation)


def window_padding_of(
    options: Options,
    extents: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Padding:
    """The padding of rows and columns; where an amount is odd, the larger half comes after."""
    explicit, scheme = options.wholes(EXPLICIT_PADDING), options.whole("Padding")
    if explicit:
        top, left, bottom, right = explicit
        return Padding(top, left, bottom, right)
    (top, bottom), (left, right) = (
        padding_along(scheme, *axis) for axis in zip(extents, window, stride, dilation, strict=True)
    )
    return Padding(top, left, bottom, right)


def padding_along(
    scheme: int, extent: int, window: int, stride: int, dilation: int = 1
) -> tuple[int, int]:
    """What a padding scheme adds before and after one axis."""
    if scheme not in (_SAME, _VALID):
        raise Unsupported(f"padding scheme {scheme} is unknown")
    reach = dilation * (window - 1) + 1
    total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
    return (0, 0) if scheme == _VALID else (total // 2, total - total // 2)


def activated(emitter: Emitter, value: Value, activation: Activation) -> Value:
    """A float value after a fused activation."""
    match activation:
        case Activation.NONE:
            return value
        case Activation.RELU:
            return emitter.add(Relu(), value)
        case Activation.RELU_N1_TO_1:
            return emitter.add(Clip(-1.0, 1.0), value)
        case Activation.RELU6:
            return emitter.add(Clip(0.0, 6.0), value)
        case Activation.TANH:
            return emitter.add(Tanh(), value)
        case Activation.SIGN_BIT:
            zero = emitter.constant(np.zeros(1, np.float32))
            return emitter.add(Cast(DType.F32), emitter.add(Less(), value, zero))


def is_stored(node: TfliteNode) -> bool:
    """Whether the first operand holds 8- or 16-bit integers that stand for real numbers."""
    first = node.operands[0] if node.operands else None
    return first is not None and first.kind in ("INT8", "UINT8", "INT16") and bool(first.quant)


def want_float(value: Value, what: str = "operand") -> Value:
    """The value, which must be floating point."""
    if not value.dtype.is_float:
        raise Unsupported(f"its {what} is {value.dtype.value}; only float32 is supported")
    return value
