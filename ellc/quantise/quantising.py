"""The steps of post-training quantisation, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ellc.frontends.onnx.quantisation import Quantisation
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.passes.base import parse_passes
from ellc.ir.pipeline import PipelineOptions, default_groups, run_pipeline
from ellc.ir.types import Array
from ellc.progress import Progress
from ellc.quantise.choice import AUTO, Chosen, by_damage, by_method
from ellc.quantise.equalise import equalised
from ellc.quantise.layers import Layer, find_layers
from ellc.quantise.observers import Histogram, Observation, observe, watched
from ellc.quantise.ranges import filter_scales, joined_histograms, shared
from ellc.quantise.rewrite import Weights, reals, rewritten, rounded_weights, weights_of
from ellc.quantise.rounding import adapted, operands
from ellc.quantise.simulation import simulation

_LEAST_SEARCHED, _MOST_SEARCHED = 4, 16
_SEARCHED_MACS = 5e11
"""The multiply-adds for which the samples of a search are meant; a value takes a few trials."""


@dataclass(frozen=True)
class Samples:
    """Inputs of the network for calibration: `each` starts an iteration over all `count`."""

    each: Callable[[], Iterable[Array]]
    count: int

    def some(self, count: int) -> list[Array]:
        """At most `count` of the inputs, at equal distances."""
        chosen = {int(at) for at in np.linspace(0, self.count - 1, min(count, self.count))}
        return [sample for index, sample in enumerate(self.each()) if index in chosen]


@dataclass(frozen=True)
class Quantised:
    """A quantised network, and what is known about it.

    `before` is the float graph in which `layers` were found. `full` is the integer graph in which
    the results of all layers still exist as floats, with the ids that they have in `before`;
    `graph` is the same without what nobody reads.
    """

    before: Graph
    full: Graph
    graph: Graph
    layers: tuple[Layer, ...]
    quantisations: Mapping[str, Quantisation]
    methods: Mapping[str, str]
    """The way in which the range of each value was chosen: a name in `METHODS`."""
    weights: Mapping[str, Weights]
    """The stored weights of convolutions and dense layers, by the layer's result."""
    observations: Mapping[str, Observation]
    left_float: Mapping[str, str]
    """The reason for each layer that stays float, by the layer's name."""


def prepared(graph: Graph) -> Graph:
    """The float graph after all passes but those that fuse nodes; loops stay loops."""
    groups = default_groups(PipelineOptions(skip=("unroll_loops",)))
    after, _ = run_pipeline(graph, [group for group in groups if group.name != "fuse"])
    return after


@dataclass(frozen=True, slots=True)
class Method:
    """How to choose scales and biases.

    `calibration` is a name in `METHODS`, or `AUTO`, which chooses for each value by the damage that
    is measured. With `bias_correction`, biases make up for the rounding of weights; with
    `equalise`, the channels between two layers get similar ranges first. With `adaptive`, weights
    are not rounded to the nearest integers, but so that results change least.
    """

    calibration: str = AUTO
    bias_correction: bool = True
    equalise: bool = False
    adaptive: bool = False


DEFAULT = Method()
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Calibration:
    """A float network with the range of every value that a layer in `layers` reads or computes.

    `not_finite` are the results of layers that cannot be integers, because they read or compute
    numbers that are NaN or infinite. `adapted` has the stored weights of layers, by their result,
    if these are not the nearest integers.
    """

    before: Graph
    layers: tuple[Layer, ...]
    not_finite: frozenset[str]
    chosen: Mapping[str, Chosen]
    observations: Mapping[str, Observation]
    adapted: Mapping[str, Array]
    method: Method

    @property
    def quantisations(self) -> dict[str, Quantisation]:
        """The scale and zero point of each value."""
        return {value: chosen.quantisation for value, chosen in self.chosen.items()}


def quantise(
    graph: Graph, samples: Samples, folder: Path, report: Progress, method: Method = DEFAULT
) -> Quantised:
    """Quantise a float network with calibration data: `calibrated`, then `assembled`."""
    return assembled(calibrated(graph, samples, folder, report, method))


def calibrated(
    graph: Graph, samples: Samples, folder: Path, report: Progress, method: Method = DEFAULT
) -> Calibration:
    """Choose the ranges of all values with calibration data.

    Code that watches the network is compiled into `folder`. Raises `EllcError` E790 if the network
    has no float convolution or dense layer.
    """
    report("passes", 0, 0)
    before = prepared(graph)
    layers = find_layers(before)
    _want_products(before, layers)
    seen = _observed(before, layers, samples, folder / "observed", report)
    if method.equalise:
        before = equalised(before, seen)
        layers = find_layers(before)
        seen = _observed(before, layers, samples, folder / "equalised", report)
    not_finite = frozenset(v for layer in _not_finite(layers, seen) for v in layer.results)
    layers = find_layers(before, not_finite)
    _want_products(before, layers)
    representatives = shared(layers)
    histograms = joined_histograms(
        representatives, {value: seen[value].histogram for value in representatives}
    )
    search = _Search(before, layers, representatives, samples, folder, report)
    ranges = search.ranges(histograms, method.calibration)
    chosen = {value: ranges[of] for value, of in representatives.items()}
    stored: dict[str, Array] = {}
    if method.adaptive:
        with watched(before, operands(layers), folder / "rounding", report) as call:
            stored = adapted(before, layers, call, samples.each(), samples.count, report)
    return Calibration(before, layers, not_finite, chosen, seen, stored, method)


