"""Random networks as ONNX models of 5 to 25 nodes; a third have QDQ, and some are recurrent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper
from onnx_models import model

from ellc.ir.types import Array

OPSET = 21


class RandomOnnx:
    """Draws a model whose input is a picture or a sequence; it depends only on the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([47, seed])
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.made = 0
        self.scales: dict[str, Array] = {}
        self.quantised = seed % 3 == 0
        is_sequence = seed % 5 == 1
        shape = (6, 1, 5) if is_sequence else (1, int(self.rng.integers(1, 5)), 8, 7)
        self.input = self.rng.standard_normal(shape).astype(np.float32)
        self.shapes = {"x": shape}
        name = "x"
        if is_sequence:
            name = self._recurrent(name)
        steps = int(self.rng.integers(4, 18))
        while len(self.nodes) < steps:
            older = str(self.rng.choice(list(self.shapes)))
            name = self._step(name if self.rng.random() < 0.8 else older)
            if self.quantised:
                name = self._qdq(name)
        self.outputs = [name]

    @property
    def proto(self) -> onnx.ModelProto:
        """The model."""
        return model(self.nodes, {"x": self.input}, self.outputs, self.constants, opset=OPSET)

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> str:
        """Add a node with one result; the attributes are ONNX's."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        self.shapes[name] = shape
        return name

    def constant(self, value: Array) -> str:
        """Add a constant."""
        self.made += 1
        name = f"c{self.made}"
        self.constants[name] = value
        return name

    def normal(self, *shape: int) -> str:
        """Add a weight that keeps the magnitude of values."""
        size = max(1, int(np.prod(shape[1:])))
        value = self.rng.standard_normal(shape) / np.sqrt(size)
        return self.constant(value.astype(np.float32))

    def weight(self, axis: int, *shape: int) -> str:
        """Add a weight; in a quantised network it mostly has 8 bits, with one scale or several."""
        name = self.normal(*shape)
        if not self.quantised or self.rng.random() < 0.3:
            return name
        value = self.constants.pop(name)
        others = tuple(i for i in range(value.ndim) if i != axis)
        largest = np.abs(value).max(others if self.rng.random() < 0.5 else None)
        scale = (np.maximum(largest, 1e-3) / 127).astype(np.float32)
        along = scale.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        stored = np.rint(value / (along if scale.ndim else scale)).astype(np.int8)
        parts = (stored, scale, np.zeros(scale.shape, np.int8))
        names = [self.constant(part) for part in parts]
        return self.dequantised(names, scale, axis)

    def bias(self, x: str, w: str, filters: int) -> str:
        """Add a bias; if both operands are quantised, it is stored in units of their product."""
        name = self.normal(filters)
        if x not in self.scales or w not in self.scales:
            return name
        scale = (self.scales[x] * self.scales[w]).astype(np.float32)
        stored = np.rint(self.constants.pop(name) / scale).astype(np.int32)
        return self.dequantised([self.constant(stored), self.constant(scale)], scale, 0)

    def dequantised(self, names: list[str], scale: Array, axis: int) -> str:
        """Dequantise a stored constant that no other node reads."""
        name = self.add("DequantizeLinear", names, (), axis=axis)
        self.scales[name] = scale
        del self.shapes[name]
        return name

    def _step(self, x: str) -> str:
        fits = _PICTURE if len(self.shapes[x]) == 4 else _ANY
        return fits[int(self.rng.integers(len(fits)))](self, x)

    def _qdq(self, x: str) -> str:
        shape = self.shapes[x]
        kind = np.int8 if self.rng.random() < 0.5 else np.uint8
        zero = int(self.rng.integers(-20, 20)) + (128 if kind is np.uint8 else 0)
        step = np.float32(self.rng.uniform(0.01, 0.05))
        scale = self.constant(step)
        point = self.constant(np.array(zero, kind))
        stored = self.add("QuantizeLinear", [x, scale, point], shape)
        del self.shapes[stored]
        name = self.add("DequantizeLinear", [stored, scale, point], shape)
        self.scales[name] = np.asarray(step)
        return name

    def _recurrent(self, x: str) -> str:
        op, gates = (("LSTM", 4), ("GRU", 3), ("RNN", 1))[int(self.rng.integers(3))]
        steps, batch, size = self.shapes[x]
        direction = str(self.rng.choice(("forward", "reverse", "bidirectional")))
        ways = 2 if direction == "bidirectional" else 1
        weights = [self.normal(ways, gates * 4, size), self.normal(ways, gates * 4, 4)]
        shape = (steps, ways, batch, 4)
        y = self.add(op, [x, *weights], shape, hidden_size=4, direction=direction)
        order = self.add("Transpose", [y], (steps, batch, ways, 4), perm=[0, 2, 1, 3])
        flat = self.constant(np.array([steps, batch, ways * 4]))
        return self.add("Reshape", [order, flat], (steps, batch, ways * 4))

    def scan(self, x: str) -> str:
        """Add a Scan along the first axis: a running total with an activation."""
        steps, *rest = self.shapes[x]
        infos = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, rest)
            for name in ("held", "element", "next", "made")
        ]
        nodes = [
            helper.make_node("Add", ["held", "element"], ["total"]),
            helper.make_node("Tanh", ["total"], ["next"]),
            helper.make_node("Identity", ["next"], ["made"]),
        ]
        body = helper.make_graph(nodes, "body", infos[:2], infos[2:])
        start = self.constant(self.rng.standard_normal(rest).astype(np.float32))
        name = self.add("Scan", [start, x], (steps, *rest), body=body, num_scan_inputs=1)
        self.nodes[-1].output.insert(0, f"{name}_last")
        return name


Step = Callable[[RandomOnnx, str], str]


def _unary(g: RandomOnnx, x: str) -> str:
    ops = ("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "HardSwish", "Erf", "LeakyRelu", "Softplus")
    return g.add(str(g.rng.choice(ops)), [x], g.shapes[x])


def _binary(g: RandomOnnx, x: str) -> str:
    equal_shapes = [name for name, shape in g.shapes.items() if shape == g.shapes[x]]
    other = str(g.rng.choice(equal_shapes)) if g.rng.random() < 0.5 else g.normal(g.shapes[x][-1])
    op = str(g.rng.choice(("Add", "Sub", "Mul", "Max", "Min")))
    return g.add(op, [x, other], g.shapes[x])


def _softmax(g: RandomOnnx, x: str) -> str:
    return g.add("Softmax", [x], g.shapes[x], axis=-1)


def _transpose(g: RandomOnnx, x: str) -> str:
    order = [int(i) for i in g.rng.permutation(len(g.shapes[x]))]
    return g.add("Transpose", [x], tuple(g.shapes[x][i] for i in order), perm=order)


def _matmul(g: RandomOnnx, x: str) -> str:
    *rest, last = g.shapes[x]
    return g.add("MatMul", [x, g.weight(1, last, 6)], (*rest, 6))


def _concat(g: RandomOnnx, x: str) -> str:
    *rest, last = g.shapes[x]
    return _binary(g, x) if last > 12 else g.add("Concat", [x, x], (*rest, 2 * last), axis=-1)


def _conv(g: RandomOnnx, x: str) -> str:
    batch, channels, rows, columns = g.shapes[x]
    depthwise = g.rng.random() < 0.3
    filters = channels if depthwise else int(g.rng.integers(1, 7))
    w = g.weight(0, filters, 1 if depthwise else channels, 3, 3)
    groups = channels if depthwise else 1
    shape = (batch, filters, rows, columns)
    return g.add("Conv", [x, w, g.bias(x, w, filters)], shape, pads=[1, 1, 1, 1], group=groups)


def _pool(g: RandomOnnx, x: str) -> str:
    op = str(g.rng.choice(("MaxPool", "AveragePool")))
    return g.add(op, [x], g.shapes[x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _scan(g: RandomOnnx, x: str) -> str:
    return g.scan(x) if g.rng.random() < 0.3 else _unary(g, x)


_ANY: tuple[Step, ...] = (_unary, _unary, _binary, _softmax, _transpose, _matmul, _concat, _scan)
_PICTURE: tuple[Step, ...] = (*_ANY, _conv, _conv, _conv, _pool)
