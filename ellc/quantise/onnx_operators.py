"""Writes operators of the graph as nodes of ONNX's operator set 20.

A writer takes an operator whose operands are in the order of ONNX, and the names of the operands;
it returns the names of the results. Convolutions and pools take images in planes (NCHW).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellc.ir.op import Op, Types
from ellc.ir.ops import pointwise as p
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import MatMul
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised import Dequantize, Quantize
from ellc.ir.ops.reduce import ArgMax, ArgMin, LogSoftmax, Reduce, Softmax
from ellc.ir.ops.resize import Resample
from ellc.ir.ops.shape import Concat, Expand, Gather, Reshape, Slice, Split
from ellc.ir.types import DType, Padding
from ellc.quantise.onnx_values import OnnxValues

OPERATOR_SET = 20
_ELEMENT_TYPES = {"f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "bool": 9}


class CannotWriteError(Exception):
    """ONNX has no operator for this one, or not with these attributes."""


@dataclass(frozen=True)
class Call:
    """An operator with the names of its operands in the ONNX graph, and the types in its graph.

    `types` are the types of the operands as ONNX sees them, `results` those of the results.
    """

    op: Any
    inputs: Sequence[str]
    types: Types
    results: Types
    name: str


Writer = Callable[[OnnxValues, Call], Sequence[str]]


def _same(operator: str, **attributes: str) -> Writer:
    """A node with the same operands; `attributes` maps ONNX's attributes to those of the op."""

    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        given = {theirs: getattr(call.op, ours) for theirs, ours in attributes.items()}
        return [values.add(operator, call.inputs, call.name, **given)]

    return write


def _chain(*operators: str) -> Writer:
    """Nodes with one operand, one after another."""

    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        name = call.inputs[0]
        for operator in operators:
            name = values.add(operator, [name], call.name)
        return [name]

    return write


def _scalar(values: OnnxValues, number: float) -> str:
    return values.tensor(np.array(number, np.float32))


def _clip(values: OnnxValues, call: Call) -> Sequence[str]:
    bounds = [
        _scalar(values, bound) if np.isfinite(bound) else ""
        for bound in (call.op.low, call.op.high)
    ]
    return [values.add("Clip", [*call.inputs, *bounds], call.name)]


def _swish(values: OnnxValues, call: Call) -> Sequence[str]:
    (x,) = call.inputs
    scaled = x if call.op.alpha == 1 else values.add("Mul", [x, _scalar(values, call.op.alpha)])
    return [values.add("Mul", [x, values.add("Sigmoid", [scaled])], call.name)]


def _gelu(values: OnnxValues, call: Call) -> Sequence[str]:
    how = "tanh" if call.op.approximate else "none"
    return [values.add("Gelu", call.inputs, call.name, approximate=how)]


def _square(values: OnnxValues, call: Call) -> Sequence[str]:
    return [values.add("Mul", [*call.inputs, *call.inputs], call.name)]


def _expm1(values: OnnxValues, call: Call) -> Sequence[str]:
    return [values.add("Sub", [values.add("Exp", call.inputs), _scalar(values, 1)], call.name)]


def _log1p(values: OnnxValues, call: Call) -> Sequence[str]:
    return [values.add("Log", [values.add("Add", [*call.inputs, _scalar(values, 1)])], call.name)]


def _mul_add(values: OnnxValues, call: Call) -> Sequence[str]:
    x, scale, offset = call.inputs
    return [values.add("Add", [values.add("Mul", [x, scale]), offset], call.name)]


def _select(values: OnnxValues, call: Call) -> Sequence[str]:
    x, y, condition = call.inputs
    return [values.add("Where", [condition, x, y], call.name)]


def _logical(operator: str) -> Writer:
    """A node that takes booleans; the operator also takes integers."""

    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        if any(type_.dtype is not DType.BOOL for type_ in call.types):
            raise CannotWriteError
        return [values.add(operator, call.inputs, call.name)]

    return write


def _cast(values: OnnxValues, call: Call) -> Sequence[str]:
    to = _ELEMENT_TYPES.get(call.op.dtype.value)
    if to is None:
        raise CannotWriteError
    return [values.add("Cast", call.inputs, call.name, to=to)]


def _conv(values: OnnxValues, call: Call) -> Sequence[str]:
    op: Conv2D = call.op
    x, amounts = _filled(values, call, op.padding, 0.0)
    return [
        values.add(
            "Conv",
            [x, *call.inputs[1:]],
            call.name,
            kernel_shape=call.types[1].shape[2:],
            strides=op.stride,
            pads=amounts,
            dilations=op.dilation,
            group=op.groups,
        )
    ]


def _filled(
    values: OnnxValues, call: Call, padding: Padding, own: float
) -> tuple[str, tuple[int, int, int, int]]:
    """The image, padded if the padding has another value than the operator's `own`; and the rest
    of the padding."""
    if padding.is_empty or padding.values == (own,):
        return call.inputs[0], padding.amounts
    if len(padding.values) > 1:
        raise CannotWriteError
    top, left, bottom, right = padding.amounts
    pads = values.integers(0, 0, top, left, 0, 0, bottom, right)
    filling = _scalar(values, padding.values[0])
    return values.add("Pad", [call.inputs[0], pads, filling]), (0, 0, 0, 0)


