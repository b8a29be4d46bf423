"""The builder for the zoo's architectures, which may have branches.

A `Net` is a graph under construction with a current value. Most methods add a layer that reads the
current value and computes the new one. `here` is the current value; `at` makes an earlier value the
current one again; `add` and `concat` join values:

    start = net.here
    net.conv(64, 3, act="relu")
    net.conv(64, 3)
    net.add(start, act="relu")

The arguments are the published numbers of filters; a narrower network has a fraction of each number
(`scaled`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ellc.frontends.ell.lower.buffers import FLT_MAX
from ellc.ir.builder import Ref
from ellc.ir.graph import Graph
from ellc.ir.op import Op
from ellc.ir.ops.activations import Clip, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Tanh
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.pointwise import Add, Mul, Relu
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Concat, Slice, Transpose
from ellc.ir.types import Array, DType, Padding
from ellc.zoo.construction import LOGIT_SPREAD, Construction, ZooOptions
from ellc.zoo.gallery import LEAKY_SLOPE
from ellc.zoo.moments import Doubles, Moments
from ellc.zoo.weights.tensors import WEIGHT
from ellc.zoo.widths import scaled

Window = int | tuple[int, int]
Pad = Literal["centred", "same", "valid"]
"""How far a window may reach beyond the image. `centred`: by half its extent on each side, as in
PyTorch and Caffe; `same`: as in TensorFlow's SAME; `valid`: not at all."""
Activation = Literal[
    "", "relu", "leaky_relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "tanh"
]

