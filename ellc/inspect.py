"""What a network costs, layer by layer: shapes, parameters, arithmetic, memory, receptive field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ellc.ir.graph import Graph, Node, Port
from ellc.ir.nested import bodies, constant_types
from ellc.ir.op import Op, Types
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.shape import Reshape, Slice, Transpose
from ellc.ir.types import DType, Quant, TensorType


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns that one result element looks at, and how far the next one is away."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first to the last pixel looked at."""
        (rows, columns), (down, right) = self.size, self.dilation
        return ((rows - 1) * down + 1, (columns - 1) * right + 1)


@dataclass(frozen=True, slots=True)
class Field:
    """The part of the network's input that one element of a value depends on.

    `size` is in input pixels (rows, columns), padding counted in; `stride` is the distance in input
    pixels between the fields of neighbouring elements. `whole`: it sees everything.
    """

    size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    whole: bool = False

    def through(self, window: Window) -> Field:
        """The field of a window operator's result, given this field of its operand."""
        rows, columns = (
            own + (size - 1) * step
            for own, size, step in zip(self.size, window.reach, self.stride, strict=True)
        )
        down, right = (a * b for a, b in zip(self.stride, window.stride, strict=True))
        return Field((rows, columns), (down, right), self.whole)


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the graph. Bytes are those of the tensors as such, without borders.

    `field` is None where every element depends on the whole input, (0, 0) where none depends on it.
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
        """The layers of the model that this came from, as one word."""
        return "+".join(self.sources)


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A public input or output."""

    name: str
    type: str
    shape: tuple[int, ...]
    quantisation: Quant | None = None


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """A whole network. A constant that several layers share counts once in the totals."""

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
    """What the model's metadata tell of it under `about.*`."""

    def document(self) -> dict[str, object]:
        """The report as plain data for JSON."""
        return asdict(self)


def type_bytes(type_: TensorType) -> int:
    """Bytes of a tensor without its border; signs are packed, eight to a byte along channels."""
    if type_.dtype is DType.BIT:
        channels = type_.shape[-1] if type_.shape else 1
        return type_.elements // max(1, channels) * -(-channels // 8)
    return type_.elements * type_.dtype.item_bytes


def window_of(op: Op, inputs: Types) -> Window | None:
    """The window of a convolution or pool; None for every other operator.

    It relies on a convention: an operator that slides a window has the attribute `stride`, and
    either `window` or weights of shape [F,kh,kw,..] as second operand.
    """
    if isinstance(op, Fused):
        return window_of(op.anchor, inputs[: op.operands])
    stride = _pair(getattr(op, "stride", None))
    weights = inputs[1].shape[1:3] if len(inputs) > 1 else None
    size = _pair(getattr(op, "window", None)) or _pair(weights)
    if stride is None or size is None:
        return None
    return Window(size, stride, _pair(getattr(op, "dilation", None)) or (1, 1))


def _pair(value: object) -> tuple[int, int] | None:
    match value:
        case (int(rows), int(columns)):
            return (rows, columns)
        case _:
            return None


def _image_size(type_: TensorType) -> tuple[int, int] | None:
    return (type_.shape[1], type_.shape[2]) if type_.rank == 4 else None


def _node_field(graph: Graph, node: Node, fields: dict[str, Field]) -> Field | None:
    """The field of a node's results; None if they do not depend on the network's inputs."""
    varying = [v for v in node.inputs if v in fields]
    if not varying:
        return None
    operands, results = graph.node_types(node)
    window = window_of(node.op, operands)
    if window is not None:
        return (
            fields[node.inputs[0]].through(window)
            if node.inputs[0] in fields
            else Field(whole=True)
        )
    moves = isinstance(node.op, Embed | Pad | Slice | Transpose) or _is_same_row(node, operands)
    if moves and node.inputs[0] in fields:
        return fields[node.inputs[0]]
    size = _image_size(results[0])
    same = all(_image_size(graph.types[v]) in (size, (1, 1)) for v in varying)
    if size is None or not same:
        return Field(whole=True)
    known = [fields[v] for v in varying]
    return Field(
        (max(f.size[0] for f in known), max(f.size[1] for f in known)),
        (max(f.stride[0] for f in known), max(f.stride[1] for f in known)),
        any(f.whole for f in known),
    )


def _is_same_row(node: Node, operands: Types) -> bool:
    """Whether a view only adds or removes axes of extent 1."""
    if not isinstance(node.op, Reshape):
        return False
    before, after = ([e for e in s if e != 1] for s in (operands[0].shape, node.op.shape))
    return before == after


def _fields(graph: Graph) -> Iterator[Field | None]:
    """The receptive field of every node's results in order."""
    fields = {p.value: Field() for p in graph.inputs}
    fields |= {s.current: Field(whole=True) for s in graph.states}
    for node in graph.nodes:
        field = _node_field(graph, node, fields)
        if field is not None:
            fields |= dict.fromkeys(node.outputs, field)
        yield field


def _live_bytes(graph: Graph) -> list[int]:
    """For every node, the bytes of all values that must exist while it runs (not the constants)."""
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
    """The constants a node reads, in bodies too: key -> type."""
    own = {constants[v]: graph.types[v] for v in node.inputs if v in constants}
    for body in bodies(node.op):
        own |= constant_types(body)
    return own


def _shown(graph: Graph, node: Node, read: set[str]) -> TensorType:
    """The type of the first result that something reads: not a loop's state that is not wanted."""
    return graph.types[next((v for v in node.outputs if v in read), node.outputs[0])]


def _port_facts(graph: Graph, port: Port) -> PortFacts:
    type_ = graph.types[port.value]
    return PortFacts(port.name, type_.dtype.value, type_.shape, type_.quant)


def inspect(graph: Graph) -> NetworkReport:
    """Measure a network as it stands; nothing is compiled or computed."""
    constants = {c.value: c.key for c in graph.constants}
    live = _live_bytes(graph)
    read = {v for node in graph.nodes for v in node.inputs} | {p.value for p in graph.outputs}
    read |= {s.next for s in graph.states}
    layers = []
    every: dict[str, TensorType] = {}
    for index, (node, field) in enumerate(zip(graph.nodes, _fields(graph), strict=True)):
        operands, results = graph.node_types(node)
        own, result = _parameters(graph, node, constants), _shown(graph, node, read)
        every |= own
        read_field = field or Field((0, 0), (0, 0))
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
                field=None if read_field.whole else read_field.size,
                field_stride=None if read_field.whole else read_field.stride,
                quantisation=result.quant,
            )
        )
    return NetworkReport(
        name=graph.name,
        inputs=tuple(_port_facts(graph, port) for port in graph.inputs),
        outputs=tuple(_port_facts(graph, port) for port in graph.outputs),
        layers=tuple(layers),
        parameters=sum(t.elements for t in every.values()),
        parameter_bytes=sum(type_bytes(t) for t in every.values()),
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
    """An operator in a few characters: `conv2d 3x3/2 +add +relu`."""
    if isinstance(op, Fused):
        stages = "".join(f" +{stage.op.name}" for stage in op.stages)
        return operator_text(op.anchor, inputs[: op.operands]) + stages
    window = window_of(op, inputs)
    if window is None:
        return op.name
    text = f"{op.name} {window.size[0]}x{window.size[1]}"
    text += "" if window.stride == (1, 1) else f"/{_pair_text(window.stride)}"
    text += "" if window.dilation == (1, 1) else f" dilation={_pair_text(window.dilation)}"
    groups = getattr(op, "groups", 1)
    return text if groups == 1 else f"{text} groups={groups}"


def _pair_text(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
