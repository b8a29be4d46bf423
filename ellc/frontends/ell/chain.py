"""Converts a graph to a chain of ELL layers, or reports the operators that have no layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.lower.buffers import FLT_MAX
from ellc.frontends.problems import Problems
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Pointwise
from ellc.ir.ops import pointwise as pw
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.detection import RegionDetection
from ellc.ir.ops.norm import BatchNorm, Dropout
from ellc.ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import Array, DType, Padding

Shape3 = ell.Shape3
LayerFactory = Callable[[ell.LayerParameters], ell.Layer]

_SCHEMES = {
    0.0: ell.PaddingScheme.ZEROS,
    -1.0: ell.PaddingScheme.MINUS_ONES,
    -FLT_MAX: ell.PaddingScheme.MIN,
    FLT_MAX: ell.PaddingScheme.MAX,
}
_PLAIN_ACTIVATIONS: dict[Pointwise, ell.ActivationKind] = {
    pw.Relu(): ell.ActivationKind.RELU,
    pw.Sigmoid(): ell.ActivationKind.SIGMOID,
    pw.HardSigmoid(): ell.ActivationKind.HARD_SIGMOID,
    pw.Tanh(): ell.ActivationKind.TANH,
    pw.Clip(-1.0, 1.0): ell.ActivationKind.HARD_TANH,
}


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer whose `LayerParameters` are not known yet; `build` makes a layer of them.

    `shape` is the shape of the layer's output without padding. `padding` and `scheme` are the
    padding that the layer's input must have.
    """

    build: LayerFactory
    shape: Shape3
    padding: int = 0
    scheme: ell.PaddingScheme = ell.PaddingScheme.ZEROS
    any_shape: bool = False
    """Whether the layer can have any output shape with the right number of elements."""


class _NoLayer(Exception):
    """Raised for an operator that no layer can express; the text gives the reason."""


def planned_layers(graph: Graph) -> tuple[Shape3, list[PlannedLayer]]:
    """The shape of the input image, and the layers of a graph.

    Raises `EllcError` E206 with all problems, such as operators that no layer can express, states,
    or more than one input.
    """
    return _ChainPlanner(graph).run()


