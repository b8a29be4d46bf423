"""Imports operators that the ONNX specification defines by other operators.

The package `onnx` contains the definitions, and the handler `defined` imports the nodes of which a
definition consists. Some definitions depend on attributes and operand types. Many operators that
have a definition also have a handler of their own, which is used instead.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.functions import without_calls
from ellc.frontends.onnx.inner import import_inner
from ellc.frontends.onnx.model import OnnxFunction, OnnxGraph, OnnxModel, OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.parse import read_definition
from ellc.frontends.onnx.registry import ONNX, Declined, operand
from ellc.frontends.onnx.schemas import schema_of
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.types import DType

if TYPE_CHECKING:
    from onnx import NodeProto, TypeProto

_LIMITS = "as its definition in the specification"
_MIXED = "queries and values of different element types"
_DEFINED = (
    "AffineGrid",
    "CausalConvWithState",
    "CenterCropPad",
    "LinearAttention",
    "NegativeLogLikelihoodLoss",
    "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss",
    "SwiGLU",
)


@ONNX.imports("Attention", limits=_LIMITS, declines=(Declined("type", "T1 other than T2", _MIXED),))
@ONNX.imports(*_DEFINED, limits=_LIMITS)
def defined(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The results of the operators by which the specification defines the node."""
    inputs = _as_defined(emitter, node, inputs)
    function = _definition(node, inputs)
    node.ignore(*node.attributes)
    outputs = tuple(name for name in node.outputs if name)
    key = (node.domain, node.operator, node.overload)
    alone = OnnxGraph((), outputs, (node,), MappingProxyType({}))
    model = OnnxModel("", alone, MappingProxyType({key: function}), MappingProxyType({}))
    inlined = without_calls(model, DEFAULT_LIMITS.graph_nodes, node.label)
    captured = {n: v for n, v in zip(node.inputs, inputs, strict=True) if v is not None}
    results = dict(zip(outputs, import_inner(emitter, inlined, captured, node.label), strict=True))
    return [results.get(name, results[outputs[0]]) for name in node.outputs]


def _as_defined(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Inputs:
    """Convert or refuse operands if the definition would combine operands of different types."""
    match node.operator:
        case "CenterCropPad":
            return [operand(inputs, 0), to_dtype(emitter, operand(inputs, 1), DType.I64)]
        case "Attention" if len({v.dtype for v in inputs[:3] if v is not None}) > 1:
            raise Unsupported(_MIXED)
    return inputs


def _definition(node: OnnxNode, inputs: Inputs) -> OnnxFunction:
    """The definition for this node's version, attributes and operand types."""
    schema = schema_of(node)
    if schema is None:
        raise Unsupported(f"version {node.version} of the operator set does not have the operator")
    proto = _node_proto(node, schema)
    defaults = [
        attribute.default_value
        for name, attribute in schema.attributes.items()
        if name not in node.attributes and attribute.default_value.name
    ]
    proto.attribute.extend(defaults)
    data = _plain_definition(schema, node.version) or _definition_for(schema, node, inputs, proto)
    if not data:
        raise Unsupported(
            f"the specification does not define version {node.version} of the operator by others"
        )
    return read_definition(data, defaults, {node.domain: node.version}, node.label)


def _plain_definition(schema: Any, version: int) -> bytes:
    versions = [v for v in schema.function_opset_versions if v <= version]
    if not versions:
        return b""
    data: bytes = schema.get_function_with_opset_version(max(versions))
    return data


def _definition_for(schema: Any, node: OnnxNode, inputs: Inputs, proto: NodeProto) -> bytes:
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= node.version]
    if not versions:
        return b""
    types = [_type_proto(v).SerializeToString() for v in inputs]
    data: bytes = schema.get_context_dependent_function_with_opset_version(
        max(versions), proto.SerializeToString(), types
    )
    return data


def _node_proto(node: OnnxNode, schema: Any) -> NodeProto:
    """Convert a node to protobuf; the specification determines the types of its attributes."""
    from onnx import AttributeProto, helper

    kinds: dict[str, Callable[[str], Any]] = {
        "INT": node.integer,
        "FLOAT": node.number,
        "STRING": node.text,
        "INTS": node.integers,
        "FLOATS": node.numbers,
        "STRINGS": node.texts,
    }
    proto = helper.make_node(
        node.operator, list(node.inputs), list(node.outputs), domain=node.domain
    )
    for name in node.attributes:
        formal = schema.attributes.get(name)
        read = kinds.get(AttributeProto.AttributeType.Name(int(formal.type))) if formal else None
        if read is None:
            raise Unsupported(f"its attribute '{name}' is not a plain value of the specification")
        value = read(name)
        given = list(value) if isinstance(value, tuple) else value
        proto.attribute.append(helper.make_attribute(name, given, attr_type=int(formal.type)))
    return proto


def _type_proto(value: Value | None) -> TypeProto:
    from onnx import TypeProto, helper

    if value is None:
        return TypeProto()
    element = helper.np_dtype_to_tensor_dtype(value.dtype.numpy)
    return helper.make_tensor_type_proto(element, value.shape)
