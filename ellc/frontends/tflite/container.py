"""Parses a `.tflite` file into a `TfliteModel`, with the packages `tflite` and `flatbuffers`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import tflite
from tflite.utils import BUILTIN_OPCODE2NAME

from ellc.frontends.graph_import.packed import packed_bytes, unpacked
from ellc.frontends.tflite.custom import custom_options
from ellc.frontends.tflite.effects import assigns
from ellc.frontends.tflite.model import (
    DTYPES,
    NO_OPTIONS,
    PACKED,
    UNKNOWN_KIND,
    NodeOptions,
    Option,
    Tensor,
    TfliteGraph,
    TfliteModel,
    TfliteNode,
    TflitePort,
)
from ellc.frontends.tflite.normalization import normalization_keys
from ellc.frontends.tflite.tables import (
    Damaged,
    EntryBudget,
    as_table,
    checked,
    entries,
    root,
    without_fields,
)
from ellc.ir.limits import MOST_AXES, Limits
from ellc.ir.types import Array, DType, Quant

_IDENTIFIER = b"TFL3"
# In the schema, an option contains the index of a graph if and only if its name has this word.
_GRAPH = "Subgraph"
_LEAST_BUDGET = 1 << 16
_MOST_NESTED = 8
_CUSTOM = "CUSTOM"
_METADATA = "TFLITE_METADATA"
_NEW_KINDS = {19: "INT2", 20: "UINT4"}  # types that the package `tflite` does not know yet
_ELEMENT_KINDS = _NEW_KINDS | {
    code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)
}
_OPTION_KINDS, _LATER_OPTION_KINDS = (
    {code: getattr(tflite, name, None) for name, code in vars(union).items() if type(code) is int}
    for union in (tflite.BuiltinOptions, tflite.BuiltinOptions2)
)
_STORED: dict[str, np.dtype[Any]] = {
    kind: np.dtype(name).newbyteorder("<")
    for kind, name in (
        *((f"FLOAT{bits}", f"float{bits}") for bits in (16, 32, 64)),
        *(
            (f"{s.upper()}INT{bits}", f"{s}int{bits}")
            for s in ("", "u")
            for bits in (8, 16, 32, 64)
        ),
        ("BOOL", "bool"),
    )
}


def read_container(data: bytes, limits: Limits, signature: str = "") -> TfliteModel:
    """Read the graph of a signature of the file, or its first graph.

    Raises `Damaged` if the file is inconsistent, `EllcError` E203 if it exceeds the limits, and
    `KeyError` with the names of all signatures if none of them is called `signature`.
    """
    if data[4:8] != _IDENTIFIER:
        raise Damaged("it does not have TensorFlow Lite's identifier TFL3")
    return _Container(data, limits).model(signature)


def option_names() -> set[str]:
    """The names of all options in the schema."""
    kinds = (*_OPTION_KINDS.values(), *_LATER_OPTION_KINDS.values())
    return {name for kind in kinds if kind for name, _ in _fields(kind)}


class _Container:
    """Reads one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        # In a valid file every entry of a list has at least one byte that no other entry uses.
        self._budget = EntryBudget(max(len(data), _LEAST_BUDGET))
        self._root = root(tflite.Model, data, self._budget)
        self._buffers = list(entries(self._root, "Buffers"))
        # The keys are (buffer, element type). Many tensors may share a buffer; for each element
        # type it is converted once.
        self._arrays: dict[tuple[int, str], Array] = {}
        self._graphs: list[Any] = []
        self._inner_graphs: dict[int, TfliteGraph] = {}
        self._open: list[int] = []  # inner graphs that are being read
        codes = list(entries(self._root, "OperatorCodes"))
        self._kinds = [_kind(code) for code in codes]
        self._versions = [code.Version() for code in codes]

    def model(self, signature: str) -> TfliteModel:
        graphs = list(entries(self._root, "Subgraphs"))
        if not graphs:
            raise Damaged("it has no graph")
        signatures = list(entries(self._root, "SignatureDefs"))
        chosen = self._signature(signatures, signature)
        index = chosen.SubgraphIndex() if chosen else 0
        if index >= len(graphs):
            raise Damaged(
                f"a signature names graph {index}, but the last graph is {len(graphs) - 1}"
            )
        graph, self._graphs = graphs[index], graphs
        tensors = self._tensors(graph)
        nodes = tuple(self._node(operator, tensors) for operator in entries(graph, "Operators"))
        inputs, outputs = (_named(chosen, s) if chosen else {} for s in ("Inputs", "Outputs"))
        return TfliteModel(
            _interface(self._picked(tensors, graph.InputsAsNumpy()), inputs, tensors),
            _interface(self._picked(tensors, graph.OutputsAsNumpy()), outputs, tensors),
            tuple(tensors),
            nodes,
            self._metadata(),
            tuple(_text(s.SignatureKey()) for s in signatures),
            _text(chosen.SignatureKey()) if chosen else None,
        )

    def _metadata(self) -> dict[str, str]:
        """The metadata about input pictures, under the keys that ellc uses."""
        for entry in entries(self._root, "Metadata"):
            if _text(entry.Name()) == _METADATA and entry.Buffer() < len(self._buffers):
                return normalization_keys(self._content(entry.Buffer()).tobytes())
        return {}

    def _tensors(self, graph: Any) -> list[Tensor]:
        tensors: list[Tensor] = []
        used: set[str] = set()
        for index, entry in enumerate(entries(graph, "Tensors")):
            name = _text(entry.Name())
            if not name or name in used:
                name = f"{name}#{index}"
            used.add(name)
            tensors.append(self._tensor(name, entry))
        return tensors

    def _tensor(self, name: str, entry: Any) -> Tensor:
        kind = _ELEMENT_KINDS.get(entry.Type(), f"elements of type {entry.Type()}")
        shape, signature = _wholes(entry.ShapeAsNumpy()), _wholes(entry.ShapeSignatureAsNumpy())
        if len(shape) > MOST_AXES:
            raise Damaged(f"tensor '{name}' has {len(shape)} axes")
        size = self._limits.product(shape, where=f"tensor '{name}'")
        declared = signature if len(signature) == len(shape) else shape
        is_sparse = entry.Sparsity() is not None
        buffer = 0 if is_sparse else entry.Buffer()
        return Tensor(
            name,
            kind,
            shape,
            tuple(axis for axis, extent in enumerate(declared) if extent < 0),
            _quant(name, checked(entry.Quantization(), entry), shape),
            self._constant(name, kind, shape, size, buffer),
            entry.IsVariable(),
            is_sparse,
        )

    def _constant(
        self, name: str, kind: str, shape: tuple[int, ...], size: int, index: int
    ) -> Array | None:
        if index >= len(self._buffers):
            if index == 0:
                return None
            raise Damaged(
                f"tensor '{name}' is in buffer {index}, but the last buffer is"
                f" {len(self._buffers) - 1}"
            )
        if not size and kind in _STORED:
            return np.empty(0, np.float32 if kind == "FLOAT16" else _STORED[kind]).reshape(shape)
        content = self._content(index)
        if not content.size or (kind not in _STORED and kind not in PACKED):
            return None
        if (index, kind) not in self._arrays:
            self._arrays[index, kind] = _elements(name, kind, content, size)
        array = self._arrays[index, kind]
        if array.size != size:
            raise Damaged(
                f"tensor '{name}' of shape {shape} is in a buffer for {array.size} elements"
            )
        return array.reshape(shape)

    def _content(self, index: int) -> Array:
        entry = self._buffers[index]
        start, size = entry.Offset(), entry.Size()
        if start > 1:  # a large file has its buffers after the tables, with 64-bit offsets
            if start + size > len(self._data):
                raise Damaged(f"buffer {index} ends beyond the end of the file")
            return np.frombuffer(self._data, np.uint8, size, start)
        data = entry.DataAsNumpy()
        return data if isinstance(data, np.ndarray) else np.empty(0, np.uint8)

    def _node(self, operator: Any, tensors: Sequence[Tensor]) -> TfliteNode:
        code = operator.OpcodeIndex()
        if code >= len(self._kinds):
            raise Damaged(
                f"an operator is of kind {code}, but the last kind is {len(self._kinds) - 1}"
            )
        operands = tuple(self._picked(tensors, operator.InputsAsNumpy(), optional=True))
        results = tuple(t for t in self._picked(tensors, operator.OutputsAsNumpy()) if t)
        label = results[0].name if results else ""
        custom = self._custom(operator) if self._kinds[code].startswith(_CUSTOM) else b""
        options = custom_options(custom, self._budget) if custom else self._options(operator)
        graphs = () if custom else tuple(map(self._inner, _graph_numbers(options)))
        within = tuple(self._picked(tensors, operator.IntermediatesAsNumpy(), optional=True))
        return TfliteNode(
            label, self._kinds[code], operands, results, options, graphs, within,
            self._versions[code],
            custom,
        )  # fmt: skip

    def _inner(self, index: int) -> TfliteGraph:
        """Read the graph that an operator runs.

        Raises `Damaged` if the file has no such inner graph, if the graph contains itself, or if
        graphs are nested too deeply.
        """
        if not 0 < index < len(self._graphs) or index in self._open:
            raise Damaged(f"an operator cannot run graph {index} of {len(self._graphs)} graphs")
        if len(self._open) > _MOST_NESTED:
            raise Damaged("its graphs are nested too deeply")
        if index not in self._inner_graphs:
            self._open.append(index)
            graph = self._graphs[index]
            tensors = self._tensors(graph)
            nodes = tuple(self._node(operator, tensors) for operator in entries(graph, "Operators"))
            self._inner_graphs[index] = TfliteGraph(
                tuple(t for t in self._picked(tensors, graph.InputsAsNumpy()) if t),
                tuple(t for t in self._picked(tensors, graph.OutputsAsNumpy()) if t),
                tuple(tensors),
                nodes,
                assigns(nodes),
            )
            self._open.pop()
        return self._inner_graphs[index]

    def _picked(
        self, tensors: Sequence[Tensor], indices: object, *, optional: bool = False
    ) -> Iterator[Tensor | None]:
        picked = _wholes(indices)
        self._budget.spend(len(picked))
        for index in picked:
            if index == -1 and optional:
                yield None
            elif 0 <= index < len(tensors):
                yield tensors[index]
            else:
                raise Damaged(
                    f"an index names tensor {index}, but the last tensor is {len(tensors) - 1}"
                )

    def _options(self, operator: Any) -> NodeOptions:
        kind, union = _OPTION_KINDS.get(operator.BuiltinOptionsType()), operator.BuiltinOptions()
        if kind is None:
            kind = _LATER_OPTION_KINDS.get(operator.BuiltinOptions2Type())
            union = operator.BuiltinOptions2()
        if kind is None:
            return NO_OPTIONS
        if union is None:
            return _options(without_fields(kind))
        return _options(as_table(kind, self._data, union.Pos, self._budget))

    def _custom(self, operator: Any) -> bytes:
        """The bytes of a custom operator's options; in files over 2 GB they follow the tables."""
        start, size = operator.LargeCustomOptionsOffset(), operator.LargeCustomOptionsSize()
        if start > 1:
            if start + size > len(self._data):
                raise Damaged("an operator's options end beyond the end of the file")
            return self._data[start : start + size]
        content = operator.CustomOptionsAsNumpy()
        return content.tobytes() if isinstance(content, np.ndarray) else b""

    @staticmethod
    def _signature(signatures: Sequence[Any], name: str) -> Any | None:
        """The signature with this name; for "" the only signature of the first graph, or None.

        Raises `KeyError` with the names of all signatures if none has this name.
        """
        if not name:
            of_first = [s for s in signatures if s.SubgraphIndex() == 0]
            return of_first[0] if len(of_first) == 1 else None
        named = [s for s in signatures if _text(s.SignatureKey()) == name]
        if not named:
            raise KeyError(*(_text(s.SignatureKey()) for s in signatures))
        return named[0]


