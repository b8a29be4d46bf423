"""Classes for an ONNX model without protobuf, with checked access to attributes."""

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
    """An attribute in a function; the attribute `name` of the calling node has its value."""

    name: str


@dataclass(frozen=True, slots=True)
class UnreadableAttribute:
    """An attribute of a type that no handler reads; `kind` is the name of the type."""

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
    """Typed access to the attributes of a node. `asked` collects the names a handler asked for.

    Every method that returns the value of an attribute raises `Unsupported` if the attribute has
    another type, or if it is missing and has no default.
    """

    __slots__ = ()
    attributes: Mapping[str, Attribute]
    asked: set[str]

    def has(self, name: str) -> bool:
        """Whether the node has an attribute; this counts as asking for it."""
        self.asked.add(name)
        return name in self.attributes

    def ignore(self, *names: str) -> None:
        """Count attributes as asked for, because they do not change the result."""
        self.asked.update(names)

    def unasked(self) -> list[str]:
        """The names of the attributes that no handler asked for; they may change the result."""
        return sorted(set(self.attributes) - self.asked)

    def integer(self, name: str, default: int | None = None) -> int:
        """The attribute `name` as an integer."""
        value = self._get(name, default)
        if not isinstance(value, int):
            raise self._bad(name, "an integer")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """The integer attribute `name` as a boolean: whether it is not 0."""
        return self.integer(name, int(default)) != 0

    def number(self, name: str, default: float | None = None) -> float:
        """The attribute `name`, an integer or a float, as a float."""
        value = self._get(name, default)
        if not isinstance(value, int | float):
            raise self._bad(name, "a number")
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        """The attribute `name` as a string."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._bad(name, "a string")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The attribute `name` as a tuple of integers."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "a list of integers")
        numbers = tuple(v for v in value if isinstance(v, int))
        if len(numbers) != len(value):
            raise self._bad(name, "a list of integers")
        return numbers

    def numbers(self, name: str, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """The attribute `name`, a tuple of integers or floats, as floats."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "a list of numbers")
        numbers = tuple(float(v) for v in value if isinstance(v, int | float))
        if len(numbers) != len(value):
            raise self._bad(name, "a list of numbers")
        return numbers

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """The attribute `name` as a tuple of strings."""
        value = self._get(name, default)
        if not isinstance(value, tuple):
            raise self._bad(name, "a list of strings")
        texts = tuple(v for v in value if isinstance(v, str))
        if len(texts) != len(value):
            raise self._bad(name, "a list of strings")
        return texts

    def tensor(self, name: str) -> StoredTensor:
        """The attribute `name` as a stored tensor."""
        value = self._get(name, None)
        if not isinstance(value, StoredTensor):
            raise self._bad(name, "a tensor")
        return value

    def graph(self, name: str) -> OnnxGraph:
        """The attribute `name` as a graph inside the node, such as the body of a loop."""
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
    """One node of the file.

    `version` is the version of its domain's operator set. `captured` are the outer values that
    graphs inside the node read; they are also the last names in `inputs`. If the node replaces a
    group of nodes (`qdq.py`), `joined` is the operator between the conversions of the group.
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
        """The name of the operator in the file; `kind` differs if a group of nodes was joined."""
        return self.joined or self.kind

    @property
    def kind(self) -> str:
        """The operator's name; a domain other than ONNX's own is its prefix."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """A graph input with its shape, and with ONNX's number for its element type.

    A dimension is a number, a symbol, or None if the file does not give it. `shape` is None if not
    even the rank is known.
    """

    name: str
    element_type: int
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """A graph with its inputs, the names of its outputs, its nodes and its stored tensors."""

    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFunction:
    """A function that the model defines, with the formal names of its operands and results.

    `attributes` maps the formal attributes to their defaults, or to None if there is no default.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    attributes: Mapping[str, Attribute | None]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A whole file: the main graph, and the functions by (domain, name, overload)."""

    name: str
    graph: OnnxGraph
    functions: Mapping[tuple[str, str, str], OnnxFunction]
    metadata: Mapping[str, str]
