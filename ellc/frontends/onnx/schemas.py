"""What the specification says of an operator: the package `onnx` carries it."""

from __future__ import annotations

from typing import Any

from ellc.frontends.onnx.model import OnnxNode


def default_value(node: OnnxNode, name: str) -> Any:
    """The value that an attribute of the node has if nobody gives one; None where there is none.

    Lists are tuples, as in `OnnxNode.attributes`. Operators without a specification have none.
    """
    import onnx

    try:
        schema = onnx.defs.get_schema(node.operator, node.version, node.domain)
    except onnx.defs.SchemaError:
        return None
    attribute = schema.attributes.get(name)
    if attribute is None or not attribute.default_value.name:
        return None
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(value) if isinstance(value, list) else value


def has_operands(node: OnnxNode) -> bool:
    """Whether a node has the operands and results that its operator cannot do without.

    Of operators without a specification one each is wanted.
    """
    import onnx

    try:
        schema = onnx.defs.get_schema(node.operator, node.version, node.domain)
    except onnx.defs.SchemaError:
        least_inputs, least_outputs = 1, 1
    else:
        least_inputs, least_outputs = schema.min_input, max(1, schema.min_output)
    return len(node.inputs) >= least_inputs and len(node.outputs) >= least_outputs