def _kind(code: Any) -> str:
    # The deprecated field can only hold numbers up to 127; the newer field may be 0 in old files.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    name = BUILTIN_OPCODE2NAME.get(number, f"{UNKNOWN_KIND} {number}")
    return f"{_CUSTOM}:{_text(code.CustomCode())}" if name == _CUSTOM else name


def _named(signature: Any, side: str) -> dict[int, str]:
    return {entry.TensorIndex(): _text(entry.Name()) for entry in entries(signature, side)}


def _interface(
    picked: Iterator[Tensor | None], names: dict[int, str], tensors: Sequence[Tensor]
) -> tuple[TflitePort, ...]:
    """The ports of tensors, named by the signature or, without one, like the tensors.

    If a name occurs again, a number is appended.
    """
    number = {tensor.name: index for index, tensor in enumerate(tensors)}
    ports: list[TflitePort] = []
    for tensor in picked:
        assert tensor is not None
        name = names.get(number[tensor.name]) or tensor.name
        if any(name == other.name for other in ports):
            name = f"{name}#{len(ports)}"
        ports.append(TflitePort(name, tensor))
    return tuple(ports)


def _quant(name: str, entry: Any, shape: tuple[int, ...]) -> Quant | None:
    """The quantisation parameters of a tensor, or None; raises `Damaged` if they are invalid."""
    if entry is None or not entry.ScaleLength():
        return None
    scales = tuple(float(x) for x in entry.ScaleAsNumpy())
    zeros = _wholes(entry.ZeroPointAsNumpy()) or (0,) * len(scales)
    axis = _axis_of_scales(entry.QuantizedDimension(), shape, len(scales))
    if len(zeros) == 1:
        zeros *= len(scales)
    sound = all(math.isfinite(s) and s >= 0 for s in scales) and len(zeros) == len(scales)
    sound = sound and all(abs(z) < 2**31 for z in zeros)
    if len(scales) > 1:
        sound = sound and 0 <= axis < len(shape) and shape[axis] == len(scales)
    if not sound:
        raise Damaged(f"the quantisation parameters of tensor '{name}' are invalid")
    return Quant(scales, zeros, axis if len(scales) > 1 else None)


