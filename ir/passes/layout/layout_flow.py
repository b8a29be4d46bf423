"""A model of a graph without its transposes: which node reads which value in which order of axes.

In this model, a transpose is not an operator: it is the order in which its readers want the value
before it. A `Layout` gives the arrangement in which each operator works. This decides where
elements must be moved, and the cost of moving them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from ellc.ir.arrangement import Permutation, compose, identity, order
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Arranged, Op, Pointwise
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import anchor_of
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.shape import Concat, Reshape, Transpose
from ellc.ir.passes.layout.flatten import flattened, unfolded
from ellc.ir.types import DType

_INSIDE = 1 << 12  # cost of an inner transpose, relative to one at an input or output
_BIT_COST = 8  # in bytes: bits are packed, so moving a bit takes about as long as moving 8 bytes


@dataclass(frozen=True)
class Reader:
    """A read of a value as operand `index` of a node, with the axes permuted by `steps`.

    `node` is None for a public output or a state.
    """

    node: Node | None
    index: int
    steps: Permutation


@dataclass(frozen=True)
class Producer:
    """The node that computes a value, and the index of the value among the node's results."""

    node: Node
    index: int


class Flow:
    """All values before transposes, with the nodes that compute and read them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = {c.value for c in graph.constants}
        self.producers: dict[str, Producer] = {}
        self.readers: dict[str, list[Reader]] = {}
        self._bases: dict[str, tuple[str, Permutation]] = {}
        self._arranged: dict[tuple[str, Permutation], Arranged | None] = {}
        for node in graph.nodes:
            if isinstance(node.op, Transpose):
                base, steps = self.base(node.inputs[0])
                self._bases[node.output] = base, compose(steps, node.op.permutation)
                continue
            self.producers.update((v, Producer(node, i)) for i, v in enumerate(node.outputs))
            for index, value in enumerate(node.inputs):
                self._add_reader(value, node, index)
        for value in [*(p.value for p in graph.outputs), *(s.next for s in graph.states)]:
            self._add_reader(value, None, 0)

    def base(self, value: str) -> tuple[str, Permutation]:
        """(the value before all transposes, the permutation from its axes to those of `value`)."""
        base = self._bases.get(value)
        return base or (value, identity(self.graph.types[value].rank))

    def arranged(self, node: Node, permutation: Permutation) -> Arranged | None:
        """The node's operator for a rearranged first operand; None if there is none."""
        key = node.outputs[0], permutation
        if key not in self._arranged:
            self._arranged[key] = self._arrange(node, permutation)
        return self._arranged[key]

    def _arrange(self, node: Node, permutation: Permutation) -> Arranged | None:
        operands, results = self.graph.node_types(node)
        if len(permutation) != operands[0].rank:
            return unfolded(node, permutation, operands[0].shape, self.row_producers(node))
        arranged = node.op.arranged(operands, results, permutation)
        if arranged is None and isinstance(node.op, Reshape):
            arranged = flattened(node, permutation, operands[0].shape, self.column_readers(node))
        return arranged

    def row_producers(self, node: Node) -> list[Node] | None:
        """The nodes before `node`, a `Reshape` to another rank, back to a dense layer.

        The list goes backwards: elementwise operators with constants, if any, and then the layer.
        None if there is no such layer, or if other nodes read the result of a node in the list.
        """
        value = node.inputs[0]
        flat = self.graph.types[value].shape
        if not isinstance(node.op, Reshape) or len(flat) == len(node.op.shape):
            return None
        chain = []
        while (producer := self.producers.get(value)) and len(self.readers.get(value, [])) == 1:
            before = producer.node
            chain.append(before)
            shapes = [self.graph.types[v].shape for v in before.inputs[1:]]
            if not self.constants.issuperset(before.inputs[1:]):
                return None
            if isinstance(before.op, Dense):
                return chain
            if not isinstance(before.op, Pointwise) or any(
                prod(s) != 1 and s[-1] != flat[-1] for s in shapes
            ):
                return None
            value = before.inputs[0]
        return None

    def weight(self, value: str) -> int:
        """The cost of moving the elements of a value.

        It is proportional to the number of bytes, plus 1 if a kernel computes the value and 1 if
        kernels read it: if nothing were moved, elementwise operators could be fused with these.
        Moves of inputs, outputs and states of the network, whose order is fixed, count as cheap, so
        that all kernels between them work in the same arrangement.
        """
        type_ = self.graph.types[value]
        size = _BIT_COST if type_.dtype is DType.BIT else type_.dtype.item_bytes
        producer = self.producers.get(value)
        producers = [producer.node] if producer else []
        readers = [r.node for r in self.readers.get(value, [])]
        if not producers or None in readers:
            return size * type_.elements
        kernels = any(_is_kernel(n) for n in producers) + any(_is_kernel(n) for n in readers if n)
        return _INSIDE * size * type_.elements + kernels

    def order(self, value: str, permutation: Permutation) -> Permutation:
        """A value's axes in their order in memory under an arrangement, except those of extent 1.

        For example, the arrangement (0, 3, 1, 2) of [1,28,28,3] gives (3, 1, 2).
        """
        return order(self.graph.types[value].shape, permutation)

    def column_readers(self, node: Node) -> list[tuple[Node, int]] | None:
        """The dense layers that read a node's result, each with the column where the result begins.

        A concatenation may be between the node and a layer. None if anything else reads the result.
        """
        layers = []
        for reader in self.readers.get(node.outputs[0], []):
            join = reader.node
            begin = 0
            after = [reader]
            if join is not None and isinstance(join.op, Concat):
                shapes = [self.graph.types[v].shape for v in join.inputs]
                last = len(shapes[0]) - 1
                if join.op.axis != last or reader.steps != identity(last + 1):
                    return None
                begin = sum(s[-1] for s in shapes[: reader.index])
                after = self.readers.get(join.outputs[0], [])
            if not after or not all(self._has_columns(r) for r in after):
                return None
            layers += [(r.node, begin) for r in after if r.node is not None]
        return layers or None

    def _has_columns(self, reader: Reader) -> bool:
        """Whether a reader is a dense layer whose weights can be permuted."""
        node = reader.node
        if node is None or reader.index != 0 or reader.steps != identity(len(reader.steps)):
            return False
        return isinstance(node.op, Dense | IntDense) and node.inputs[1] in self.constants

    def _add_reader(self, value: str, node: Node | None, index: int) -> None:
        base, steps = self.base(value)
        if base not in self.constants:
            self.readers.setdefault(base, []).append(Reader(node, index, steps))


