"""Layers of a network in plain numpy, forward and backward.

Images have the axes [batch, rows, columns, channels]. Everything is float64, not for precision:
with float32, the order of additions on another processor would change the course of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Parameter:
    """An array of trainable numbers; `backward` stores the loss's gradient with respect to them.

    The numbers stay within -limit..limit.
    """

    def __init__(self, value: Array, limit: float = np.inf) -> None:
        self.value = value
        self.limit = limit
        self.gradient: Array = np.zeros_like(value)


class Layer:
    """A layer of a network. A call of `backward` refers to the last call of `forward`."""

    parameters: Sequence[Parameter] = ()

    def forward(self, x: Array, training: bool) -> Array:
        """The layer's output; `training` means that `backward` will follow."""
        raise NotImplementedError

    def backward(self, gradient: Array) -> Array:
        """The loss's gradient with respect to the layer's input, given that for its output."""
        raise NotImplementedError


def signs(x: Array) -> Array:
    """The signs of the elements: +1 where x > 0, else -1."""
    return np.where(x > 0, 1.0, -1.0)


def image_windows(x: Array, size: int) -> Array:
    """All windows of images with a border of zeros: [N,H,W,C] -> [N*H*W,size*size*C]."""
    border = size // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * x.shape[3])


def sum_windows(windows: Array, size: int) -> Array:
    """Add each element of the windows to its pixel: [N,H,W,size*size*C] -> [N,H,W,C]."""
    batch, rows, columns, elements = windows.shape
    border, taps = size // 2, windows.reshape(batch, rows, columns, size, size, -1)
    channels = elements // size**2
    total = np.zeros((batch, rows + 2 * border, columns + 2 * border, channels))
    for i in range(size):
        for j in range(size):
            total[:, i : i + rows, j : j + columns] += taps[:, :, :, i, j]
    return total[:, border : border + rows, border : border + columns]


class Convolution(Layer):
    """A convolution with square filters of odd size, and a border of zeros around the image.

    The weights have the shape [filters,size,size,C].
    """

    def __init__(self, random: np.random.RandomState, channels: int, filters: int, size: int = 3):
        spread = np.sqrt(2 / (size * size * channels))
        self.size = size
        self.weights = Parameter(random.normal(0, spread, (filters, size, size, channels)))
        self.parameters = [self.weights]

    def forward(self, x: Array, training: bool) -> Array:
        # One matrix product for the whole batch: numpy would otherwise multiply row by row.
        self.windows = image_windows(x, self.size)
        return (self.windows @ self.matrix().T).reshape(*x.shape[:3], -1)

    def backward(self, gradient: Array) -> Array:
        flat = gradient.reshape(-1, gradient.shape[-1])
        self.weights.gradient = (flat.T @ self.windows).reshape(self.weights.value.shape)
        windows = (flat @ self.matrix()).reshape(*gradient.shape[:3], -1)
        return sum_windows(windows, self.size)

    def matrix(self) -> Array:
        """The filters as rows."""
        return self.weights.value.reshape(self.weights.value.shape[0], -1)


class BinaryConvolution(Convolution):
    """A convolution of signs: inputs and weights are taken as +1 or -1, and the border as 0.

    The derivative of the sign is 0 almost everywhere, so no gradient would pass. The
    straight-through estimator uses the derivative 1 for numbers in -1..1 instead.
    """

    def __init__(self, random: np.random.RandomState, channels: int, filters: int, size: int = 3):
        super().__init__(random, channels, filters, size)
        # Training changes real numbers, but the convolution only uses their signs.
        latent = random.uniform(-1, 1, self.weights.value.shape)
        self.weights = Parameter(latent, limit=1.0)
        self.parameters = [self.weights]

    def forward(self, x: Array, training: bool) -> Array:
        self.passes = np.abs(x) <= 1
        return super().forward(signs(x), training)

    def backward(self, gradient: Array) -> Array:
        return super().backward(gradient) * self.passes

    def matrix(self) -> Array:
        return signs(super().matrix())