def _max_pool(values: OnnxValues, call: Call) -> Sequence[str]:
    op: MaxPool2D = call.op
    x, amounts = (
        (call.inputs[0], op.padding.amounts)
        if op.takes_largest
        else _filled(values, call, op.padding, -np.inf)
    )
    return [
        values.add(
            "MaxPool",
            [x],
            call.name,
            kernel_shape=op.window,
            strides=op.stride,
            pads=amounts,
            dilations=op.dilation,
        )
    ]


def _avg_pool(values: OnnxValues, call: Call) -> Sequence[str]:
    op: AvgPool2D = call.op
    if op.padding.is_empty and op.window == call.types[0].shape[2:]:
        return [values.add("GlobalAveragePool", call.inputs, call.name)]
    x, amounts = call.inputs[0], op.padding.amounts
    if op.include_padding:
        x, amounts = _filled(values, call, op.padding, 0.0)
    attributes: dict[str, Any] = {"kernel_shape": op.window, "strides": op.stride, "pads": amounts}
    # ONNX Runtime's integer operator has no dilations.
    if op.dilation != (1, 1):
        attributes["dilations"] = op.dilation
    counted = int(op.include_padding)
    return [values.add("AveragePool", [x], call.name, count_include_pad=counted, **attributes)]


def _mat_mul(values: OnnxValues, call: Call) -> Sequence[str]:
    op: MatMul = call.op
    names = []
    transposed = (op.transpose_a, op.transpose_b)
    for name, type_, turned in zip(call.inputs, call.types, transposed, strict=True):
        order = (*range(type_.rank - 2), type_.rank - 1, type_.rank - 2)
        names.append(values.add("Transpose", [name], perm=order) if turned else name)
    return [values.add("MatMul", names, call.name)]


def _softmax(operator: str) -> Writer:
    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        if len(call.op.axes) != 1:
            raise CannotWriteError
        return [values.add(operator, call.inputs, call.name, axis=call.op.axes[0])]

    return write


_REDUCTIONS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "l2sum": "ReduceSumSquare",
}


def _reduce(values: OnnxValues, call: Call) -> Sequence[str]:
    op: Reduce = call.op
    is_image = call.types[0].rank == 4 and op.axes == (2, 3) and op.keep_dims
    if op.kind == "mean" and is_image:
        return [values.add("GlobalAveragePool", call.inputs, call.name)]
    if op.wide is not None:
        raise CannotWriteError
    if not op.axes:  # ONNX would reduce along all axes
        return _square(values, call) if op.kind == "l2sum" else [call.inputs[0]]
    axes = values.integers(*op.axes)
    kept = int(op.keep_dims)
    return [values.add(_REDUCTIONS[op.kind], [*call.inputs, axes], call.name, keepdims=kept)]


def _arg(operator: str) -> Writer:
    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        op = call.op
        attributes = {
            "axis": op.axis, "keepdims": int(op.keep_dims), "select_last_index": int(op.last)
        }  # fmt: skip
        found = values.add(operator, call.inputs, **attributes)
        return [values.add("Cast", [found], call.name, to=_ELEMENT_TYPES["i32"])]

    return write


def _reshape(values: OnnxValues, call: Call) -> Sequence[str]:
    shape = values.integers(*call.results[0].shape)
    return [values.add("Reshape", [*call.inputs, shape], call.name)]


def _expand(values: OnnxValues, call: Call) -> Sequence[str]:
    shape = values.integers(*call.results[0].shape)
    return [values.add("Expand", [*call.inputs, shape], call.name)]


def _slice(values: OnnxValues, call: Call) -> Sequence[str]:
    op: Slice = call.op
    ends = []
    for start, size, step in zip(op.starts, op.sizes, op.steps, strict=True):
        end = start + (size - 1) * step + (1 if step > 0 else -1)
        ends.append(end if end >= 0 else np.iinfo(np.int64).min)
    axes = range(len(ends))
    parts = [values.integers(*numbers) for numbers in (op.starts, ends, axes, op.steps)]
    return [values.add("Slice", [*call.inputs, *parts], call.name)]


def _concat(values: OnnxValues, call: Call) -> Sequence[str]:
    return [values.add("Concat", call.inputs, call.name, axis=call.op.axis)]


def _split(values: OnnxValues, call: Call) -> Sequence[str]:
    op: Split = call.op
    inputs = [*call.inputs, values.integers(*op.sizes)]
    return values.add_multi("Split", inputs, len(op.sizes), call.name, axis=op.axis)


def _pad(values: OnnxValues, call: Call) -> Sequence[str]:
    op: Pad = call.op
    pads = values.integers(*op.before, *op.after)
    filling = [_scalar(values, op.value)] if op.mode == "constant" else []
    return [values.add("Pad", [*call.inputs, pads, *filling], call.name, mode=op.mode)]


