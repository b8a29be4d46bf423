"""A model as plain values: what the importer works on, free of protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ellc.frontends.onnx.attributes import Attribute, Attributes
from ellc.frontends.onnx.tensors import StoredTensor

STANDARD_DOMAIN = ""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNode(Attributes):
    """One node: an operator of one version of its domain, names of operands and results.

    `inputs` ends with `captured`: the names that subgraphs of the node read from around it.
    `joined` is the file's operator in the middle of a group that was joined to this node.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = STANDARD_DOMAIN
    version: int = 0
    name: str = ""
    overload: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    captured: tuple[str, ...] = ()
    joined: str = ""
    asked: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        """The node's name, or its first output if it has none."""
        return self.name or next((n for n in self.outputs if n), "")

    @property
    def said(self) -> str:
        """The operator as the file has it."""
        return self.joined or self.kind

    @property
    def kind(self) -> str:
        """The operator, behind its domain if that is not ONNX's own."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """A graph input: its element type (ONNX's number) and shape.

    A dimension is a number, a symbol, or None where the file says nothing; `shape` is None if even
    the rank is unknown.
    """

    name: str
    element_type: int
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """Nodes between named inputs and outputs; `constants` are the stored tensors by name."""

    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFunction:
    """A function that the model defines: nodes between formal names.

    `attributes` are the formal attributes, with their defaults where there are any.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    attributes: Mapping[str, Attribute | None]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A whole file: the main graph and the functions, by (domain, name, overload)."""

    name: str
    graph: OnnxGraph
    functions: Mapping[tuple[str, str, str], OnnxFunction]
    metadata: Mapping[str, str]
