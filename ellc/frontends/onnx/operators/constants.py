"""Imports constants, shapes, sizes, casts, ranges, and operators that return their operand."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.steps import stepped
from ellc.frontends.graph_import.values import (
    Emitter,
    Unsupported,
    Value,
    known,
    known_ints,
    known_number,
)
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.narrow import same_kind, stored_value
from ellc.frontends.onnx.registry import ONNX, Declined, no_attribute, operand, optional
from ellc.frontends.onnx.tensors import HALF_NOTE, NARROW_TYPES, dtype_of, element_name, is_half
from ellc.ir.ops.pointwise import BitCast, Cast
from ellc.ir.ops.shape import Expand
from ellc.ir.types import Array, DType

_RANGE_ELEMENTS = 1 << 20
_BFLOAT16 = 16
TRAINING = "it is in training mode; export the model for inference"
STASH = {"stash_type": "the precision inside the operator; ellc uses that of the tensor"}
_NO_HALF_BITS = "half precision is computed in float32, so its own bits are not kept"
_NO_TEXT = "a constant of strings is not supported"
_ABOUT_BYTES = {
    "saturate": "only for 8-bit floating point, which is declined",
    "round_mode": "only for 8-bit floating point, which is declined",
}


@ONNX.imports(
    "Constant",
    limits="no strings, not sparse",
    declines=(
        no_attribute("value_string", _NO_TEXT),
        no_attribute("value_strings", _NO_TEXT),
        no_attribute("sparse_value", "a sparse constant is not supported; store it dense"),
    ),
)
def constant(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The tensor or the numbers in the node's attribute."""
    if node.has("value"):
        return stored_value(emitter, node.tensor("value"))
    if node.has("value_float"):
        return emitter.constant(np.array(node.number("value_float"), np.float32))
    if node.has("value_floats"):
        return emitter.constant(np.array(node.numbers("value_floats"), np.float32))
    if node.has("value_int"):
        return emitter.constant(np.array(node.integer("value_int"), np.int64))
    if node.has("value_ints"):
        return emitter.constant(np.array(node.integers("value_ints"), np.int64))
    raise Unsupported("it has no attribute with a value")


@ONNX.imports("ConstantOfShape", limits="a shape known at import")
def constant_of_shape(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A tensor whose elements are all equal to the attribute `value`."""
    shape = known_ints(operand(inputs, 0), "the shape")
    value = emitter.constant(np.zeros(1, np.float32))
    if node.has("value"):
        value = stored_value(emitter, node.tensor("value"))
    if value.type.elements != 1:
        raise Unsupported(f"a value of shape {value.shape}; one element is expected")
    return same_kind(emitter.add(Expand(shape), reshaped(emitter, value, ())), value)


@ONNX.imports("Shape", narrow="read")
def shape(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The extents of a tensor, i64; `start` and `end` select some of them."""
    extents = operand(inputs, 0).shape
    start = node.integer("start", 0)
    end = node.integer("end", len(extents))
    return emitter.constant(np.array(extents[slice(start, end)], np.int64))


@ONNX.imports("Size", narrow="read")
def size(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The number of elements, i64."""
    return emitter.constant(np.array(prod(operand(inputs, 0).shape), np.int64))


@ONNX.imports("Range", limits="operands known at import, at most 1,048,576 numbers", ignores=STASH)
def number_range(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Numbers from `start` in steps of `delta`, up to `limit`, which is not included."""
    names = ("start", "limit", "delta")
    start, limit, delta = (known_number(operand(inputs, i), n) for i, n in enumerate(names))
    return stepped(emitter, start, limit, delta, operand(inputs, 0).dtype, _RANGE_ELEMENTS)


@ONNX.imports("Identity", sequences=True, narrow="kept")
def identity(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand itself."""
    return operand(inputs, 0)


@ONNX.imports(
    "Dropout",
    limits="for inference",
    declines=(Declined("input", "training_mode", TRAINING),),
    ignores={"ratio": "only for training", "seed": "only for training"},
)
def dropout(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The operand, and a mask that is true (1 before version 10) everywhere: nothing is dropped."""
    training = optional(inputs, 2)
    if training is not None and known(training, "training_mode").any():
        raise Unsupported(TRAINING)
    x = operand(inputs, 0)
    true = np.ones((), np.bool_ if node.version >= 10 else x.dtype.numpy)
    if not any(node.outputs[1:]):
        return [x]
    return [x, emitter.add(Expand(x.shape), emitter.constant(true))]


@ONNX.imports("Cast", ignores=_ABOUT_BYTES, narrow="read")
def cast(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand converted to the element type `to`."""
    return converted(emitter, operand(inputs, 0), node.integer("to"))


@ONNX.imports(
    "BitCast",
    limits="integers and floats of equal size",
    declines=(
        Declined("type", "bool", "the bits of a bool are not defined"),
        Declined("type", "float16, bfloat16", _NO_HALF_BITS),
    ),
)
def bit_cast(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The bits of the operand as another element type of the same size."""
    x, to = operand(inputs, 0), node.integer("to")
    if x.dtype is DType.BOOL:
        raise Unsupported("the bits of a bool are not defined")
    if is_half(to) or (x.dtype is DType.F32 and dtype_of(to).numpy.itemsize == 2):
        raise Unsupported(_NO_HALF_BITS)
    return emitter.add(BitCast(dtype_of(to)), x)


@ONNX.imports("CastLike", ignores=_ABOUT_BYTES)
def cast_like(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The first operand converted to the element type of the second."""
    return to_dtype(emitter, operand(inputs, 0), operand(inputs, 1).dtype)


def converted(emitter: Emitter, x: Value, element_type: int) -> Value:
    """Convert a value to one of ONNX's element types.

    A cast to half precision gives float32; only a known value is rounded to half precision. Raises
    `Unsupported` for types in which the graph cannot compute.
    """
    if is_half(element_type):
        if x.array is not None:
            return emitter.constant(halved(x.array, element_type))
        emitter.note(HALF_NOTE)
    try:
        return to_dtype(emitter, x, dtype_of(element_type))
    except Unsupported:
        advice = "; QuantizeLinear can make them" if element_type in NARROW_TYPES else ""
        name = element_name(element_type)
        raise Unsupported(f"values of type {name} are not computed{advice}") from None


def halved(array: Array, element_type: int) -> Array:
    """Round an array to float16 or bfloat16; the result is float32."""
    floats = array.astype(np.float32)
    if element_type == _BFLOAT16:
        bits = floats.view(np.uint32)
        even = (bits >> np.uint32(16)) & np.uint32(1)
        rounded = (bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
        return np.where(np.isnan(floats), floats, rounded.view(np.float32))
    return floats.astype(np.float16).astype(np.float32)


def to_dtype(emitter: Emitter, x: Value, dtype: DType) -> Value:
    """Convert a value to one of the graph's element types; the result has no quantisation."""
    if x.dtype is dtype:
        return replace(x, type=replace(x.type, quant=None)) if x.quant else x
    return emitter.add(Cast(dtype), x)
