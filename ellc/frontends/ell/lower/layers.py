"""Lowers neural layers, with the semantics of ELL's reference interpreter.

A layer reads the previous layer's buffer including its border, and writes its result into a buffer
with another border. The same code lowers predictors, which are lists of layers, and nodes that are
one layer.
"""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.layout import MemoryLayout
from ellc.frontends.ell.lower.buffers import FLT_MAX, PATTERNED, StoredValue, border_fill
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Poisoned, Refused
from ellc.ir.builder import Ref
from ellc.ir.op import Pointwise
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.detection import RegionDetection
from ellc.ir.ops.pointwise import (
    Add,
    Clip,
    HardSigmoid,
    LeakyRelu,
    Mul,
    MulAdd,
    PRelu,
    Relu,
    Sigmoid,
    Tanh,
)
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.types import DType, Padding

Shape3 = ell.Shape3


def lower_predictor_node(lw: Lowering, job: Job) -> None:
    """`NeuralNetworkPredictorNode`: an input layer and a chain of other layers."""
    predictor = job.view.child("predictor")
    if predictor is None:
        raise Poisoned
    first = predictor.child("inputLayer")
    views = [*([first] if first is not None else []), *predictor.children("layers")]
    layers = [layer for layer in map(ell.read_layer, views) if layer is not None]
    if not predictor.sound or len(layers) < len(views) or not all(view.sound for view in views):
        raise Poisoned
    source = lw.source
    value = lw.read(job, "input")
    shape: Shape3 | None = None
    for index, layer in enumerate(layers):
        label = "inputLayer" if index == 0 else f"layers[{index - 1}] {layer.kind}"
        lw.source = tuple(f"{name} {label}" for name in source)
        value = _lower_one(lw, layer, value, shape)
        shape = layer.parameters.output_shape
    lw.source = source
    lw.write(job, value)


def lower_layer_node(lw: Lowering, job: Job) -> None:
    """A node that is one layer, such as `ConvolutionalLayerNode`."""
    layer_view = job.view.child("layer")
    layer = ell.read_layer(layer_view) if layer_view is not None else None
    if layer_view is None or layer is None:
        raise Poisoned
    rows, columns, channels = job.view.integers("inputShape", length=3)
    if not (job.view.sound and layer_view.sound):
        raise Poisoned
    lw.write(job, _lower_one(lw, layer, lw.read(job, "input"), (rows, columns, channels)))


def lower_spatial_convolution_node(lw: Lowering, job: Job) -> None:
    """`SpatialConvolutionNode`: a depthwise layer.

    Its input has the shape of the input port's layout; other layer nodes have a field for the
    shape.
    """
    layer_view = job.view.child("layer")
    layer = ell.read_layer(layer_view) if layer_view is not None else None
    if layer_view is None or layer is None or not layer_view.sound:
        raise Poisoned
    if not isinstance(layer, ell.ConvolutionalLayer):
        raise Refused(f"expected a convolution layer, found {layer.kind}", "layer")
    value = lw.read(job, "input")
    channels = layer.parameters.output_shape[2]
    rows, columns = _image_size(value.layout, channels)
    lw.write(job, _lower_one(lw, layer, value, (rows, columns, channels)))


def _image_size(layout: MemoryLayout, channels: int) -> tuple[int, int]:
    if len(layout.extent) != 3 or layout.extent[2] != channels:
        raise Refused(f"the input is not an image with {channels} channels", "input")
    return layout.extent[0], layout.extent[1]


def _lower_one(
    lw: Lowering, layer: ell.Layer, value: StoredValue, shape: Shape3 | None
) -> StoredValue:
    """Lower a layer; `shape` is that of its input buffer with padding, None for an input layer."""
    parameters = layer.parameters
    try:
        if isinstance(layer, ell.InputLayer):
            result = _input_layer(lw, layer, value)
        else:
            if shape is None:
                raise Refused(f"the first layer is {layer.kind}, not an input layer")
            result = _apply(lw, layer, value, _input_layout(parameters, shape))
    except Refused as refused:
        raise LayerRefused(refused.text, refused.key, layer.path) from None
    rows, columns, channels = parameters.active_shape
    result = _fit(lw, result, (rows, columns, channels), layer)
    pad = parameters.output_padding
    layout = MemoryLayout.of((rows, columns, channels), (pad, pad, 0))
    if pad and parameters.output_scheme in PATTERNED:
        lw.budget.want(parameters.output_shape, layer.path)
    fill = border_fill(parameters.output_scheme, parameters.output_shape) if pad else 0.0
    return StoredValue(result, layout, fill)


class LayerRefused(Refused):
    """Raised if a layer cannot be lowered; `path` is the path of the layer in the archive."""

    def __init__(self, text: str, key: str, path: str) -> None:
        super().__init__(text, key)
        self.path = path


