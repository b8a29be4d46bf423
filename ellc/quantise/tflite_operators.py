"""Writes operators of the graph as TensorFlow Lite's, for floats and for stored integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ellc.ir.op import Op
from ellc.ir.ops import pointwise as p
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.shape import Concat, Reshape, Slice, Split, Transpose
from ellc.ir.types import Array, DType, Padding
from ellc.quantise.tflite_tables import Fields, TfliteTables

Activation = Literal["NONE", "RELU", "RELU6"]
"""A function that TensorFlow Lite's layers apply to their result."""
_ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 3}
_SAME, _VALID = 0, 1
_PLAIN: dict[type[Op], tuple[str, str]] = {
    p.Abs: ("ABS", "AbsOptions"),
    p.Elu: ("ELU", ""),
    p.Exp: ("EXP", "ExpOptions"),
    p.HardSwish: ("HARD_SWISH", "HardSwishOptions"),
    p.Log: ("LOG", ""),
    p.Maximum: ("MAXIMUM", "MaximumMinimumOptions"),
    p.Minimum: ("MINIMUM", "MaximumMinimumOptions"),
    p.Neg: ("NEG", "NegOptions"),
    p.PRelu: ("PRELU", ""),
    p.Relu: ("RELU", ""),
    p.Rsqrt: ("RSQRT", ""),
    p.Sigmoid: ("LOGISTIC", ""),
    p.Sqrt: ("SQRT", ""),
    p.Square: ("SQUARE", "SquareOptions"),
    p.Tanh: ("TANH", ""),
}
"""Operators without attributes, and their tables of options."""
_OF_TWO: dict[type[Op], str] = {p.Add: "Add", p.Div: "Div", p.Mul: "Mul", p.Sub: "Sub"}
_REDUCTIONS = {"sum": "SUM", "mean": "MEAN", "max": "REDUCE_MAX", "min": "REDUCE_MIN"}


class CannotWriteError(Exception):
    """TensorFlow Lite has no operator for this one, or not with these attributes."""