def assembled(calibration: Calibration, reasons: Mapping[str, str] = NONE) -> Quantised:
    """The quantised network; layers with a result in `reasons` stay float."""
    before, seen = calibration.before, calibration.observations
    layers = find_layers(before, {*calibration.not_finite, *reasons})
    quantisations = calibration.quantisations
    means = seen if calibration.method.bias_correction else {}
    weights = _weights(before, layers, quantisations, means, calibration.adapted)
    full = rewritten(before, layers, quantisations, weights)
    why = {
        **dict.fromkeys(calibration.not_finite, "it reads or computes numbers that are not finite"),
        **reasons,
    }
    return Quantised(
        before,
        full,
        tidied(full),
        layers,
        quantisations,
        {value: chosen.method for value, chosen in calibration.chosen.items()},
        weights,
        seen,
        _left_float(calibration, layers, why),
    )


def _want_products(graph: Graph, layers: Sequence[Layer]) -> None:
    if not any(layer.kind == "product" for layer in layers):
        raise EllcError(
            "the network has no float convolution or dense layer with constant weights and finite "
            "values",
            code="E790",
            where=graph.name,
            hint="there is nothing to quantise; `ellc compile` takes the network as it is",
        )


def _left_float(
    calibration: Calibration, layers: Sequence[Layer], why: Mapping[str, str]
) -> dict[str, str]:
    """The convolutions and dense layers that are not among `layers`, with the reason."""
    graph = calibration.before
    heads = {layer.head for layer in layers}
    of_results = {
        layer.head: why[value]
        for layer in find_layers(graph)
        for value in layer.results
        if value in why
    }
    known = graph.constant_arrays()
    left = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D | Dense) or node in heads:
            continue
        if not all(v in known for v in node.inputs[1:]):
            reason = "the network computes its weights"
        else:
            reason = of_results.get(node, "8-bit convolutions cannot have its padding")
        left[next(iter(node.source), node.output)] = reason
    return left


def _observed(
    graph: Graph, layers: Sequence[Layer], samples: Samples, folder: Path, report: Progress
) -> dict[str, Observation]:
    """What all operands and results of layers are on the calibration data."""
    values = tuple(dict.fromkeys(v for layer in layers for v in (*layer.operands, *layer.results)))
    with watched(graph, values, folder, report) as call:
        return observe(call, samples.each(), values, report, samples.count)


def _weights(
    graph: Graph,
    layers: Sequence[Layer],
    quantisations: Mapping[str, Quantisation],
    seen: Mapping[str, Observation],
    adapted: Mapping[str, Array],
) -> dict[str, Weights]:
    """The stored weights of each convolution and dense layer.

    Biases are corrected for operands that are in `seen`.
    """
    arrays = graph.constant_arrays()
    weights = {}
    for layer in layers:
        if layer.kind == "product":
            (x,) = layer.operands
            means = seen[x].means if x in seen else None
            stored = adapted.get(layer.results[0])
            weights[layer.results[0]] = weights_of(layer, arrays, quantisations[x], means, stored)
    return weights


@dataclass(frozen=True)
class _Search:
    """Chooses the ranges of the values that have scales of their own."""

    graph: Graph
    layers: Sequence[Layer]
    representatives: Mapping[str, str]
    samples: Samples
    folder: Path
    report: Progress

    def ranges(self, histograms: Mapping[str, Histogram], calibration: str) -> dict[str, Chosen]:
        """The range of each representative."""
        if calibration != AUTO:
            return by_method(calibration, histograms)
        rounded = {}
        arrays = self.graph.constant_arrays()
        for layer in self.layers:
            if layer.kind == "product":
                weights = arrays[layer.head.inputs[1]]
                scales = filter_scales(weights, None, 1.0)
                rounded[layer.results[0]] = reals(rounded_weights(weights, scales), scales)
        samples = self.samples.some(self._samples(len(histograms)))
        with simulation(
            self.graph, self.layers, self.representatives, rounded, samples, self.folder,
            self.report,
        ) as opened:  # fmt: skip
            return by_damage(histograms, opened, self.report)

    def _samples(self, values: int) -> int:
        """The number of samples on which to measure damage: less for large networks."""
        macs = sum(n.op.macs(*self.graph.node_types(n)) for n in self.graph.nodes)
        return max(_LEAST_SEARCHED, min(_MOST_SEARCHED, int(_SEARCHED_MACS / (macs * values + 1))))


def tidied(graph: Graph) -> Graph:
    """A graph without duplicates and without nodes that nobody reads."""
    after, _ = run_pipeline(graph, parse_passes("eliminate_common, eliminate_dead"))
    return after


def _not_finite(layers: Sequence[Layer], seen: Mapping[str, Observation]) -> list[Layer]:
    """The layers that read or compute a NaN or an infinity."""

    def is_bad(value: str) -> bool:
        histogram = seen[value].histogram
        return histogram.is_empty or histogram.lost > 0

    return [layer for layer in layers if any(map(is_bad, (*layer.operands, *layer.results)))]
