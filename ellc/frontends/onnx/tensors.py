"""Lists ONNX's element types, and reads tensors stored in the model file or in files beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ellc.frontends.graph_import.packed import packed_bytes, unpacked
from ellc.frontends.graph_import.values import Unsupported
from ellc.frontends.onnx.external import ExternalFiles
from ellc.ir.errors import EllcError
from ellc.ir.limits import MOST_AXES, Limits
from ellc.ir.types import Array, DType

MAX_RANK = MOST_AXES
_EXTERNAL = 1  # the value of TensorProto.DataLocation for data in another file
_UINT8 = 2


@dataclass(frozen=True, slots=True)
class ElementType:
    """One of ONNX's element types.

    `stored` is the numpy type of an element in `raw_data`. `field` is the name of the list
    field that may hold the elements instead. `dtype` is the graph's element type, which is float32
    for half precision.
    """

    name: str
    stored: np.dtype[Any]
    field: str
    dtype: DType


def _element(name: str, stored: str, field: str, dtype: DType) -> ElementType:
    return ElementType(name, np.dtype(stored), field, dtype)


ELEMENT_TYPES: dict[int, ElementType] = {
    1: _element("float", "<f4", "float_data", DType.F32),
    2: _element("uint8", "u1", "int32_data", DType.U8),
    3: _element("int8", "i1", "int32_data", DType.I8),
    4: _element("uint16", "<u2", "int32_data", DType.U16),
    5: _element("int16", "<i2", "int32_data", DType.I16),
    6: _element("int32", "<i4", "int32_data", DType.I32),
    7: _element("int64", "<i8", "int64_data", DType.I64),
    9: _element("bool", "?", "int32_data", DType.BOOL),
    10: _element("float16", "<f2", "int32_data", DType.F32),
    11: _element("double", "<f8", "double_data", DType.F64),
    12: _element("uint32", "<u4", "uint64_data", DType.U32),
    13: _element("uint64", "<u8", "uint64_data", DType.U64),
    16: _element("bfloat16", "<u2", "int32_data", DType.F32),
}


@dataclass(frozen=True, slots=True)
class NarrowType:
    """A type of 4 or 2 bits. `dtype` is the 8-bit type to which a number is unpacked."""

    name: str
    bits: int
    dtype: DType

    @property
    def low(self) -> int:
        """The smallest number."""
        return -(1 << (self.bits - 1)) if self.dtype is DType.I8 else 0

    @property
    def high(self) -> int:
        """The largest number."""
        return self.low + (1 << self.bits) - 1


NARROW_TYPES: dict[int, NarrowType] = {
    21: NarrowType("uint4", 4, DType.U8),
    22: NarrowType("int4", 4, DType.I8),
    25: NarrowType("uint2", 2, DType.U8),
    26: NarrowType("int2", 2, DType.I8),
}
HALF_TYPES = ("float16", "bfloat16")
HALF_NOTE = (
    "the model's half precision is computed in float32: results differ by the rounding that it "
    "leaves out, and inputs and outputs that the file has in half precision are float32"
)
UNREAD = {
    8: "string",
    14: "complex64",
    15: "complex128",
    17: "float8",
    18: "float8",
    19: "float8",
    20: "float8",
    23: "float4",
    24: "float8",
}


def element_name(number: int) -> str:
    """ONNX's name of an element type."""
    known = ELEMENT_TYPES.get(number) or NARROW_TYPES.get(number)
    return known.name if known else UNREAD.get(number, f"element type {number}")


def is_half(number: int) -> bool:
    """Whether an element type is float16 or bfloat16, which are computed in float32."""
    return number in ELEMENT_TYPES and ELEMENT_TYPES[number].name in HALF_TYPES


