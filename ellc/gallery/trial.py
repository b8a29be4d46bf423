"""Decides which networks a visitor can try in the browser, and compiles them for WebAssembly."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ellc.driver import CompileOptions, compile_model
from ellc.gallery.models import Counted
from ellc.gallery.rows import Result, TrialFacts
from ellc.ir.errors import EllcError
from ellc.ir.graph import INPUT_PREFIX, LABELS_KEY, Graph, Node, class_labels
from ellc.ir.ops.quantised import Dequantize, Lookup, Quantize, Requantize
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType
from ellc.pictures.images import load_labels
from ellc.pictures.pixels import ORDER_KEY, PRESETS, Geometry, PixelOptions, is_picture
from ellc.pictures.preprocessing import PREPROCESSING_KEY, with_preprocessing

MOST_BYTES = 8 << 20
"""The default limit for the weights of a network that visitors can try."""
_NAME = "network"
_FEWEST_CLASSES = 2
_KEPT = (Reshape, Quantize, Dequantize, Requantize, Lookup)
"""Operators after which the result of a softmax is still a list of probabilities."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A network compiled to a WebAssembly module that takes uint8 pixels.

    `manifest` is the module's manifest. `probabilities` is true if the output is that of a softmax.
    """

    precision: str
    module: bytes
    manifest: dict[str, object]
    geometry: Geometry
    order: str
    labels: tuple[str, ...]
    probabilities: bool
    drawing: float | None
    preprocessing: str
    """The preprocessing inside the module, as text; empty if the network takes plain pixels."""


def trial(result: Result, network: Counted, most_bytes: int = MOST_BYTES) -> Trial | None:
    """Compile the network of a result for the browser; None if visitors cannot try it.

    Visitors can try a network that has trained weights of at most `most_bytes`, takes one picture,
    and gives scores of classes. If the result has no `try`, two more conditions hold. First, the
    model's metadata must describe how a picture becomes the input, or the input must have 8-bit
    pixels. Second, the output must come from a softmax, or the model must have labels. Raises
    `EllcError` E780 if a result has `try`, but visitors cannot try its network for another reason
    than too many bytes, or if its labels cannot be read or are not as many as the classes.
    """
    reason = "".join(list(_reasons(result, network.graph))[:1])
    if reason and result.trial:
        raise EllcError(f"try: {reason}", code="E780", where=str(result.path))
    if reason or network.report.parameter_bytes > most_bytes:
        return None
    facts = result.trial or TrialFacts()
    labels = _given_labels(facts.labels) if facts.labels else _own_labels(network.graph)
    classes = math.prod(network.graph.output_types()[0].shape)
    if len(labels) not in (0, classes):
        raise EllcError(
            f"try: the number of labels is {len(labels)}, but the network has {classes} classes",
            code="E780",
            where=str(result.path),
        )
    graph = _taking_pixels(network.graph, result, facts)
    module, manifest = _compiled(graph)
    return Trial(
        result.precision,
        module,
        manifest,
        Geometry.of(graph.input_types()[0]),
        graph.metadata.get(ORDER_KEY, "bgr"),
        labels,
        _is_softmax(network.graph),
        facts.drawing,
        graph.metadata[PREPROCESSING_KEY].rpartition("inside: ")[2].replace("nothing to do", ""),
    )


def _reasons(result: Result, graph: Graph) -> Iterator[str]:
    """Yield the reasons why visitors cannot try a network, the most important reason first."""
    if result.network is None or result.network.zoo:
        yield "the zoo's networks have random weights: name a model file with trained weights"
    picture = len(graph.inputs) == 1 and is_picture(graph.input_types()[0])
    if not picture or result.colours == "none":
        yield "the network does not take one picture"
    shapes = [type_.shape for type_ in graph.output_types()]
    if len(shapes) != 1 or not _FEWEST_CLASSES <= math.prod(shapes[0]) == max(shapes[0]):
        yield "the network does not have one output with a score for each class"
    if not result.trial and not _is_described(graph):
        yield "it is not known how a picture becomes the input"
    if not result.trial and not _is_softmax(graph) and LABELS_KEY not in graph.metadata:
        yield "it is not known whether the output has scores of classes"


def _is_described(graph: Graph) -> bool:
    """Whether the metadata describe how a picture becomes the input, or the input has 8 bits."""
    has_metadata = any(key.startswith(INPUT_PREFIX) for key in graph.metadata)
    eight_bits = [type_.dtype in (DType.U8, DType.I8) for type_ in graph.input_types()]
    return has_metadata or PREPROCESSING_KEY in graph.metadata or all(eight_bits)


def _given_labels(path: Path) -> tuple[str, ...]:
    try:
        return load_labels(path)
    except EllcError as error:
        message = f"try: labels: {path.name}: {error.message}"
        raise EllcError(message, code="E780", where=str(path)) from error


def _own_labels(graph: Graph) -> tuple[str, ...]:
    labels = class_labels(graph.metadata)
    return labels if len(labels) == math.prod(graph.output_types()[0].shape) else ()


def _taking_pixels(graph: Graph, result: Result, facts: TrialFacts) -> Graph:
    """Put the preprocessing before a network that has none, for pixels in a canvas's order."""
    if PREPROCESSING_KEY in graph.metadata:
        return graph
    options = PRESETS[facts.preprocess] if facts.preprocess else PixelOptions()
    match result.colours:
        case "rgb" | "bgr" as order:
            options = replace(options, color=order)
    how = options.over_metadata(graph.metadata)
    return with_preprocessing(graph, replace(how, pixels="rgb"))


def _compiled(graph: Graph) -> tuple[bytes, dict[str, object]]:
    """Compile a graph to a WebAssembly module, and return the module and its manifest."""
    options = CompileOptions(emit=("so",), strip=True, name=_NAME)
    with tempfile.TemporaryDirectory(prefix="ellc-") as folder:
        artifact = compile_model(graph, "wasm", options, Path(folder) / "out")
        assert artifact.library is not None
        return artifact.library.read_bytes(), artifact.manifest


def _is_softmax(graph: Graph) -> bool:
    """Whether the output is that of a softmax, apart from operators in `_KEPT`."""
    makers: dict[str, Node] = {value: node for node in graph.nodes for value in node.outputs}
    node = makers.get(graph.outputs[0].value)
    while node and isinstance(node.op, _KEPT):
        node = makers.get(node.inputs[0])
    return node is not None and isinstance(node.op, Softmax | QuantSoftmax)
