"""The keys of layers in tuning files. Measurements of a layer apply to all layers with its key."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.ir.text import print_op, print_type
from ellc.ir.types import TensorType


def layer_key(node: PlacedNode) -> str:
    """The operator with its attributes, the types of operands and result, and the stages, as text.

    An example is `conv2d{..}(f32[1,8,8,16], const f32[32,3,3,16]) relu -> f32[1,6,6,32]`. Scales
    and zero points are left out, because the speed of a kernel does not depend on them.
    """
    operands = ", ".join(
        ("const " if x.array is not None else "") + _type(x.type) for x in node.inputs
    )
    stages = "".join(f" {stage.op.name}" for stage in node.stages)
    return f"{print_op(node.anchor)}({operands}){stages} -> {_type(node.result.type)}"


def _type(type_: TensorType) -> str:
    return print_type(replace(type_, quant=None))