def dtype_of(number: int) -> DType:
    """Convert ONNX's number of an element type to the graph's type.

    Raises `Unsupported` if the graph does not have the type.
    """
    known = ELEMENT_TYPES.get(number)
    if known is None:
        narrow = NARROW_TYPES.get(number)
        advice = f"; {narrow.dtype.numpy.name} holds the same numbers" if narrow else ""
        raise Unsupported(f"values of type {element_name(number)} are not supported{advice}")
    return known.dtype


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor of the file; its elements are read on the first call of `array`.

    `files` reads the files beside the model. Half precision is converted to float32, which is
    exact. Numbers of fewer than 8 bits are converted to bytes.
    """

    proto: Any
    files: ExternalFiles
    limits: Limits
    sparse: bool = False
    cached: list[Array] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The tensor's name in the file."""
        return str(self.proto.name)

    @property
    def element_type(self) -> int:
        """ONNX's number for the stored element type."""
        return int(self.proto.data_type)

    @property
    def elements(self) -> int:
        """The number of elements that the shape declares."""
        return prod(int(d) for d in self.proto.dims)

    def array(self) -> Array:
        """The elements, in the shape of the tensor.

        Later calls, for example from the body of a loop, return the same array. Raises `EllcError`
        E210 if the tensor is damaged, `EllcError` E203 if it exceeds the limits, and `Unsupported`
        if its element type is not supported.
        """
        if not self.cached:
            self.cached.append(self._array())
        return self.cached[0]

    def _array(self) -> Array:
        if self.sparse:
            raise Unsupported(f"'{self.name}' is stored sparse; store it dense")
        kind = ELEMENT_TYPES.get(self.element_type)
        narrow = NARROW_TYPES.get(self.element_type)
        if kind is None and narrow is None:
            raise Unsupported(f"'{self.name}' is of type {element_name(self.element_type)}")
        shape = tuple(int(d) for d in self.proto.dims)
        if len(shape) > MAX_RANK:
            raise self._damaged(f"has {len(shape)} dimensions, at most {MAX_RANK} are read")
        count = self.limits.product(shape, where=self.name)
        if narrow is not None:
            return self._unpacked(narrow, count).reshape(shape)
        assert kind is not None
        array = self._flat(kind, count)
        if kind.name == "bfloat16":
            array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif kind.name == "float16":
            array = array.astype(np.float32)
        native: Array = array.reshape(shape).astype(array.dtype.newbyteorder("="), copy=False)
        return native

    def _flat(self, kind: ElementType, count: int) -> Array:
        """The `count` elements as a flat array of the stored type."""
        raw = self._raw(count * kind.stored.itemsize, f"{count} x {kind.name}")
        if raw is None:
            return self._listed(kind, count)
        if kind.name == "bool" and (highest := np.frombuffer(raw, np.uint8).max(initial=0)) > 1:
            raise self._damaged(f"has boolean elements, but one of its bytes is {highest}")
        return np.frombuffer(raw, kind.stored)

    def _unpacked(self, kind: NarrowType, count: int) -> Array:
        """The `count` elements of a narrow type, one in each byte.

        A tensor without raw bytes stores a list of integers, each of which holds one packed byte.
        """
        size = packed_bytes(count, kind.bits)
        raw = self._raw(size, f"{count} x {kind.name}")
        if raw is None:
            content = self._listed(ELEMENT_TYPES[_UINT8], size)
        else:
            content = np.frombuffer(raw, np.uint8)
        return unpacked(content, kind.bits, count, signed=kind.dtype is DType.I8)

    def _raw(self, size: int, what: str) -> bytes | None:
        """The bytes of the elements; None if the tensor stores a list instead."""
        if self.proto.data_location == _EXTERNAL:
            entries = {str(e.key): str(e.value) for e in self.proto.external_data}
            raw: bytes = self.files.read(entries, size, self.name)
        elif self.proto.HasField("raw_data"):
            raw = self.proto.raw_data
        else:
            return None
        if len(raw) != size:
            raise self._damaged(f"has {len(raw)} bytes, but {what} need {size}")
        return raw

    def _listed(self, kind: ElementType, count: int) -> Array:
        values = getattr(self.proto, kind.field)
        if len(values) != count:
            raise self._damaged(f"has {len(values)} elements, but its shape needs {count}")
        listed_types = {
            "float_data": np.float32,
            "double_data": np.float64,
            "uint64_data": np.uint64,
        }
        listed = np.array(values, listed_types.get(kind.field, np.int64))
        if kind.name == "float16":
            return listed.astype(np.uint16).view(np.float16)
        return listed.astype(kind.stored)

    def _damaged(self, what: str) -> EllcError:
        return EllcError(f"the tensor '{self.name}' {what}", code="E210")
