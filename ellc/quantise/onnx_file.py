"""Writes a quantised network as an ONNX file with QuantizeLinear and DequantizeLinear.

The file has the float operators; every operand and result of an integer layer goes through a pair
of conversions. ONNX Runtime, and ellc itself, join such a group to one integer operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ellc import __version__
from ellc.frontends.onnx.quantisation import Bounds, Quantisation, stored_bounds
from ellc.ir.arrangement import picked
from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.ir.graph import LAYOUT_KEY, Node
from ellc.ir.installing import extra_hint
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import DType, TensorType
from ellc.quantise.layers import Layer, limits
from ellc.quantise.onnx_operators import (
    IMAGES,
    OPERATOR_SET,
    WRITERS,
    Call,
    CannotWriteError,
)
from ellc.quantise.onnx_values import PLANES, OnnxValues, Order, plain
from ellc.quantise.quantising import Quantised
from ellc.quantise.ranges import HIGHEST, LOWEST
from ellc.quantise.rewrite import Weights

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_KINDS = {
    DType.F32: 1, DType.U8: 2, DType.I8: 3, DType.U16: 4, DType.I16: 5, DType.I32: 6,
    DType.I64: 7, DType.BOOL: 9,
}  # fmt: skip
_FILE_VERSION = 9  # of ONNX's format; the first one that has the operator set


def write_onnx(quantised: Quantised, path: Path) -> None:
    """Write a quantised network as ONNX.

    Raises `EllcError`: E211 if the package `onnx` is missing, E742 with every operator that ONNX
    does not have, E703 if the file cannot be written.
    """
    data = model_of(quantised).SerializeToString(deterministic=True)
    with whole_file(path, needed_bytes=len(data)) as file:
        file.write_bytes(data)


def model_of(quantised: Quantised) -> ModelProto:
    """The network as an ONNX model; raises `EllcError` as `write_onnx`."""
    try:
        from onnx import helper
    except ImportError as error:
        raise EllcError(
            f"writing ONNX files needs the package `onnx`: {error}",
            code="E211",
            hint=extra_hint("onnx", "onnx"),
        ) from error
    writer = _Writer.of(quantised)
    graph = quantised.before
    problems = [p for node in graph.nodes if (p := writer.node(node))]
    ports = (*graph.inputs, *graph.outputs)
    kinds = {graph.types[port.value].dtype for port in ports} - set(_KINDS)
    problems += [f"inputs or outputs of {dtype.value}" for dtype in sorted(kinds, key=str)]
    if graph.states:
        problems.append("ONNX has no states that are kept between calls")
    if problems:
        raise EllcError(
            "this network cannot be written as ONNX",
            code="E742",
            where=graph.name,
            hint="write an .eir file, which holds any network",
            problems=tuple(dict.fromkeys(problems)),
        )
    values = writer.values
    outputs = [helper.make_node("Identity", [values.read(p.value)], [p.name], name=p.name)
               for p in graph.outputs]  # fmt: skip
    inputs = [_port(p.name, graph.types[p.value]) for p in graph.inputs]
    made = helper.make_graph(
        [*values.nodes, *outputs],
        graph.name or "network",
        inputs,
        [_port(p.name, graph.types[p.value]) for p in graph.outputs],
        list(values.tensors.values()),
    )
    model = helper.make_model(
        made,
        producer_name="ellc",
        producer_version=__version__,
        ir_version=_FILE_VERSION,
        opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
    )
    metadata = {k: v for k, v in sorted(graph.metadata.items()) if k != LAYOUT_KEY}
    helper.set_model_props(model, metadata)
    return model


def _port(name: str, type_: TensorType) -> ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, _KINDS[type_.dtype], type_.shape)


@dataclass(frozen=True)
class _Writer:
    """Writes node after node. `heads` and `ends` have the layers by first node and last results.

    `idle` are activations that only bound numbers which the conversion to bytes bounds as well.
    Without them, ONNX Runtime computes the layer with integers.
    """

    values: OnnxValues
    heads: Mapping[Node, Layer]
    ends: Mapping[str, Layer]
    idle: Set[Node]
    weights: Mapping[str, Weights]
    types: Mapping[str, TensorType]

    @staticmethod
    def of(quantised: Quantised) -> _Writer:
        graph = quantised.before
        ports = {p.name for p in (*graph.inputs, *graph.outputs)}
        unsigned = {v: _unsigned(by) for v, by in quantised.quantisations.items()}
        values = OnnxValues(graph, unsigned, ports)
        for port in graph.inputs:
            values.floats[port.value] = {plain(values.rank(port.value)): port.name}
        return _Writer(
            values,
            {layer.head: layer for layer in quantised.layers},
            {value: layer for layer in quantised.layers for value in layer.results},
            {layer.nodes[1] for layer in quantised.layers if _is_bounded(layer, quantised)},
            quantised.weights,
            graph.types,
        )

    def node(self, node: Node) -> str:
        """Write a node; returns the problem if ONNX does not have the operator."""
        if isinstance(node.op, Transpose):
            self._transpose(node, node.op)
            return ""
        try:
            match node.op:
                case _ if node in self.idle:
                    results = list(self.values.floats[node.inputs[0]].items())
                case Dense():
                    results = self._dense(node)
                case op if type(op) in IMAGES:
                    results = self._image(node)
                case op if type(op) in WRITERS:
                    results = self._any_order(node)
                case _:
                    raise CannotWriteError
        except CannotWriteError:
            for value in node.outputs:  # later nodes may have other problems
                self.values.floats[value] = {plain(self.values.rank(value)): ""}
            return f"'{node.op.name}' of layer '{next(iter(node.source), node.outputs[0])}'"
        for value, (order, name) in zip(node.outputs, results, strict=True):
            if value in self.ends:
                self.values.store(value, order, name)
            else:
                self.values.floats[value] = {order: name}
        return ""

    def _transpose(self, node: Node, op: Transpose) -> None:
        """A transposition needs no node: its result is the operand in another order."""
        (x,) = node.inputs
        is_layer = node in self.heads
        if is_layer:
            self.values.read_stored(x, plain(self.values.rank(x)))
        elif not self.values.orders(x):
            self.values.read(x)
        source = self.values.stored if is_layer or x not in self.values.floats else None
        known = (self.values.floats if source is None else source)[x]
        own, name = next(iter(known.items()))
        order = tuple(op.permutation.index(axis) for axis in own)
        target = self.values.stored if source is not None else self.values.floats
        target[node.output] = {order: name}

    def _read(self, node: Node, index: int, order: Order) -> str:
        """The name of an operand; layers read their operands and weights as stored integers."""
        layer, value = self.heads.get(node), node.inputs[index]
        if layer is None or (value not in layer.operands and layer.kind != "product"):
            return self.values.read(value, order)
        if value in layer.operands:
            return self.values.read_stored(value, order)
        weights = self.weights[layer.results[0]]
        name = self.values.tensor(np.transpose(weights.stored, order))
        by = Quantisation(weights.scales, np.zeros(1, np.int64), DType.I8)
        return self.values.dequantised(name, by, order.index(0))

    def _bias(self, node: Node) -> list[str]:
        """The name of the bias, if there is one; a layer may have one that the node lacks."""
        layer = self.heads.get(node)
        if layer is None:
            return [self.values.read(value) for value in node.inputs[2:]]
        weights = self.weights[layer.results[0]]
        if weights.bias is None:
            return []
        unit = self.values.quantisations[layer.operands[0]].one_scale * weights.scales
        by = Quantisation(unit, np.zeros(1, np.int64), DType.I32)
        return [self.values.dequantised(self.values.tensor(weights.bias), by, 0)]

    def _image(self, node: Node) -> list[tuple[Order, str]]:
        names = [self._read(node, 0, PLANES)]
        if isinstance(node.op, Conv2D):
            names += [self._read(node, 1, PLANES), *self._bias(node)]
        call = self._call(
            node, node.op, names, lambda v: PLANES if self.values.rank(v) == 4 else None
        )
        (name,) = IMAGES[type(node.op)](self.values, call)
        return [(PLANES, name)]

    def _dense(self, node: Node) -> list[tuple[Order, str]]:
        """A matrix times the transposed weights: Gemm, or MatMul for more axes."""
        rank = self.values.rank(node.inputs[0])
        x = self._read(node, 0, plain(rank))
        bias, name = self._bias(node), _label(node)
        if rank == 2:
            inputs = [x, self._read(node, 1, (0, 1)), *bias]
            return [(plain(2), self.values.add("Gemm", inputs, name, transB=1))]
        product = self.values.add("MatMul", [x, self._read(node, 1, (1, 0))], name)
        total = self.values.add("Add", [product, *bias], name) if bias else product
        return [(plain(rank), total)]

    def _any_order(self, node: Node) -> list[tuple[Order, str]]:
        """Write an operator, for operands in planes if the first one is in planes."""
        operands, results = (tuple(self.types[v] for v in vs) for vs in (node.inputs, node.outputs))
        first = node.inputs[0]
        if PLANES in self.values.orders(first) and operands[0].rank == 4:
            arranged = node.op.arranged(operands, results, PLANES)
            if arranged is not None:
                names = [
                    self._arranged_operand(node, index, order)
                    for index, order in enumerate(arranged.operands)
                ]
                orders = dict(zip(node.outputs, arranged.results, strict=True))
                call = self._call(node, arranged.op, names, orders.get)
                made = WRITERS[type(arranged.op)](self.values, call)
                return list(zip(arranged.results, made, strict=True))
        names = [self._read(node, index, plain(type_.rank)) for index, type_ in enumerate(operands)]
        call = self._call(node, node.op, names, lambda _: None)
        made = WRITERS[type(node.op)](self.values, call)
        return [(plain(t.rank), name) for t, name in zip(results, made, strict=True)]

    def _arranged_operand(self, node: Node, index: int, order: Order | None) -> str:
        """An operand in an order; axes of extent 1 are added in front if it has too few."""
        value = node.inputs[index]
        rank = self.values.rank(value)
        if order is None:
            return self._read(node, index, plain(rank))
        if len(order) == rank or self.values.array(value) is not None:
            return self._read(node, index, order)
        name = self._read(node, index, plain(rank))
        shape = (*(1,) * (len(order) - rank), *self.types[value].shape)
        shaped = self.values.add("Reshape", [name, self.values.integers(*shape)], f"{name}_shaped")
        return self.values.add("Transpose", [shaped], f"{name}_moved", perm=order)

    def _call(
        self, node: Node, op: object, names: list[str], order_of: Callable[[str], Order | None]
    ) -> Call:
        operands, results = (
            tuple(self._type(v, order_of(v)) for v in vs) for vs in (node.inputs, node.outputs)
        )
        return Call(op, names, operands, results, _label(node))

    def _type(self, value: str, order: Order | None) -> TensorType:
        type_ = self.types[value]
        if order is None or len(order) != type_.rank:
            return type_
        return TensorType(type_.dtype, picked(type_.shape, order))


def _unsigned(by: Quantisation) -> Quantisation:
    """The same real numbers as uint8 instead of int8.

    On x86, ONNX Runtime turns int8 into uint8, but not for values with several readers; then it
    computes the layers around them with floats.
    """
    return replace(by, zero=by.zero + 128, dtype=DType.U8)


def _is_bounded(layer: Layer, quantised: Quantised) -> bool:
    """Whether the stored integers of a layer with an activation have no tighter bounds."""
    by = quantised.quantisations[layer.results[0]]
    bounds = stored_bounds(by, Bounds(*limits(layer)))
    return len(layer.nodes) > 1 and bounds == (LOWEST, HIGHEST)


def _label(node: Node) -> str:
    return next(iter(node.source), node.outputs[0])