def _axis_of_scales(axis: int, shape: tuple[int, ...], count: int) -> int:
    """The axis along which the scales vary.

    Converters of 2020 stored the axis of the weights in the bias too. So if the tensor does not
    have the axis `axis`, but exactly one axis with as many elements as there are scales, this
    function returns that one axis.
    """
    fitting = [a for a, extent in enumerate(shape) if extent == count]
    return fitting[0] if axis >= len(shape) and len(fitting) == 1 else axis


def _elements(name: str, kind: str, content: Array, size: int) -> Array:
    """The elements of a buffer as a flat array of the graph's element type."""
    if kind in PACKED:
        return _unpacked(name, kind, content, size)
    dtype = _STORED[kind]
    if content.size != size * dtype.itemsize:
        raise Damaged(
            f"tensor '{name}' of {size} elements has {content.size} bytes,"
            f" not {size * dtype.itemsize}"
        )
    array: Array = content.view(dtype) if dtype.kind != "b" else content != 0
    wanted = np.dtype(np.float32) if kind == "FLOAT16" else dtype.newbyteorder("=")
    return array.astype(wanted, copy=False)


def _unpacked(name: str, kind: str, content: Array, size: int) -> Array:
    """Unpack a buffer of `size` numbers of 2 or 4 bits to a flat array of int8 or uint8."""
    bits = PACKED[kind]
    if content.size != packed_bytes(size, bits):
        raise Damaged(f"tensor '{name}' has {content.size} bytes for {size} numbers of {bits} bits")
    return unpacked(content, bits, size, signed=DTYPES[kind] is DType.I8)