class _ChainPlanner:
    """Walks the chain from the input to the output and collects the layers in `steps`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arrays = graph.constant_arrays()
        self.problems = Problems()
        self.steps: list[PlannedLayer] = []
        self.value = graph.inputs[0].value if graph.inputs else ""
        self.shape: Shape3 = (0, 0, 0)
        # True if the value is a vector in the graph, but still an image for ELL's layers.
        self.flattened = False

    def run(self) -> tuple[Shape3, list[PlannedLayer]]:
        self.check_ends()
        self.fail_if_problems()
        first = self.shape = self.image(self.value)
        for node in self.graph.nodes:
            try:
                self.add(node)
            except _NoLayer as error:
                label = ", ".join(node.source) or node.outputs[0]
                self.problems.add(f"'{label}' ({node.op.name})", str(error))
            self.value = node.outputs[0]
            if not self.flattened:
                self.shape = self.image(self.value)
        if not self.problems and self.graph.outputs[0].value != self.value:
            self.problems.add(
                f"output '{self.graph.outputs[0].name}'", "is not the result of the last node"
            )
        if not self.problems and self.graph.types[self.value].dtype is not DType.F32:
            dtype = self.graph.types[self.value].dtype.value
            self.problems.add(
                f"output '{self.graph.outputs[0].name}'", f"the results of layers cannot be {dtype}"
            )
        self.fail_if_problems()
        return first, self.steps

    def check_ends(self) -> None:
        graph = self.graph
        for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
            if len(ports) != 1:
                self.problems.add(
                    "", f"a predictor has one {kind}, but this graph has {len(ports)}"
                )
        for state in graph.states:
            self.problems.add(f"state '{state.name}'", "layers have no state")
        for port in graph.inputs[:1]:
            type_ = graph.types[port.value]
            batch = type_.shape[0] if type_.rank in (2, 4) else 1
            if type_.dtype is not DType.F32 or type_.rank not in (1, 2, 4) or batch != 1:
                shape = list(type_.shape)
                self.problems.add(
                    f"input '{port.name}'",
                    f"{type_.dtype.value} {shape} is neither one float32 image nor a vector",
                )

    def fail_if_problems(self) -> None:
        self.problems.raise_if_any(
            f"graph '{self.graph.name}' cannot be written as .ell",
            code="E206",
            hint="write an .eir file, which holds any graph, or write the graph before any passes",
        )

    def image(self, value: str) -> Shape3:
        """A value's shape as rows, columns, channels; a vector has one row and one column."""
        shape = self.graph.types[value].shape
        if len(shape) == 4:
            return shape[1], shape[2], shape[3]
        return 1, 1, prod(shape)

    def append_layer(
        self,
        build: LayerFactory,
        node: Node,
        padding: Padding | None = None,
        *,
        any_shape: bool = False,
    ) -> None:
        """Append a layer whose result has the shape of the node's result.

        If the value is flattened, the result keeps the shape of the image.
        """
        shape = self.shape if self.flattened else self.image(node.outputs[0])
        amount, scheme = _layer_padding(padding or Padding())
        self.steps.append(PlannedLayer(build, shape, amount, scheme, any_shape))

    # ---- operators ------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Append the layers of one node."""
        if not node.inputs or node.inputs[0] != self.value:
            raise _NoLayer("does not read the result of the operator before it")
        if len(node.outputs) != 1:
            raise _NoLayer("has several results")
        for value in node.inputs[1:]:
            if value not in self.arrays:
                raise _NoLayer("has a second operand that is not a constant")
        constants = [self.arrays[value] for value in node.inputs[1:]]
        is_bits = self.graph.types[self.value].dtype is DType.BIT
        if is_bits and not isinstance(node.op, BinaryConv2D):
            raise _NoLayer("only a binary convolution can read bits")
        match node.op:
            case Dropout() | Binarize():
                pass
            case Reshape():
                self.reshape(node)
            case Conv2D() as op:
                self.convolution(node, op, *constants)
            case BinaryConv2D() as op:
                self.binary_convolution(node, op, *constants)
            case Dense():
                self.dense(node, *constants)
            case MaxPool2D() | AvgPool2D() as op:
                self.pool(node, op)
            case BatchNorm() as op:
                self.batch_norm(node, op, *constants)
            case Softmax() as op:
                self.softmax(node, op)
            case RegionDetection() as op:
                self.region(node, op)
            case _:
                self.pointwise(node, constants)

    def reshape(self, node: Node) -> None:
        """Follow a reshape without adding a layer.

        ELL's layers keep the shape of an image until one of the layers flattens it. Only a layer
        with `any_shape` can have a result of another shape.
        """
        after = self.graph.types[node.outputs[0]].shape
        rank4 = len(after) == 4
        if rank4 and after[0] == 1 and self.shape == (after[1], after[2], after[3]):
            self.flattened = False
            return
        if not rank4:
            self.flattened = self.shape[:2] != (1, 1) or len(after) > 2
            return
        if self.steps and self.steps[-1].any_shape:
            self.steps[-1] = replace(self.steps[-1], shape=(after[1], after[2], after[3]))
            self.flattened = False
            return
        raise _NoLayer(f"no layer can reshape {list(self.shape)} to {list(after)}")

    def convolution(self, node: Node, op: Conv2D, weights: Array, *bias: Array) -> None:
        filters, field, columns, depth = weights.shape
        channels = self.shape[2]
        if self.flattened:
            raise _NoLayer("reads a flattened image")
        if field != columns or op.stride[0] != op.stride[1]:
            raise _NoLayer("layers have only square filters and equal strides")
        if op.dilation != (1, 1):
            raise _NoLayer("layers have no dilation")
        if op.groups != 1 and not (op.groups == channels == filters and depth == 1):
            raise _NoLayer("layers have no groups, except a group for each channel")
        if op.groups == 1 and depth == 1 and channels > 1:
            raise _NoLayer("ELL would read weights of depth 1 as a depthwise convolution")
        tensor = _floats(weights).reshape(filters * field, field, depth)
        stride = op.stride[0]

        def build(parameters: ell.LayerParameters) -> ell.Layer:
            return ell.ConvolutionalLayer(parameters, field, stride, 0, filters, tensor)

        self.append_layer(build, node, op.padding)
        self.bias(node, *bias)

    def bias(self, node: Node, *bias: Array) -> None:
        for values in bias:
            numbers = _floats(values)
            self.append_layer(_bias_layer(numbers), node)

    def binary_convolution(self, node: Node, op: BinaryConv2D, bits: Array, *scale: Array) -> None:
        filters, field, columns, _ = bits.shape
        if field != columns or op.stride[0] != op.stride[1]:
            raise _NoLayer("layers have only square filters and equal strides")
        words = pack_bits(bits.reshape(filters, -1))
        # The layer always stores means, even if it does not use them: each is the mean magnitude of
        # a filter's weights, which is 1 for weights of +1 and -1.
        means = _floats(scale[0]) if scale else np.ones(filters, np.float32)
        stride = op.stride[0]

        def build(parameters: ell.LayerParameters) -> ell.Layer:
            scaled = 1 if scale else 0
            return ell.BinaryConvolutionalLayer(
                parameters, field, stride, 1, scaled, filters, words, means
            )

        padding = op.padding
        if padding.values == (1.0,):
            padding = Padding(*padding.amounts, (FLT_MAX,))
        self.append_layer(build, node, padding)

    def dense(self, node: Node, weights: Array, *bias: Array) -> None:
        if prod(self.shape) != weights.shape[1]:
            raise _NoLayer("does not flatten the whole image")
        matrix = _floats(weights)

        self.flattened = False
        self.append_layer(lambda p: ell.FullyConnectedLayer(p, matrix), node, any_shape=True)
        self.bias(node, *bias)

    def pool(self, node: Node, op: MaxPool2D | AvgPool2D) -> None:
        window, stride, outside = op.window[0], op.stride[0], -FLT_MAX
        function = "Max"
        if op.window[0] != op.window[1] or op.stride[0] != op.stride[1]:
            raise _NoLayer("layers have only square windows and equal strides")
        if op.dilation != (1, 1):
            raise _NoLayer("layers have no dilation")
        padding = op.padding
        if isinstance(op, MaxPool2D) and padding.values == LOWEST.values:
            # ELL pads with the lowest finite number. The result differs from padding with minus
            # infinity only if the image itself holds minus infinity.
            padding = Padding(*padding.amounts, (outside,))
        if isinstance(op, AvgPool2D):
            function, outside = "Mean", 0.0
            if not op.include_padding and not padding.is_empty:
                raise _NoLayer("a layer's mean divides by the window's area, including padding")
        # A window may reach beyond the padded image, where ELL reads the same padding value.
        top, left, bottom, right = padding.amounts
        if top == left and bottom >= top and right >= top and padding.values == (outside,):
            padding = Padding(top, top, top, top, padding.values)

        def build(parameters: ell.LayerParameters) -> ell.Layer:
            return ell.PoolingLayer(parameters, function, window, stride)

        self.append_layer(build, node, padding)

    def batch_norm(self, node: Node, op: BatchNorm, *vectors: Array) -> None:
        """Append three layers, as ELL's importers do: normalise, scale, add."""
        gamma, beta, mean, variance = (self.per_channel(vector) for vector in vectors)
        factors = (1 / np.sqrt(variance.astype(np.float64) + op.epsilon)).astype(np.float32)
        terms = -mean * factors

        def build(parameters: ell.LayerParameters) -> ell.Layer:
            return ell.BatchNormalizationLayer(parameters, factors, terms, op.epsilon)

        self.append_layer(build, node)
        self.append_layer(lambda p: ell.ScalingLayer(p, gamma), node)
        self.append_layer(_bias_layer(beta), node)

    def softmax(self, node: Node, op: Softmax) -> None:
        shape = self.graph.types[node.inputs[0]].shape
        others = [size for axis, size in enumerate(shape) if axis not in op.axes and size > 1]
        if others:
            raise _NoLayer("a layer's softmax is over all elements")
        self.append_layer(lambda p: ell.SoftmaxLayer(p), node)

    def region(self, node: Node, op: RegionDetection) -> None:
        if op.apply_softmax:
            raise _NoLayer("an archive cannot say that the class scores need a softmax")
        width, height, _ = self.shape

        def build(parameters: ell.LayerParameters) -> ell.Layer:
            return ell.RegionDetectionLayer(
                parameters, width, height, op.boxes, op.classes, op.coordinates
            )

        self.append_layer(build, node)

    def pointwise(self, node: Node, constants: list[Array]) -> None:
        op = node.op
        match op, constants:
            case pw.Add(), [values]:
                self.append_layer(_bias_layer(self.per_channel(values)), node)
            case pw.Sub(), [values]:
                self.append_layer(_bias_layer(-self.per_channel(values)), node)
            case pw.Mul(), [values]:
                scales = self.per_channel(values)
                self.append_layer(lambda p: ell.ScalingLayer(p, scales), node)
            case pw.MulAdd(), [scale, offset]:
                factors, terms = self.per_channel(scale), self.per_channel(offset)
                self.append_layer(lambda p: ell.BatchNormalizationLayer(p, factors, terms), node)
            case pw.PRelu(), [alpha]:
                full = np.broadcast_to(_floats(alpha), (1, *self.shape))[0]
                self.activation(node, ell.Activation(ell.ActivationKind.PARAMETRIC_RELU, 0.0, full))
            case pw.LeakyRelu(), []:
                leaky = ell.Activation(ell.ActivationKind.LEAKY_RELU, op.slope)
                self.activation(node, leaky)
            case Pointwise(), [] if op in _PLAIN_ACTIVATIONS:
                self.activation(node, ell.Activation(_PLAIN_ACTIVATIONS[op]))
            case _:
                raise _NoLayer("no layer computes this operator")

    def activation(self, node: Node, activation: ell.Activation) -> None:
        if self.flattened and activation.alpha is not None:
            raise _NoLayer("reads a flattened image")
        self.append_layer(lambda p: ell.ActivationLayer(p, activation), node)

    def per_channel(self, values: Array) -> ell.FloatArray:
        """A constant operand with one number, or with one for each channel, as [channels] float32.

        Raises `_NoLayer` for an operand of any other shape or type.
        """
        channels = self.shape[2]
        if self.flattened and values.size != 1:
            raise _NoLayer("reads a flattened image")
        numbers = _floats(values)
        if numbers.size == 1:
            return np.full(channels, numbers.reshape(()), np.float32)
        if numbers.size != channels or numbers.shape[-1] != channels:
            raise _NoLayer("a layer's constant has one number for each channel")
        return numbers.reshape(channels)