def _input_layout(parameters: ell.LayerParameters, shape: Shape3) -> MemoryLayout:
    pad = parameters.input_padding
    rows, columns, channels = shape
    if rows < 2 * pad or columns < 2 * pad:
        raise Refused(f"an input of {rows}x{columns} is smaller than its padding of {pad}")
    return MemoryLayout.of((rows - 2 * pad, columns - 2 * pad, channels), (pad, pad, 0))


def _fit(lw: Lowering, result: Ref, active: Shape3, layer: ell.Layer) -> Ref:
    """Convert the result of a layer to the shape that the layer declares.

    A result that is larger is cut, because ELL computes only the declared region.
    """
    have = result.type.shape
    want = (1, *active)
    if have == want:
        return result
    if math.prod(have) == math.prod(want) and isinstance(
        layer,
        ell.FullyConnectedLayer | ell.SoftmaxLayer | ell.RegionDetectionLayer | ell.InputLayer,
    ):
        return lw.reshape(result, want)
    if len(have) == 4 and have[3] == want[3] and have[1] >= want[1] and have[2] >= want[2]:
        return lw.slice(result, (0, 0, 0, 0), want)
    raise LayerRefused(
        f"the layer computes the shape {list(have[1:])}, but its outputShape is {list(active)}",
        "outputShape",
        layer.path,
    )


def _input_layer(lw: Lowering, layer: ell.InputLayer, value: StoredValue) -> Ref:
    x = lw.reshape(lw.flat(value), (1, *layer.data_shape))
    return x if layer.scale == 1 else lw.emit(Mul(), x, lw.scalar(layer.scale, x))


def _apply(lw: Lowering, layer: ell.Layer, value: StoredValue, layout: MemoryLayout) -> Ref:
    match layer:
        case ell.ConvolutionalLayer():
            return _convolution(lw, layer, value, layout)
        case ell.BinaryConvolutionalLayer():
            return _binary_convolution(lw, layer, value, layout)
        case ell.FullyConnectedLayer():
            return _fully_connected(lw, layer, value, layout)
        case ell.PoolingLayer():
            return _pooling(lw, layer, value, layout)
    x = lw.active(value, layout)
    match layer:
        case ell.ActivationLayer():
            return apply_activation(lw, layer.activation, x)
        case ell.BatchNormalizationLayer():
            scale = _per_channel(lw, layer.multiplication, x, "multiplicationValues")
            offset = _per_channel(lw, layer.addition, x, "additionValues")
            return lw.emit(MulAdd(), x, scale, offset)
        case ell.BiasLayer():
            return lw.emit(Add(), x, _per_channel(lw, layer.bias, x, "bias"))
        case ell.ScalingLayer():
            return lw.emit(Mul(), x, _per_channel(lw, layer.scales, x, "scales"))
        case ell.SoftmaxLayer():
            return softmax(lw, x)
        case ell.RegionDetectionLayer():
            return _region_detection(lw, layer, x)
    raise Refused(f"no lowering for {layer.kind}")


def _per_channel(lw: Lowering, values: ell.FloatArray, x: Ref, key: str) -> Ref:
    channels = x.type.shape[3]
    if values.size != channels:
        raise Refused(f"expected {channels} numbers, found {values.size}", key)
    return lw.constant(values.astype(x.type.dtype.numpy))


# ---- activations --------------------------------------------------------------------------------


def activation_op(activation: ell.Activation) -> Pointwise:
    """The operator of an activation; raises `Refused` for a parametric ReLU, which has weights."""
    match activation.kind:
        case ell.ActivationKind.RELU:
            return Relu()
        case ell.ActivationKind.LEAKY_RELU:
            return LeakyRelu(activation.leaky_factor)
        case ell.ActivationKind.SIGMOID:
            return Sigmoid()
        case ell.ActivationKind.HARD_SIGMOID:
            return HardSigmoid()
        case ell.ActivationKind.TANH:
            return Tanh()
        case ell.ActivationKind.HARD_TANH:
            return Clip(-1.0, 1.0)
        case ell.ActivationKind.PARAMETRIC_RELU:
            raise Refused("a parametric ReLU needs its alpha")


