"""Kernels that measurements name for layers, and the keys of these layers.

Measurements of a layer apply to all layers with its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.ir.text import print_op, print_type
from ellc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class TunedKernels:
    """The fastest kernels by layer (`layer_key`): of the user's tuning file, and of ellc's own.

    The user's come first, and the user is told about those that cannot be used.
    """

    asked: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shipped: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, layer: str) -> str:
        """The kernel of a layer, or an empty string."""
        return self.asked.get(layer) or self.shipped.get(layer, "")


NO_TUNING = TunedKernels()


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
