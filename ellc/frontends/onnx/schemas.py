"""What the specification says of an operator: the package `onnx` carries it."""

from __future__ import annotations

from typing import Any

from ellc.frontends.onnx.model import OnnxNode

_NEWEST = 2**31 - 1
"""Versions are 64 bits wide in files, and 32 where `onnx` looks one up."""


def schema_of(node: OnnxNode) -> Any:
    """The newest specification that is no newer than the node's version; None if there is none."""
    import onnx

    try:
        return onnx.defs.get_schema(node.operator, min(node.version, _NEWEST), node.domain)
    except onnx.defs.SchemaError:
        return None


def default_value(node: OnnxNode, name: str) -> Any:
    """The value that an attribute of the node has if none is given; None where there is none.

    Lists are tuples, as in `OnnxNode.attributes`. Operators without a specification have none.
    """
    import onnx

    schema = schema_of(node)
    attribute = schema.attributes.get(name) if schema else None
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
    schema = schema_of(node)
    least_inputs = schema.min_input if schema else 1
    least_outputs = max(1, schema.min_output) if schema else 1
    return len(node.inputs) >= least_inputs and len(node.outputs) >= least_outputs
