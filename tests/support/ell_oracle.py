"""A second implementation of ELL's interpreter, with plain loops over padded buffers.

It was written from the description of the format, independently of the frontend. Like ELL, it
computes on buffers that include a border; the frontend turns borders into attributes instead.
"""

from __future__ import annotations

import itertools

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.layer_objects import layer_object
from ellc.frontends.ell.layout import MemoryLayout, layout_object
from ellc.frontends.ell.lower.buffers import border_fill
from ellc.frontends.ell.values import ArchiveObject

Array = np.ndarray
FLT_MAX = float(np.finfo(np.float32).max)


def port(node: str, name: str, reference: str, kind: str = "float", code: int = 1) -> ArchiveObject:
    return ArchiveObject(
        f"InputPort<{kind}>",
        "0",
        (("nodeId", node), ("name", name), ("type", code), ("input", reference)),
    )


def layout(*size: int, padding: tuple[int, ...] | None = None) -> ArchiveObject:
    return layout_object(MemoryLayout.of(size, padding))


def predictor_map(layers: list[ell.Layer], input_size: tuple[int, ...] = ()) -> ArchiveObject:
    """A map that contains a predictor; the first layer is the input layer."""
    first, *rest = layers
    assert isinstance(first, ell.InputLayer)
    predictor = ArchiveObject(
        "NeuralNetworkPredictor<float>",
        "1",
        (("inputLayer", layer_object(first)), ("layers", tuple(map(layer_object, rest)))),
    )
    out = layers[-1].parameters.output_shape
    return graph_map(
        [
            ArchiveObject(
                "InputNode<float>",
                "2",
                (("id", "1"), ("layout", layout(*(input_size or first.data_shape)))),
            ),
            ArchiveObject(
                "NeuralNetworkPredictorNode<float>",
                "0",
                (("id", "2"), ("input", port("2", "input", "1.output")), ("predictor", predictor)),
            ),
            ArchiveObject(
                "OutputNode<float>",
                "2",
                (("id", "3"), ("input", port("3", "input", "2.output")), ("layout", layout(*out))),
            ),
        ],
        ["1"],
        ["3.output"],
    )


def graph_map(nodes: list[ArchiveObject], inputs: list[str], outputs: list[str]) -> ArchiveObject:
    return ArchiveObject(
        "Map",
        "2",
        (
            ("model", ArchiveObject("Model", "2", (("nodes", tuple(nodes)),))),
            ("inputNames", tuple(f"in{i}" for i in range(len(inputs)))),
            ("inputIds", tuple(inputs)),
            ("outputNames", tuple(f"out{i}" for i in range(len(outputs)))),
            ("outputElements", tuple(outputs)),
        ),
    )


def run_layers(layers: list[ell.Layer], x: Array) -> Array:
    """The whole buffer of the last layer, including its border, for an input image."""
    buffer = x.reshape(layers[0].data_shape) if isinstance(layers[0], ell.InputLayer) else x
    for layer in layers:
        buffer = run_layer(layer, buffer)
    return buffer


def run_layer(layer: ell.Layer, given: Array) -> Array:
    parameters = layer.parameters
    result = np.zeros(parameters.output_shape)
    result[...] = border_fill(parameters.output_scheme, parameters.output_shape)
    rows, columns, channels = parameters.active_shape
    pad = parameters.output_padding
    active = result[pad : pad + rows, pad : pad + columns]
    edge = parameters.input_padding
    inner = given[edge : given.shape[0] - edge, edge : given.shape[1] - edge].astype(np.float64)
    match layer:
        case ell.InputLayer():
            active[...] = given * layer.scale
        case ell.ActivationLayer():
            active[...] = activate(layer.activation, inner)
        case ell.BatchNormalizationLayer():
            active[...] = inner * layer.multiplication + layer.addition
        case ell.BiasLayer():
            active[...] = inner + layer.bias
        case ell.ScalingLayer():
            active[...] = inner * layer.scales
        case ell.FullyConnectedLayer():
            flat = layer.weights.astype(np.float64) @ given.reshape(-1)
            active[...] = flat.reshape(rows, columns, channels)
        case ell.SoftmaxLayer():
            powers = np.exp(inner - inner.max())
            active[...] = powers / powers.sum()
        case ell.RegionDetectionLayer():
            active[...] = region(layer, inner)
        case _:
            for r, c in itertools.product(range(rows), range(columns)):
                active[r, c] = window_value(layer, given, r, c)
    return result


