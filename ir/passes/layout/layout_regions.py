"""Choose the arrangement of every operator such that few bytes are moved between operators."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ellc.ir.arrangement import Permutation, compose, identity, inverse, through_reshape
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Types
from ellc.ir.ops.shape import Reshape
from ellc.ir.passes.layout.layout_flow import (
    Flow,
    Layout,
    Producer,
    Reader,
    operand_order,
    result_order,
)
from ellc.ir.passes.layout.min_cut import NEVER, MinCut

Pair = tuple[Permutation, Permutation]
Orders = tuple[Permutation | None, Permutation | None]
_SOURCE, _SINK = "", " "  # no node has these names


def best_layout(graph: Graph) -> Layout:
    """A layout that moves fewer bytes than the graph's own; if none is found, the graph's own.

    For each transpose, a region is found: the operators around it that can work either in the
    arrangement before it or in the one after it. A minimum cut chooses one of these for every
    operator. The arrangements of a region change only if its cost decreases, so that calling this
    function repeatedly terminates.
    """
    flow = Flow(graph)
    layout = Layout(flow)
    covered: set[tuple[str, Permutation]] = set()
    for value, readers in flow.readers.items():
        for reader in readers:
            pair = identity(len(reader.steps)), reader.steps
            orders = [flow.order(value, p) for p in pair]
            if orders[0] == orders[1] or (value, orders[1]) in covered:
                continue
            region = _Region(flow)
            region.grow(value, pair)
            covered |= region.covered
            _improve(layout, region)
    return layout


@dataclass
class _Region:
    """Nodes, each with two arrangements: that before a transpose and that after it.

    The two cases of a node correspond to the two cases of its neighbours in the region.
    """

    flow: Flow
    pairs: dict[str, Pair] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    covered: set[tuple[str, Permutation]] = field(default_factory=set)

    def grow(self, value: str, pair: Pair) -> None:
        """Add all nodes to which these two arrangements of a value can be propagated."""
        queue = deque([(value, pair)])
        visited = set()
        while queue:
            value, pair = queue.popleft()
            orders = [self.flow.order(value, p) for p in pair]
            if value in visited or orders[0] == orders[1]:
                continue
            visited.add(value)
            self.covered |= {(value, o) for o in orders}
            producer = self.flow.producers.get(value)
            if producer is not None:
                queue += self._enter(producer.node, self._from_result(producer, pair))
            for reader in self.flow.readers.get(value, []):
                if reader.node is not None:
                    queue += self._enter(reader.node, self._from_operand(reader, pair))

    def _from_result(self, producer: Producer, pair: Pair) -> Pair | None:
        types = self.flow.graph.node_types(producer.node)
        if not types[0]:
            return None
        a, b = (self._first_of(producer, types, p) for p in pair)
        return None if a is None or b is None else (a, b)

    def _first_of(
        self, producer: Producer, types: tuple[Types, Types], permutation: Permutation
    ) -> Permutation | None:
        """The arrangement of a node's first operand if its result has this arrangement.

        If a dense layer's flat result is reshaped to an image, this is the permutation of the
        image: see `flatten.unfolded`. None if there is no such arrangement.
        """
        first = _first_from_result(producer.node.op, *types, producer.index, permutation)
        if first is None and self.flow.row_producers(producer.node) is not None:
            return permutation
        return first

    def _from_operand(self, reader: Reader, pair: Pair) -> Pair | None:
        assert reader.node is not None
        back = inverse(reader.steps)
        a, b = (self._first_of_reader(reader.node, reader.index, compose(back, p)) for p in pair)
        return None if a is None or b is None else (a, b)

    def _first_of_reader(
        self, node: Node, index: int, permutation: Permutation
    ) -> Permutation | None:
        """The arrangement of a node's first operand if operand `index` has this arrangement.

        None if it is unknown.
        """
        if index == 0:
            return permutation
        operands = self.flow.graph.node_types(node)[0]
        if operands[index].rank != operands[0].rank:
            return None
        arranged = self.flow.arranged(node, permutation)
        return permutation if arranged and arranged.operands[index] == permutation else None

    def _enter(self, node: Node, pair: Pair | None) -> list[tuple[str, Pair]]:
        """Add a node; returns its operands and results, each with its two arrangements."""
        key = node.outputs[0]
        if pair is None or key in self.pairs:
            return []
        a, b = (self.flow.arranged(node, p) for p in pair)
        if a is None and b is None:
            return []
        self.pairs[key], self.nodes[key] = pair, node
        if a is None or b is None:
            return []
        values: list[tuple[str, Pair]] = []
        for value, p, q in zip(node.inputs, a.operands, b.operands, strict=True):
            base, steps = self.flow.base(value)
            if base in self.flow.constants or p is None or q is None:
                continue
            if len(p) == len(q) == len(steps):
                values.append((base, (compose(steps, p), compose(steps, q))))
        if a.results and b.results:
            values += zip(node.outputs, zip(a.results, b.results, strict=True), strict=True)
        return values

    def values(self) -> list[str]:
        """All values that the nodes read or compute."""
        values: dict[str, None] = {}
        for node in self.nodes.values():
            values.update(dict.fromkeys(self.flow.base(v)[0] for v in node.inputs))
            values.update(dict.fromkeys(node.outputs))
        return [v for v in values if v not in self.flow.constants]

    def stored(self, value: str) -> Orders | None:
        """The orders in which a value is stored in the two cases.

        None if no node in the region computes the value.
        """
        producer = self.flow.producers.get(value)
        pair = self.pairs.get(producer.node.outputs[0]) if producer else None
        if producer is None or pair is None:
            return None
        a, b = (result_order(self.flow, producer, p) for p in pair)
        return a, b

    def is_free(self, value: str) -> bool:
        """Whether a value may be stored in any order, since its readers take any."""
        producer = self.flow.producers.get(value)
        pair = self.pairs.get(producer.node.outputs[0], ()) if producer else ()
        arranged = [self.flow.arranged(producer.node, p) for p in pair if producer]
        return any(a is not None and not a.results for a in arranged)

    def wanted(self, value: str, reader: Reader) -> Orders | None:
        """The orders that a reader wants in the two cases; None for a reader outside the region."""
        pair = self.pairs.get(reader.node.outputs[0]) if reader.node else None
        if pair is None:
            return None
        a, b = (operand_order(self.flow, value, reader, p) for p in pair)
        return a, b


def _improve(layout: Layout, region: _Region) -> None:
    """Set the arrangements that a minimum cut chooses for a region, if that decreases the cost."""
    values = region.values()
    cut = MinCut(_SOURCE, _SINK)
    for key, node in region.nodes.items():
        for pair, tail, head in zip(region.pairs[key], (key, _SOURCE), (_SINK, key), strict=True):
            cut.arc(tail, head, NEVER if layout.flow.arranged(node, pair) is None else 0)
    for value in values:
        _connect(cut, layout, region, value)
    kept = cut.source_side()
    chosen = {key: pair[key not in kept] for key, pair in region.pairs.items()}
    better = Layout(layout.flow, {**layout.chosen, **chosen})
    if better.cost(values) < layout.cost(values):
        layout.chosen = better.chosen


def _connect(cut: MinCut, layout: Layout, region: _Region, value: str) -> None:
    """Add to the cut problem the cost of moving a value's elements.

    The cost arises if the value is computed on one side of the cut and read on the other. It counts
    once for any number of readers on the other side.
    """
    flow = region.flow
    stored = region.stored(value)
    readers = [(r, region.wanted(value, r)) for r in flow.readers.get(value, [])]
    offers = [w for w in (stored, *(w for _, w in readers)) if w is not None]
    both = next((w for w in offers if None not in w), None)
    if both is None or region.is_free(value):
        return
    inside = [r.node.outputs[0] for r, w in readers if r.node and w and _agree(w, both)]
    outside = [layout.wanted(value, r) for r, w in readers if w is None]
    ends = [*inside, *(side for o in outside if (side := _side(o, both)) is not None)]
    if stored is None:
        start = _side(layout.stored(value), both)
    else:
        start = flow.producers[value].node.outputs[0] if _agree(stored, both) else None
    cost = flow.weight(value)
    cut.arc(_SOURCE if start is None else start, ("to sink", value), cost)
    cut.arc(("to source", value), _SINK if start is None else start, cost)
    for end in ends:
        cut.arc(("to sink", value), end, NEVER)
        cut.arc(end, ("to source", value), NEVER)


def _agree(wanted: Orders, both: Orders) -> bool:
    """Whether the two orders equal those in `both`; None in `wanted` accepts any order."""
    return all(w is None or w == b for w, b in zip(wanted, both, strict=True))


def _side(stored: Permutation | None, both: Orders) -> str | None:
    """The side of the cut that stands for an order: the source for both[0], the sink for both[1].

    None for any other order.
    """
    if stored is None or stored not in both:
        return None
    return _SOURCE if stored == both[0] else _SINK


def _first_from_result(
    op: Op, operands: Types, results: Types, index: int, permutation: Permutation
) -> Permutation | None:
    """The arrangement of the first operand if a result has this arrangement; None if unknown."""
    if isinstance(op, Reshape):
        return through_reshape(results[index].shape, operands[0].shape, permutation)
    return permutation if operands[0].rank == results[index].rank else None
