"""Stores the weights of layers that are bound by memory in fewer bits, if the graph asks for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ellc.codegen.blocks.narrow import CODINGS, Coding
from ellc.codegen.kernels.narrow_weights import FAMILY_NAMES
from ellc.codegen.machine.target import Target
from ellc.ir.graph import WEIGHTS_KEY, Constant, Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import Fused
from ellc.ir.types import DType

_LEAST_BYTES = 1024
"""Weights of fewer bytes are left as they are: they save neither time nor much memory."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A graph in which some weights are rounded, and how to store them.

    `kernels` has pairs (value, kernel family) as `Options.kernels`, one for each layer with rounded
    weights. `before` and `after` are the bytes of these weights as float32 and as they are stored.
    """

    graph: Graph
    coding: str = ""
    kernels: tuple[tuple[str, str], ...] = ()
    before: int = 0
    after: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know; empty if the graph asks for nothing."""
        if not self.coding:
            return ()
        if not self.kernels:
            return (f"weights: no layer is bound by memory, none is stored as {self.coding}",)
        layers = "1 layer" if len(self.kernels) == 1 else f"{len(self.kernels)} layers"
        return (
            f"weights: {layers} stored as {self.coding}, {self.after:,} bytes instead of "
            f"{self.before:,}",
        )


def narrowed(graph: Graph, target: Target, named: Collection[str]) -> Narrowed:
    """Round the weights of layers that are bound by memory to what the coding can store.

    The metadata `WEIGHTS_KEY` names the coding; without it the graph is returned unchanged. A layer
    is bound by memory if its core is predicted to read the weights, as float32, for longer than it
    multiplies. Targets without an operating system have little memory for constants; there all
    layers are chosen. Layers in `named` (values or layers of the model) and layers with a weight
    that is too large for the coding keep their weights, as do the layers in the body of a loop.
    """
    coding = CODINGS.get(graph.metadata.get(WEIGHTS_KEY, ""))
    if coding is None:
        return Narrowed(graph)
    result = Narrowed(graph, coding.name)
    for index, node in enumerate(graph.nodes):
        if not {*node.outputs, *node.source} & {*named} and _is_chosen(graph, node, target):
            result = _with_rounded(result, index, coding)
    used = {v for node in result.graph.nodes for v in node.inputs}
    used |= {port.value for port in graph.outputs} | {state.next for state in graph.states}
    constants = tuple(c for c in result.graph.constants if c.value in used)
    return replace(result, graph=replace(result.graph, constants=constants))


def _is_chosen(graph: Graph, node: Node, target: Target) -> bool:
    anchor: Op = node.op.anchor if isinstance(node.op, Fused) else node.op
    if not isinstance(anchor, Conv2D | Dense):
        return False
    fixed = {c.value for c in graph.constants}
    operands = node.op.operands if isinstance(node.op, Fused) else len(node.inputs)
    type_ = graph.types[node.inputs[1]]
    weight_bytes = type_.elements * DType.F32.item_bytes
    if type_.dtype is not DType.F32 or weight_bytes < _LEAST_BYTES:
        return False
    if not all(v in fixed for v in node.inputs[1:operands]):
        return False
    if not target.has_os:
        return True
    inputs, outputs = graph.node_types(node)
    macs = node.op.macs(inputs, outputs)
    return weight_bytes / target.core.memory_bytes > macs / target.lanes(DType.F32.item_bytes)


def _with_rounded(result: Narrowed, index: int, coding: Coding) -> Narrowed:
    """The result with the weights of one more layer rounded, unless one of them is too large."""
    graph = result.graph
    node = graph.nodes[index]
    old = node.inputs[1]
    key = next(c.key for c in graph.constants if c.value == old)
    try:
        weights = coding.rounded(graph.weights[key])
    except OverflowError:
        return result
    new = next(n for n in _names(f"{old}.{coding.name}") if n not in graph.types)
    inputs = (node.inputs[0], new, *node.inputs[2:])
    nodes = list(graph.nodes)
    nodes[index] = replace(node, inputs=inputs)
    constants = (*graph.constants, Constant(new, graph.weights.add(weights)))
    types = {**graph.types, new: graph.types[old]}
    return Narrowed(
        replace(graph, nodes=tuple(nodes), constants=constants, types=types),
        coding.name,
        (*result.kernels, (node.outputs[0], FAMILY_NAMES[coding.name])),
        result.before + weights.nbytes,
        result.after + weights.size * coding.elem.bytes,
    )


def _names(name: str) -> Iterator[str]:
    while True:
        yield name
        name += "_"
