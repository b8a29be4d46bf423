"""Reads the layers of a neural predictor as typed classes, one for each type of archive object.

All shapes here include the output padding, as in the file, except `LayerParameters.active_shape`
and `InputLayer.data_shape`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ellc.frontends.ell.view import View

FloatArray = NDArray[np.float32]
Shape3 = tuple[int, int, int]

# ELL uses this factor for a leaky ReLU without a `leakyFactor` field.
DEFAULT_LEAKY_FACTOR = 0.1


class PaddingScheme(enum.IntEnum):
    """What the border around a layer's input or result contains."""

    ZEROS = 0
    MINUS_ONES = 1
    ALTERNATING_ZERO_AND_ONES = 2
    RANDOM_ZERO_AND_ONES = 3
    MIN = 4
    MAX = 5


class ActivationKind(enum.Enum):
    """The activation functions; a value is the archive's type name without the end `Activation`."""

    RELU = "ReLU"
    LEAKY_RELU = "LeakyReLU"
    PARAMETRIC_RELU = "ParametricReLU"
    SIGMOID = "Sigmoid"
    HARD_SIGMOID = "HardSigmoid"
    TANH = "Tanh"
    HARD_TANH = "HardTanh"


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """An activation function. Only a parametric ReLU has `alpha` [rows, columns, channels]."""

    kind: ActivationKind
    leaky_factor: float = 0.0
    alpha: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class LayerParameters:
    """The fields that every layer has; ELL has a class of the same name."""

    output_shape: Shape3
    input_padding: int = 0
    output_padding: int = 0
    input_scheme: PaddingScheme = PaddingScheme.ZEROS
    output_scheme: PaddingScheme = PaddingScheme.ZEROS

    @property
    def active_shape(self) -> Shape3:
        """The output shape without padding."""
        rows, columns, channels = self.output_shape
        return rows - 2 * self.output_padding, columns - 2 * self.output_padding, channels


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The base class of all layers; `path` is the path in the archive, for messages."""

    parameters: LayerParameters
    path: str = field(default="", kw_only=True)
    kind: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, eq=False)
class InputLayer(Layer):
    """The network's input of shape `data_shape`, multiplied by `scale`."""

    data_shape: Shape3
    scale: float = 1.0
    kind: ClassVar[str] = "InputLayer"


@dataclass(frozen=True, slots=True, eq=False)
class ActivationLayer(Layer):
    """An elementwise function."""

    activation: Activation
    kind: ClassVar[str] = "ActivationLayer"


@dataclass(frozen=True, slots=True, eq=False)
class BatchNormalizationLayer(Layer):
    """x * multiplication + addition, per channel."""

    multiplication: FloatArray
    addition: FloatArray
    epsilon: float = 1e-5
    epsilon_summand: int = 0
    kind: ClassVar[str] = "BatchNormalizationLayer"


@dataclass(frozen=True, slots=True, eq=False)
class BiasLayer(Layer):
    """x + bias, per channel."""

    bias: FloatArray
    kind: ClassVar[str] = "BiasLayer"


@dataclass(frozen=True, slots=True, eq=False)
class ScalingLayer(Layer):
    """x * scales, per channel."""

    scales: FloatArray
    kind: ClassVar[str] = "ScalingLayer"


@dataclass(frozen=True, slots=True, eq=False)
class BinaryConvolutionalLayer(Layer):
    """Binary convolution. `words` is [filters, words per filter], the lowest bit first."""

    receptive_field: int
    stride: int
    method: int
    weights_scale: int
    filters: int
    words: NDArray[np.uint64]
    filter_means: FloatArray
    kind: ClassVar[str] = "BinaryConvolutionalLayer"


@dataclass(frozen=True, slots=True, eq=False)
class ConvolutionalLayer(Layer):
    """Cross-correlation. `weights` is [filters * k, k, channels], with 1 channel for depthwise."""

    receptive_field: int
    stride: int
    method: int
    filters_at_a_time: int
    weights: FloatArray
    kind: ClassVar[str] = "ConvolutionalLayer"