def pack_bits(bits: Array) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Pack booleans [filters, bits] into 64-bit words [filters, words], the lowest bit first.

    The unused bits of a filter's last word are zeros.
    """
    filters, count = bits.shape
    padded = np.zeros((filters, -(-count // 64) * 64), np.bool_)
    padded[:, :count] = bits
    octets = np.packbits(padded, axis=1, bitorder="little")
    return octets.view("<u8").astype(np.uint64)


def _bias_layer(values: ell.FloatArray) -> LayerFactory:
    return lambda p: ell.BiasLayer(p, values)


def _floats(values: Array) -> ell.FloatArray:
    if values.dtype != np.float32:
        raise _NoLayer(f"its constants are {values.dtype}, but layers store float32")
    return values


def _layer_padding(padding: Padding) -> tuple[int, ell.PaddingScheme]:
    """ELL's padding size and scheme for an operator's padding."""
    if padding.is_empty:
        return 0, ell.PaddingScheme.ZEROS
    if len(set(padding.amounts)) != 1:
        raise _NoLayer(f"the amounts of padding at the sides differ: {padding.amounts}")
    scheme = _SCHEMES.get(padding.values[0]) if len(padding.values) == 1 else None
    if scheme is None:
        raise _NoLayer(f"layers cannot pad with {', '.join(map(str, padding.values))}")
    return padding.top, scheme
