"""Random edits of a single node: other, missing or repeated operands, and unusual attributes.

The format can express all of these edits, so the parser accepts them and the importer sees them.
`edits.py` can make the same edits, but rarely does, since it chooses from all locations of a file.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edits import ODD_FLOATS, ODD_INTEGERS
from onnx import TensorProto, helper, numpy_helper
from tflite_files import KINDS

from ellc.ir.types import Array

_DTYPES = ("float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool")
_MOST_ELEMENTS = 4096
_TFLITE_DTYPES = {number: dtype for dtype, number in KINDS.items()}


def odd_array(shape: list[int], dtype: np.dtype[Any], rng: random.Random) -> Array:
    """An array of one or a few unusual numbers, most of them small."""
    if dtype.kind == "f":
        few: list[Any] = rng.choices(ODD_FLOATS, k=2)
    elif dtype.kind in "iu":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        few = [min(max(n, low), high) for n in rng.choices((*range(-3, 9), *ODD_INTEGERS), k=2)]
    else:
        few = [rng.random() < 0.5 for _ in range(2)]
    with np.errstate(all="ignore"):
        return np.resize(np.array(few).astype(dtype), shape)


def odd_shape(shape: list[int], rng: random.Random) -> list[int]:
    """A shape with another rank or another extent."""
    match rng.randrange(6):
        case 0:
            return []
        case 1:
            return [rng.choice((0, 1, 2, 3))]
        case 2:
            return shape[1:]
        case 3:
            return shape[:-1]
        case 4:
            return [*shape[: (at := rng.randrange(len(shape) + 1))], 1, *shape[at:]]
    at = rng.randrange(max(len(shape), 1))
    return [*shape[:at], rng.choice((0, 1, 2, 5)), *shape[at + 1 :]]


# ---- ONNX ---------------------------------------------------------------------------------------


def edit_onnx_node(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change an operand or an attribute of a node of the main graph."""
    graph = model.graph
    if not graph.node:
        return
    node = rng.choice(graph.node)
    if node.attribute and rng.random() < 0.3:
        _edit_attribute(node, rng)
    elif node.input and rng.random() < 0.2:
        _edit_names(node, rng)
    elif node.input:
        _edit_value(graph, rng.choice(node.input), rng)


def _edit_names(node: onnx.NodeProto, rng: random.Random) -> None:
    names = list(node.input)
    at = rng.randrange(len(names))
    match rng.randrange(4):
        case 0:
            names[at] = ""
        case 1:
            names = names[:at]
        case 2:
            names[at] = rng.choice(names)
        case 3:
            names.append(names[at])
    del node.input[:]
    node.input.extend(names)


