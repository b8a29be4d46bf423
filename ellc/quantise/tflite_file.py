"""Writes a quantised network as a TensorFlow Lite file, if its operators are TensorFlow Lite's.

Integer layers become int8 operators with a scale for each filter, as the converter of TensorFlow
Lite makes them. Their results may differ by one step from those of the other formats, because
TensorFlow Lite rounds with fixed-point factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellc.frontends.onnx.quantisation import Bounds, stored_bounds
from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.ir.graph import Node
from ellc.ir.installing import extra_hint
from ellc.ir.ops.pool import AvgPool2D
from ellc.ir.ops.quantised import Quantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import Array, DType
from ellc.quantise.layers import Layer, limits
from ellc.quantise.quantising import Quantised
from ellc.quantise.ranges import HIGHEST, LOWEST
from ellc.quantise.tflite_operators import Activation, CannotWriteError, TfliteOperators
from ellc.quantise.tflite_tables import TfliteTables


def write_tflite(quantised: Quantised, path: Path) -> None:
    """Write a quantised network for TensorFlow Lite.

    Raises `EllcError`: E211 if the packages `tflite` and `flatbuffers` are missing, E742 with every
    operator that does not fit, E703 if the file cannot be written.
    """
    data = content_of(quantised)
    with whole_file(path, needed_bytes=len(data)) as file:
        file.write_bytes(data)


def content_of(quantised: Quantised) -> bytes:
    """The bytes of the file; raises `EllcError` as `write_tflite`."""
    graph = quantised.before
    writer = _Writer.of(quantised)
    problems = [problem for node in graph.nodes if (problem := writer.node(node))]
    if graph.states:
        problems.append("the file cannot hold states that are kept between calls")
    ports = (*graph.inputs, *graph.outputs)
    if any(graph.types[port.value].dtype is not DType.F32 for port in ports):
        problems.append("inputs or outputs that are not float32")
    if problems:
        raise EllcError(
            "this network cannot be written for TensorFlow Lite",
            code="E742",
            where=graph.name,
            hint="write an .eir file, which holds any network, or an .onnx file",
            problems=tuple(dict.fromkeys(problems)),
        )
    outputs = [writer.read(port.value) for port in graph.outputs]
    inputs = [writer.floats[port.value] for port in graph.inputs]
    for index, port in zip(outputs, graph.outputs, strict=True):
        writer.operators.tables.rename(index, port.name, inputs)
    try:
        return writer.operators.tables.assembled(inputs, outputs, graph.name)
    except ImportError as error:
        raise EllcError(
            f"writing .tflite files needs a package: {error}",
            code="E211",
            hint=extra_hint("tflite", "tflite", "flatbuffers"),
        ) from error


@dataclass(frozen=True)
class _Writer:
    """Writes node after node; `floats` and `stored` have the tensors of values."""

    quantised: Quantised
    operators: TfliteOperators
    arrays: Mapping[str, Array]
    heads: Mapping[Node, Layer]
    inside: frozenset[Node]
    floats: dict[str, int]
    stored: dict[str, int]

    @staticmethod
    def of(quantised: Quantised) -> _Writer:
        graph, tables = quantised.before, TfliteTables()
        floats = {
            port.value: tables.tensor(port.name, graph.types[port.value].shape, DType.F32)
            for port in graph.inputs
        }
        return _Writer(
            quantised,
            TfliteOperators(tables),
            graph.constant_arrays(),
            {layer.head: layer for layer in quantised.layers},
            frozenset(node for layer in quantised.layers for node in layer.nodes[1:]),
            floats,
            {},
        )

    def node(self, node: Node) -> str:
        """Write a node; returns the problem if TensorFlow Lite does not have the operator.

        An activation of a layer is written with the layer.
        """
        if node in self.inside:
            return ""
        try:
            layer = self.heads.get(node)
            if layer is None:
                results = [self._new(v) for v in node.outputs]
                self.operators.write(node.op, [self.read(v) for v in node.inputs], results)
                self.floats.update(zip(node.outputs, results, strict=True))
            elif layer.kind == "table":
                self._function(layer)
            else:
                self._layer(layer)
        except CannotWriteError:
            for value in node.outputs:  # later nodes may have other problems
                self.floats[value] = self._tables.tensor(value, (), DType.F32)
            return f"'{node.op.name}' of layer '{next(iter(node.source), node.outputs[0])}'"
        return ""

    def read(self, value: str) -> int:
        """The tensor of a value as floats; other element types keep their type."""
        if value not in self.floats:
            if value in self.arrays:
                array = self.arrays[value]
                type_ = self.quantised.before.types[value]
                self.floats[value] = self._tables.tensor(value, type_.shape, type_.dtype, array)
            else:
                self.floats[value] = self._new(value)
                self._tables.operator("DEQUANTIZE", [self.stored[value]], [self.floats[value]])
        return self.floats[value]

    @property
    def _tables(self) -> TfliteTables:
        return self.operators.tables

    def _new(self, value: str) -> int:
        """A new float tensor for a value."""
        type_ = self.quantised.before.types[value]
        if type_.dtype not in (DType.F32, DType.I32):
            raise CannotWriteError
        return self._tables.tensor(value, type_.shape, type_.dtype)

    def _new_stored(self, value: str, array: Array | None = None) -> int:
        by = self.quantised.quantisations[value]
        shape = self.quantised.before.types[value].shape
        parameters = by.scale, by.zero, 0
        return self._tables.tensor(f"{value}_int8", shape, DType.I8, array, parameters)

    def _read_stored(self, value: str) -> int:
        if value not in self.stored:
            by = self.quantised.quantisations[value]
            if value in self.arrays:
                parameters = (by.scale, by.zero.astype(np.int32))
                (integers,) = Quantize("half_even", DType.I8).reference(
                    self.arrays[value], *parameters
                )
                self.stored[value] = self._new_stored(value, integers)
            else:
                self.stored[value] = self._new_stored(value)
                self._tables.operator("QUANTIZE", [self.read(value)], [self.stored[value]])
        return self.stored[value]

    def _function(self, layer: Layer) -> None:
        """A function is computed with floats; some integer functions have fixed scales."""
        node, (result,) = layer.head, layer.results
        raw = self._new(result)
        self.operators.write(node.op, [self.read(v) for v in node.inputs], [raw])
        self.stored[result] = self._new_stored(result)
        self._tables.operator("QUANTIZE", [raw], [self.stored[result]])

    def _layer(self, layer: Layer) -> None:
        node, activation = layer.head, self._activation(layer)
        results = [self._new_stored(v) for v in layer.results]
        if layer.kind == "product":
            operands = [self._read_stored(layer.operands[0]), *self._weights(layer)]
        else:
            operands = [
                self._read_stored(v) if v in layer.operands else self.read(v) for v in node.inputs
            ]
        op = node.op
        if layer.kind == "mean" and isinstance(op, AvgPool2D):
            op = Reduce("mean", (1, 2), True)  # AVERAGE_POOL_2D cannot change the scale
        self.operators.write(op, operands, results, activation)
        self.stored.update(zip(layer.results, results, strict=True))

    def _weights(self, layer: Layer) -> list[int]:
        """The tensors of the weights and of the bias, in the order of the graph."""
        node, weights = layer.head, self.quantised.weights[layer.results[0]]
        zeros = np.zeros(len(weights.scales), np.int64)
        name = node.inputs[1]
        shape = weights.stored.shape
        stored = self._tables.tensor(
            f"{name}_int8", shape, DType.I8, weights.stored, (weights.scales, zeros, 0)
        )
        unit = self.quantised.quantisations[layer.operands[0]].one_scale * weights.scales
        bias = np.zeros(len(zeros), np.int32) if weights.bias is None else weights.bias
        return [
            stored,
            self._tables.tensor(f"{name}_bias", bias.shape, DType.I32, bias, (unit, zeros, 0)),
        ]

    def _activation(self, layer: Layer) -> Activation:
        """The fused activation of a layer; NONE if the integers have no tighter bounds."""
        by = self.quantised.quantisations[layer.results[0]]
        if stored_bounds(by, Bounds(*limits(layer))) == (LOWEST, HIGHEST):
            return "NONE"
        match limits(layer):
            case (0.0, np.inf):
                return "RELU"
            case (0.0, 6.0):
                return "RELU6"
        raise CannotWriteError
