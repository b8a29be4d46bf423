"""Groups results by model name, and counts the sizes of their networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ellc.gallery.rows import Figure, NetworkName, Result
from ellc.importing import tidied
from ellc.inspect import NetworkReport, inspect
from ellc.ir.graph import Graph
from ellc.ir.types import Padding, TensorType
from ellc.models import ModelOptions, format_of, read_model
from ellc.zoo import build
from ellc.zoo.measured import NetworkSizes

_IMAGE_RANK = 4
"""Axes of an image: batch, rows, columns, channels."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its results, which all have the same input, colours and data set."""

    name: str
    results: tuple[Result, ...]

    @property
    def about(self) -> Result:
        """The result from which the page takes the model's input, colours, data set and origin."""
        return self.results[0]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of the results, in the order of the results."""
        return tuple(dict.fromkeys(result.precision for result in self.results))

    def networks(self) -> dict[NetworkName, Result]:
        """Each network with the first result that names it; networks from files come first."""
        named = {x.network: x for x in reversed(self.results) if x.network}
        return dict(sorted(named.items(), key=lambda item: (item[0].file is None, item[1].key)))

    def figures(self, of: str, precision: str) -> Iterator[tuple[Result, Figure]]:
        """The figures of one kind in one precision, each with its result."""
        for result in self.results:
            if result.precision == precision:
                yield from ((result, figure) for figure in result.known if figure.of == of)

    def best(self, of: str, near: Result, provenance: str) -> Figure | None:
        """The figure of one kind that best matches a result; None if there is none.

        Only figures of the result's precision match. A figure without a sample is preferred, then
        the result's own, then a figure of the given provenance.
        """
        found = list(self.figures(of, near.precision))
        ranked = sorted(
            found, key=lambda x: (x[1].sample, x[0] is not near, x[1].provenance != provenance)
        )
        return ranked[0][1] if ranked else None


def models_of(results: Iterable[Result]) -> tuple[Model, ...]:
    """Group results by model; the models are sorted by name."""
    by_name: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda x: x.key):
        by_name.setdefault(result.model, []).append(result)
    return tuple(Model(name, tuple(of_name)) for name, of_name in sorted(by_name.items()))


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A row in a page's table of layers. Shapes have no batch axis and include the padding.

    `pad_in` is the padding of the layer's input, `pad_out` the padding that the next layer needs.
    """

    number: int
    name: str
    operator: str
    shape_in: tuple[int, ...]
    pad_in: str
    shape_out: tuple[int, ...]
    pad_out: str
    parameters: int
    macs: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class Counted:
    """The graph of a network, its sizes, and the command that prints these sizes."""

    graph: Graph
    report: NetworkReport
    command: str


def counted(network: NetworkName) -> Counted:
    """Read a network from its file, or build it from the zoo, and count its sizes.

    Raises `EllcError` for a model file that cannot be read.
    """
    if network.file is None:
        graph = build(network.zoo, blank=True)
        return Counted(graph, inspect(graph), f"ellc zoo inspect {network.zoo}")
    graph = read_model(network.file, ModelOptions())
    if format_of(network.file).is_exported:
        graph = tidied(graph)
    return Counted(graph, inspect(graph), f"ellc inspect {network.file.name}")


def counted_figures(network: NetworkName, of: Counted, precision: str) -> tuple[Figure, ...]:
    """The sizes of a network as figures.

    The zoo builds float networks only. So for int8 the bytes of weights are computed, and RAM is
    left out.
    """

    def figure(kind: str, value: float, command: str = of.command) -> Figure:
        return Figure(kind, value, "measured", command)

    report = of.report
    counts = (figure("parameters", report.parameters), figure("macs", report.macs))
    if network.zoo and precision == "int8":
        weights = NetworkSizes(network.zoo).int8_bytes
        return (*counts, figure("weight_bytes", weights, f"ellc zoo show {network.zoo}"))
    weight_bytes = figure("weight_bytes", report.parameter_bytes)
    return (*counts, weight_bytes, figure("ram_bytes", report.peak_live_bytes))


def layer_rows(of: Counted) -> list[LayerRow]:
    """The table of layers, with the padding of each input and output, as on ELL's own pages."""
    graph = of.graph
    paddings = [_padding(graph, index) for index in range(len(graph.nodes))]
    wanted: dict[str, Padding] = {}
    for node, padding in zip(graph.nodes, paddings, strict=True):
        if node.inputs and any(_sides(padding)):
            wanted.setdefault(node.inputs[0], padding)
    rows = []
    for layer, node, padding in zip(of.report.layers, graph.nodes, paddings, strict=True):
        after = wanted.get(node.outputs[0], Padding())
        source = graph.types[node.inputs[0]] if node.inputs else None
        rows.append(
            LayerRow(
                layer.index, layer.name, layer.operator,
                _padded(source, padding) if source else (), _padding_text(padding),
                _padded(graph.types[node.outputs[0]], after), _padding_text(after),
                layer.parameters, layer.macs, layer.live_bytes,
            )
        )  # fmt: skip
    return rows


def _padding(graph: Graph, index: int) -> Padding:
    node = graph.nodes[index]
    window = node.op.slides(graph.node_types(node)[0])
    return window.padding if window else Padding()


def _sides(padding: Padding) -> Sequence[int]:
    return padding.top, padding.left, padding.bottom, padding.right


def _padding_text(padding: Padding) -> str:
    sides = _sides(padding)
    return str(sides[0]) if len(set(sides)) == 1 else ",".join(map(str, sides))


def _padded(type_: TensorType, padding: Padding) -> tuple[int, ...]:
    """A shape without the batch axis; the extents of an image include the padding."""
    if type_.rank != _IMAGE_RANK:
        return type_.shape[1:] or type_.shape
    _, rows, columns, channels = type_.shape
    top, left, bottom, right = _sides(padding)
    return rows + top + bottom, columns + left + right, channels
