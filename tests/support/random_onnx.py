"""Random whole networks as ONNX models: 5 to 25 nodes, a third with QDQ, some recurrent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper
from onnx_models import model

from ir.types import Array

OPSET = 21


class RandomOnnx:
    """Draws one model of a picture or a sequence; everything depends on the seed alone."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([47, seed])
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
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
        """One node with one result; attributes as ONNX has them."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        self.shapes[name] = shape
        return name

    def constant(self, value: Array) -> str:
        """A weight."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def normal(self, *shape: int) -> str:
        """A weight that keeps values near their size."""
        size = max(1, int(np.prod(shape[1:])))
        value = self.rng.standard_normal(shape) / np.sqrt(size)
        return self.constant(value.astype(np.float32))

    def _step(self, x: str) -> str:
        fits = _PICTURE if len(self.shapes[x]) == 4 else _ANY
        return fits[int(self.rng.integers(len(fits)))](self, x)

    def _qdq(self, x: str) -> str:
        shape = self.shapes[x]
        kind = np.int8 if self.rng.random() < 0.5 else np.uint8
        zero = int(self.rng.integers(-20, 20)) + (128 if kind is np.uint8 else 0)
        scale = self.constant(np.float32(self.rng.uniform(0.01, 0.05)))
        point = self.constant(np.array(zero, kind))
        stored = self.add("QuantizeLinear", [x, scale, point], shape)
        del self.shapes[stored]
        return self.add("DequantizeLinear", [stored, scale, point], shape)

    def _recurrent(self, x: str) -> str:
        op, gates = (("LSTM", 4), ("GRU", 3), ("RNN", 1))[int(self.rng.integers(3))]
        steps, batch, size = self.shapes[x]
        weights = [self.normal(1, gates * 4, size), self.normal(1, gates * 4, 4)]
        y = self.add(op, [x, *weights], (steps, 1, batch, 4), hidden_size=4)
        axes = self.constant(np.array([1]))
        return self.add("Squeeze", [y, axes], (steps, batch, 4))


Step = Callable[[RandomOnnx, str], str]


def _unary(g: RandomOnnx, x: str) -> str:
    ops = ("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "HardSwish", "Erf", "LeakyRelu", "Softplus")
    return g.add(str(g.rng.choice(ops)), [x], g.shapes[x])


def _binary(g: RandomOnnx, x: str) -> str:
    twins = [name for name, shape in g.shapes.items() if shape == g.shapes[x]]
    other = str(g.rng.choice(twins)) if g.rng.random() < 0.5 else g.normal(g.shapes[x][-1])
    op = str(g.rng.choice(("Add", "Sub", "Mul", "Max", "Min")))
    return g.add(op, [x, other], g.shapes[x])


def _softmax(g: RandomOnnx, x: str) -> str:
    return g.add("Softmax", [x], g.shapes[x], axis=-1)


def _transpose(g: RandomOnnx, x: str) -> str:
    order = [int(i) for i in g.rng.permutation(len(g.shapes[x]))]
    return g.add("Transpose", [x], tuple(g.shapes[x][i] for i in order), perm=order)


def _matmul(g: RandomOnnx, x: str) -> str:
    *rest, last = g.shapes[x]
    return g.add("MatMul", [x, g.constant(g.rng.standard_normal((last, 6)).astype(np.float32)
                                          / np.float32(np.sqrt(last)))], (*rest, 6))  # fmt: skip


def _concat(g: RandomOnnx, x: str) -> str:
    *rest, last = g.shapes[x]
    return _binary(g, x) if last > 12 else g.add("Concat", [x, x], (*rest, 2 * last), axis=-1)


def _conv(g: RandomOnnx, x: str) -> str:
    batch, channels, rows, columns = g.shapes[x]
    depthwise = g.rng.random() < 0.3
    filters = channels if depthwise else int(g.rng.integers(1, 7))
    w = g.normal(filters, 1 if depthwise else channels, 3, 3)
    groups = channels if depthwise else 1
    shape = (batch, filters, rows, columns)
    return g.add("Conv", [x, w, g.normal(filters)], shape, pads=[1, 1, 1, 1], group=groups)


def _pool(g: RandomOnnx, x: str) -> str:
    op = str(g.rng.choice(("MaxPool", "AveragePool")))
    return g.add(op, [x], g.shapes[x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])


_ANY: tuple[Step, ...] = (_unary, _unary, _binary, _softmax, _transpose, _matmul, _concat)
_PICTURE: tuple[Step, ...] = (*_ANY, _conv, _conv, _conv, _pool)
