"""Represents the contents of a TensorFlow Lite file as plain data."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ellc.frontends.graph_import.values import Unsupported
from ellc.ir.types import Array, DType, Quant

# The supported element types. A tensor of another type is an error only if a needed node uses it.
DTYPES: Mapping[str, DType] = MappingProxyType(
    {
        "FLOAT32": DType.F32,
        "FLOAT16": DType.F32,  # constants only; the reader converts them to float32 exactly
        "FLOAT64": DType.F64,
        "INT2": DType.I8,  # INT2, INT4 and UINT4: constants only; the reader unpacks them
        "INT4": DType.I8,
        "UINT4": DType.U8,
        "INT8": DType.I8,
        "UINT8": DType.U8,
        "INT16": DType.I16,
        "UINT16": DType.U16,
        "INT32": DType.I32,
        "UINT32": DType.U32,
        "INT64": DType.I64,
        "UINT64": DType.U64,
        "BOOL": DType.BOOL,
    }
)
PACKED: Mapping[str, int] = MappingProxyType({"INT2": 2, "INT4": 4, "UINT4": 4})
"""The element types with several numbers in each byte, and the number of bits of an element."""


UNKNOWN_KIND = "number"
"""The `kind` of an operator that is not in the schema is this word, a space and its number."""


class FusedActivation(enum.IntEnum):
    """The activation that an operator applies to its own result."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as declared in the file. `name` is unique among the tensors of a graph.

    `kind` is the schema's name of the element type. `open_axes` lists the axes whose extent the
    file leaves open. `array` is the value of a constant, and otherwise None.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    open_axes: tuple[int, ...] = ()
    quant: Quant | None = None
    array: Array | None = field(default=None, compare=False)
    is_variable: bool = False
    is_sparse: bool = False

    @property
    def dtype(self) -> DType:
        """The graph's element type; raises `Unsupported` if there is none."""
        if self.kind not in DTYPES:
            advice = ""
            if "COMPLEX" in self.kind:
                advice = "; only the magnitudes and parts of an RFFT2D are"
            raise Unsupported(
                f"'{self.name}' is of type {self.kind}, which is not supported{advice}"
            )
        return DTYPES[self.kind]


Option = int | float | bool | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of an operator by their names in the schema, with defaults filled in.

    An option that the operator does not have reads as 0, false, '' or an empty list.
    """

    values: Mapping[str, Option]

    def whole(self, name: str) -> int:
        """The option `name` as an integer."""
        return int(self._scalar(name))

    def number(self, name: str) -> float:
        """The option `name` as a float; raises `Unsupported` if it is not finite."""
        number = float(self._scalar(name))
        if not math.isfinite(number):
            raise Unsupported(f"its option {name} is {number}, which is not finite")
        return number

    def flag(self, name: str) -> bool:
        """The option `name` as a boolean."""
        return bool(self._scalar(name))

    def wholes(self, name: str) -> tuple[int, ...]:
        """The option `name` as a list of integers."""
        value = self.values.get(name)
        return value if isinstance(value, tuple) else ()

    def text(self, name: str) -> str:
        """The option `name` as a string."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def _scalar(self, name: str) -> int | float | bool:
        value = self.values.get(name, 0)
        return 0 if isinstance(value, tuple | str) else value

    @property
    def activation(self) -> FusedActivation:
        """The fused activation; raises `Unsupported` if it is unknown."""
        code = self.whole("FusedActivationFunction")
        try:
            return FusedActivation(code)
        except ValueError:
            raise Unsupported(f"fused activation {code} is unknown") from None


NO_OPTIONS = NodeOptions(MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """A graph that an operator runs.

    `assigns` is true if the graph, or a graph inside it, may change variables.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[TfliteNode, ...]
    assigns: bool = False


@dataclass(frozen=True, slots=True)
class TfliteNode:
    """One operator.

    An absent operand is None. `graphs` has the graphs that the operator runs. `intermediates`
    declares values inside the operator, mainly for their quantisation parameters. `custom` has the
    bytes of a custom operator's options; if they store a map, `options` has its entries.
    """

    label: str
    kind: str
    operands: tuple[Tensor | None, ...]
    results: tuple[Tensor, ...]
    options: NodeOptions = NO_OPTIONS
    graphs: tuple[TfliteGraph, ...] = ()
    intermediates: tuple[Tensor | None, ...] = ()
    version: int = 1
    custom: bytes = b""

    @property
    def written_kind(self) -> str:
        """The operator's name in the file, which is the same as `kind`."""
        return self.kind

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the operands; '' for an absent operand."""
        return tuple("" if t is None else t.name for t in self.operands)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the results."""
        return tuple(t.name for t in self.results)


@dataclass(frozen=True, slots=True)
class TflitePort:
    """A public input or output: its public name and its tensor."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """A graph of a file, the names of all signatures, and metadata about input pictures.

    `signature` is the name of the signature that was chosen or, without a choice, of the graph's
    only signature; None if it has none or several.
    """

    inputs: tuple[TflitePort, ...]
    outputs: tuple[TflitePort, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[TfliteNode, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    signatures: tuple[str, ...] = ()
    signature: str | None = None
