"""Joins DequantizeLinear, an operator and QuantizeLinear into one integer operator.

ONNX Runtime runs such a group with one integer kernel. The joined node is ONNX's operator for that
kernel (`QLinearConv`, ...), and gives the same results. A node that belongs to no group computes
with real numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from ellc.frontends.onnx.model import Attribute, OnnxGraph, OnnxInput, OnnxNode
from ellc.frontends.onnx.operators.activations import ACTIVATIONS
from ellc.frontends.onnx.registry import JOINED_DOMAIN, MICROSOFT
from ellc.frontends.onnx.schemas import has_operands
from ellc.frontends.onnx.tensors import StoredTensor
from ellc.ir.types import Array

_UINT8, _INT8, _FLOAT = 2, 3, 1
_BYTES = (_UINT8, _INT8)
_MOST_UNITS = 2.0**30
"""The bound on |bias| in units of the 32-bit sums, which leaves room for the sums themselves."""
_NO_ZERO: Array = np.zeros(1, np.uint8)
_DOMAINS = ("", MICROSOFT)
_MOVING = frozenset(
    {
        "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Resize",
        "Slice", "SpaceToDepth", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
_FUNCTIONS = frozenset(
    {"Abs", "Clip", "Erf", "Exp", "Gelu", "Log", "Neg", "Selu", "Sqrt", *ACTIVATIONS}
)


def joined(
    nodes: Sequence[OnnxNode], constants: Mapping[str, StoredTensor], outputs: Collection[str]
) -> list[OnnxNode]:
    """Replace the QuantizeLinear of every group by the joined node.

    The other nodes of a group stay in the list; if no other node reads their results, the caller
    drops them.
    """
    if not any(_is(node, "QuantizeLinear") for node in nodes):
        return list(nodes)
    # A node that lacks a required operand joins no group; its handler reports it later.
    complete = [n for n in nodes if has_operands(n)]
    graph = _Neighbours.of(complete, constants, outputs)
    ends = {id(n) for n in complete if _is(n, "QuantizeLinear")}
    return [_join(graph, n) or n if id(n) in ends else n for n in nodes]


def _is(node: OnnxNode | None, operator: str) -> bool:
    return node is not None and node.operator == operator and node.domain in _DOMAINS


@dataclass(frozen=True, slots=True)
class _Quantised:
    """The names of the values that hold a tensor's stored integers, scale and zero point.

    An empty name stands for the zero point 0.
    """

    value: str
    scale: str
    zero: str

    @property
    def names(self) -> tuple[str, str, str]:
        return (self.value, self.scale, self.zero)


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """The producer of each value, the number of its consumers, and its tensor if it is stored.

    `arrays` caches the arrays of stored tensors that have been read.
    """

    producers: Mapping[str, OnnxNode]
    consumers: Mapping[str, int]
    constants: Mapping[str, StoredTensor]
    arrays: dict[str, Array] = field(default_factory=dict)

    @staticmethod
    def of(
        nodes: Sequence[OnnxNode], constants: Mapping[str, StoredTensor], outputs: Collection[str]
    ) -> _Neighbours:
        producers = {name: node for node in nodes for name in node.outputs if name}
        consumers = Counter(name for node in nodes for name in node.inputs)
        consumers.update(outputs)
        values = {n.outputs[0]: n.attributes.get("value") for n in nodes if _is(n, "Constant")}
        in_nodes = {name: v for name, v in values.items() if isinstance(v, StoredTensor)}
        return _Neighbours(producers, consumers, {**in_nodes, **constants})

    def element_type(self, name: str) -> int:
        """ONNX's number for a stored tensor's element type; 0 for a computed value."""
        stored = self.constants.get(name)
        return stored.element_type if stored else 0

    def array(self, name: str) -> Array:
        """The elements of a stored tensor as a flat array."""
        if name not in self.arrays:
            self.arrays[name] = self.constants[name].array().reshape(-1)
        return self.arrays[name]

    def sole_producer(self, name: str) -> OnnxNode | None:
        """The node that computes a value with a single consumer; None for any other value."""
        return self.producers.get(name) if self.consumers[name] == 1 else None

    def parameters(self, node: OnnxNode, of: int) -> _Quantised | None:
        """The parameters of a QuantizeLinear or DequantizeLinear; None if they are not stored.

        They describe the node's operand if `of` is 0, and otherwise the node's result. The result
        is also None if the scale is not float32, or belongs to a block of elements.
        """
        scale, zero = (*node.inputs, "", "")[1:3]
        known = self.element_type(scale) == _FLOAT and (not zero or self.element_type(zero))
        if not known or node.attributes.get("block_size", 0):
            return None
        return _Quantised(node.inputs[0] if of == 0 else node.outputs[0], scale, zero)

    def dequantised(self, name: str, several_on: int | None = None) -> _Quantised | None:
        """The bytes from which a DequantizeLinear computes the value `name`, or None.

        The result is None if another operator computes the value, if `parameters` gives None, if
        the stored integers are not bytes, or if there are several scales along any axis but
        `several_on`.
        """
        node = self.producers.get(name)
        if node is None or not _is(node, "DequantizeLinear"):
            return None
        stored = self.parameters(node, 0)
        if stored is None or self._stored_type(stored) not in _BYTES:
            return None
        if self.array(stored.scale).size > 1:
            axis, rank = node.attributes.get("axis", 1), self._rank(stored.value)
            if several_on is None or not isinstance(axis, int):
                return None
            if not -rank <= axis < rank or axis % rank != several_on % rank:
                return None
        return stored

    def _rank(self, name: str) -> int:
        """The rank of a stored tensor, perhaps behind a QuantizeLinear; 0 for any other value."""
        producer = self.producers.get(name)
        if producer is not None and _is(producer, "QuantizeLinear"):
            name = producer.inputs[0]
        constant = self.constants.get(name)
        return len(constant.proto.dims) if constant else 0

    def _stored_type(self, stored: _Quantised) -> int:
        if stored.zero:
            return self.element_type(stored.zero)
        if stored.value in self.constants:
            return self.element_type(stored.value)
        return _UINT8 if _is(self.producers.get(stored.value), "QuantizeLinear") else 0

    def one_type(self, *values: _Quantised) -> bool:
        """Whether all values have the same, known integer type."""
        types = {self._stored_type(v) for v in values}
        return len(types) == 1 and 0 not in types

    def quantised(self, node: OnnxNode) -> _Quantised | None:
        """The result of a QuantizeLinear; None if it may not be bytes, or has several scales."""
        stored = self.parameters(node, 1)
        if stored is None or node.attributes.get("output_dtype", 0):
            return None
        makes_bytes = not stored.zero or self.element_type(stored.zero) in _BYTES
        return stored if makes_bytes and self.array(stored.scale).size == 1 else None

    def bias(self, name: str, x: _Quantised, w: _Quantised, factor: float = 1.0) -> str | None:
        """The name of the stored bias (int32 or float32) to add to the sums of factor * x * w.

        The unit of the sums is factor * scale of x * scale of w. The result is None if the bias is
        not stored, does not have the right shape, or is too large for 32 bits in that unit.
        """
        unit = np.float32(factor) * self.array(x.scale) * self.array(w.scale)
        node = self.producers.get(name)
        if node is None or not _is(node, "DequantizeLinear"):
            is_real = self.element_type(name) == _FLOAT
            return (
                name if is_real and self._fits(self._shape(name), self.array(name), unit) else None
            )
        stored = self.parameters(node, 0)
        if stored is None or stored.value not in self.constants:
            return None
        values, scale = self.array(stored.value), self.array(stored.scale)
        zero = self.array(stored.zero) if stored.zero else _NO_ZERO
        if values.dtype == np.int32 and not zero.any() and _alike(scale, unit):
            return stored.value
        if scale.size not in (1, values.size) or zero.size not in (1, values.size):
            return None
        reals = (values.astype(np.float64) - zero) * scale
        return name if self._fits(self._shape(stored.value), reals, unit) else None

    @staticmethod
    def _fits(shape: Sequence[int], reals: Array, unit: Array) -> bool:
        """Whether a bias fits 32-bit sums: it must be one small number, or a vector of them."""
        if max(shape, default=1) != reals.size or unit.size not in (1, reals.size):
            return False
        with np.errstate(all="ignore"):
            return bool(np.all(np.abs(reals.astype(np.float64) / unit) < _MOST_UNITS))

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.constants[name].proto.dims)

    def same(self, a: _Quantised, b: _Quantised) -> bool:
        """Whether both values have the same integer type, scale and zero point."""
        if (a.scale, a.zero) == (b.scale, b.zero):
            return bool(a.zero) or self._stored_type(a) == _UINT8
        first, second = (self.array(s.zero) if s.zero else _NO_ZERO for s in (a, b))
        return (
            np.array_equal(self.array(a.scale), self.array(b.scale))
            and first.dtype == second.dtype
            and np.array_equal(first, second)
        )

    def number(self, name: str) -> float | None:
        """The element of a stored float32 tensor with one element; None for any other value."""
        if self.element_type(name) != _FLOAT or self.array(name).size != 1:
            return None
        return float(self.array(name)[0])


def _alike(scale: Array, unit: Array) -> bool:
    """Whether the scale of a bias equals the unit of the sums, apart from rounding."""
    fitting = scale.size in (1, unit.size) or unit.size == 1
    return fitting and bool(np.allclose(scale, unit, rtol=1e-6, atol=0.0))


def _join(graph: _Neighbours, quantize: OnnxNode) -> OnnxNode | None:
    """The node for the group that ends with this QuantizeLinear; None if it ends no group."""
    result = graph.quantised(quantize)
    if result is None:
        return None
    name = quantize.inputs[0]
    joined_node = _table(graph, name, result)
    if joined_node is None:
        bounds: dict[str, Attribute] = {}
        node = graph.sole_producer(name)
        if node is not None and node.operator in ("Relu", "Clip") and node.domain == "":
            limits = _limits(graph, node)
            if limits is None:
                return None
            bounds = {"ellc.low": limits[0], "ellc.high": limits[1]}
            node = graph.sole_producer(node.inputs[0])
        join = _JOINERS.get(node.operator) if node is not None and node.domain == "" else None
        joined_node = join(graph, node, result, bounds) if join and node else None
    return joined_node and replace(joined_node, outputs=quantize.outputs)


def _limits(graph: _Neighbours, node: OnnxNode) -> tuple[float, float] | None:
    """The bounds of a Relu or Clip; None if they are not stored."""
    if node.operator == "Relu":
        return 0.0, np.inf
    ends = []
    for index, (key, missing) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
        attribute = node.attributes.get(key)
        name = node.inputs[index] if index < len(node.inputs) else ""
        number = graph.number(name) if name else attribute if attribute is not None else missing
        if not isinstance(number, float | int):
            return None
        ends.append(float(number))
    return ends[0], ends[1]


def _node(
    like: OnnxNode,
    operator: str,
    inputs: tuple[str, ...],
    extra: Mapping[str, Attribute],
    domain: str = MICROSOFT,
) -> OnnxNode:
    """A joined node with the name and attributes of `like`, the operator inside the group."""
    return OnnxNode(
        operator,
        inputs,
        like.outputs,
        domain,
        like.version,
        like.label,
        attributes=MappingProxyType({**like.attributes, **extra}),
        joined=like.kind,
    )


Bounds = Mapping[str, Attribute]


def _conv(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    x, w = graph.dequantised(node.inputs[0]), graph.dequantised(node.inputs[1], 0)
    if x is None or w is None:
        return None
    bias = graph.bias(node.inputs[2], x, w) if len(node.inputs) > 2 and node.inputs[2] else ""
    if bias is None:
        return None
    inputs = (*x.names, *w.names, y.scale, y.zero, bias)
    return _node(node, "QLinearConv", inputs, bounds, "")


def _mat_mul(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    a, b = graph.dequantised(node.inputs[0]), graph.dequantised(node.inputs[1], -1)
    if a is None or b is None:
        return None
    return _node(node, "QLinearMatMul", (*a.names, *b.names, y.scale, y.zero), bounds, "")


def _gemm(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    columns = 0 if node.attributes.get("transB", 0) else 1
    a, b = graph.dequantised(node.inputs[0]), graph.dequantised(node.inputs[1], columns)
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if a is None or b is None or not isinstance(alpha, float | int):
        return None
    c = graph.bias(node.inputs[2], a, b, alpha) if len(node.inputs) > 2 and node.inputs[2] else ""
    if c is None or (c and beta != 1.0):
        return None
    attributes = {k: v for k, v in node.attributes.items() if k != "beta"}
    middle = replace(node, attributes=MappingProxyType(attributes))
    return _node(middle, "QGemm", (*a.names, *b.names, c, y.scale, y.zero), bounds)


def _add(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    for index in (0, 1):
        product = graph.sole_producer(node.inputs[index])
        if product is not None and _is(product, "MatMul"):
            a, b = graph.dequantised(product.inputs[0]), graph.dequantised(product.inputs[1], -1)
            if a is None or b is None:
                continue
            c = graph.bias(node.inputs[1 - index], a, b)
            if c is not None:
                inputs = (*a.names, *b.names, c, y.scale, y.zero)
                return _node(node, "QGemm", inputs, bounds)
    return _two(graph, node, y, bounds)


def _two(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    a, b = graph.dequantised(node.inputs[0]), graph.dequantised(node.inputs[1])
    # If the integer types of a, b and y differ, ellc computes with real numbers, as ONNX Runtime
    # does.
    if a is None or b is None or not graph.one_type(a, b, y):
        return None
    inputs = (*a.names, *b.names, y.scale, y.zero)
    return _node(node, f"QLinear{node.operator}", inputs, bounds)


def _mean(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    x = graph.dequantised(node.inputs[0])
    if x is None:
        return None
    return _node(node, "QLinearGlobalAveragePool", (*x.names, y.scale, y.zero), bounds)


def _concat(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    parts = [part for name in node.inputs if (part := graph.dequantised(name))]
    if len(parts) < len(node.inputs):
        return None
    inputs = (y.scale, y.zero, *(name for part in parts for name in part.names))
    return _node(node, "QLinearConcat", inputs, bounds)


def _moving(graph: _Neighbours, node: OnnxNode, y: _Quantised, bounds: Bounds) -> OnnxNode | None:
    x = graph.dequantised(node.inputs[0])
    mixes = node.operator == "Resize" and node.attributes.get("mode", "nearest") != "nearest"
    if x is None or bounds or mixes or not graph.same(x, y):
        return None
    return replace(node, inputs=(x.value, *node.inputs[1:]), asked=set())


def _table(graph: _Neighbours, name: str, y: _Quantised) -> OnnxNode | None:
    """Replace a chain of functions between the conversions by a table with one result per byte."""
    chain: list[OnnxNode] = []
    start = name
    while (x := graph.dequantised(start)) is None:
        node = graph.sole_producer(start)
        if node is None or node.domain != "" or node.operator not in _FUNCTIONS:
            return None
        chain.insert(0, node)
        start = node.inputs[0]
    own = {start, "", *(n for node in chain for n in node.outputs)}
    read = dict.fromkeys(n for node in chain for n in node.inputs if n not in own)
    if any(n not in graph.constants for n in read):
        return None
    captured = tuple(read)
    port = OnnxInput(start, _FLOAT, None)
    function = OnnxGraph((port,), (name,), tuple(chain), MappingProxyType({}))
    return OnnxNode(
        "Table",
        (*x.names, y.scale, y.zero, *captured),
        (),
        JOINED_DOMAIN,
        name=chain[-1].label if chain else name,
        attributes=MappingProxyType({"function": function}),
        captured=captured,
        joined=chain[-1].kind if chain else "QuantizeLinear",
    )


_JOINERS: dict[str, Callable[[_Neighbours, OnnxNode, _Quantised, Bounds], OnnxNode | None]] = {
    "Add": _add,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "MatMul": _mat_mul,
    "Mul": _two,
    **dict.fromkeys(_MOVING, _moving),
}