def apply_activation(lw: Lowering, activation: ell.Activation, x: Ref) -> Ref:
    """Add the operator of an activation function of an image [1, rows, columns, channels]."""
    if activation.alpha is None:
        return lw.emit(activation_op(activation), x)
    alpha = activation.alpha
    if alpha.shape != x.type.shape[1:]:
        wanted = "x".join(map(str, x.type.shape[1:]))
        raise Refused(f"alpha is {'x'.join(map(str, alpha.shape))}, but the input is {wanted}")
    # ELL's importers repeat the alphas of the channels for every pixel; here one copy is enough.
    if np.array_equal(alpha, np.broadcast_to(alpha[:1, :1], alpha.shape)):
        alpha = alpha[0, 0] if alpha.size else alpha.reshape(-1)[:0]
    else:
        alpha = alpha[None]
    return lw.emit(PRelu(), x, lw.constant(alpha.astype(x.type.dtype.numpy)))


def softmax(lw: Lowering, x: Ref) -> Ref:
    """Add a softmax over all elements."""
    shape = x.type.shape
    axes = tuple(axis for axis, size in enumerate(shape) if size > 1)
    return lw.emit(Softmax(axes or (len(shape) - 1,)), x)


# ---- layers with windows or weights that reach into the border ----------------------------------


def _convolution(
    lw: Lowering, layer: ell.ConvolutionalLayer, value: StoredValue, layout: MemoryLayout
) -> Ref:
    channels = layout.size[2]
    weights, groups = convolution_weights(layer.weights, layer.receptive_field, channels)
    return convolve(lw, value, layout, weights, layer.stride, groups, layer.parameters.active_shape)


def convolution_weights(
    weights: ell.FloatArray, field: int, channels: int
) -> tuple[ell.FloatArray, int]:
    """Reshape ELL's weights [filters * k, k, depth] to [filters, k, k, depth].

    Also returns the number of groups. `field` is k, and `channels` is the number of input channels.
    If the depth is 1 and there are several channels, the convolution is depthwise.
    """
    rows, columns, depth = weights.shape
    if columns != field or rows % field:
        raise Refused(
            f"weights of {rows}x{columns} rows and columns for {field}x{field} filters", "weights"
        )
    if depth not in (1, channels):
        raise Refused(f"weights of depth {depth}, but the input has {channels} channels", "weights")
    filters = rows // field
    groups = channels if depth == 1 and channels > 1 else 1
    if groups > 1 and filters != channels:
        raise Refused(
            f"the number of depthwise filters is {filters}, that of channels {channels}", "weights"
        )
    return weights.reshape(filters, field, field, depth), groups


def convolve(
    lw: Lowering,
    value: StoredValue,
    layout: MemoryLayout,
    weights: ell.FloatArray,
    stride: int,
    groups: int,
    active: Shape3,
) -> Ref:
    """Add a convolution over a port's buffer; its first window starts at the corner of the border.

    `weights` is [filters, k, k, depth]. `active` is the output shape, which the result must cover.
    """
    x, padding = lw.padded_input(value, layout)
    _, field, _, _ = weights.shape
    _want_inside(layout, field, stride, active)
    padding = _trimmed(padding, layout, field, stride, active)
    w = lw.constant(weights.astype(x.type.dtype.numpy))
    return lw.emit(Conv2D((stride, stride), padding, groups=groups), x, w)


def _want_inside(layout: MemoryLayout, field: int, stride: int, active: Shape3) -> None:
    for extent, outputs, name in zip(layout.extent, active, ("rows", "columns"), strict=False):
        reach = (outputs - 1) * stride + field
        if outputs and reach > extent:
            raise Refused(f"{outputs} output {name} need {reach} input {name}, not {extent}")


def _trimmed(
    padding: Padding, layout: MemoryLayout, field: int, stride: int, active: Shape3
) -> Padding:
    """Remove the end of a padding if it would lead to outputs beyond those of `active`."""
    amounts = []
    for extent, outputs, after in (
        (layout.extent[0], active[0], padding.bottom),
        (layout.extent[1], active[1], padding.right),
    ):
        unread = extent - ((outputs - 1) * stride + field)
        amounts.append(after - min(after, unread) if unread >= stride else after)
    return Padding(padding.top, padding.left, amounts[0], amounts[1], padding.values)


def _binary_convolution(
    lw: Lowering, layer: ell.BinaryConvolutionalLayer, value: StoredValue, layout: MemoryLayout
) -> Ref:
    field, channels = layer.receptive_field, layout.size[2]
    bits = field * field * channels
    if layer.words.ndim != 2 or layer.words.shape[1] != (bits + 63) // 64:
        words = layer.words.shape[1] if layer.words.ndim == 2 else 0
        raise Refused(
            f"the words per filter ({words}) do not fit {bits} weights", "binarizedWeights_values"
        )
    _want_inside(layout, field, layer.stride, layer.parameters.active_shape)
    if layer.parameters.input_scheme is ell.PaddingScheme.ZEROS:
        # With this scheme ELL ignores the taps in the border, whatever the border contains.
        x = lw.active(value, layout)
        top, left, _ = layout.offset
        bottom, right, _ = layout.after
        padding = Padding(top, left, bottom, right, (0.0,))
    else:
        x, padding = lw.padded_input(value, layout)
        signs = tuple(1.0 if border > 0 else -1.0 for border in padding.values)
        padding = Padding(*padding.amounts, signs)
    padding = _trimmed(padding, layout, field, layer.stride, layer.parameters.active_shape)
    if padding.is_empty:
        padding = Padding()
    weights = unpack_bits(layer.words, bits).reshape(layer.filters, field, field, channels)
    operands = [lw.emit(Binarize(), x), lw.builder.constant(weights, DType.BIT)]
    if layer.weights_scale:
        operands.append(lw.constant(layer.filter_means.astype(np.float32)))
    return lw.emit(BinaryConv2D((layer.stride, layer.stride), padding), *operands)


