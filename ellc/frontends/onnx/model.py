"""A model as plain values, free of protobuf, and checked access to its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias, Union

from ellc.frontends.graph_import.values import Unsupported
from ellc.frontends.onnx.tensors import StoredTensor

STANDARD_DOMAIN = ""


@dataclass(frozen=True, slots=True)
class AttributeReference:
    """Inside a function: the attribute of the calling node whose value is to be used here."""

    name: str


@dataclass(frozen=True, slots=True)
class UnreadableAttribute:
    """An attribute of a kind that no importer reads; `kind` says which."""

    kind: str


Attribute: TypeAlias = Union[
    int,
    float,
    str,
    tuple[int, ...],
    tuple[float, ...],
    tuple[str, ...],
    StoredTensor,
    "OnnxGraph",
    AttributeReference,
    UnreadableAttribute,
]


class Attributes:
    """Typed reading of `attributes`; `asked` remembers which were read.

    Every reader raises `Unsupported` for an attribute of another type, and for a missing one that
    has no default.
    """

    __slots__ = ()
    attributes: Mapping[str, Attribute]
    asked: set[str]

    def has(self, name: str) -> bool:
        """Whether the node has an attribute; asking counts as reading."""
        self.asked.add(name)
        return name in self.attributes

    def ignore(self, *names: str) -> None:
        """These attributes change nothing here."""
        self.asked.update(names)

    def unasked(self) -> list[str]:
        """Attributes that no handler has read: the node may mean more than its handler knows."""
        return sorted(set(self.attributes) - self.asked)

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        value = self._get(name, default)
        if not isinstance(value, int):
            raise self._bad(name, "a whole number")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A whole number that stands for yes or no."""
        return self.integer(name, int(default)) != 0

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        value = self._get(name, default)
        if not isinstance(value, int | float):
            raise self._bad(name, "a number")
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._bad(name, "a string")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Whole numbers."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "whole numbers")
        whole = tuple(v for v in value if isinstance(v, int))
        if len(whole) != len(value):
            raise self._bad(name, "whole numbers")
        return whole

    def numbers(self, name: str, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """Numbers."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "numbers")
        numbers = tuple(float(v) for v in value if isinstance(v, int | float))
        if len(numbers) != len(value):
            raise self._bad(name, "numbers")
        return numbers

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Strings."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "strings")
        texts = tuple(v for v in value if isinstance(v, str))
        if len(texts) != len(value):
            raise self._bad(name, "strings")
        return texts

    def tensor(self, name: str) -> StoredTensor:
        """A stored tensor."""
        value = self._get(name, None)
        if not isinstance(value, StoredTensor):
            raise self._bad(name, "a tensor")
        return value

    def graph(self, name: str) -> OnnxGraph:
        """A graph inside the node."""
        value = self._get(name, None)
        if not isinstance(value, OnnxGraph):
            raise self._bad(name, "a graph")
        return value

    def _get(self, name: str, default: Attribute | None) -> Attribute:
        self.asked.add(name)
        value = self.attributes.get(name, default)
        if value is None:
            raise Unsupported(f"its attribute '{name}' is missing")
        return value

    def _bad(self, name: str, expected: str) -> Unsupported:
        return Unsupported(f"its attribute '{name}' is not {expected}")


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
    def written_kind(self) -> str:
        """The operator as the file has it."""
        return self.joined or self.kind

    @property
    def kind(self) -> str:
        """The operator, with its domain before it if that is not ONNX's own."""
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
