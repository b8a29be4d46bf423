"""`write_ell`, the public function that writes a graph as an `.ell` file."""

from __future__ import annotations

import os

import numpy as np

from ellc.frontends.ell.chain import PlannedLayer, planned_layers
from ellc.frontends.ell.layer_objects import layer_object
from ellc.frontends.ell.layers import InputLayer, Layer, LayerParameters, PaddingScheme, Shape3
from ellc.frontends.ell.layout import MemoryLayout, layout_object
from ellc.frontends.ell.metadata import PropertyBag, metadata_object
from ellc.frontends.ell.ports import whole_port
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue
from ellc.frontends.ell.writer import write_archive
from ellc.ir.graph import INPUT_PREFIX, Graph

_INPUT, _PREDICTOR, _OUTPUT = "1000", "1001", "1002"
_REMARKS = "note."
_SMALL_REAL = 1  # the port type code of a float

Fields = tuple[tuple[str, ArchiveValue], ...]


def write_ell(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph as an `.ell` file: a map whose model is one neural predictor.

    The graph must be a chain of operators from one float32 input to one output, and ELL must have
    layers for all operators. The metadata is written too: the keys `model.input.*` to the input
    node, and the others, except the reader's notes, to the map. Raises `EllcError`: E206 with
    everything that the format cannot express, E207 if the file cannot be written.
    """
    write_archive(graph_archive(graph), path)


def graph_archive(graph: Graph) -> ArchiveObject:
    """Make the archive that `write_ell` writes; raises `EllcError` E206 like `write_ell`."""
    shape, steps = planned_layers(graph)
    layers = chain_layers(shape, steps)
    source, target = graph.inputs[0], graph.outputs[0]
    inputs = _layout_of(graph.types[source.value].shape)
    outputs = _layout_of(graph.types[target.value].shape)
    on_input, on_map = _metadata(graph)
    nodes = (
        _node("InputNode<float>", "2", _INPUT, on_input, (("layout", layout_object(inputs)),)),
        _node(
            "NeuralNetworkPredictorNode<float>",
            "0",
            _PREDICTOR,
            PropertyBag(),
            (
                ("input", _input_port(_PREDICTOR, _INPUT)),
                ("predictor", _predictor(layers)),
            ),
        ),
        _node(
            "OutputNode<float>",
            "2",
            _OUTPUT,
            PropertyBag(),
            (("input", _input_port(_OUTPUT, _PREDICTOR)), ("layout", layout_object(outputs))),
        ),
    )
    model = ArchiveObject("Model", "2", (("nodes", nodes),))
    fields: Fields = (
        ("model", model),
        ("inputNames", (source.name,)),
        ("inputIds", (_INPUT,)),
        ("outputNames", (target.name,)),
        ("outputElements", (str(whole_port(_OUTPUT)),)),
    )
    if on_map:
        fields += (("metadata", metadata_object(on_map)),)
    return ArchiveObject("Map", "3" if on_map else "2", fields)


def chain_layers(shape: Shape3, steps: list[PlannedLayer]) -> list[Layer]:
    """Make the layers of a chain that starts with an image of `shape`.

    The output padding of a layer is the input padding of the next layer, and the output shape
    includes it. The last layer has no output padding.
    """
    chain = [PlannedLayer(lambda p: InputLayer(p, shape), shape), *steps]
    layers: list[Layer] = []
    for index, step in enumerate(chain):
        following = chain[index + 1] if index + 1 < len(chain) else None
        pad = following.padding if following is not None else 0
        scheme = following.scheme if following is not None else PaddingScheme.ZEROS
        rows, columns, channels = step.shape
        parameters = LayerParameters(
            (rows + 2 * pad, columns + 2 * pad, channels),
            input_padding=step.padding,
            output_padding=pad,
            input_scheme=step.scheme,
            output_scheme=scheme,
        )
        layers.append(step.build(parameters))
    return layers


def _predictor(layers: list[Layer]) -> ArchiveObject:
    first, *rest = layers
    rows, columns, channels = layers[-1].parameters.output_shape
    return ArchiveObject(
        "NeuralNetworkPredictor<float>",
        "1",
        (
            ("inputLayer", layer_object(first)),
            ("layers", tuple(layer_object(layer) for layer in rest)),
            ("output", np.zeros(rows * columns * channels, np.float32)),
        ),
    )


def _node(
    type_name: str, version: str, node: str, metadata: PropertyBag, fields: Fields
) -> ArchiveObject:
    first: Fields = (("id", node),)
    if metadata:
        first += (("metadata", metadata_object(metadata)),)
    # Nodes have metadata since version 3 of the archive.
    return ArchiveObject(type_name, "3" if metadata else version, first + fields)


def _input_port(node: str, source: str) -> ArchiveObject:
    return ArchiveObject(
        "InputPort<float>",
        "0",
        (
            ("nodeId", node),
            ("name", "input"),
            ("type", _SMALL_REAL),
            ("input", str(whole_port(source))),
        ),
    )


def _layout_of(shape: tuple[int, ...]) -> MemoryLayout:
    return MemoryLayout.of(shape[1:] if len(shape) == 4 else shape)


def _metadata(graph: Graph) -> tuple[PropertyBag, PropertyBag]:
    """The metadata for the input node, and the metadata for the map."""
    entries = {k: v for k, v in graph.metadata.items() if not k.startswith(_REMARKS)}
    on_input = {k: v for k, v in entries.items() if k.startswith(INPUT_PREFIX)}
    on_map = {k: v for k, v in entries.items() if k not in on_input}
    return PropertyBag.of(on_input), PropertyBag.of(on_map)
