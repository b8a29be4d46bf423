"""Kernels that measurements name for layers, and the keys of these layers.

Measurements of a layer apply to all layers with its key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.ir.text import print_op, print_type
from ellc.ir.types import TensorType

SHIPPED_MOST = 2.0
"""A kernel of ellc's own file is ignored if it is predicted to take more than this many times the
cycles of the cheapest candidate. Predictions are rarely off by so much. But kernels change: perhaps
the scheduler has declined this one since it was measured."""


@dataclass(frozen=True, slots=True)
class TunedKernel:
    """A candidate that a tuning file names for a layer; without a `name`, there is none.

    It is ignored if it is predicted to take more than `most` times the cycles of the cheapest.
    """

    name: str = ""
    most: float = math.inf


NOT_TUNED = TunedKernel()


@dataclass(frozen=True, slots=True)
class TunedKernels:
    """The fastest kernels by layer (`layer_key`): of the user's tuning file, and of ellc's own.

    The user's come first, and the user is told about those that cannot be used.
    """

    asked: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shipped: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, layer: str) -> TunedKernel:
        """The kernel of a layer, or `NOT_TUNED`."""
        if layer in self.asked:
            return TunedKernel(self.asked[layer])
        return (
            TunedKernel(self.shipped[layer], SHIPPED_MOST) if layer in self.shipped else NOT_TUNED
        )


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
