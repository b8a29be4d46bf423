"""Measures what quantisation does to each value: signal to noise, and saturation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellc.frontends.onnx.quantisation import Quantisation
from ellc.ir.types import Array
from ellc.progress import Progress
from ellc.quantise.layers import Kind, Layer
from ellc.quantise.observers import Histogram, watched
from ellc.quantise.quantising import Quantised
from ellc.quantise.ranges import HIGHEST, LOWEST


@dataclass(frozen=True, slots=True)
class LayerDamage:
    """A layer with its result's range, and how far the result is from that of the float network.

    `low` and `high` are the ends of the numbers that stored integers stand for; `chosen_by` is the
    way in which they were chosen. `decibels` is the ratio of the signal (the float network's
    values) to the noise (the differences) in dB; the noise of earlier layers is in it. It is
    infinite without noise. `saturated` is the fraction of the values of the float network that are
    outside the range.
    """

    name: str
    kind: Kind
    value: str
    chosen_by: str
    low: float
    high: float
    scale: float
    zero: int
    decibels: float
    saturated: float


def measured(
    quantised: Quantised, samples: Iterable[Array], count: int, folder: Path, report: Progress
) -> tuple[LayerDamage, ...]:
    """Run the float network and the integer network on `count` samples, and compare all layers."""
    values = tuple(layer.results[0] for layer in quantised.layers)
    signal, noise = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    with (
        watched(quantised.before, values, folder / "before", report) as before,
        watched(quantised.full, values, folder / "after", report) as after,
    ):
        for done, sample in enumerate(samples, 1):
            wanted, got = before((sample,)), after((sample,))
            for value in values:
                first, second = _energies(wanted[value], got[value])
                signal[value] += first
                noise[value] += second
            report("comparing layers", done, count)
    return tuple(
        _damage(layer, quantised, signal[layer.results[0]], noise[layer.results[0]])
        for layer in quantised.layers
    )


def decibels(signal: float, noise: float) -> float:
    """The ratio of two energies in dB."""
    if noise == 0:
        return np.inf
    return 10 * float(np.log10(signal / noise)) if signal else -np.inf


def _energies(wanted: Array, got: Array) -> tuple[float, float]:
    doubles = wanted.astype(np.float64)
    difference = got.astype(np.float64) - doubles
    return float((doubles**2).sum()), float((difference**2).sum())


def _damage(layer: Layer, quantised: Quantised, signal: float, noise: float) -> LayerDamage:
    value = layer.results[0]
    by = quantised.quantisations[value]
    low, high = ends(by)
    seen = quantised.observations[value].histogram
    return LayerDamage(
        layer.name,
        layer.kind,
        value,
        quantised.methods[value],
        low,
        high,
        float(by.one_scale),
        by.one_zero,
        decibels(signal, noise),
        outside(seen, low, high),
    )


def ends(by: Quantisation) -> tuple[float, float]:
    """The numbers that the smallest and the largest stored integer stand for."""
    scale = float(by.one_scale)
    return (LOWEST - by.one_zero) * scale, (HIGHEST - by.one_zero) * scale


def outside(histogram: Histogram, low: float, high: float) -> float:
    """The fraction of the numbers below `low` or above `high`.

    Numbers in the bins with these ends do not count.
    """
    total = int(histogram.counts.sum())
    if not total:
        return 0.0
    half = histogram.width / 2
    wrong = (histogram.centres + half < low) | (histogram.centres - half > high)
    return float(histogram.counts[wrong].sum() / total)
