"""Make small `.tflite` files, and run them with TensorFlow Lite's reference kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import flexbuffers

from ellc.ir.types import Array

KINDS = {
    np.dtype(getattr(np, name.lower())): getattr(schema.TensorType, name)
    for name in (
        *("FLOAT16", "FLOAT32", "FLOAT64", "INT8", "UINT8", "INT16"),
        *("UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL", "COMPLEX64"),
    )
}

PACKED = {"int4": 4, "uint4": 4, "int2": 2}
"""Bits per number of packed types; their arrays are int8 or uint8."""


def packed(numbers: Array, bits: int) -> Array:
    """Numbers of a few bits packed into bytes, the first in the lowest bits."""
    each = 8 // bits
    flat = numbers.reshape(-1).astype(np.uint8) & ((1 << bits) - 1)
    rows = np.pad(flat, (0, -flat.size % each)).reshape(-1, each)
    return (rows << np.arange(0, 8, bits)).sum(1).astype(np.uint8)


@dataclass(frozen=True)
class T:
    """A tensor with a shape and an element type; with data, it is a constant."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    data: Array | None = None
    scale: Sequence[float] = ()
    zero: Sequence[int] = ()
    axis: int = 0
    variable: bool = False
    signature: tuple[int, ...] | None = None
    name: str = ""

    @staticmethod
    def of(data: object, dtype: str = "", **rest: object) -> T:
        """A constant."""
        array = np.asarray(data, dtype or None)
        return T(array.shape, array.dtype.name, array, **rest)  # type: ignore[arg-type]