@dataclass
class Layout:
    """The arrangement in which each node works, that is, in which it reads its first operand.

    `chosen` holds arrangements by the id of the node's first result. A node that is not in it works
    in the arrangement of the graph.
    """

    flow: Flow
    chosen: dict[str, Permutation] = field(default_factory=dict)

    def of(self, node: Node) -> Permutation:
        """The arrangement in which a node works."""
        chosen = self.chosen.get(node.outputs[0])
        return identity(self.flow.graph.types[node.inputs[0]].rank) if chosen is None else chosen

    def stored(self, value: str) -> Permutation | None:
        """The order in memory in which a value is computed; None if it can have any order."""
        flow = self.flow
        producer = flow.producers.get(value)
        if producer is None or producer.node.outputs[0] not in self.chosen:
            return flow.order(value, identity(flow.graph.types[value].rank))
        return result_order(flow, producer, self.of(producer.node))

    def wanted(self, value: str, reader: Reader) -> Permutation | None:
        """The order in memory in which a reader needs a value; None if it accepts any order."""
        flow = self.flow
        if reader.node is None or reader.node.outputs[0] not in self.chosen:
            return flow.order(value, reader.steps)
        return operand_order(flow, value, reader, self.of(reader.node))

    def total(self) -> int:
        """The cost of moving elements in the whole graph."""
        return self.cost(self.flow.readers)

    def cost(self, values: Iterable[str]) -> int:
        """The cost of moving values: each is moved once per order that is wanted but not stored."""
        total = 0
        for value in values:
            stored = self.stored(value)
            if stored is not None:
                orders = {self.wanted(value, r) for r in self.flow.readers.get(value, [])}
                total += len(orders - {stored, None}) * self.flow.weight(value)
        return total


def result_order(flow: Flow, producer: Producer, permutation: Permutation) -> Permutation | None:
    """The order in memory of the result of a node that works in an arrangement; None: any order."""
    arranged = flow.arranged(producer.node, permutation)
    if arranged is None or not arranged.results:
        return None
    return flow.order(producer.node.outputs[producer.index], arranged.results[producer.index])


def operand_order(
    flow: Flow, value: str, reader: Reader, permutation: Permutation
) -> Permutation | None:
    """The order in memory of an operand whose reader works in an arrangement; None: any order."""
    assert reader.node is not None
    arranged = flow.arranged(reader.node, permutation)
    if arranged is None:
        return None
    wanted = arranged.operands[reader.index]
    if wanted is None:
        return flow.order(value, reader.steps)
    return flow.order(value, compose(reader.steps, lowered(wanted, len(reader.steps))))


def lowered(permutation: Permutation, rank: int) -> Permutation:
    """The permutation for an operand of lower rank, which lacks leading axes."""
    missing = len(permutation) - rank
    return tuple(a - missing for a in permutation if a >= missing)


def _is_kernel(node: Node) -> bool:
    """Whether elementwise operators may be fused with a node."""
    return isinstance(node.op, Dense | IntDense) or not is_flexible(node.op)


def is_flexible(op: Op) -> bool:
    """Whether an operator's class defines `arranged`, so that it may work in other arrangements."""
    return type(anchor_of(op)).arranged is not Op.arranged
