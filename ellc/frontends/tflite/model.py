"""What a TensorFlow Lite file holds, as plain data."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ellc.frontends.graph_import.values import Unsupported
from ellc.ir.types import Array, DType, Quant

# Element types that tensors may have; others are refused where a node that is needed has one.
DTYPES: Mapping[str, DType] = MappingProxyType(
    {
        "FLOAT32": DType.F32,
        "FLOAT16": DType.F32,  # constants only: widened when read, which is exact
        "FLOAT64": DType.F64,
        "INT2": DType.I8,  # those of fewer bits: constants only, unpacked when read
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
"""Bits of a number, of the types that have several in a byte."""


UNKNOWN_KIND = "number"
"""What the kind of an operator begins with that came after the schema; its number follows."""


class Activation(enum.IntEnum):
    """Functions that an operator applies to its own result."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the file declares it. `name` is unique among the tensors of a graph.

    `open_axes` are those whose extent the file leaves to the caller; `array` holds a constant.
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
        """The element type; raises `Unsupported` for one that has no counterpart."""
        if self.kind not in DTYPES:
            hint = "; magnitudes and parts of a RFFT2D are" if "COMPLEX" in self.kind else ""
            raise Unsupported(f"'{self.name}' holds {self.kind}, which is not supported{hint}")
        return DTYPES[self.kind]


Option = int | float | bool | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an operator by the schema's names, defaults filled in.

    What the operator's table does not know is 0, false or an empty list.
    """

    values: Mapping[str, Option]

    def whole(self, name: str) -> int:
        """A whole number."""
        return int(self._scalar(name))

    def number(self, name: str) -> float:
        """A floating-point number; raises `Unsupported` for one that is not finite."""
        number = float(self._scalar(name))
        if not math.isfinite(number):
            raise Unsupported(f"its option {name} is {number}, which is not finite")
        return number

    def flag(self, name: str) -> bool:
        """A truth value."""
        return bool(self._scalar(name))

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self.values.get(name)
        return value if isinstance(value, tuple) else ()

    def text(self, name: str) -> str:
        """A text."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def _scalar(self, name: str) -> int | float | bool:
        value = self.values.get(name, 0)
        return 0 if isinstance(value, tuple | str) else value

    @property
    def activation(self) -> Activation:
        """The fused activation; raises `Unsupported` for an unknown one."""
        code = self.whole("FusedActivationFunction")
        try:
            return Activation(code)
        except ValueError:
            raise Unsupported(f"fused activation {code} is unknown") from None


NO_OPTIONS = Options(MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """A graph that an operator runs. `assigns`: it, or one inside, may set variables."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[TfliteNode, ...]
    assigns: bool = False


@dataclass(frozen=True, slots=True)
class TfliteNode:
    """One operator. An operand that is left out is None. `graphs` are those that it runs.

    `intermediates` say how values that only the operator itself sees are stored, `custom` are the
    bytes of a custom operator's options, which `options` holds, too, if they are a map.
    """

    label: str
    kind: str
    operands: tuple[Tensor | None, ...]
    results: tuple[Tensor, ...]
    options: Options = NO_OPTIONS
    graphs: tuple[TfliteGraph, ...] = ()
    intermediates: tuple[Tensor | None, ...] = ()
    version: int = 1
    custom: bytes = b""

    @property
    def written_kind(self) -> str:
        """The operator as the file has it."""
        return self.kind

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of operands; '' where one is left out."""
        return tuple("" if t is None else t.name for t in self.operands)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of results."""
        return tuple(t.name for t in self.results)


@dataclass(frozen=True, slots=True)
class Interface:
    """A public input or output: the name a caller uses for a tensor."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """The chosen graph of a file, the names of all its entrances, and what is said of pictures."""

    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[TfliteNode, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    signatures: tuple[str, ...] = ()
    signature: str | None = None