@dataclass
class TFLiteFile:
    """A model under construction; operators are added in order of execution."""

    tensors: list[T] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int], object, list[int]]] = field(
        default_factory=list
    )
    names: dict[str, dict[int, str]] = field(default_factory=dict)
    inner: list[tuple[TFLiteFile, list[int], list[int]]] = field(default_factory=list)
    version: int = 1  # of every operator
    entrances: dict[str, int] = field(default_factory=dict)  # signatures with the indices of graphs

    def add(self, tensor: T) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def apply(
        self,
        kind: str,
        inputs: list[int],
        outputs: list[int],
        options: object = None,
        intermediates: Sequence[int] = (),
    ) -> None:
        """Add an operator; `options` is an object of the schema such as `Conv2DOptionsT`.

        For a custom operator, it is a dictionary or bytes.
        """
        self.operators.append((kind, inputs, outputs, options, list(intermediates)))

    def data(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The bytes of the file; graphs in `inner` have the indices 1, 2, .."""
        model = schema.ModelT()
        model.version = 3
        model.buffers = [schema.BufferT()]
        model.operatorCodes = []
        graphs = ((self, inputs, outputs), *self.inner)
        model.subgraphs = [f._graph(ins, outs, model) for f, ins, outs in graphs]
        entrances = self.entrances or ({"serving_default": 0} if self.names else {})
        made = [self._signature(*entrance, model) for entrance in entrances.items()]
        model.signatureDefs = made or None
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _graph(
        self, inputs: list[int], outputs: list[int], model: schema.ModelT
    ) -> schema.SubGraphT:
        graph = schema.SubGraphT()
        graph.tensors = [self._tensor(i, t, model) for i, t in enumerate(self.tensors)]
        graph.inputs, graph.outputs = inputs, outputs
        graph.operators = [self._operator(o, model, self.version) for o in self.operators]
        return graph

    @staticmethod
    def _tensor(index: int, tensor: T, model: schema.ModelT) -> schema.TensorT:
        stored_tensor = schema.TensorT()
        stored_tensor.name = tensor.name or f"t{index}"
        stored_tensor.shape = list(tensor.shape)
        stored_tensor.shapeSignature = None if tensor.signature is None else list(tensor.signature)
        by_name = tensor.dtype in ("resource", *PACKED)
        stored_tensor.type = (
            getattr(schema.TensorType, tensor.dtype.upper())
            if by_name
            else KINDS[np.dtype(tensor.dtype)]
        )
        stored_tensor.isVariable = tensor.variable
        if tensor.scale:
            stored_tensor.quantization = schema.QuantizationParametersT()
            stored_tensor.quantization.scale = list(tensor.scale)
            stored_tensor.quantization.zeroPoint = list(tensor.zero or [0] * len(tensor.scale))
            stored_tensor.quantization.quantizedDimension = tensor.axis
        if tensor.data is not None:
            buffer = schema.BufferT()
            stored = packed(tensor.data, PACKED[tensor.dtype]) if by_name else tensor.data
            buffer.data = np.frombuffer(np.asarray(stored, order="C").tobytes(), np.uint8)
            stored_tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        return stored_tensor

    @staticmethod
    def _operator(
        operator: tuple[str, list[int], list[int], object, list[int]],
        model: schema.ModelT,
        version: int,
    ) -> schema.OperatorT:
        kind, inputs, outputs, options, intermediates = operator
        code = schema.OperatorCodeT()
        custom = kind.startswith("CUSTOM:")
        number = getattr(schema.BuiltinOperator, "CUSTOM" if custom else kind)
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.customCode = kind.removeprefix("CUSTOM:") if custom else None
        code.version = version
        stored_operator = schema.OperatorT()
        stored_operator.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(code)
        stored_operator.inputs, stored_operator.outputs = inputs, outputs
        stored_operator.intermediates = intermediates or None
        if isinstance(options, bytes):
            stored_operator.customOptions = list(options)
        elif isinstance(options, dict):
            stored_operator.customOptions = list(flexbuffers.Dumps(options))
        elif options is not None:
            name = type(options).__name__.removesuffix("T")
            if hasattr(schema.BuiltinOptions, name):
                stored_operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
                stored_operator.builtinOptions = options
            else:
                stored_operator.builtinOptions2Type = getattr(schema.BuiltinOptions2, name)
                stored_operator.builtinOptions2 = options
        return stored_operator

    def _signature(self, key: str, number: int, model: schema.ModelT) -> schema.SignatureDefT:
        """A signature; names of inputs and outputs are those in `names`, or else of the tensors."""
        signature = schema.SignatureDefT()
        signature.signatureKey = key
        signature.subgraphIndex = number
        graph = model.subgraphs[number]
        for side in ("inputs", "outputs"):
            maps = []
            usual = {index: graph.tensors[index].name for index in getattr(graph, side)}
            for index, name in (self.names or {side: usual}).get(side, {}).items():
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = name, index
                maps.append(entry)
            setattr(signature, side, maps)
        return signature


def options(name: str, **values: object) -> object:
    """Options of an operator, with the names of the schema's object API."""
    made = getattr(schema, f"{name}T")()
    for key, value in values.items():
        assert hasattr(made, key), f"{name} has no {key}"
        setattr(made, key, value)
    return made


def with_graphs(graph: int) -> dict[str, object]:
    """For each operator that runs graphs, the options with which it runs only this graph."""
    kinds = {name.replace("_", "").lower(): name for name in vars(schema.BuiltinOperator)}
    found = {}
    for name, made in vars(schema).items():
        if not name.endswith("OptionsT"):
            continue
        chosen = made()
        fields = [field for field in vars(chosen) if "subgraph" in field.lower()]
        for field_name in fields:
            several = field_name.endswith("Indices")
            setattr(chosen, field_name, [graph] if several else graph)
        if fields:
            found[kinds[name.removesuffix("OptionsT").lower()]] = chosen
    return found


def single(
    kind: str,
    operands: Sequence[T | None],
    results: Sequence[T],
    chosen: object = None,
    intermediates: Sequence[T] = (),
) -> bytes:
    """A file with one operator; operands without data are inputs."""
    file = TFLiteFile()
    indices = [-1 if t is None else file.add(t) for t in operands]
    outputs = [file.add(t) for t in results]
    file.apply(kind, indices, outputs, chosen, [file.add(t) for t in intermediates])
    inputs = [
        i for i, t in zip(indices, operands, strict=True)
        if t is not None and t.data is None and not t.variable
    ]  # fmt: skip
    return file.data(inputs, outputs)


def runs_version(kind: str, version: int) -> bool:
    """Whether the runtime has a kernel for a version of an operator."""
    file = TFLiteFile(version=version)
    file.apply(kind, [], [])
    try:
        Interpreter(
            model_content=file.data([], []),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    except ValueError as error:
        if "Didn't find op" in str(error):
            return False
        raise
    return True


def reference(data: bytes, inputs: Sequence[Array], calls: int = 1) -> list[list[Array]]:
    """The outputs of the reference kernels for each of several calls."""
    return stream(data, [inputs] * calls)


def stream(
    data: bytes, steps: Sequence[Sequence[Array]], reset_at: int | None = None
) -> list[list[Array]]:
    """The outputs of the reference kernels for each step.

    Variable tensors are reset before the step `reset_at`. Some operators have only one kernel,
    which is not a reference kernel.
    """
    try:
        interpreter = _interpreter(data, OpResolverType.BUILTIN_REF)
    except (RuntimeError, ValueError) as error:
        if "Didn't find op" not in str(error):
            raise
        interpreter = _interpreter(data, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    results = []
    for step, inputs in enumerate(steps):
        if step == reset_at:
            interpreter.reset_all_variables()
        for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        results.append(
            [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]
        )
    return results


def every_tensor(data: bytes, inputs: Sequence[Array]) -> dict[int, Array]:
    """The content of every tensor after a run of the reference kernels, by index."""
    interpreter = _interpreter(data, OpResolverType.BUILTIN_REF, keep=True)
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    numbers = [d["index"] for d in interpreter.get_tensor_details() if d["name"]]
    return {number: interpreter.get_tensor(number) for number in numbers}


def _interpreter(data: bytes, kernels: OpResolverType, *, keep: bool = False) -> Interpreter:
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=kernels,
        experimental_preserve_all_tensors=keep,
    )
    interpreter.allocate_tensors()
    return interpreter


def saved(data: bytes, folder: Path, name: str = "model") -> Path:
    """Write the bytes to a file; returns its path."""
    path = folder / f"{name}.tflite"
    path.write_bytes(data)
    return path
