"""The base class of the zoo's builders: a graph under construction with seeded weights.

The weights of convolutions and dense layers have He's standard deviation, sqrt(2 / inputs). Biases
and batch normalisation are chosen so that values neither grow nor vanish from layer to layer: they
are computed from the expected statistics of the values (`moments`). Random deviations are added to
them, because trained networks have such deviations. A supply replaces all of these by trained
weights from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import Add, Mul, MulAdd, PRelu
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import Array, DType, TensorType
from ellc.progress import Progress, silent
from ellc.zoo.draws import BlankPool, Blanks, Draws
from ellc.zoo.gallery import Shape3
from ellc.zoo.moments import Moments
from ellc.zoo.weights.match import Supply
from ellc.zoo.weights.tensors import BIAS, GAMMA, MEAN, VARIANCE, WEIGHT, Slot

LOGIT_SPREAD = 2.0
"""The standard deviation of the operand of a softmax."""

PIXEL_DEVIATION = 70.0
"""The standard deviation of the pixels (0 to 255) of photographs."""

_ALPHA, _ALPHA_SCATTER = 0.25, 0.05  # slopes of parametric ReLUs: mean, standard deviation
_EPSILON = 1e-5
_BIAS_SCATTER = 0.2  # standard deviation of biases, as a fraction of the values' standard deviation
_GAMMA_SCATTER, _BETA_SCATTER = 0.1, 0.2


@dataclass(frozen=True, slots=True)
class ZooOptions:
    """Options for building a network.

    `width` is the fraction of filters to keep in inner layers. With `keep_batch_norm`, batch
    normalisation is a separate layer; otherwise it is folded into weights and biases. With `blank`,
    weights are views of a single zero. `supply` provides trained weights.
    """

    seed: int = 0
    width: Fraction = Fraction(1)
    keep_batch_norm: bool = False
    blank: bool = False
    progress: Progress = silent
    supply: Supply | None = None

    @property
    def draws(self) -> bool:
        """Whether weights are random numbers, so that the construction can choose their scale."""
        return not self.blank and self.supply is None


class Construction:
    """A graph under construction, from `input` [1, *shape] f32 to the current value.

    Each layer is reported to `progress` when it begins.
    """

    def __init__(self, name: str, shape: tuple[int, ...], options: ZooOptions) -> None:
        self._builder = GraphBuilder(name, BlankPool() if options.blank else None)
        self._draws = (Blanks if options.blank else Draws)(options.seed, name)
        self._options = options
        self._epsilon = _EPSILON
        self._value = self._builder.input("input", TensorType(DType.F32, (1, *shape)))
        self._moments = Moments.of(shape[-1], 0.0, 0.0)
        self._layers = 0
        self._source = ""

    @property
    def shape(self) -> Shape3:
        """Rows, columns and channels of the current value."""
        _, rows, columns, channels = self._value.type.shape
        return rows, columns, channels

    @property
    def moments(self) -> Moments:
        """The expected statistics of the current value."""
        return self._moments

    def begin(self, kind: str) -> None:
        """Begin a layer of this kind; operators that are added from now on belong to it."""
        self._layers += 1
        self._source = f"{self._layers} {kind}"
        self._draws.restart(self._layers)
        self._options.progress(f"making weights: layer {self._source}", 0, 0)

    def finish(self, metadata: dict[str, str]) -> Graph:
        """Make the graph; the current value is its output."""
        self._builder.output("output", self._value)
        self._builder.metadata(metadata)
        return self._builder.build()

    def subtract(self, mean: tuple[float, ...]) -> None:
        """Subtract a separate number from each channel, or a single number from all channels.

        The result is expected to have a mean of zero and the standard deviation `PIXEL_DEVIATION`.
        """
        channels = self.shape[2]
        numbers = np.resize(np.array(mean, np.float32), channels)
        self._add(Add(), -numbers)
        self._moments = Moments.of(channels, 0.0, PIXEL_DEVIATION)

    def centre(self) -> None:
        """Add a bias that moves the mean of every channel close to 0, or the next one supplied."""
        self.bias(self._centring(self._moments))

    def bias(self, values: Array) -> None:
        """Add one number to each channel."""
        self._add(Add(), values)
        self._moments = self._moments.plus(values)

    def batch_normalization(self) -> None:
        """Add batch normalisation as the three layers that ELL has: normalise, scale, add."""
        self._normalise(*self._statistics(self._moments))

    def _normalise(self, factors: Array, terms: Array, gamma: Array, beta: Array) -> None:
        self._add(MulAdd(), factors, terms)
        self._add(Mul(), gamma)
        self._add(Add(), beta)
        self._moments = self._moments.times(factors).plus(terms).times(gamma).plus(beta)

    def parametric_relu(self) -> None:
        """Add a ReLU with a separate slope for every element."""
        alpha = self._draws.normal((1, *self.shape), _ALPHA_SCATTER, _ALPHA)
        self._add(PRelu(), alpha)
        self._moments = self._moments.rectified(alpha.mean((0, 1, 2), np.float64))

    def temperature(self) -> None:
        """Multiply each class by a factor, so that the softmax gets a spread of `LOGIT_SPREAD`."""
        factor = LOGIT_SPREAD / self._moments.spread
        scales = self._draws.normal((self.shape[2],), 0.05 * factor, factor)
        self._add(Mul(), scales)
        self._moments = self._moments.times(scales)

    # ---- help -----------------------------------------------------------------------------------

    def _centring(self, moments: Moments) -> Array:
        """The next bias of the supply, or else one that moves every channel's mean close to 0."""
        if self._options.supply:
            return self._given(BIAS, moments.mean.shape)
        scatter = self._draws.normal(moments.mean.shape, _BIAS_SCATTER * moments.spread)
        return (scatter - moments.mean).astype(np.float32)

    def _statistics(self, moments: Moments) -> tuple[Array, Array, Array, Array]:
        """The factors, terms, gammas and betas of a batch normalisation.

        Factors and terms normalise values with the given moments; gammas and betas are random. If
        there is a supply, all four come from it.
        """
        channels = moments.mean.shape
        if self._options.supply:
            roles = (GAMMA, BIAS, MEAN, VARIANCE)
            gamma, beta, mean, variance = (self._given(role, channels) for role in roles)
            deviation = np.sqrt(variance.astype(np.float64) + self._epsilon)
            factors = (1 / deviation).astype(np.float32)
            return factors, -mean * factors, gamma, beta
        factors = (1 / np.sqrt(moments.variance + self._epsilon)).astype(np.float32)
        terms = (-moments.mean * factors).astype(np.float32)
        gamma = self._draws.normal(channels, _GAMMA_SCATTER, 1.0)
        return factors, terms, gamma, self._draws.normal(channels, _BETA_SCATTER)

    def _drawn(
        self, filters: int, window: tuple[int, int], groups: int = 1, *, centred: bool = False
    ) -> tuple[Array, Moments]:
        """Random or supplied weights, and the expected statistics of the convolution's results.

        For supplied weights, the statistics are only placeholders: mean 0, deviation 1. With
        `centred`, the random weights of a filter that reads several channels add up to zero.
        Otherwise a picture whose values after a ReLU are larger than expected in all channels would
        move the next layer's values by more than their standard deviation, and the values of each
        further layer by even more, so that a deep network would answer every such picture with the
        same class.
        """
        depth = self._moments.mean.size // groups
        if self._options.supply:
            given = self._given(WEIGHT, (filters, *window, depth))
            return given, Moments.of(filters, 0.0, 1.0)
        deviation = math.sqrt(2 / (window[0] * window[1] * depth))
        weights = self._draws.normal((filters, *window, depth), deviation)
        if centred and depth > 1 and not self._options.blank:
            means = weights.mean((1, 2, 3), np.float64, keepdims=True)
            weights = (weights - means).astype(np.float32)
        return weights, self._moments.filtered(weights, groups)

    def _given(self, role: str, shape: tuple[int, ...], *, dense: bool = False) -> Array:
        """The supply's array for the next slot, whose shape is `shape`."""
        assert self._options.supply
        return self._options.supply.take(Slot(role, shape, self._source, dense))

    def _add(self, op: Op, *constants: Array) -> None:
        operands = [self._builder.constant(array) for array in constants]
        self._value = self._builder.add(op, self._value, *operands, source=self._source)

    def _reshape(self, shape: tuple[int, ...]) -> None:
        if self._value.type.shape != shape:
            self._value = self._builder.add(Reshape(shape), self._value, source=self._source)
