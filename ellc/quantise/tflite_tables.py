"""Assembles the flatbuffer of a `.tflite` file: tensors, operators, and their buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ellc.ir.types import Array, DType

Fields = Mapping[str, int | float | bool]
_IDENTIFIER = b"TFL3"
_ALIGN = 16
_KINDS = {DType.F32: "FLOAT32", DType.I32: "INT32", DType.I8: "INT8", DType.U8: "UINT8"}


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: DType
    buffer: int
    scales: Array | None
    zeros: Array | None
    axis: int


@dataclass(frozen=True, slots=True)
class _Operator:
    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str
    fields: Fields


@dataclass
class TfliteTables:
    """Collects tensors and operators; tensors are numbered from 0."""

    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=lambda: [b""])  # buffer 0 is empty

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DType,
        array: Array | None = None,
        quantised: tuple[Array, Array, int] | None = None,
    ) -> int:
        """Add a tensor, with its content if it is a constant.

        `quantised` has scales, zero points, and the axis along which they vary.
        """
        buffer = 0
        if array is not None:
            buffer = len(self.buffers)
            self.buffers.append(np.asarray(array, dtype.numpy, order="C").tobytes())
        scales, zeros, axis = quantised if quantised is not None else (None, None, 0)
        self.tensors.append(_Tensor(name, tuple(shape), dtype, buffer, scales, zeros, axis))
        return len(self.tensors) - 1

    def rename(self, index: int, name: str, fixed: Sequence[int]) -> None:
        """Name a tensor, unless it is one of the tensors `fixed`."""
        if index not in fixed:
            self.tensors[index] = replace(self.tensors[index], name=name)

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        fields: Fields | None = None,
    ) -> None:
        """Add an operator; `options` names its table of options, with these fields."""
        self.operators.append(_Operator(code, tuple(inputs), tuple(outputs), options, fields or {}))

    def assembled(self, inputs: Sequence[int], outputs: Sequence[int], name: str) -> bytes:
        """The bytes of the file; constants that no operator reads are left out."""
        read = {index for op in self.operators for index in op.inputs} | {*outputs}
        used = {tensor.buffer for index, tensor in enumerate(self.tensors) if index in read}
        buffers = [data if i in used else b"" for i, data in enumerate(self.buffers)]
        return _Assembly().file(replace(self, buffers=buffers), inputs, outputs, name)


class _Assembly:
    """Writes tables into one flatbuffer, the inner ones first."""

    def __init__(self) -> None:
        import flatbuffers
        import tflite

        self._builder = flatbuffers.Builder(1024)
        self._schema = tflite

    def file(
        self, content: TfliteTables, inputs: Sequence[int], outputs: Sequence[int], name: str
    ) -> bytes:
        codes = list(dict.fromkeys(op.code for op in content.operators))
        buffers = self._offsets("Model", "Buffers", [self._buffer(b) for b in content.buffers])
        graph = self._graph(content, codes, inputs, outputs, name)
        graphs = self._offsets("Model", "Subgraphs", [graph])
        kinds = self._offsets("Model", "OperatorCodes", [self._code(code) for code in codes])
        text = self._builder.CreateString("made by ellc")
        model = self._table(
            "Model",
            {
                "Version": 3,
                "OperatorCodes": kinds,
                "Subgraphs": graphs,
                "Description": text,
                "Buffers": buffers,
            },
        )
        self._builder.Finish(model, file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())

    def _graph(
        self,
        content: TfliteTables,
        codes: Sequence[str],
        inputs: Sequence[int],
        outputs: Sequence[int],
        name: str,
    ) -> int:
        tensors = self._offsets("SubGraph", "Tensors", [self._tensor(t) for t in content.tensors])
        steps = [self._operator(op, codes.index(op.code)) for op in content.operators]
        fields = {
            "Tensors": tensors,
            "Inputs": self._integers(inputs),
            "Outputs": self._integers(outputs),
            "Operators": self._offsets("SubGraph", "Operators", steps),
            "Name": self._builder.CreateString(name),
        }
        return self._table("SubGraph", fields)

    def _table(self, name: str, fields: Mapping[str, Any]) -> int:
        getattr(self._schema, f"{name}Start")(self._builder)
        for key, value in fields.items():
            getattr(self._schema, f"{name}Add{key}")(self._builder, value)
        offset: int = getattr(self._schema, f"{name}End")(self._builder)
        return offset

    def _offsets(self, table: str, key: str, offsets: Sequence[int]) -> int:
        getattr(self._schema, f"{table}Start{key}Vector")(self._builder, len(offsets))
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        vector: int = self._builder.EndVector()
        return vector

    def _integers(self, numbers: Sequence[int]) -> int:
        vector: int = self._builder.CreateNumpyVector(np.array(numbers, np.int32))
        return vector

    def _buffer(self, data: bytes) -> int:
        if not data:
            return self._table("Buffer", {})
        self._builder.StartVector(1, len(data), _ALIGN)
        self._builder.head -= len(data)
        self._builder.Bytes[self._builder.head : self._builder.head + len(data)] = data
        return self._table("Buffer", {"Data": self._builder.EndVector()})

    def _tensor(self, tensor: _Tensor) -> int:
        fields: dict[str, Any] = {
            "Shape": self._integers(tensor.shape),
            "Type": getattr(self._schema.TensorType, _KINDS[tensor.dtype]),
            "Buffer": tensor.buffer,
            "Name": self._builder.CreateString(tensor.name),
        }
        if tensor.scales is not None and tensor.zeros is not None:
            fields["Quantization"] = self._table(
                "QuantizationParameters",
                {
                    "Scale": self._builder.CreateNumpyVector(tensor.scales.astype(np.float32)),
                    "ZeroPoint": self._builder.CreateNumpyVector(tensor.zeros.astype(np.int64)),
                    "QuantizedDimension": tensor.axis,
                },
            )
        return self._table("Tensor", fields)

    def _operator(self, op: _Operator, index: int) -> int:
        fields: dict[str, Any] = {
            "OpcodeIndex": index,
            "Inputs": self._integers(op.inputs),
            "Outputs": self._integers(op.outputs),
        }
        if op.options:
            fields["BuiltinOptions"] = self._table(op.options, op.fields)
            fields["BuiltinOptionsType"] = getattr(self._schema.BuiltinOptions, op.options)
        return self._table("Operator", fields)

    def _code(self, code: str) -> int:
        number = getattr(self._schema.BuiltinOperator, code)
        fields = {"DeprecatedBuiltinCode": min(number, 127), "Version": 1, "BuiltinCode": number}
        return self._table("OperatorCode", fields)