class Dense(Layer):
    """A dense layer on the flattened image: weights [outputs,inputs] and a bias."""

    def __init__(self, random: np.random.RandomState, inputs: int, outputs: int):
        self.weights = Parameter(random.normal(0, np.sqrt(1 / inputs), (outputs, inputs)))
        self.bias = Parameter(np.zeros(outputs))
        self.parameters = [self.weights, self.bias]

    def forward(self, x: Array, training: bool) -> Array:
        self.shape, self.flat = x.shape, x.reshape(x.shape[0], -1)
        return self.flat @ self.weights.value.T + self.bias.value

    def backward(self, gradient: Array) -> Array:
        self.weights.gradient = gradient.T @ self.flat
        self.bias.gradient = gradient.sum(axis=0)
        return (gradient @ self.weights.value).reshape(self.shape)


class BatchNorm(Layer):
    """Batch normalisation: scales each channel to a learned mean and standard deviation.

    Training uses the batch's own statistics, and updates running statistics for inference.
    """

    EPSILON = 1e-5
    KEPT = 0.9  # the weight of the old statistics in each update of the running statistics

    def __init__(self, channels: int):
        self.gamma, self.beta = Parameter(np.ones(channels)), Parameter(np.zeros(channels))
        self.mean, self.variance = np.zeros(channels), np.ones(channels)
        self.parameters = [self.gamma, self.beta]

    def forward(self, x: Array, training: bool) -> Array:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.mean = self.KEPT * self.mean + (1 - self.KEPT) * mean
            self.variance = self.KEPT * self.variance + (1 - self.KEPT) * variance
        self.deviation = np.sqrt(variance + self.EPSILON)
        self.normal = (x - mean) / self.deviation
        return self.gamma.value * self.normal + self.beta.value

    def backward(self, gradient: Array) -> Array:
        axes = (0, 1, 2)
        self.gamma.gradient = (gradient * self.normal).sum(axis=axes)
        self.beta.gradient = gradient.sum(axis=axes)
        count = gradient.size // gradient.shape[-1]
        # Every element also changes the mean and the deviation of the batch.
        shared = self.beta.gradient + self.normal * self.gamma.gradient
        by_input: Array = self.gamma.value / self.deviation * (gradient - shared / count)
        return by_input


class Relu(Layer):
    """Max(x, 0): x where x > 0, else 0."""

    def forward(self, x: Array, training: bool) -> Array:
        self.passes = x > 0
        return np.where(self.passes, x, 0.0)

    def backward(self, gradient: Array) -> Array:
        return gradient * self.passes


class MaxPool(Layer):
    """The maximum of each block of 2x2 pixels."""

    def forward(self, x: Array, training: bool) -> Array:
        batch, rows, columns, channels = x.shape
        self.shape = x.shape
        cells = x.reshape(batch, rows // 2, 2, columns // 2, 2, channels)
        self.cells = cells.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
        self.winner = self.cells.argmax(axis=1)
        largest: Array = self.cells.max(axis=1)
        return largest.reshape(batch, rows // 2, columns // 2, channels)

    def backward(self, gradient: Array) -> Array:
        batch, rows, columns, channels = self.shape
        cells = np.zeros_like(self.cells)
        cells[np.arange(len(cells)), self.winner] = gradient.reshape(-1)
        split = cells.reshape(batch, rows // 2, columns // 2, channels, 2, 2)
        return split.transpose(0, 1, 4, 2, 5, 3).reshape(self.shape)


def cross_entropy(scores: Array, labels: Array) -> tuple[float, Array]:
    """The mean loss of softmax(scores [n,classes]) for labels [n], and its gradient by scores."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(logarithms)
    gradient[rows, labels] -= 1
    return float(-logarithms[rows, labels].mean()), gradient / len(labels)


class Adam:
    """The Adam optimiser, whose step size differs for each parameter (Kingma and Ba 2015)."""

    FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Sequence[Parameter]):
        self.parameters = parameters
        self.moments = [(np.zeros_like(p.value), np.zeros_like(p.value)) for p in parameters]
        self.steps = 0

    def step(self, rate: float) -> None:
        """Update all parameters from their gradients."""
        self.steps += 1
        scale = rate * np.sqrt(1 - self.SECOND**self.steps) / (1 - self.FIRST**self.steps)
        for p, (first, second) in zip(self.parameters, self.moments, strict=True):
            first += (1 - self.FIRST) * (p.gradient - first)
            second += (1 - self.SECOND) * (p.gradient**2 - second)
            moved = p.value - scale * first / (np.sqrt(second) + self.EPSILON)
            p.value = np.clip(moved, -p.limit, p.limit)
