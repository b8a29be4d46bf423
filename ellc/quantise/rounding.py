"""Rounds each weight up or down, so that a layer's results change least on calibration data.

The nearest integer is best for a weight alone, but not for a sum of products. The results' square
error is e' C e for each filter, with the rounding errors e and the covariance C of the numbers that
the weights multiply. As in AdaRound, every weight may become the integer below or above; here, one
weight after the other is rounded the other way if that lowers the error. (The mean of the error is
left to the correction of biases.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.common import pad_image, window_sizes, window_taps
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import Array, type_of
from ellc.progress import Progress
from ellc.quantise.layers import Layer
from ellc.quantise.observers import Watched
from ellc.quantise.ranges import HIGHEST, filter_scales
from ellc.quantise.rewrite import rounded_weights

_MOST_FACTORS = 4096
"""A layer with more weights per result is rounded to the nearest integers: C would be too large."""
_ROWS = 256
"""The most results of a layer that are looked at in one sample."""
_SWEEPS = 4


@dataclass
class Moments:
    """Sums over results of what their weights multiply: `total` [groups, factors], and `products`
    [groups, factors, factors] of pairs."""

    total: Array
    products: Array
    rows: int = 0

    def add(self, rows: Array) -> None:
        """Add the numbers of some results, an array [groups, results, factors]."""
        self.total += rows.sum(1, dtype=np.float64)
        self.products += np.matmul(rows.transpose(0, 2, 1), rows)
        self.rows += rows.shape[1]

    @property
    def covariance(self) -> Array:
        """The covariance [groups, factors, factors].

        With few results, chance makes factors look dependent. So the covariances of different
        factors are lowered, the more the fewer results there are.
        """
        mean = self.total / max(self.rows, 1)
        pairs = self.products / max(self.rows, 1)
        pairs -= mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
        factors = pairs.shape[1]
        own = np.einsum("gkk->gk", pairs).copy()
        pairs *= self.rows / (self.rows + factors)
        np.einsum("gkk->gk", pairs)[:] = own
        return pairs


def adapted(
    graph: Graph,
    layers: Sequence[Layer],
    call: Watched,
    samples: Iterable[Array],
    count: int,
    report: Progress,
) -> dict[str, Array]:
    """The stored weights of convolutions and dense layers, by the layer's result.

    `call` returns the operands of these layers. Scales are those of `filter_scales`.
    """
    arrays = graph.constant_arrays()
    products = [layer for layer in layers if layer.kind == "product"]
    moments: dict[str, Moments] = {}
    for layer in products:
        groups, _, factors = by_group(layer.head, arrays[layer.head.inputs[1]]).shape
        if factors <= _MOST_FACTORS:
            total, pairs = np.zeros((groups, factors)), np.zeros((groups, factors, factors))
            moments[layer.results[0]] = Moments(total, pairs)
    for done, sample in enumerate(samples, 1):
        values = call((sample,))
        for layer in products:
            if layer.results[0] in moments:
                weights = arrays[layer.head.inputs[1]]
                rows = factors_of(layer.head, values[layer.operands[0]], weights)
                moments[layer.results[0]].add(rows)
        report("watching weights", done, count)
    stored = {}
    for done, layer in enumerate(products, 1):
        if layer.results[0] in moments:
            weights = arrays[layer.head.inputs[1]]
            covariance = moments.pop(layer.results[0]).covariance
            stored[layer.results[0]] = least_error(layer.head, weights, covariance)
        report("rounding weights", done, len(products))
    return stored


def by_group(node: Node, weights: Array) -> Array:
    """The weights of a layer as [groups, filters of a group, factors]."""
    groups = node.op.groups if isinstance(node.op, Conv2D) else 1
    return weights.reshape(groups, len(weights) // groups, -1)


def factors_of(node: Node, x: Array, weights: Array) -> Array:
    """What the weights multiply for at most `_ROWS` results: [groups, results, factors]."""
    if not isinstance(node.op, Conv2D):
        return _some(x.reshape(-1, x.shape[-1]))[np.newaxis].astype(np.float64)
    op, window = node.op, (weights.shape[1], weights.shape[2])
    sizes = window_sizes("conv2d", type_of(x), window, op.stride, op.padding, op.dilation)
    padded = pad_image(x, op.padding)
    taps = [
        _some(pixels.reshape(-1, op.groups, x.shape[3] // op.groups))
        for _, _, pixels in window_taps(padded, window, op.stride, sizes, op.dilation)
    ]
    rows = np.stack(taps, 2).astype(np.float64)  # results, groups, taps, channels
    return rows.reshape(len(rows), op.groups, -1).transpose(1, 0, 2)


def _some(rows: Array) -> Array:
    """At most `_ROWS` rows, at equal distances."""
    chosen: Array = rows[:: -(-len(rows) // _ROWS)]
    return chosen


def least_error(node: Node, weights: Array, covariance: Array) -> Array:
    """The stored weights with a small square error of the results, as described above."""
    scales = filter_scales(weights, None, 1.0)
    groups = len(covariance)
    exact = by_group(node, weights).astype(np.float64)
    steps = scales.astype(np.float64).reshape(groups, -1)
    stored = by_group(node, rounded_weights(weights, scales)).astype(np.float64)
    for group in range(groups):
        _descend(exact[group], stored[group], steps[group], covariance[group])
    return stored.astype(np.int8).reshape(weights.shape)


def _descend(exact: Array, stored: Array, steps: Array, covariance: Array) -> None:
    """Change `stored` [filters, factors] in place, one factor of all filters after the other."""
    error = stored * steps[:, np.newaxis] - exact
    slope = error @ covariance
    for _ in range(_SWEEPS):
        changed = False
        for k in range(exact.shape[1]):
            # The other of the two integers around the exact weight.
            move = np.where(error[:, k] > 0, -1.0, 1.0)
            change = move * steps
            gain = 2 * change * slope[:, k] + change**2 * covariance[k, k]
            flipped = (gain < 0) & (np.abs(stored[:, k] + move) <= HIGHEST)
            if not flipped.any():
                continue
            changed = True
            stored[flipped, k] += move[flipped]
            error[flipped, k] += change[flipped]
            slope[flipped] += change[flipped, np.newaxis] * covariance[k]
        if not changed:
            return


def operands(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The values that weights of layers multiply."""
    found = (layer.operands[0] for layer in layers if layer.kind == "product")
    return tuple(dict.fromkeys(found))