@dataclass(frozen=True)
class TfliteOperators:
    """Adds operators to the tables of a file."""

    tables: TfliteTables

    def write(
        self, op: Op, x: Sequence[int], y: Sequence[int], activation: Activation = "NONE"
    ) -> None:
        """Add an operator on tensors x with the results y, followed by an activation.

        Raises `CannotWriteError` if there is no such operator.
        """
        last = {"FusedActivationFunction": _ACTIVATIONS[activation]}
        match op:
            case Conv2D():
                self._conv(op, x, y, last)
            case Dense():
                kept = len(self.tables.tensors[x[0]].shape) != 2
                fields = {**last, "KeepNumDims": kept}
                self.tables.operator("FULLY_CONNECTED", x, y, "FullyConnectedOptions", fields)
            case MaxPool2D() | AvgPool2D():
                self._pool(op, x, y, last)
            case p.Add() | p.Div() | p.Mul() | p.Sub():
                name = _OF_TWO[type(op)]
                self.tables.operator(name.upper(), x, y, f"{name}Options", last)
            case Reduce(kind=kind, axes=axes, keep_dims=kept, wide=None) if (
                kind in _REDUCTIONS and axes
            ):
                self._reduce(_REDUCTIONS[kind], axes, kept, x, y, activation)
            case _ if activation != "NONE":
                raise CannotWriteError
            case _:
                self._plain(op, x, y)

    def _plain(self, op: Op, x: Sequence[int], y: Sequence[int]) -> None:
        shape = self.tables.tensors[y[0]].shape
        match op:
            case Reshape():
                self.tables.operator("RESHAPE", [*x, self._integers(shape)], y)
            case Transpose(permutation=order):
                inputs = [*x, self._integers(order)]
                self.tables.operator("TRANSPOSE", inputs, y, "TransposeOptions")
            case Concat(axis=axis):
                self.tables.operator("CONCATENATION", x, y, "ConcatenationOptions", {"Axis": axis})
            case Split(axis=axis, sizes=sizes):
                inputs = [*x, self._integers(sizes), self._scalar(axis)]
                self.tables.operator("SPLIT_V", inputs, y, "SplitVOptions", {"NumSplits": len(y)})
            case Slice(starts=starts, steps=steps, sizes=sizes) if set(steps) == {1}:
                inputs = [*x, self._integers(starts), self._integers(sizes)]
                self.tables.operator("SLICE", inputs, y, "SliceOptions")
            case Pad(before=before, after=after, mode="constant", value=0.0):
                self.tables.operator("PAD", [x[0], self._pairs(before, after)], y, "PadOptions")
            case Softmax(axes=(axis,)) if axis == len(shape) - 1:
                self.tables.operator("SOFTMAX", x, y, "SoftmaxOptions", {"Beta": 1.0})
            case p.Clip(low=0.0, high=6.0):
                self.tables.operator("RELU6", x, y)
            case p.LeakyRelu(slope=slope):
                self.tables.operator("LEAKY_RELU", x, y, "LeakyReluOptions", {"Alpha": slope})
            case p.Elu(alpha=alpha) if alpha != 1:
                raise CannotWriteError
            case _ if type(op) in _PLAIN:
                code, options = _PLAIN[type(op)]
                self.tables.operator(code, x, y, options)
            case _:
                raise CannotWriteError

    def _conv(self, op: Conv2D, x: Sequence[int], y: Sequence[int], last: Fields) -> None:
        image, weights, *bias = x
        filters, rows, columns, depth = self.tables.tensors[weights].shape
        channels = self.tables.tensors[image].shape[3]
        window = ((rows - 1) * op.dilation[0] + 1, (columns - 1) * op.dilation[1] + 1)
        image, padding = self._padded(image, op.padding, window, op.stride, 0.0)
        fields = {
            **last,
            "Padding": padding,
            "StrideH": op.stride[0],
            "StrideW": op.stride[1],
            "DilationHFactor": op.dilation[0],
            "DilationWFactor": op.dilation[1],
        }
        if not bias:
            bias = [self._constant(np.zeros(filters, np.float32), DType.F32)]
        if op.groups == 1:
            inputs = [image, weights, *bias]
            self.tables.operator("CONV_2D", inputs, y, "Conv2DOptions", fields)
            return
        if depth != 1 or op.groups != channels:
            raise CannotWriteError
        fields["DepthMultiplier"] = filters // channels
        inputs = [image, self._last_filters(weights), *bias]
        self.tables.operator("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", fields)

    def _last_filters(self, weights: int) -> int:
        """Weights [filters, rows, columns, 1] as [1, rows, columns, filters]."""
        tensor = self.tables.tensors[weights]
        array = np.frombuffer(self.tables.buffers[tensor.buffer], tensor.dtype.numpy)
        moved = np.transpose(array.reshape(tensor.shape), (3, 1, 2, 0))
        quantised = None
        if tensor.scales is not None and tensor.zeros is not None:
            quantised = (tensor.scales, tensor.zeros, 3)
        return self.tables.tensor(tensor.name, moved.shape, tensor.dtype, moved, quantised)

    def _pool(
        self,
        op: MaxPool2D | AvgPool2D,
        x: Sequence[int],
        y: Sequence[int],
        last: Fields,
    ) -> None:
        if op.dilation != (1, 1):
            raise CannotWriteError
        # Windows of TensorFlow Lite's operators read no padding.
        counted = isinstance(op, AvgPool2D) and op.include_padding and not op.padding.is_empty
        largest = isinstance(op, MaxPool2D) and not op.takes_largest
        if counted or largest:
            raise CannotWriteError
        image, padding = self._padded(x[0], op.padding, op.window, op.stride, None)
        fields = {
            **last,
            "Padding": padding,
            "StrideH": op.stride[0],
            "StrideW": op.stride[1],
            "FilterHeight": op.window[0],
            "FilterWidth": op.window[1],
        }
        code = "MAX_POOL_2D" if isinstance(op, MaxPool2D) else "AVERAGE_POOL_2D"
        self.tables.operator(code, [image], y, "Pool2DOptions", fields)

    def _padded(
        self,
        image: int,
        padding: Padding,
        window: tuple[int, int],
        stride: tuple[int, int],
        value: float | None,
    ) -> tuple[int, int]:
        """The image, and the kind of padding with which an operator reads it.

        If the padding is neither VALID nor SAME, zeros are added before, if `value` is 0.
        """
        tensor = self.tables.tensors[image]
        if padding.is_empty:
            return image, _VALID
        if value is not None and padding.values != (value,):
            raise CannotWriteError
        if padding.amounts == _same(tensor.shape[1:3], window, stride):
            return image, _SAME
        if value is None:
            raise CannotWriteError
        top, left, bottom, right = padding.amounts
        before, after = (0, top, left, 0), (0, bottom, right, 0)
        shape = tuple(a + e + b for a, e, b in zip(before, tensor.shape, after, strict=True))
        quantised = None
        if tensor.scales is not None and tensor.zeros is not None:
            quantised = (tensor.scales, tensor.zeros, 0)
        name = f"{tensor.name}_padded"
        padded = self.tables.tensor(name, shape, tensor.dtype, quantised=quantised)
        inputs = [image, self._pairs(before, after)]
        self.tables.operator("PAD", inputs, [padded], "PadOptions")
        return padded, _VALID

    def _reduce(
        self,
        code: str,
        axes: Sequence[int],
        kept: bool,
        x: Sequence[int],
        y: Sequence[int],
        activation: Activation,
    ) -> None:
        if activation != "NONE":
            raise CannotWriteError
        inputs = [*x, self._integers(axes)]
        self.tables.operator(code, inputs, y, "ReducerOptions", {"KeepDims": kept})

    def _pairs(self, before: Sequence[int], after: Sequence[int]) -> int:
        return self._constant(np.array([*zip(before, after, strict=True)], np.int32), DType.I32)

    def _integers(self, numbers: Sequence[int]) -> int:
        return self._constant(np.array(numbers, np.int32), DType.I32)

    def _scalar(self, number: int) -> int:
        return self._constant(np.array(number, np.int32), DType.I32)

    def _constant(self, array: Array, dtype: DType) -> int:
        name = f"constant{len(self.tables.tensors)}"
        return self.tables.tensor(name, array.shape, dtype, array)


def _same(
    extents: Sequence[int], window: Sequence[int], stride: Sequence[int]
) -> tuple[int, int, int, int]:
    """The widths (top, left, bottom, right) of the padding SAME."""
    before, after = [], []
    for extent, taps, step in zip(extents, window, stride, strict=True):
        total = max((-(-extent // step) - 1) * step + taps - extent, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before[0], before[1], after[0], after[1]
