"""A graph without its transposes: which node reads what, in which order of axes, at what cost.

A transpose is no operator here but a wish of its reader. Values are named by what really makes
them; a `Layout` says in which arrangement operators work, and so where elements must be moved.
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

_INSIDE = 1 << 12  # a transposition in the middle costs this many times one at the ends
_BIT_COST = 8  # bits are packed: moving one is work like that for some bytes


@dataclass(frozen=True)
class Reader:
    """An operand that reads a value, its axes permuted by `steps`; no node: a public output."""

    node: Node | None
    index: int
    steps: Permutation


@dataclass(frozen=True)
class Maker:
    """The node a value comes from, and which of its results it is."""

    node: Node
    index: int


class Flow:
    """Values, the nodes that make and read them, with transposes left out."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = {c.value for c in graph.constants}
        self.makers: dict[str, Maker] = {}
        self.readers: dict[str, list[Reader]] = {}
        self._bases: dict[str, tuple[str, Permutation]] = {}
        self._arranged: dict[tuple[str, Permutation], Arranged | None] = {}
        for node in graph.nodes:
            if isinstance(node.op, Transpose):
                base, steps = self.base(node.inputs[0])
                self._bases[node.output] = base, compose(steps, node.op.permutation)
                continue
            self.makers.update((v, Maker(node, i)) for i, v in enumerate(node.outputs))
            for index, value in enumerate(node.inputs):
                self._add_reader(value, node, index)
        for value in [*(p.value for p in graph.outputs), *(s.next for s in graph.states)]:
            self._add_reader(value, None, 0)

    def base(self, value: str) -> tuple[str, Permutation]:
        """(what a value is a transpose of, how it is permuted)."""
        found = self._bases.get(value)
        return found or (value, identity(self.graph.types[value].rank))

    def arranged(self, node: Node, permutation: Permutation) -> Arranged | None:
        """The node's operator with its first operand rearranged, None if it cannot be."""
        key = node.outputs[0], permutation
        if key not in self._arranged:
            self._arranged[key] = self._arrange(node, permutation)
        return self._arranged[key]

    def _arrange(self, node: Node, permutation: Permutation) -> Arranged | None:
        operands, results = self.graph.node_types(node)
        if len(permutation) != operands[0].rank:
            return unfolded(node, permutation, operands[0].shape, self.row_makers(node))
        made = node.op.arranged(operands, results, permutation)
        if made is None and isinstance(node.op, Reshape):
            made = flattened(node, permutation, operands[0].shape, self.column_readers(node))
        return made

    def row_makers(self, node: Node) -> list[Node] | None:
        """From a `Reshape` of another rank back to the dense layer whose rows make its elements.

        Between them there may be elementwise operators with constants. None if others read any of
        these results, or if there is no such layer.
        """
        value = node.inputs[0]
        flat = self.graph.types[value].shape
        if not isinstance(node.op, Reshape) or len(flat) == len(node.op.shape):
            return None
        chain = []
        while (maker := self.makers.get(value)) and len(self.readers.get(value, [])) == 1:
            found = maker.node
            chain.append(found)
            shapes = [self.graph.types[v].shape for v in found.inputs[1:]]
            if not self.constants.issuperset(found.inputs[1:]):
                return None
            if isinstance(found.op, Dense):
                return chain
            if not isinstance(found.op, Pointwise) or any(
                prod(s) != 1 and s[-1] != flat[-1] for s in shapes
            ):
                return None
            value = found.inputs[0]
        return None

    def weight(self, value: str) -> int:
        """What it costs to move the elements of a value.

        Mostly their bytes; a little more beside a kernel that could take in what follows it. At
        the ends of the network, where the caller fixes an arrangement, it is cheap: all kernels
        between them shall work on one.
        """
        type_ = self.graph.types[value]
        size = _BIT_COST if type_.dtype is DType.BIT else type_.dtype.item_bytes
        maker = self.makers.get(value)
        makers = [maker.node] if maker else []
        readers = [r.node for r in self.readers.get(value, [])]
        if not makers or None in readers:
            return size * type_.elements
        kernels = any(_is_kernel(n) for n in makers) + any(_is_kernel(n) for n in readers if n)
        return _INSIDE * size * type_.elements + kernels

    def order(self, value: str, permutation: Permutation) -> Permutation:
        """How the elements of a value lie in memory under an arrangement."""
        return order(self.graph.types[value].shape, permutation)

    def column_readers(self, node: Node) -> list[tuple[Node, int]] | None:
        """The dense layers that read a result, and the column at which it begins for them.

        It may be joined with others before them. None if anything else reads it.
        """
        found = []
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
            found += [(r.node, begin) for r in after if r.node is not None]
        return found or None

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
    """The arrangement of the first operand of every node that works on another than it says."""

    flow: Flow
    chosen: dict[str, Permutation] = field(default_factory=dict)

    def of(self, node: Node) -> Permutation:
        """The arrangement in which a node's first operand is read."""
        found = self.chosen.get(node.outputs[0])
        return identity(self.flow.graph.types[node.inputs[0]].rank) if found is None else found

    def stored(self, value: str) -> Permutation | None:
        """How a value lies in memory when it is made; None if its readers take it as it is."""
        flow = self.flow
        maker = flow.makers.get(value)
        if maker is None or maker.node.outputs[0] not in self.chosen:
            return flow.order(value, identity(flow.graph.types[value].rank))
        return result_order(flow, maker, self.of(maker.node))

    def wanted(self, value: str, reader: Reader) -> Permutation | None:
        """The order in which a reader needs a value in memory; None if it takes any."""
        flow = self.flow
        if reader.node is None or reader.node.outputs[0] not in self.chosen:
            return flow.order(value, reader.steps)
        return operand_order(flow, value, reader, self.of(reader.node))

    def total(self) -> int:
        """What moving elements costs in the whole graph."""
        return self.cost(self.flow.readers)

    def cost(self, values: Iterable[str]) -> int:
        """What moving the elements of these values costs: once for each order that is wanted."""
        total = 0
        for value in values:
            made = self.stored(value)
            if made is not None:
                orders = {self.wanted(value, r) for r in self.flow.readers.get(value, [])}
                total += len(orders - {made, None}) * self.flow.weight(value)
        return total


def result_order(flow: Flow, maker: Maker, permutation: Permutation) -> Permutation | None:
    """How a result lies in memory if its node works on an arrangement."""
    made = flow.arranged(maker.node, permutation)
    if made is None or not made.results:
        return None
    return flow.order(maker.node.outputs[maker.index], made.results[maker.index])


def operand_order(
    flow: Flow, value: str, reader: Reader, permutation: Permutation
) -> Permutation | None:
    """How an operand must lie in memory if its node works on an arrangement."""
    assert reader.node is not None
    made = flow.arranged(reader.node, permutation)
    if made is None:
        return None
    wanted = made.operands[reader.index]
    if wanted is None:
        return flow.order(value, reader.steps)
    return flow.order(value, compose(reader.steps, lowered(wanted, len(reader.steps))))


def lowered(permutation: Permutation, rank: int) -> Permutation:
    """The permutation of an operand that lacks leading axes."""
    missing = len(permutation) - rank
    return tuple(a - missing for a in permutation if a >= missing)


def _is_kernel(node: Node) -> bool:
    """Whether elementwise operators after a node may run in its kernel."""
    return isinstance(node.op, Dense | IntDense) or not is_flexible(node.op)


def is_flexible(op: Op) -> bool:
    """Whether an operator may be able to work on other arrangements."""
    return type(anchor_of(op)).arranged is not Op.arranged
