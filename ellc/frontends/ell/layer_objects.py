"""Makes the archive objects of typed layers, with the fields in ELL's order."""

from __future__ import annotations

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue
from ellc.ir.errors import InternalError

Fields = tuple[tuple[str, ArchiveValue], ...]


def layer_object(layer: ell.Layer, element: str = "float") -> ArchiveObject:
    """The archive object of a layer; `element` is `float` or `double`."""
    return ArchiveObject(
        _type_name(layer, element),
        "0",
        _parameter_fields(layer.parameters) + _own_fields(layer, element),
    )


def activation_object(activation: ell.Activation, element: str = "float") -> ArchiveObject:
    """The archive object of an activation function."""
    fields: Fields = ()
    if activation.kind is ell.ActivationKind.LEAKY_RELU:
        fields = (("leakyFactor", activation.leaky_factor),)
    elif activation.alpha is not None:
        fields = _tensor_fields("alpha", activation.alpha)
    return ArchiveObject(f"{activation.kind.value}Activation<{element}>", "0", fields)


def _type_name(layer: ell.Layer, element: str) -> str:
    if isinstance(layer, ell.PoolingLayer):
        return f"{layer.kind}<{element},{layer.function}PoolingFunction>"
    return f"{layer.kind}<{element}>"


def _parameter_fields(parameters: ell.LayerParameters) -> Fields:
    return (
        ("inputPaddingScheme", int(parameters.input_scheme)),
        ("inputPaddingSize", parameters.input_padding),
        ("outputShape", np.array(parameters.output_shape, np.int64)),
        ("outputPaddingScheme", int(parameters.output_scheme)),
        ("outputPaddingSize", parameters.output_padding),
    )


def _own_fields(layer: ell.Layer, element: str) -> Fields:
    match layer:
        case ell.InputLayer():
            # ELL stores the input of the last call here, which is all zeros for a model that never
            # ran.
            zeros = np.zeros(layer.data_shape, np.float32)
            return (*_tensor_fields("data", zeros), ("scale", layer.scale))
        case ell.ActivationLayer():
            return (("activation", activation_object(layer.activation, element)),)
        case ell.BatchNormalizationLayer():
            return (
                ("multiplicationValues", layer.multiplication),
                ("additionValues", layer.addition),
                ("epsilon", layer.epsilon),
                ("epsilonSummand", layer.epsilon_summand),
            )
        case ell.BiasLayer():
            return (("bias", layer.bias),)
        case ell.ScalingLayer():
            return (("scales", layer.scales),)
        case ell.FullyConnectedLayer():
            rows, columns = layer.weights.shape
            return (
                ("weights_rows", rows),
                ("weights_columns", columns),
                ("weights_values", layer.weights),
            )
        case ell.PoolingLayer():
            return (("poolingSize", layer.window), ("stride", layer.stride))
        case ell.SoftmaxLayer():
            return ()
        case _:
            return _convolution_fields(layer)


def _convolution_fields(layer: ell.Layer) -> Fields:
    match layer:
        case ell.ConvolutionalLayer():
            return (
                ("receptiveField", layer.receptive_field),
                ("stride", layer.stride),
                ("method", layer.method),
                ("numFiltersAtATime", layer.filters_at_a_time),
                *_tensor_fields("weights", layer.weights),
            )
        case ell.BinaryConvolutionalLayer():
            return (
                ("receptiveField", layer.receptive_field),
                ("stride", layer.stride),
                ("method", layer.method),
                ("weightsScale", layer.weights_scale),
                ("binarizedWeights_numVectors", layer.filters),
                ("binarizedWeights_values", layer.words),
                ("filterMeans", layer.filter_means),
            )
        case ell.RegionDetectionLayer():
            return (
                ("width", layer.width),
                ("height", layer.height),
                ("numBoxesPerCell", layer.boxes_per_cell),
                ("numClasses", layer.classes),
                ("numCoordinates", layer.coordinates),
            )
        case _:
            raise InternalError(f"no archive form for {type(layer).__name__}")


def _tensor_fields(name: str, tensor: ell.FloatArray) -> Fields:
    rows, columns, channels = tensor.shape
    return (
        (f"{name}_rows", rows),
        (f"{name}_columns", columns),
        (f"{name}_channels", channels),
        (f"{name}_values", tensor),
    )
