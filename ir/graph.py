"""The graph: an immutable list of nodes in topological order.

Nodes refer to values by id, not by object, so that no algorithm needs recursion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.ir.op import Op
from ellc.ir.printable import lines_of
from ellc.ir.types import Array, TensorType
from ellc.ir.weights import WeightPool

LAYOUT_KEY = "model.layout"
"""Metadata key; the value is `NCHW` if inputs and outputs of rank 4 have that layout (ONNX)."""
LABELS_KEY = "labels"
"""Metadata key of the class names; the value has one name per line."""
WEIGHTS_KEY = "weights.stored"
"""Metadata key; the value is the coding (`codegen.blocks.narrow`) in which to store the weights of
layers that are bound by memory."""
SUMS_KEY = "kernels.sums"
"""Metadata key; the value says how kernels may add products (`codegen.planning.choice`): `exact` or
`no-winograd`."""
ARITHMETIC_KEY = "arithmetic"
"""Metadata key; the value `HALF` asks for half precision (`codegen.planning.halving`)."""
HALF = "f16"
INPUT_PREFIX = "model.input."
"""Prefix of ELL's metadata keys that say how pixels are converted to input numbers."""


def class_labels(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The class names in a model's metadata; empty if there are none."""
    return tuple(lines_of(metadata.get(LABELS_KEY, "")))


@dataclass(frozen=True, slots=True)
class Port:
    """A public input or output of the graph: its public name and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value whose array is in the pool under `key`."""

    value: str
    key: str


@dataclass(frozen=True, slots=True)
class State:
    """A value kept between calls: a call reads `current`, and `next` is `current` of the next call.

    `key` names the initial array in the pool, which a reset restores.
    """

    name: str
    current: str
    next: str
    key: str


@dataclass(frozen=True, slots=True)
class Node:
    """An operator applied to values. `source` names the layers of the model that it comes from."""

    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The only result."""
        (result,) = self.outputs
        return result


@dataclass(frozen=True)
class Graph:
    """A network. `types` holds the type of every value; graphs may share the pool `weights`.

    If a pass computed a constant in float64 and rounded it, `exact` holds the unrounded float64
    array. Later folding and float64 comparisons start from that array. No file stores `exact`.

    Two graphs are equal if all fields except `exact` and `weights` are equal; constants compare by
    hash.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: tuple[Constant, ...] = ()
    states: tuple[State, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    weights: WeightPool = field(default_factory=WeightPool, compare=False, repr=False)
    exact: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", MappingProxyType(dict(self.types)))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        object.__setattr__(self, "exact", MappingProxyType(dict(self.exact)))

    def __hash__(self) -> int:
        return hash((self.name, self.inputs, self.outputs, self.nodes, self.constants))

    def constant_arrays(self) -> dict[str, Array]:
        """The arrays of all constants, by value."""
        return {c.value: self.weights[c.key] for c in self.constants}

    def node_types(self, node: Node) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
        """(operand types, result types) of a node."""
        return (
            tuple(self.types[v] for v in node.inputs),
            tuple(self.types[v] for v in node.outputs),
        )

    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the public inputs in order."""
        return tuple(self.types[p.value] for p in self.inputs)

    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the public outputs in order."""
        return tuple(self.types[p.value] for p in self.outputs)

    def with_metadata(self, extra: Mapping[str, str]) -> Graph:
        """The same graph with these metadata entries added or replaced."""
        return replace(self, metadata={**self.metadata, **extra})
