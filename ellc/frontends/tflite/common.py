"""Reads operands, axes and windows, and adds fused activations, for all families of handlers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.model import FusedActivation, NodeOptions, Tensor, TfliteNode
from ellc.ir.ops.activations import Clip, Relu, Tanh
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import Less
from ellc.ir.types import DType, Padding

_SAME = 0
_VALID = 1
# An option that `merge_dilations` adds: the amounts of padding, which replace the padding scheme.
EXPLICIT_PADDING = "explicit padding"

BYTES = (DType.I8, DType.U8)


def operand(inputs: Inputs, index: int, what: str = "operand") -> Value:
    """A required operand; raises `Unsupported` if it is missing."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"its {what} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An optional operand; None if it is absent."""
    return inputs[index] if index < len(inputs) else None


def tensor(node: TfliteNode, index: int) -> Tensor:
    """The file's declaration of a required operand; raises `Unsupported` if it is missing."""
    declared = node.operands[index] if index < len(node.operands) else None
    if declared is None:
        raise Unsupported("an operand is missing")
    return declared


def result(node: TfliteNode, index: int = 0) -> Tensor:
    """The file's declaration of a result; raises `Unsupported` if there is none."""
    if index >= len(node.results):
        raise Unsupported("it has no result")
    return node.results[index]


def axes_of(value: Value, rank: int, what: str = "the axes") -> tuple[int, ...]:
    """The axes in a constant, sorted. As in the runtime, an axis that occurs twice counts once."""
    return tuple(sorted({axis_of(a, rank) for a in known_ints(value, what)}))


def window_padding(
    options: NodeOptions,
    x: Value,
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Padding:
    """The padding that the options give to the NHWC image x under a window."""
    if x.type.rank != 4 or min(*window, *stride, *dilation) < 1:
        raise Unsupported(
            f"a window {tuple(window)} with strides {tuple(stride)} and dilations"
            f" {tuple(dilation)} on {x.shape}"
        )
    return window_padding_of(options, x.shape[1:3], window, stride, dilation)


def window_padding_of(
    options: NodeOptions,
    extents: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Padding:
    """The padding of rows and columns. If a total is odd, the larger part is after the image."""
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
    """The amounts (before, after) that a padding scheme adds along one axis."""
    if scheme not in (_SAME, _VALID):
        raise Unsupported(f"padding scheme {scheme} is unknown")
    reach = dilation * (window - 1) + 1
    total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
    return (0, 0) if scheme == _VALID else (total // 2, total - total // 2)


def activated(emitter: Emitter, value: Value, activation: FusedActivation) -> Value:
    """Apply a fused activation to a float value."""
    match activation:
        case FusedActivation.NONE:
            return value
        case FusedActivation.RELU:
            return emitter.add(Relu(), value)
        case FusedActivation.RELU_N1_TO_1:
            return emitter.add(Clip(-1.0, 1.0), value)
        case FusedActivation.RELU6:
            return emitter.add(Clip(0.0, 6.0), value)
        case FusedActivation.TANH:
            return emitter.add(Tanh(), value)
        case FusedActivation.SIGN_BIT:
            zero = emitter.constant(np.zeros(1, np.float32))
            return emitter.add(Cast(DType.F32), emitter.add(Less(), value, zero))


def is_stored(node: TfliteNode) -> bool:
    """Whether the first operand holds stored integers (8 or 16 bits with a scale)."""
    first = node.operands[0] if node.operands else None
    return first is not None and first.kind in ("INT8", "UINT8", "INT16") and bool(first.quant)


def want_float(value: Value, what: str = "operand") -> Value:
    """Return the value; raise `Unsupported` unless it is floating point."""
    if not value.dtype.is_float:
        raise Unsupported(f"its {what} is {value.dtype.value}; only float32 is supported")
    return value
