"""Looks up the specification of an operator in the package `onnx`."""

from __future__ import annotations

from typing import Any

from ellc.frontends.onnx.model import OnnxNode

_NEWEST = 2**31 - 1
"""The largest version that `onnx` can look up (32 bits). A file stores versions in 64 bits."""


def schema_of(node: OnnxNode) -> Any:
    """The specification that applies to the node's version; None if there is none."""
    import onnx

    try:
        return onnx.defs.get_schema(node.operator, min(node.version, _NEWEST), node.domain)
    except onnx.defs.SchemaError:
        return None


def default_value(node: OnnxNode, name: str) -> Any:
    """The default of a node's attribute; None without a default or a specification.

    A list is returned as a tuple, as in `OnnxNode.attributes`.
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
    """Whether a node has at least the operands and results that its operator requires.

    An operator without a specification must have at least one operand and one result.
    """
    schema = schema_of(node)
    least_inputs = schema.min_input if schema else 1
    least_outputs = max(1, schema.min_output) if schema else 1
    return len(node.inputs) >= least_inputs and len(node.outputs) >= least_outputs
