"""Leaves layers float until the quantised network loses little enough accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ellc.quantise.damage import LayerDamage
from ellc.quantise.layers import Layer


def most_noise_first(layers: Sequence[Layer], damages: Sequence[LayerDamage]) -> list[str]:
    """The results of convolutions and dense layers, those first that add most noise.

    What a layer adds is the noise of its result, relative to its signal, less that of its operand.
    """
    noise = {damage.value: 10 ** (-damage.decibels / 10) for damage in damages}
    added = {
        layer.results[0]: noise[layer.results[0]] - noise.get(layer.operands[0], 0.0)
        for layer in layers
        if layer.kind == "product"
    }
    return sorted(added, key=lambda value: (-added[value], value))


def fewest(count: int, is_enough: Callable[[int], bool]) -> int:
    """The smallest number from 1 to `count` that is enough, if every larger number is, too.

    It is found with about 2 log2(count) calls of `is_enough`; `count` itself is not tried.
    """
    low, high = 0, 1
    while high < count and not is_enough(high):
        low, high = high, 2 * high
    high = min(high, count)
    while high - low > 1:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high