def _graph_numbers(options: NodeOptions) -> Iterator[int]:
    """The indices of the graphs that an operator runs, in the schema's order."""
    for name, value in options.values.items():
        if _GRAPH in name:
            yield from value if isinstance(value, tuple) else (options.whole(name),)


def _options(table: Any) -> NodeOptions:
    values: dict[str, Option] = {}
    for name, is_list in _fields(table.__class__):
        value = getattr(table, f"{name}AsNumpy" if is_list else name)()
        if is_list:
            table._tab.budget.spend(0 if isinstance(value, int) else len(value))
            values[name] = _wholes(value)
        elif isinstance(value, bool | int | float):
            values[name] = value
        elif isinstance(value, bytes):
            values[name] = _text(value)
    return NodeOptions(MappingProxyType(values))


@cache
def _fields(kind: Any) -> tuple[tuple[str, bool], ...]:
    """List (name, whether it is a list) for each field of a table class, by its accessors."""
    members = {name: member for name, member in vars(kind).items() if callable(member)}
    lists = [name.removesuffix("AsNumpy") for name in members if name.endswith("AsNumpy")]
    scalars = [
        name
        for name, member in members.items()
        if not name.endswith(("AsNumpy", "Length", "IsNone")) and _takes_nothing(member)
    ]
    return tuple((name, True) for name in lists) + tuple((name, False) for name in scalars)


def _takes_nothing(member: Callable[..., object]) -> bool:
    return len(inspect.signature(member).parameters) == 1


def _wholes(vector: object) -> tuple[int, ...]:
    """Convert a vector of integers to a tuple. An absent vector, read as 0, gives ()."""
    return tuple(vector.tolist()) if isinstance(vector, np.ndarray) else ()


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")
