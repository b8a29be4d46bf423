"""Choose arrangements: parts of a graph work in one of two, with the least moved between them."""

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
    Maker,
    Reader,
    operand_order,
    result_order,
)
from ellc.ir.passes.layout.min_cut import NEVER, MinCut

Pair = tuple[Permutation, Permutation]
Orders = tuple[Permutation | None, Permutation | None]
_SOURCE, _SINK = "", " "  # no node is called so


def best_layout(graph: Graph) -> Layout:
    """The layout in which operators have to move fewer bytes; as the graph has it if none does.

    Each transpose that is left over is the seed of a region: the operators around it that may work
    on either side's arrangement. A minimum cut tells which of them work on which. A region changes
    only if that makes it cheaper, so choosing again and again comes to an end.
    """
    flow = Flow(graph)
    layout = Layout(flow)
    seen: set[tuple[str, Permutation]] = set()
    for value, readers in flow.readers.items():
        for reader in readers:
            pair = identity(len(reader.steps)), reader.steps
            orders = [flow.order(value, p) for p in pair]
            if orders[0] == orders[1] or (value, orders[1]) in seen:
                continue
            region = _Region(flow)
            region.grow(value, pair)
            seen |= region.seen
            _improve(layout, region)
    return layout


@dataclass
class _Region:
    """Nodes with two arrangements each, such that neighbours agree wherever possible."""

    flow: Flow
    pairs: dict[str, Pair] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    seen: set[tuple[str, Permutation]] = field(default_factory=set)

    def grow(self, value: str, pair: Pair) -> None:
        """Take in all that a value with these two arrangements reaches."""
        queue = deque([(value, pair)])
        visited = set()
        while queue:
            value, pair = queue.popleft()
            orders = [self.flow.order(value, p) for p in pair]
            if value in visited or orders[0] == orders[1]:
                continue
            visited.add(value)
            self.seen |= {(value, o) for o in orders}
            maker = self.flow.makers.get(value)
            if maker is not None:
                queue += self._enter(maker.node, self._from_result(maker, pair))
            for reader in self.flow.readers.get(value, []):
                if reader.node is not None:
                    queue += self._enter(reader.node, self._from_operand(reader, pair))

    def _from_result(self, maker: Maker, pair: Pair) -> Pair | None:
        types = self.flow.graph.node_types(maker.node)
        if not types[0]:
            return None
        a, b = (self._first_of(maker, types, p) for p in pair)
        return None if a is None or b is None else (a, b)

    def _first_of(
        self, maker: Maker, types: tuple[Types, Types], permutation: Permutation
    ) -> Permutation | None:
        """How a node's first operand is arranged where a result is.

        The flat result of a dense layer that is reshaped to an image takes the permutation of
        the image: see `flatten.unfolded`.
        """
        first = _first_from_result(maker.node.op, *types, maker.index, permutation)
        if first is None and self.flow.row_makers(maker.node) is not None:
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
        """How a node's first operand is arranged where another one is; None if that is not said."""
        if index == 0:
            return permutation
        operands = self.flow.graph.node_types(node)[0]
        if operands[index].rank != operands[0].rank:
            return None
        made = self.flow.arranged(node, permutation)
        return permutation if made and made.operands[index] == permutation else None

    def _enter(self, node: Node, pair: Pair | None) -> list[tuple[str, Pair]]:
        """Take a node in; its values and their arrangements."""
        key = node.outputs[0]
        if pair is None or key in self.pairs:
            return []
        a, b = (self.flow.arranged(node, p) for p in pair)
        if a is None and b is None:
            return []
        self.pairs[key], self.nodes[key] = pair, node
        if a is None or b is None:
            return []
        found: list[tuple[str, Pair]] = []
        for value, p, q in zip(node.inputs, a.operands, b.operands, strict=True):
            base, steps = self.flow.base(value)
            if base in self.flow.constants or p is None or q is None:
                continue
            if len(p) == len(q) == len(steps):
                found.append((base, (compose(steps, p), compose(steps, q))))
        if a.results and b.results:
            found += zip(node.outputs, zip(a.results, b.results, strict=True), strict=True)
        return found

    def values(self) -> list[str]:
        """All values that the nodes read or make."""
        found: dict[str, None] = {}
        for node in self.nodes.values():
            found.update(dict.fromkeys(self.flow.base(v)[0] for v in node.inputs))
            found.update(dict.fromkeys(node.outputs))
        return [v for v in found if v not in self.flow.constants]

    def made(self, value: str) -> Orders | None:
        """How a value lies in memory in either case, None if no node of the region makes it."""
        maker = self.flow.makers.get(value)
        pair = self.pairs.get(maker.node.outputs[0]) if maker else None
        if maker is None or pair is None:
            return None
        a, b = (result_order(self.flow, maker, p) for p in pair)
        return a, b

    def is_free(self, value: str) -> bool:
        """Whether the readers of a value take it in whichever order it is made."""
        maker = self.flow.makers.get(value)
        pair = self.pairs.get(maker.node.outputs[0], ()) if maker else ()
        made = [self.flow.arranged(maker.node, p) for p in pair if maker]
        return any(m is not None and not m.results for m in made)

    def wanted(self, value: str, reader: Reader) -> Orders | None:
        """The same for what a reader wants, None if it does not belong to the region."""
        pair = self.pairs.get(reader.node.outputs[0]) if reader.node else None
        if pair is None:
            return None
        a, b = (operand_order(self.flow, value, reader, p) for p in pair)
        return a, b


def _improve(layout: Layout, region: _Region) -> None:
    """Give the nodes of a region the arrangements that a minimum cut finds, if that is cheaper."""
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
    """The cost of a value that is made on one side of the cut and read on the other.

    It is paid once, however many readers there are on the other side.
    """
    flow = region.flow
    made = region.made(value)
    readers = [(r, region.wanted(value, r)) for r in flow.readers.get(value, [])]
    offers = [w for w in (made, *(w for _, w in readers)) if w is not None]
    both = next((w for w in offers if None not in w), None)
    if both is None or region.is_free(value):
        return
    inside = [r.node.outputs[0] for r, w in readers if r.node and w and _agree(w, both)]
    outside = [layout.wanted(value, r) for r, w in readers if w is None]
    ends = [*inside, *(side for o in outside if (side := _side(o, both)) is not None)]
    if made is None:
        maker = _side(layout.stored(value), both)
    else:
        maker = flow.makers[value].node.outputs[0] if _agree(made, both) else None
    cost = flow.weight(value)
    cut.arc(_SOURCE if maker is None else maker, ("to sink", value), cost)
    cut.arc(("to source", value), _SINK if maker is None else maker, cost)
    for end in ends:
        cut.arc(("to sink", value), end, NEVER)
        cut.arc(end, ("to source", value), NEVER)


def _agree(wanted: Orders, both: Orders) -> bool:
    """Whether a reader means the same two orders; None is an order that it never wants."""
    return all(w is None or w == b for w, b in zip(wanted, both, strict=True))


def _side(found: Permutation | None, both: Orders) -> str | None:
    """On which side of the cut one of the two orders is, None for any other order."""
    if found is None or found not in both:
        return None
    return _SOURCE if found == both[0] else _SINK


def _first_from_result(
    op: Op, operands: Types, results: Types, index: int, permutation: Permutation
) -> Permutation | None:
    """How the first operand is arranged where a result is; None if that is not said."""
    if isinstance(op, Reshape):
        return through_reshape(results[index].shape, operands[0].shape, permutation)
    return permutation if operands[0].rank == results[index].rank else None
