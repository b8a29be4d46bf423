"""The steps of post-training quantisation, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

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
from ellc.quantise.simulation import simulation

_LEAST_SEARCHED, _MOST_SEARCHED = 4, 16
_SEARCHED_MACS = 5e11
"""The multiply-adds for which the samples of a search are meant; a value takes a few trials."""


@dataclass(frozen=True)
class Samples:
    """Inputs of the network for calibration: `each` starts an iteration over all `count`."""

    each: Callable[[], Iterable[Array]]
    count: int


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
    `equalise`, the channels between two layers get similar ranges first.
    """

    calibration: str = AUTO
    bias_correction: bool = True
    equalise: bool = False


DEFAULT = Method()


def quantise(
    graph: Graph, samples: Samples, folder: Path, report: Progress, method: Method = DEFAULT
) -> Quantised:
    """Quantise a float network with calibration data.

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
    wrong = _not_finite(layers, seen)
    layers = find_layers(before, {value for layer in wrong for value in layer.results})
    left = _left_float(before, layers, wrong)
    _want_products(before, layers)
    representatives = shared(layers)
    histograms = joined_histograms(
        representatives, {value: seen[value].histogram for value in representatives}
    )
    search = _Search(before, layers, representatives, samples, folder, report)
    chosen = search.ranges(histograms, method.calibration)
    quantisations = {value: chosen[of].quantisation for value, of in representatives.items()}
    methods = {value: chosen[of].method for value, of in representatives.items()}
    weights = _weights(before, layers, quantisations, seen if method.bias_correction else {})
    report("rewriting", 0, 0)
    full = rewritten(before, layers, quantisations, weights)
    return Quantised(
        before, full, tidied(full), layers, quantisations, methods, weights, seen, left
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
    graph: Graph, layers: Sequence[Layer], not_finite: Sequence[Layer]
) -> dict[str, str]:
    """The convolutions and dense layers that are not among `layers`, with the reason."""
    heads = {layer.head for layer in layers}
    wrong = {layer.head for layer in not_finite}
    known = graph.constant_arrays()
    left = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D | Dense) or node in heads:
            continue
        if node in wrong:
            why = "it reads or computes numbers that are not finite"
        elif not all(v in known for v in node.inputs[1:]):
            why = "the network computes its weights"
        else:
            why = "8-bit convolutions cannot have its padding"
        left[next(iter(node.source), node.output)] = why
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
            weights[layer.results[0]] = weights_of(layer, arrays, quantisations[x], means)
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
        samples = list(islice(self.samples.each(), self._samples(len(histograms))))
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
