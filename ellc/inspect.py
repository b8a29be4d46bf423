"""Computes the costs of each layer: shapes, parameters, arithmetic, memory, receptive field."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ellc.ir.graph import Graph, Node, Port
from ellc.ir.nested import bodies, constant_types
from ellc.ir.op import Op, Types
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import DType, Quant, TensorType
from ellc.receptive_field import fields


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the graph. Byte counts do not include borders of tensors.

    `field` is the receptive field of an element of the result: None if it is the whole input, (0,
    0) if the result does not depend on the input.
    """

    index: int
    operator: str
    sources: tuple[str, ...]
    output_shape: tuple[int, ...]
    output_type: str
    parameters: int
    parameter_bytes: int
    macs: int
    output_bytes: int
    live_bytes: int
    field: tuple[int, int] | None
    field_stride: tuple[int, int] | None
    quantisation: Quant | None = None

    @property
    def name(self) -> str:
        """The names of the model's layers that this node computes, joined by `+`."""
        return "+".join(self.sources)


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A public input or output of the network."""

    name: str
    type: str
    shape: tuple[int, ...]
    quantisation: Quant | None = None


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """The costs of a whole network. A constant that several layers share is counted once."""

    name: str
    inputs: tuple[PortFacts, ...]
    outputs: tuple[PortFacts, ...]
    layers: tuple[Layer, ...]
    parameters: int
    parameter_bytes: int
    macs: int
    peak_live_bytes: int
    state_bytes: int
    about: tuple[str, ...] = ()
    """The lines of the metadata whose keys begin with `about.`."""

    def document(self) -> dict[str, object]:
        """The report as plain data for JSON."""
        return asdict(self)


def type_bytes(type_: TensorType) -> int:
    """The bytes of a tensor without its border; eight bits along the channel axis take one byte."""
    if type_.dtype is DType.BIT:
        channels = type_.shape[-1] if type_.shape else 1
        return type_.elements // max(1, channels) * -(-channels // 8)
    return type_.elements * type_.dtype.item_bytes


def weight_bytes(graph: Graph) -> int:
    """The bytes of the weights and biases of an imported graph, with the types of its file.

    These are the constants that nodes read, each counted once. The factors of requantisations do
    not count: files have scales instead.
    """
    keys = {c.value: c.key for c in graph.constants}
    read: dict[str, TensorType] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Requantize):
            read |= _parameters(graph, node, keys)
    return sum(map(type_bytes, read.values()))


def _live_bytes(graph: Graph) -> list[int]:
    """For each node, the bytes of all values that are live while it runs, without constants."""
    last_use = {v: i for i, node in enumerate(graph.nodes) for v in (*node.outputs, *node.inputs)}
    last_use |= dict.fromkeys((p.value for p in graph.outputs), len(graph.nodes))
    last_use |= dict.fromkeys((s.next for s in graph.states), len(graph.nodes))
    ends: dict[int, list[int]] = {}
    live = 0
    for start in (*(p.value for p in graph.inputs), *(s.current for s in graph.states)):
        live += type_bytes(graph.types[start])
        ends.setdefault(last_use.get(start, -1), []).append(type_bytes(graph.types[start]))
    result = []
    for index, node in enumerate(graph.nodes):
        for value in node.outputs:
            live += type_bytes(graph.types[value])
            ends.setdefault(last_use[value], []).append(type_bytes(graph.types[value]))
        result.append(live)
        live -= sum(ends.get(index, []))
    return result


def _parameters(graph: Graph, node: Node, constants: dict[str, str]) -> dict[str, TensorType]:
    """The types of the constants that a node and its loop bodies read, by the constants' keys."""
    own = {constants[v]: graph.types[v] for v in node.inputs if v in constants}
    for body in bodies(node.op):
        own |= constant_types(body)
    return own


def _shown(graph: Graph, node: Node, read: set[str]) -> TensorType:
    """The type of the first result that is in `read`, or of the first result if none is.

    `read` lacks a loop's results for states that nothing uses.
    """
    return graph.types[next((v for v in node.outputs if v in read), node.outputs[0])]


def _port_facts(graph: Graph, port: Port) -> PortFacts:
    type_ = graph.types[port.value]
    return PortFacts(port.name, type_.dtype.value, type_.shape, type_.quant)


def inspect(graph: Graph) -> NetworkReport:
    """The costs of a graph, counted without running passes or evaluating the graph."""
    constants = {c.value: c.key for c in graph.constants}
    live = _live_bytes(graph)
    read = {v for node in graph.nodes for v in node.inputs} | {p.value for p in graph.outputs}
    read |= {s.next for s in graph.states}
    layers = []
    all_constants: dict[str, TensorType] = {}
    for index, (node, field) in enumerate(zip(graph.nodes, fields(graph), strict=True)):
        operands, results = graph.node_types(node)
        own, result = _parameters(graph, node, constants), _shown(graph, node, read)
        all_constants |= own
        layers.append(
            Layer(
                index=index,
                operator=operator_text(node.op, operands),
                sources=node.source,
                output_shape=result.shape,
                output_type=result.dtype.value,
                parameters=sum(t.elements for t in own.values()),
                parameter_bytes=sum(type_bytes(t) for t in own.values()),
                macs=node.op.macs(operands, results),
                output_bytes=sum(type_bytes(t) for t in results),
                live_bytes=live[index],
                field=field.size if field else (0, 0),
                field_stride=field.stride if field else (0, 0),
                quantisation=result.quant,
            )
        )
    return NetworkReport(
        name=graph.name,
        inputs=tuple(_port_facts(graph, port) for port in graph.inputs),
        outputs=tuple(_port_facts(graph, port) for port in graph.outputs),
        layers=tuple(layers),
        parameters=sum(t.elements for t in all_constants.values()),
        parameter_bytes=sum(type_bytes(t) for t in all_constants.values()),
        macs=sum(layer.macs for layer in layers),
        peak_live_bytes=max((layer.live_bytes for layer in layers), default=0),
        state_bytes=sum(type_bytes(graph.types[s.current]) for s in graph.states),
        about=tuple(
            line
            for key, text in graph.metadata.items()
            if key.startswith("about.")
            for line in text.splitlines()
        ),
    )


def operator_text(op: Op, inputs: Types) -> str:
    """A short description of an operator, such as `conv2d 3x3/2 +add +relu`."""
    if isinstance(op, Fused):
        stages = "".join(f" +{stage.op.name}" for stage in op.stages)
        return operator_text(op.anchor, inputs[: op.operands]) + stages
    window = op.slides(inputs) or op.spreads(inputs)
    if window is None:
        return op.name
    text = f"{op.name} {window.size[0]}x{window.size[1]}"
    text += "" if window.stride == (1, 1) else f"/{_pair_text(window.stride)}"
    text += "" if window.dilation == (1, 1) else f" dilation={_pair_text(window.dilation)}"
    groups = getattr(op, "groups", 1)
    return text if groups == 1 else f"{text} groups={groups}"


def _pair_text(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