def unpack_bits(words: np.ndarray, bits: int) -> np.ndarray:
    """Unpack 64-bit words [filters, words] to booleans [filters, bits], the lowest bit first."""
    octets = np.asarray(words.astype("<u8"), order="C").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=bits, bitorder="little").astype(np.bool_)


def _fully_connected(
    lw: Lowering, layer: ell.FullyConnectedLayer, value: StoredValue, layout: MemoryLayout
) -> Ref:
    outputs, inputs = layer.weights.shape
    if inputs != layout.elements:
        raise Refused(
            f"weights for {inputs} inputs, but the input has {layout.elements}", "weights"
        )
    if outputs != math.prod(layer.parameters.active_shape):
        raise Refused(f"weights for {outputs} outputs, which do not match outputShape", "weights")
    weights = layer.weights
    region = lw.region(value, layout)
    if region.layout.has_padding and not isinstance(region.fill, np.ndarray) and region.fill == 0:
        # The border consists of zeros, so its weights are not needed.
        top, left, _ = layout.offset
        rows, columns, _ = layout.size
        weights = weights.reshape(outputs, *layout.extent)
        weights = weights[:, top : top + rows, left : left + columns].reshape(outputs, -1)
        x = region.ref
    else:
        x = lw.flat(region)
    x = lw.reshape(x, (1, weights.shape[1]))
    w = lw.constant(np.asarray(weights, order="C").astype(x.type.dtype.numpy))
    return lw.emit(Dense(), x, w)


def _pooling(
    lw: Lowering, layer: ell.PoolingLayer, value: StoredValue, layout: MemoryLayout
) -> Ref:
    """Add a pooling operator; its first window starts at the corner of the border.

    A window may reach beyond the buffer. There a maximum reads the lowest finite number, and a mean
    reads zeros.
    """
    rows, columns, _ = layer.parameters.active_shape
    window, stride = layer.window, layer.stride
    beyond = [
        max(0, (outputs - 1) * stride + window - extent)
        for outputs, extent in ((rows, layout.extent[0]), (columns, layout.extent[1]))
    ]
    outside = -FLT_MAX if layer.function == "Max" else 0.0
    x, padding = lw.padded_input(value, layout)
    if any(beyond) and not padding.is_empty and padding.values != (outside,):
        # The border and the positions beyond the buffer have different values, but the attribute
        # `padding` has only one value. So the border is written into the tensor.
        x, padding = lw.with_border(lw.region(value, layout)), Padding()
    values = padding.values if not padding.is_empty else (outside,)
    padding = Padding(*padding.amounts, values)
    padding = _trimmed(padding, layout, window, stride, layer.parameters.active_shape)
    padding = Padding(
        padding.top, padding.left, padding.bottom + beyond[0], padding.right + beyond[1], values
    )
    sizes, steps = (window, window), (stride, stride)
    if layer.function == "Max":
        return lw.emit(MaxPool2D(sizes, steps, padding), x)
    return lw.emit(AvgPool2D(sizes, steps, padding, include_padding=True), x)


def _region_detection(lw: Lowering, layer: ell.RegionDetectionLayer, x: Ref) -> Ref:
    box = layer.coordinates + 1 + layer.classes
    want = (1, layer.width, layer.height, layer.boxes_per_cell * box)
    # In ELL this layer's `width` is the number of rows.
    x = lw.reshape(x, want)
    op = RegionDetection(layer.boxes_per_cell, layer.classes, layer.coordinates)
    return lw.emit(op, x)


HANDLERS: dict[str, Handler] = {
    "NeuralNetworkPredictorNode": lower_predictor_node,
    "SpatialConvolutionNode": lower_spatial_convolution_node,
    # The node has a type of its own, but its layer is an ordinary activation layer.
    "ParametricReLUActivationLayerNode": lower_layer_node,
    **{f"{kind}Node": lower_layer_node for kind in ell.known_layers() if kind != "InputLayer"},
}
