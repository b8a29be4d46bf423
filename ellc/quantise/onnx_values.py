"""The nodes and values of an ONNX graph under construction, each value in one or more orders.

Images in ellc are NHWC; ONNX's convolutions and pools take NCHW. A value is transposed only if a
node needs another order than those in which the value exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ellc.frontends.onnx.quantisation import Quantisation
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised import Quantize
from ellc.ir.types import Array
from ellc.ir.weights import content_key

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Order = tuple[int, ...]
"""A permutation: axis i of the ONNX value is axis `order[i]` of the value in the graph."""
PLANES: Order = (0, 3, 1, 2)


def plain(rank: int) -> Order:
    """The order in which axes are not moved."""
    return tuple(range(rank))


@dataclass
class OnnxValues:
    """Collects nodes and stored tensors.

    `floats` and `stored` have the names of the graph's values as floats and as stored integers, by
    order. `quantisations` has the values that can be stored integers.
    """

    graph: Graph
    quantisations: Mapping[str, Quantisation]
    taken: set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    floats: dict[str, dict[Order, str]] = field(default_factory=dict)
    stored: dict[str, dict[Order, str]] = field(default_factory=dict)
    _dequantised: dict[tuple[str, Order], str] = field(default_factory=dict)
    _arrays: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._arrays = self.graph.constant_arrays()

    def add(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Add a node with one result; returns the name of the result."""
        return self.add_multi(operator, inputs, 1, name, **attributes)[0]

    def add_multi(
        self, operator: str, inputs: Sequence[str], count: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with `count` results; returns their names."""
        from onnx import helper

        results = [self.fresh(name or operator.lower()) for _ in range(count)]
        self.nodes.append(
            helper.make_node(operator, list(inputs), results, name=results[0], **attributes)
        )
        return results

    def fresh(self, stem: str) -> str:
        """A name that no value has."""
        number, name = 0, stem
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name

    def tensor(self, array: Array) -> str:
        """The name of a stored tensor; equal arrays share one."""
        from onnx import numpy_helper

        data = np.asarray(array, order="C")
        key = content_key(data)
        if key not in self.tensors:
            self.tensors[key] = numpy_helper.from_array(data, self.fresh("constant"))
        return self.tensors[key].name

    def integers(self, *numbers: int) -> str:
        """The name of a stored vector of int64: shapes, axes."""
        return self.tensor(np.array(numbers, np.int64))

    def rank(self, value: str) -> int:
        """The rank of a value of the graph."""
        return self.graph.types[value].rank

    def array(self, value: str) -> Array | None:
        """The array of a constant of the graph."""
        return self._arrays.get(value)

    def orders(self, value: str) -> set[Order]:
        """The orders in which a value exists."""
        return {*self.floats.get(value, ()), *self.stored.get(value, ())}

    def read(self, value: str, order: Order | None = None) -> str:
        """The name of a value as floats, in an order (by default that of the graph).

        A constant may have fewer axes than the order; then axes of extent 1 are put in front.
        """
        wanted = plain(self.rank(value)) if order is None else order
        array = self.array(value)
        if array is not None:
            return self.tensor(_in_order(array, wanted))
        if value in self.floats:
            return self._ordered(self.floats[value], wanted)
        return self.read_stored(value, wanted)

    def read_stored(self, value: str, order: Order) -> str:
        """The name of a value that is dequantised from its stored integers."""
        by = self.quantisations[value]
        array = self.array(value)
        if array is not None:
            parameters = (by.scale, by.zero.astype(np.int32))
            (integers,) = Quantize("half_even", by.stored).reference(array, *parameters)
            return self.dequantised(self.tensor(_in_order(integers, order)), by, 0)
        if value not in self.stored:
            known = self.floats[value]
            first = order if order in known else next(iter(known))
            quantised = self.add("QuantizeLinear", [known[first], *self.parameters(by)], value)
            self.stored[value] = {first: quantised}
        if (value, order) not in self._dequantised:
            name = self._ordered(self.stored[value], order)
            self._dequantised[value, order] = self.dequantised(name, by, 0)
        return self._dequantised[value, order]

    def store(self, value: str, order: Order, name: str) -> None:
        """Quantise the float `name`, the result of a layer; the graph calls it `value`."""
        inputs = [name, *self.parameters(self.quantisations[value])]
        self.stored[value] = {order: self.add("QuantizeLinear", inputs, value)}

    def parameters(self, by: Quantisation) -> tuple[str, str]:
        """The names of a scale and a zero point."""
        scale, zero = by.scale.reshape(()), by.zero.astype(by.stored.numpy).reshape(())
        return self.tensor(scale), self.tensor(zero)

    def dequantised(self, name: str, by: Quantisation, axis: int) -> str:
        """Add DequantizeLinear; several scales apply along `axis`."""
        if by.scale.size == 1:
            return self.add("DequantizeLinear", [name, *self.parameters(by)], f"{name}_real")
        zero = self.tensor(np.zeros(by.scale.size, by.stored.numpy))
        inputs = [name, self.tensor(by.scale), zero]
        return self.add("DequantizeLinear", inputs, f"{name}_real", axis=axis)

    def _ordered(self, known: dict[Order, str], order: Order) -> str:
        if order not in known:
            own, name = next(iter(known.items()))
            moves = [own.index(axis) for axis in order]
            known[order] = self.add("Transpose", [name], f"{name}_moved", perm=moves)
        return known[order]


def _in_order(array: Array, order: Order) -> Array:
    shape = (*(1,) * (len(order) - array.ndim), *array.shape)
    return np.transpose(array.reshape(shape), order)
