"""The steps of post-training quantisation, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from ellc.quantise.layers import Layer, find_layers
from ellc.quantise.observers import Observation, observe, watched
from ellc.quantise.ranges import joined_histograms, quantisation_of, shared
from ellc.quantise.rewrite import Weights, rewritten, weights_of


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


def quantise(graph: Graph, samples: Samples, folder: Path, report: Progress) -> Quantised:
    """Quantise a float network with calibration data.

    Code that watches the network is compiled into `folder`. Raises `EllcError` E790 if the network
    has no float convolution or dense layer.
    """
    report("passes", 0, 0)
    before = prepared(graph)
    layers = find_layers(before)
    _want_products(before, layers)
    values = tuple(dict.fromkeys(v for layer in layers for v in (*layer.operands, *layer.results)))
    with watched(before, values, folder, report) as call:
        seen = observe(call, samples.each(), values, report, samples.count)
    wrong = _not_finite(layers, seen)
    layers = find_layers(before, {value for layer in wrong for value in layer.results})
    left = _left_float(before, layers, wrong)
    _want_products(before, layers)
    quantisations = _quantisations(layers, seen)
    arrays = before.constant_arrays()
    weights = {
        layer.results[0]: weights_of(layer, arrays, quantisations[layer.operands[0]])
        for layer in layers
        if layer.kind == "product"
    }
    report("rewriting", 0, 0)
    full = rewritten(before, layers, quantisations, weights)
    return Quantised(before, full, tidied(full), layers, quantisations, weights, seen, left)


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


def _quantisations(
    layers: Sequence[Layer], seen: Mapping[str, Observation]
) -> dict[str, Quantisation]:
    """The scale and zero point of every value that a layer reads or computes."""
    representatives = shared(layers)
    histograms = {value: seen[value].histogram for value in representatives}
    joined = joined_histograms(representatives, histograms)
    chosen = {of: quantisation_of(h.low, h.high) for of, h in joined.items()}
    return {value: chosen[of] for value, of in representatives.items()}