_SLOPE = float(np.float32(LEAKY_SLOPE))  # `.ell` archives store float32
_ACTIVATIONS: dict[str, tuple[Op, Callable[[Doubles], Doubles]]] = {
    "relu": (Relu(), lambda x: np.maximum(x, 0)),
    "leaky_relu": (LeakyRelu(_SLOPE), lambda x: np.maximum(x, 0) + _SLOPE * np.minimum(x, 0)),
    "relu6": (Clip(0.0, 6.0), lambda x: np.clip(x, 0, 6)),
    "hard_swish": (HardSwish(), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "hard_sigmoid": (HardSigmoid(1 / 6, 0.5), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "sigmoid": (Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (Tanh(), np.tanh),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph, with its expected statistics."""

    value: Ref
    moments: Moments


class Net(Construction):
    """A network under construction, from `input` [1, *shape] f32 to `output`.

    `pad` is the default padding of layers. `middle` and `spread` are the expected mean and standard
    deviation of the input's numbers. A flat input becomes one pixel.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        options: ZooOptions,
        *,
        pad: Pad = "centred",
        middle: float = 0.0,
        spread: float = 1.0,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__(name, shape, options)
        if len(shape) == 1:
            self._reshape((1, 1, 1, *shape))
        self._pad = pad
        self._epsilon = epsilon
        self._moments = Moments.of(shape[-1], middle, spread)

    # ---- the current value ----------------------------------------------------------------------

    @property
    def here(self) -> Tensor:
        """The current value, for use in a later `at`, `add` or `concat`."""
        return Tensor(self._value, self._moments)

    def at(self, tensor: Tensor) -> Net:
        """Make `tensor` the current value; returns this object."""
        self._value, self._moments = tensor.value, tensor.moments
        return self

    def finish(self, metadata: dict[str, str]) -> Graph:
        """Make the graph; the current value is its output, flattened if it is one pixel."""
        if self.shape[:2] == (1, 1):
            self._reshape((1, self.shape[2]))
        return super().finish(metadata)

    # ---- layers with weights --------------------------------------------------------------------

    def conv(
        self,
        filters: int,
        window: Window = 1,
        stride: Window = 1,
        act: Activation = "",
        *,
        norm: bool = True,
        bias: bool | None = None,
        pad: Pad | None = None,
        unscaled: bool = False,
        logits: bool = False,
    ) -> None:
        """Add a convolution, batch normalisation and an activation.

        If `norm` is false, or a supply has folded weights, there is a bias instead of batch
        normalisation. `bias` overrides this:
        True adds a bias in any case (before batch normalisation), False omits it. With `unscaled`,
        the number of filters does not depend on the width, as needed for classes. With `logits` the
        results have the standard deviation `LOGIT_SPREAD`.
        """
        count = filters if unscaled else self.scaled(filters)
        self._convolve(count, window, stride, 1, pad, norm=norm, bias=bias, logits=logits)
        self.act(act)

    def depthwise(
        self,
        window: Window = 3,
        stride: Window = 1,
        act: Activation = "",
        *,
        times: int = 1,
        norm: bool = True,
        bias: bool | None = None,
        pad: Pad | None = None,
    ) -> None:
        """Add a depthwise convolution with `times` filters per channel; see `conv` for the rest."""
        groups = self.shape[2]
        self._convolve(times * groups, window, stride, groups, pad, norm=norm, bias=bias)
        self.act(act)

    def blur(self, window: int, stride: int) -> None:
        """Add a depthwise convolution with fixed binomial weights."""
        self.begin("blur")
        row = np.array([math.comb(window - 1, i) for i in range(window)], np.float32)
        kernel = np.outer(row, row) / row.sum() ** 2
        weights = np.repeat(kernel[None, :, :, None], self.shape[2], 0)
        padding = self._padding((window, window), (stride, stride))
        op = Conv2D((stride, stride), padding, groups=self.shape[2])
        self._filter(op, weights, self._moments.averaged(4))

    def binary(self, filters: int, window: int = 3, stride: int = 1, *, outside: int = 0) -> None:
        """Add a convolution of signs with signs; `outside` is the padding value: 0, -1 or 1."""
        self.begin("binary")
        count, pair = self.scaled(filters), (window, window)
        shape = (count, *pair, self.shape[2])
        if self._options.supply:
            signs = self._given(WEIGHT, shape) >= 0
        else:
            signs = self._draws.signs(shape)
        padding = self._padding(pair, (stride, stride), float(outside))
        bits = self._builder.constant(signs, DType.BIT)
        self._add(Binarize())
        op = BinaryConv2D((stride, stride), padding)
        self._value = self._builder.add(op, self._value, bits, source=self._source)
        moments = self._moments.signs()
        # Blank signs, which have strides of 0, stay as they are, so that `filtered` detects them.
        weights = np.where(signs, np.float32(1), np.float32(-1)) if any(signs.strides) else signs
        self._moments = moments.filtered(weights)

    def norm(self) -> None:
        """Add batch normalisation as a separate layer, which is never folded into weights."""
        self.begin("norm")
        self.batch_normalization()

    def dense(
        self,
        outputs: int,
        act: Activation = "",
        *,
        norm: bool = False,
        unscaled: bool = False,
        logits: bool = False,
    ) -> None:
        """Add a dense layer on the whole image, with a bias, and batch normalisation if `norm`."""
        rows, columns, _ = self.shape
        self._moments = self._moments.repeated(rows * columns)
        count = outputs if unscaled else self.scaled(outputs)
        self._convolve(count, 1, 1, 1, "valid", norm=norm, bias=True, dense=True, logits=logits)
        self.act(act)

    def squeeze_excite(
        self, hidden: int, act: Activation = "relu", gate: Activation = "hard_sigmoid"
    ) -> None:
        """Add squeeze and excite: each channel is scaled by a factor.

        The factors are computed by two layers from the means of all channels.
        """
        before = self.here
        self.global_mean()
        self.conv(hidden, act=act, norm=False)
        self._convolve(before.value.type.shape[3], 1, 1, 1, "valid", norm=False)
        self.act(gate)
        gates = self.here
        self.at(before)
        self._value = self._builder.add(Mul(), before.value, gates.value, source=self._source)
        self._moments = before.moments.multiplied(gates.moments)

    # ---- layers without weights -----------------------------------------------------------------

    def act(self, name: Activation) -> None:
        """Add an activation, or nothing for an empty name."""
        if name:
            op, function = _ACTIVATIONS[name]
            self._add(op)
            self._moments = self._moments.mapped(function)

    def max(self, window: int, stride: int, *, pad: Pad | None = None, ceil: bool = False) -> None:
        """Add a maximum over windows; with `ceil` the last window may reach beyond the image."""
        self.begin("max")
        padding = self._padding((window, window), (stride, stride), -FLT_MAX, pad)
        self._add(
            MaxPool2D((window, window), (stride, stride), self._ceil(padding, window, stride, ceil))
        )
        self._moments = self._moments.largest(window * window)

    def mean(self, window: int, stride: int) -> None:
        """Add a mean over windows inside the image."""
        self.begin("mean")
        self._add(AvgPool2D((window, window), (stride, stride)))
        self._moments = self._moments.averaged(window * window)

    def global_mean(self) -> None:
        """Add a mean over the whole image, which becomes one pixel."""
        self.begin("global mean")
        rows, columns, _ = self.shape
        self._add(AvgPool2D((rows, columns), (1, 1)))
        self._moments = self._moments.averaged(rows * columns)

    def add(self, other: Tensor, act: Activation = "") -> None:
        """Add another value of the same shape to the current value."""
        self.begin("add")
        self._value = self._builder.add(Add(), self._value, other.value, source=self._source)
        self._moments = self._moments.summed(other.moments)
        self.act(act)

    def concat(self, *tensors: Tensor) -> None:
        """Concatenate the given values along the channel axis."""
        self.begin("concat")
        values = [tensor.value for tensor in tensors]
        self._value = self._builder.add(Concat(3), *values, source=self._source)
        self._moments = Moments.joined([tensor.moments for tensor in tensors])

    def halves(self) -> tuple[Tensor, Tensor]:
        """The first half and the second half of the channels."""
        self.begin("halves")
        rows, columns, channels = self.shape
        size, halves = channels // 2, []
        for start in (0, size):
            op = Slice((0, 0, 0, start), (1, rows, columns, size), (1, 1, 1, 1))
            value = self._builder.add(op, self._value, source=self._source)
            halves.append(Tensor(value, self._moments.picked(slice(start, start + size))))
        return halves[0], halves[1]

    def shuffle(self, groups: int = 2) -> None:
        """Interleave the channels of groups: the first of each group, then the second, ..."""
        self.begin("shuffle")
        rows, columns, channels = self.shape
        order = np.arange(channels).reshape(groups, -1).T.reshape(-1)
        self._reshape((1, rows, columns, groups, channels // groups))
        self._add(Transpose((0, 1, 2, 4, 3)))
        self._reshape((1, rows, columns, channels))
        self._moments = self._moments.picked(order)

    def normalise_locally(self) -> None:
        """Add local response normalisation over five channels, as in AlexNet and GoogLeNet."""
        self.begin("normalise locally")
        self._add(LRN(5, 1e-4, 0.75))

    def softmax(self) -> None:
        """Add a softmax, which makes probabilities of the classes."""
        self.begin("softmax")
        self._add(Softmax((3,)))

    def classify(self, classes: int) -> None:
        """Add the end of most networks: a mean over the image, a dense layer and a softmax."""
        self.global_mean()
        self.dense(classes, unscaled=True, logits=True)
        self.softmax()

    # ---- help -----------------------------------------------------------------------------------

    def scaled(self, filters: int) -> int:
        """Scale a published number of filters by the network's width; an even number stays even."""
        width = self._options.width
        return scaled(filters, width, 2 if filters % 2 == 0 else 1) if width != 1 else filters

    def _convolve(
        self,
        filters: int,
        window: Window,
        stride: Window,
        groups: int,
        pad: Pad | None,
        *,
        norm: bool,
        bias: bool | None = None,
        dense: bool = False,
        logits: bool = False,
    ) -> None:
        self.begin("dense" if dense else "conv" if groups == 1 else "depthwise")
        size, step = _pair(window), _pair(stride)
        weights, after = self._weights(filters, size, groups, dense=dense)
        op: Op = (
            Dense() if dense else Conv2D(step, self._padding(size, step, 0, pad), groups=groups)
        )
        if norm and not (self._options.supply and self._options.supply.folded):
            self._normalised(op, weights, after, bias=bool(bias))
            return
        if logits and self._options.draws:
            factor = np.float32(LOGIT_SPREAD / after.spread)
            weights = weights * factor
            after = after.times(np.full(filters, factor))
        self._filter(op, weights, after)
        if bias is not False:
            self.centre()

    def _weights(
        self, filters: int, size: tuple[int, int], groups: int, *, dense: bool
    ) -> tuple[Array, Moments]:
        """Weights [filters,rows,columns,channels], and the expected moments of the layer's results.

        The weights of a dense layer have one row and one column.
        """
        if not (dense and self._options.supply):
            return self._drawn(filters, size, groups, centred=True)
        given = self._given(WEIGHT, (filters, *self.shape), dense=True)
        return given.reshape(filters, 1, 1, -1), Moments.of(filters, 0.0, 1.0)

    def _normalised(self, op: Op, weights: Array, after: Moments, *, bias: bool) -> None:
        """Add `op`, an optional bias, and batch normalisation, folded or as a separate layer."""
        terms_before = self._centring(after) if bias else np.zeros(len(weights), np.float32)
        factors, terms, gamma, beta = self._statistics(after.plus(terms_before))
        if self._options.keep_batch_norm:
            self._filter(op, weights, after)
            if bias:
                self.bias(terms_before)
            self._normalise(factors, terms, gamma, beta)
            return
        scale = factors * gamma
        if not self._options.blank:
            weights = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
        self._filter(op, weights, after.times(scale))
        self.bias(terms_before * scale + terms * gamma + beta)

    def _filter(self, op: Op, weights: Array, after: Moments) -> None:
        if isinstance(op, Dense):
            outputs, inputs = weights.shape[0], weights.shape[3]
            self._reshape((1, inputs))
            self._add(op, weights.reshape(outputs, inputs))
            self._reshape((1, 1, 1, outputs))
        else:
            self._add(op, weights)
        self._moments = after

    def _padding(
        self,
        window: tuple[int, int],
        stride: tuple[int, int],
        value: float = 0.0,
        pad: Pad | None = None,
    ) -> Padding:
        match pad or self._pad:
            case "valid":
                return Padding()
            case "centred":
                rows, columns = window[0] // 2, window[1] // 2
                return Padding.of((rows, columns, rows, columns), (value,))
            case "same":
                top, bottom = _same(self.shape[0], window[0], stride[0])
                left, right = _same(self.shape[1], window[1], stride[1])
                return Padding.of((top, left, bottom, right), (value,))

    def _ceil(self, padding: Padding, window: int, stride: int, ceil: bool) -> Padding:
        """The padding; `ceil` extends it at the end so that windows cover the last pixels."""
        if not ceil:
            return padding
        top, left, bottom, right = padding.amounts
        rows, columns, _ = self.shape
        bottom += -(rows + top + bottom - window) % stride
        right += -(columns + left + right - window) % stride
        return Padding.of((top, left, bottom, right), (-FLT_MAX,))


def _pair(window: Window) -> tuple[int, int]:
    return (window, window) if isinstance(window, int) else window


def _same(extent: int, window: int, stride: int) -> tuple[int, int]:
    """The padding (before, after) of TensorFlow's SAME along one axis."""
    total = max((-(-extent // stride) - 1) * stride + window - extent, 0)
    return total // 2, total - total // 2