def activate(activation: ell.Activation, x: Array) -> Array:
    match activation.kind:
        case ell.ActivationKind.RELU:
            return np.where(x > 0, x, 0)
        case ell.ActivationKind.LEAKY_RELU:
            return np.where(x > 0, x, activation.leaky_factor * x)
        case ell.ActivationKind.PARAMETRIC_RELU:
            return np.where(x > 0, x, activation.alpha * x)
        case ell.ActivationKind.SIGMOID:
            return 1 / (1 + np.exp(-x))
        case ell.ActivationKind.HARD_SIGMOID:
            return np.clip(0.2 * x + 0.5, 0, 1)
        case ell.ActivationKind.TANH:
            return np.tanh(x)
        case ell.ActivationKind.HARD_TANH:
            return np.clip(x, -1, 1)


def region(layer: ell.RegionDetectionLayer, x: Array) -> Array:
    result = x.copy().reshape(-1)
    box = layer.coordinates + 1 + layer.classes
    for start in range(0, result.size, box):
        at = start + layer.coordinates
        result[at] = 1 / (1 + np.exp(-result[at]))
    return result.reshape(x.shape)


def window_value(layer: ell.Layer, given: Array, r: int, c: int) -> Array:
    """An output pixel of a layer that reads a window."""
    match layer:
        case ell.PoolingLayer():
            return pool(layer, given, r, c)
        case ell.BinaryConvolutionalLayer():
            return binary(layer, given, r, c)
        case ell.ConvolutionalLayer():
            k, top, left = layer.receptive_field, r * layer.stride, c * layer.stride
            cells = given[top : top + k, left : left + k].astype(np.float64)
            weights = layer.weights.reshape(-1, k, k, layer.weights.shape[2]).astype(np.float64)
            if weights.shape[3] == 1 and given.shape[2] > 1:
                return np.einsum("ijc,cij->c", cells, weights[..., 0])
            return np.einsum("ijc,fijc->f", cells, weights)
    raise AssertionError(layer)


def pool(layer: ell.PoolingLayer, given: Array, r: int, c: int) -> Array:
    values = []
    for i, j in itertools.product(range(layer.window), repeat=2):
        row, column = r * layer.stride + i, c * layer.stride + j
        if row < given.shape[0] and column < given.shape[1]:
            values.append(given[row, column].astype(np.float64))
        else:
            outside = -FLT_MAX if layer.function == "Max" else 0.0
            values.append(np.full(given.shape[2], outside))
    stacked = np.stack(values)
    return stacked.max(0) if layer.function == "Max" else stacked.sum(0) / layer.window**2


def binary(layer: ell.BinaryConvolutionalLayer, given: Array, r: int, c: int) -> Array:
    """The sum over words of N - P - 2 * popcount(mask and (w xor x))."""
    k, channels, edge = layer.receptive_field, given.shape[2], layer.parameters.input_padding
    x, mask, masked = 0, 0, 0
    for i, j, channel in itertools.product(range(k), range(k), range(channels)):
        row, column = r * layer.stride + i, c * layer.stride + j
        bit = 1 << ((i * k + j) * channels + channel)
        outside = not (
            edge <= row < given.shape[0] - edge and edge <= column < given.shape[1] - edge
        )
        if outside and layer.parameters.input_scheme is ell.PaddingScheme.ZEROS:
            masked += 1
            continue
        mask |= bit
        x |= bit if given[row, column, channel] > 0 else 0
    results = []
    for filter_index in range(layer.filters):
        w = sum(int(word) << (64 * at) for at, word in enumerate(layer.words[filter_index]))
        different = (mask & (w ^ x)).bit_count()
        value = k * k * channels - masked - 2 * different
        scale = layer.filter_means[filter_index] if layer.weights_scale else 1.0
        results.append(value * float(scale))
    return np.array(results)