def _edit_value(graph: onnx.GraphProto, name: str, rng: random.Random) -> None:
    """Give an input or constant another shape or type, or replace it by unusual constants."""
    kept = [i for i in graph.initializer if i.name == name]
    ports = [p for p in graph.input if p.name == name and p.type.HasField("tensor_type")]
    if not kept and not ports:
        return
    if kept:
        shape, dtype = list(kept[0].dims), helper.tensor_dtype_to_np_dtype(kept[0].data_type)
    else:
        said = ports[0].type.tensor_type
        shape = [d.dim_value for d in said.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(said.elem_type)
    shape = odd_shape(shape, rng) if rng.random() < 0.6 else shape
    dtype = np.dtype(rng.choice(_DTYPES)) if rng.random() < 0.3 else dtype
    if dtype.kind not in "fiub":
        return
    if kept or (rng.random() < 0.5 and np.prod(shape) <= _MOST_ELEMENTS):
        keeps = kept and rng.random() < 0.4
        old = numpy_helper.to_array(kept[0]) if keeps else odd_array(shape, dtype, rng)
        array = np.resize(old, shape).astype(dtype)
        for stored in kept:
            graph.initializer.remove(stored)
        graph.initializer.append(numpy_helper.from_array(array, name))
        for port in ports:
            graph.input.remove(port)
    else:
        type_ = helper.np_dtype_to_tensor_dtype(dtype)
        ports[0].CopyFrom(helper.make_tensor_value_info(name, type_, shape))


def _edit_attribute(node: onnx.NodeProto, rng: random.Random) -> None:
    attribute = rng.choice(node.attribute)
    name, value = attribute.name, helper.get_attribute_value(attribute)
    if rng.random() < 0.15:
        node.attribute.remove(attribute)
        return
    match value:
        case int():
            value = rng.choice(ODD_INTEGERS)
        case float():
            value = rng.choice(ODD_FLOATS)
        case bytes():
            value = rng.choice((b"", b"x", value[:-1]))
        case list() if value and isinstance(value[0], int | float):
            odd = rng.choice(ODD_INTEGERS if isinstance(value[0], int) else ODD_FLOATS)
            at = rng.randrange(len(value))
            value = rng.choice((value[:at], [*value, odd], [*value[:at], odd, *value[at + 1 :]]))
        case onnx.TensorProto() if value.data_type != TensorProto.STRING:
            old = numpy_helper.to_array(value)
            value = numpy_helper.from_array(
                odd_array(odd_shape(list(old.shape), rng), old.dtype, rng)
            )
    if value != []:
        node.attribute.remove(attribute)
        node.attribute.append(helper.make_attribute(name, value))


# ---- TFLite -------------------------------------------------------------------------------------


def edit_tflite_operator(model: Any, rng: random.Random) -> None:
    """Change an operand or an option of an operator of any graph."""
    graphs = [g for g in model.subgraphs or () if g.operators and g.tensors]
    if not graphs:
        return
    graph = rng.choice(graphs)
    operator = rng.choice(graph.operators)
    inputs = [] if operator.inputs is None else [int(i) for i in operator.inputs]
    options = vars(operator.builtinOptions) if operator.builtinOptions else {}
    if options and rng.random() < 0.3:
        _edit_option(options, rng)
    elif inputs and rng.random() < 0.2:
        at = rng.randrange(len(inputs))
        changed = ([-1], [], [rng.choice(inputs)], [inputs[at]] * 2)
        operator.inputs = inputs[:at] + rng.choice(changed) + inputs[at + 1 :]
    elif inputs and (index := rng.choice(inputs)) >= 0:
        _edit_tensor(model, graph.tensors[index], rng)


def _edit_option(options: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice(sorted(options))
    match options[name]:
        case bool():
            options[name] = not options[name]
        case int():
            options[name] = rng.choice(ODD_INTEGERS)
        case float():
            options[name] = rng.choice(ODD_FLOATS)
        case list() | np.ndarray():
            few = [int(n) for n in options[name]]
            at = rng.randrange(len(few) + 1)
            odd = rng.choice(ODD_INTEGERS[:20])
            options[name] = rng.choice((few[:at], [*few, odd], [*few[:at], odd, *few[at + 1 :]]))


def _edit_tensor(model: Any, tensor: Any, rng: random.Random) -> None:
    shape = [] if tensor.shape is None else [int(e) for e in tensor.shape]
    dtype = _TFLITE_DTYPES.get(tensor.type)
    if dtype is None or dtype.kind not in "fiub":
        return
    buffer = model.buffers[tensor.buffer] if 0 <= tensor.buffer < len(model.buffers) else None
    data = None if buffer is None or buffer.data is None else bytes(buffer.data)
    shape = odd_shape(shape, rng) if rng.random() < 0.6 else shape
    if np.prod(shape) > _MOST_ELEMENTS:
        return
    wanted = np.dtype(rng.choice(_DTYPES)) if rng.random() < 0.3 else dtype
    tensor.shape, tensor.shapeSignature, tensor.type = shape, None, KINDS[wanted]
    if data or rng.random() < 0.4:
        keeps = data and len(data) % dtype.itemsize == 0 and rng.random() < 0.4
        old = np.frombuffer(data, dtype) if keeps else odd_array(shape, wanted, rng)
        with np.errstate(all="ignore"):
            array = np.resize(old, shape).astype(wanted)
        tensor.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.frombuffer(array.tobytes(), np.uint8)