@dataclass(frozen=True, slots=True, eq=False)
class FullyConnectedLayer(Layer):
    """Matrix times the flattened input, padding included. `weights` is [outputs, inputs]."""

    weights: FloatArray
    kind: ClassVar[str] = "FullyConnectedLayer"


@dataclass(frozen=True, slots=True, eq=False)
class PoolingLayer(Layer):
    """Pooling with square windows. `function` is `Max` or `Mean`."""

    function: str
    window: int
    stride: int
    kind: ClassVar[str] = "PoolingLayer"


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxLayer(Layer):
    """Softmax over all elements of the input."""

    kind: ClassVar[str] = "SoftmaxLayer"


@dataclass(frozen=True, slots=True, eq=False)
class RegionDetectionLayer(Layer):
    """The last layer of YOLO v2.

    The file cannot say whether the class scores need a softmax. The importer assumes that they do
    not.
    """

    width: int
    height: int
    boxes_per_cell: int
    classes: int
    coordinates: int
    kind: ClassVar[str] = "RegionDetectionLayer"


def read_layer(view: View) -> Layer | None:
    """Read one layer object.

    If the type is unknown, a problem is added to those of the view, and the result is None.
    """
    reader = _READERS.get(view.type.base)
    if reader is None:
        view.bad("", f"unknown layer type '{view.object.type}'")
        return None
    return reader(view)


def known_layers() -> tuple[str, ...]:
    """The names of the layer classes that can be read."""
    return tuple(sorted(_READERS))


def _parameters(view: View) -> LayerParameters:
    rows, columns, channels = view.integers("outputShape", length=3)
    parameters = LayerParameters(
        (rows, columns, channels),
        input_padding=view.integer("inputPaddingSize", high=1 << 16),
        output_padding=view.integer("outputPaddingSize", high=1 << 16),
        input_scheme=PaddingScheme(view.integer("inputPaddingScheme", high=5)),
        output_scheme=PaddingScheme(view.integer("outputPaddingScheme", high=5)),
    )
    if min(parameters.active_shape) < 0:
        view.bad(
            "outputShape", f"{list(parameters.output_shape)} is smaller than the included padding"
        )
    if rows * columns * channels > view.limits.tensor_elements:
        view.bad("outputShape", f"more than {view.limits.tensor_elements} elements")
    return parameters


def _input(view: View) -> Layer:
    rows, columns, channels = (
        view.integer(f"data_{axis}") for axis in ("rows", "columns", "channels")
    )
    scale = view.number("scale", default=1.0)
    return InputLayer(_parameters(view), (rows, columns, channels), scale, path=view.path)


def _activation(view: View) -> Layer:
    # In files from before 2018 the layer's type names the function, and the fields of the function
    # are fields of the layer itself.
    arguments = view.type.arguments
    function: View | None = view
    name = arguments[1] if len(arguments) > 1 else ""
    if "activation" in view:
        function = view.child("activation")
        name = function.object.type or "" if function is not None else ""
    parameters = _parameters(view)
    if function is None:
        return ActivationLayer(parameters, Activation(ActivationKind.RELU), path=view.path)
    activation = read_activation(function, name)
    view.sound = view.sound and function.sound
    return ActivationLayer(parameters, activation, path=view.path)


def read_activation(view: View, type_text: str) -> Activation:
    """Read an activation function from the fields of `view`.

    `type_text` is the type name of the function, such as `ReLUActivation<float>`.
    """
    name = type_text.partition("<")[0].removesuffix("Function").removesuffix("Activation")
    try:
        kind = ActivationKind(name)
    except ValueError:
        view.bad("", f"unknown activation '{type_text}'")
        return Activation(ActivationKind.RELU)
    match kind:
        case ActivationKind.LEAKY_RELU:
            factor = view.number("leakyFactor", default=DEFAULT_LEAKY_FACTOR)
            return Activation(kind, leaky_factor=factor)
        case ActivationKind.PARAMETRIC_RELU:
            return Activation(kind, alpha=view.tensor("alpha"))
        case _:
            return Activation(kind)


