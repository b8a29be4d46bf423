"""What everything that builds a network of the zoo has in common: a graph that grows, with weights.

Weights of convolutions and dense layers have He's standard deviation, sqrt(2 / inputs). Biases and
batch normalisation are made from the values' expected statistics (`moments`), with the scatter that
training leaves, so that values neither grow nor vanish.
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

LOGIT_SPREAD = 2.0
"""Standard deviation of what a softmax is given."""

PIXEL_DEVIATION = 70.0
"""Of photographs, in steps of 0..255."""

_ALPHA, _ALPHA_SCATTER = 0.25, 0.05  # of the slopes of parametric ReLUs: mean, standard deviation
_EPSILON = 1e-5
_BIAS_SCATTER = 0.2  # of biases, in standard deviations of what they are added to
_GAMMA_SCATTER, _BETA_SCATTER = 0.1, 0.2


@dataclass(frozen=True, slots=True)
class Making:
    """How a network is to be made.

    `width` is the share of its filters. Batch normalisation is folded into weights and biases, or
    kept as layers of its own. `blank` weights have shapes only.
    """

    seed: int = 0
    width: Fraction = Fraction(1)
    keep_batch_norm: bool = False
    blank: bool = False
    progress: Progress = silent


class Construction:
    """A graph under construction, from `input` [1, *shape] f32 to `output`, at its last value.

    Whoever watches the making is told of every layer that begins.
    """

    def __init__(self, name: str, shape: tuple[int, ...], making: Making) -> None:
        self._builder = GraphBuilder(name, BlankPool() if making.blank else None)
        self._draws = (Blanks if making.blank else Draws)(making.seed, name)
        self._making = making
        self._value = self._builder.input("input", TensorType(DType.F32, (1, *shape)))
        self._moments = Moments.of(shape[-1], 0.0, 0.0)
        self._layers = 0
        self._source = ""

    @property
    def shape(self) -> Shape3:
        """Rows, columns and channels of the current value, without any border."""
        _, rows, columns, channels = self._value.type.shape
        return rows, columns, channels

    @property
    def moments(self) -> Moments:
        """What is expected of the current value."""
        return self._moments

    def begin(self, kind: str) -> None:
        """The operators that follow are of the source layer of this kind."""
        self._layers += 1
        self._source = f"{self._layers} {kind}"
        self._draws.restart(self._layers)
        self._making.progress(f"making weights: layer {self._source}", 0, 0)

    def finish(self, metadata: dict[str, str]) -> Graph:
        """The graph; the current value is its output."""
        self._builder.output("output", self._value)
        self._builder.metadata(metadata)
        return self._builder.build()

    def subtract(self, mean: tuple[float, ...]) -> None:
        """Subtract one number from each channel, or one from all; what is left is around zero."""
        channels = self.shape[2]
        numbers = np.resize(np.array(mean, np.float32), channels)
        self._add(Add(), -numbers)
        self._moments = Moments.of(channels, 0.0, PIXEL_DEVIATION)

    def centre(self) -> None:
        """Add a bias that brings every channel's mean to about zero."""
        self.bias(self._centring(self._moments))

    def bias(self, values: Array) -> None:
        """Add one number to each channel."""
        self._add(Add(), values)
        self._moments = self._moments.plus(values)

    def batch_normalization(self) -> None:
        """Normalise, scale and add, as ELL keeps it: three layers."""
        self._normalise(*self._statistics(self._moments))

    def _normalise(self, factors: Array, terms: Array, gamma: Array, beta: Array) -> None:
        self._add(MulAdd(), factors, terms)
        self._add(Mul(), gamma)
        self._add(Add(), beta)
        self._moments = self._moments.times(factors).plus(terms).times(gamma).plus(beta)

    def parametric_relu(self) -> None:
        """A ReLU with a slope of its own for every element."""
        alpha = self._draws.normal((1, *self.shape), _ALPHA_SCATTER, _ALPHA)
        self._add(PRelu(), alpha)
        self._moments = self._moments.rectified(alpha.mean((0, 1, 2), np.float64))

    def temperature(self) -> None:
        """A factor for each class that gives the softmax numbers of a trained network's spread."""
        factor = LOGIT_SPREAD / self._moments.spread
        scales = self._draws.normal((self.shape[2],), 0.05 * factor, factor)
        self._add(Mul(), scales)
        self._moments = self._moments.times(scales)

    # ---- help -----------------------------------------------------------------------------------

    def _centring(self, moments: Moments) -> Array:
        """A bias that brings every channel's mean to about zero."""
        scatter = self._draws.normal(moments.mean.shape, _BIAS_SCATTER * moments.spread)
        return (scatter - moments.mean).astype(np.float32)

    def _statistics(self, moments: Moments) -> tuple[Array, Array, Array, Array]:
        """A batch normalisation of such values: factors, terms, then drawn gammas and betas."""
        channels = moments.mean.shape
        factors = (1 / np.sqrt(moments.variance + _EPSILON)).astype(np.float32)
        terms = (-moments.mean * factors).astype(np.float32)
        gamma = self._draws.normal(channels, _GAMMA_SCATTER, 1.0)
        return factors, terms, gamma, self._draws.normal(channels, _BETA_SCATTER)

    def _drawn(
        self, filters: int, window: tuple[int, int], groups: int = 1
    ) -> tuple[Array, Moments]:
        """Weights of He's scale, and what is expected after a convolution with them."""
        depth = self._moments.mean.size // groups
        deviation = math.sqrt(2 / (window[0] * window[1] * depth))
        weights = self._draws.normal((filters, *window, depth), deviation)
        return weights, self._moments.filtered(weights, groups)

    def _add(self, op: Op, *constants: Array) -> None:
        operands = [self._builder.constant(array) for array in constants]
        self._value = self._builder.add(op, self._value, *operands, source=self._source)

    def _reshape(self, shape: tuple[int, ...]) -> None:
        if self._value.type.shape != shape:
            self._value = self._builder.add(Reshape(shape), self._value, source=self._source)