def _lrn(values: OnnxValues, call: Call) -> Sequence[str]:
    op: LRN = call.op
    return [
        values.add(
            "LRN", call.inputs, call.name,
            size=op.size, alpha=op.alpha, beta=op.beta, bias=op.bias,
        )
    ]  # fmt: skip


def _resample(values: OnnxValues, call: Call) -> Sequence[str]:
    """Gather the elements, multiply them by the weights, and add them."""
    op: Resample = call.op
    x, indices, weights = call.inputs
    count, taps = call.types[1].shape
    flat = values.add("Reshape", [indices, values.integers(count * taps)])
    picked = values.add("Gather", [x, flat], axis=op.axis)
    shape = call.types[0].shape
    after = shape[op.axis + 1 :]
    apart = values.integers(*shape[: op.axis], count, taps, *after)
    terms = values.add("Reshape", [picked, apart])
    factors = values.add("Reshape", [weights, values.integers(count, taps, *(1 for _ in after))])
    products = values.add("Mul", [terms, factors])
    axes = values.integers(op.axis + 1)
    return [values.add("ReduceSum", [products, axes], call.name, keepdims=0)]


def _conversion(operator: str) -> Writer:
    """A conversion of the float network itself, with one scale and zero point."""

    def write(values: OnnxValues, call: Call) -> Sequence[str]:
        x, scale, zero = call.inputs
        stored = call.types[0] if operator == "DequantizeLinear" else call.results[0]
        kind = _ELEMENT_TYPES[stored.dtype.value]
        rounding = getattr(call.op, "rounding", "half_even")
        if call.types[1].elements != 1 or call.types[2].elements != 1 or rounding != "half_even":
            raise CannotWriteError
        shape = values.integers()
        parameters = [values.add("Reshape", [name, shape]) for name in (scale, zero)]
        parameters[1] = values.add("Cast", [parameters[1]], to=kind)
        return [values.add(operator, [x, *parameters], call.name)]

    return write


def _gather(values: OnnxValues, call: Call) -> Sequence[str]:
    return [values.add("Gather", call.inputs, call.name, axis=call.op.axis)]


IMAGES: Mapping[type[Op], Writer] = {
    Conv2D: _conv, MaxPool2D: _max_pool, AvgPool2D: _avg_pool, LRN: _lrn,
}  # fmt: skip
"""The writers of operators that need images in planes."""

WRITERS: Mapping[type[Op], Writer] = {
    **{op: _same(op.__name__) for op in (
        p.Abs, p.Acos, p.Acosh, p.Add, p.Asin, p.Asinh, p.Atan, p.Atanh, p.Ceil, p.Cos,
        p.Cosh, p.Div, p.Equal, p.Erf, p.Exp, p.Floor, p.Greater, p.HardSwish, p.Less, p.Log,
        p.Mish, p.Mul, p.Neg, p.Pow, p.Reciprocal, p.Relu, p.Round, p.Sigmoid,
        p.Sign, p.Sin, p.Sinh, p.Softplus, p.Softsign, p.Sqrt, p.Sub, p.Tan, p.Tanh,
    )},
    p.And: _logical("And"),
    p.Not: _logical("Not"),
    p.Or: _logical("Or"),
    p.Xor: _logical("Xor"),
    p.Celu: _same("Celu", alpha="alpha"),
    p.Elu: _same("Elu", alpha="alpha"),
    p.GreaterEqual: _same("GreaterOrEqual"),
    p.HardSigmoid: _same("HardSigmoid", alpha="slope", beta="offset"),
    p.LeakyRelu: _same("LeakyRelu", alpha="slope"),
    p.LessEqual: _same("LessOrEqual"),
    p.Maximum: _same("Max"),
    p.Minimum: _same("Min"),
    p.PRelu: _same("PRelu"),
    p.Selu: _same("Selu"),
    p.Shrink: _same("Shrink", lambd="limit", bias="bias"),
    p.ThresholdedRelu: _same("ThresholdedRelu", alpha="alpha"),
    p.Cast: _cast,
    p.Clip: _clip,
    p.Expm1: _expm1,
    p.Gelu: _gelu,
    p.Log1p: _log1p,
    p.MulAdd: _mul_add,
    p.Rsqrt: _chain("Sqrt", "Reciprocal"),
    p.Select: _select,
    p.Square: _square,
    p.Swish: _swish,
    ArgMax: _arg("ArgMax"),
    ArgMin: _arg("ArgMin"),
    Concat: _concat,
    Dequantize: _conversion("DequantizeLinear"),
    Expand: _expand,
    Gather: _gather,
    LogSoftmax: _softmax("LogSoftmax"),
    MatMul: _mat_mul,
    Pad: _pad,
    Quantize: _conversion("QuantizeLinear"),
    Reduce: _reduce,
    Resample: _resample,
    Reshape: _reshape,
    Slice: _slice,
    Softmax: _softmax("Softmax"),
    Split: _split,
}  # fmt: skip
"""The writers of operators on tensors in any order."""
