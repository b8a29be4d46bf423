"""The graph: frozen and topologically ordered.

Nodes refer to values by id, not by object, so that no algorithm needs recursion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ellc.ir.op import Op
from ellc.ir.types import Array, TensorType
from ellc.ir.weights import WeightPool

LAYOUT_KEY = "model.layout"
"""Metadata key: `NCHW` if inputs and outputs of rank 4 have that layout, as in ONNX files."""
LABELS_KEY = "labels"
"""Metadata key of the class names; the value has one name per line."""
INPUT_PREFIX = "model.input."
"""Prefix of the metadata keys that say how pixels become input numbers, as ELL wrote them."""


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
    """A value carried between calls: `current` is read, `next` becomes `current` afterwards.

    `key` names the initial array in the pool; reset restores it.
    """

    name: str
    current: str
    next: str
    key: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operator applied to values. `source` names the layers of the model it came from."""

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
    """A network. `types` holds the type of every value; `weights` may be shared with others.

    `exact` maps constants that a pass computed and then rounded to their float64 arrays before
    rounding, so that later folding and float64 comparisons start from unrounded numbers. It is in
    memory only: no file stores it. Two graphs are equal if all fields except `exact` and `weights`
    are; constants compare by hash.
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
        """Every constant value's array."""
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
        """The same graph with metadata added or replaced."""
        return replace(self, metadata={**self.metadata, **extra})