def _batch_normalization(view: View) -> Layer:
    return BatchNormalizationLayer(
        _parameters(view),
        view.vector("multiplicationValues"),
        view.vector("additionValues"),
        view.number("epsilon", default=1e-5),
        view.integer("epsilonSummand", default=0),
        path=view.path,
    )


def _bias(view: View) -> Layer:
    return BiasLayer(_parameters(view), view.vector("bias"), path=view.path)


def _scaling(view: View) -> Layer:
    return ScalingLayer(_parameters(view), view.vector("scales"), path=view.path)


def _binary_convolution(view: View) -> Layer:
    filters = view.integer("binarizedWeights_numVectors", low=1)
    words = view.words("binarizedWeights_values")
    if view.sound and words.size % filters:
        problem = f"the number of words, {words.size}, is no multiple of the {filters} filters"
        view.bad("binarizedWeights_values", problem)
    if view.sound:
        words = words.reshape(filters, -1)
    scale = view.integer("weightsScale", default=0, high=1)
    means = view.vector("filterMeans") if "filterMeans" in view else np.zeros(0, np.float32)
    if scale and view.sound and means.size != filters:
        view.bad("filterMeans", f"expected {filters} numbers, found {means.size}")
    return BinaryConvolutionalLayer(
        _parameters(view),
        view.integer("receptiveField", low=1, high=1 << 12),
        view.integer("stride", low=1, high=1 << 12),
        view.integer("method", default=0),
        scale,
        filters,
        words,
        means,
        path=view.path,
    )


def _convolution(view: View) -> Layer:
    return ConvolutionalLayer(
        _parameters(view),
        view.integer("receptiveField", low=1, high=1 << 12),
        view.integer("stride", low=1, high=1 << 12),
        view.integer("method", default=0),
        view.integer("numFiltersAtATime", default=0),
        view.tensor("weights"),
        path=view.path,
    )


def _fully_connected(view: View) -> Layer:
    return FullyConnectedLayer(_parameters(view), view.matrix("weights"), path=view.path)


def _pooling(view: View) -> Layer:
    arguments = view.type.arguments
    name = arguments[1] if len(arguments) > 1 else ""
    function = name.partition("<")[0].removesuffix("PoolingFunction")
    if function not in ("Max", "Mean"):
        view.bad("", f"unknown pooling '{view.object.type}'")
    return PoolingLayer(
        _parameters(view),
        function,
        view.integer("poolingSize", low=1, high=1 << 16),
        view.integer("stride", low=1, high=1 << 16),
        path=view.path,
    )


def _softmax(view: View) -> Layer:
    return SoftmaxLayer(_parameters(view), path=view.path)


def _region_detection(view: View) -> Layer:
    return RegionDetectionLayer(
        _parameters(view),
        view.integer("width"),
        view.integer("height"),
        view.integer("numBoxesPerCell", low=1),
        view.integer("numClasses"),
        view.integer("numCoordinates", default=4),
        path=view.path,
    )


_READERS: dict[str, Callable[[View], Layer]] = {
    "InputLayer": _input,
    "ActivationLayer": _activation,
    "BatchNormalizationLayer": _batch_normalization,
    "BiasLayer": _bias,
    "ScalingLayer": _scaling,
    "BinaryConvolutionalLayer": _binary_convolution,
    "ConvolutionalLayer": _convolution,
    "FullyConnectedLayer": _fully_connected,
    "PoolingLayer": _pooling,
    "SoftmaxLayer": _softmax,
    "RegionDetectionLayer": _region_detection,
}
