"""Cuts the results of a chain into bands of rows, and finds what each band reads.

A *chain* is a run of nodes that are computed together, band by band: for every band of rows of the
last result, each node computes only the rows that are still missing. No row is computed twice. If
the images are also cut into strips of columns, the bands of one strip follow those of another, and
neighbouring strips share columns, which both compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from ellc.codegen.blocks.calls import Chain
from ellc.codegen.planning.loops import Enter, Leave
from ellc.ir.branches import Needs
from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.fused import Fused, anchor_of
from ellc.ir.reads import Along, Reads, part
from ellc.ir.types import Padding, TensorType

ROWS, COLUMNS = 1, 2
"""The axes of an image."""
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an image: the rows [start, end) and the columns [start, end)."""

    rows: Span
    columns: Span

    @property
    def is_empty(self) -> bool:
        """Whether the part has no pixels."""
        return self.pixels == 0

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return max(0, self.rows[1] - self.rows[0]) * max(0, self.columns[1] - self.columns[0])


def whole_box(type_: TensorType) -> Box:
    """All of an image."""
    return Box((0, type_.shape[ROWS]), (0, type_.shape[COLUMNS]))


def can_be_cut(graph: Graph, node: Node, needed: Needs) -> bool:
    """Whether a node can be a member of a chain: whether a part of its result can be computed.

    It has one result, a single image of several rows. Its operator is pointwise or slides a window
    over the image, and the padding is narrower than the window.
    """
    type_ = graph.types[node.outputs[0]]
    if len(node.outputs) != 1 or needed or not _is_picture(type_) or type_.shape[ROWS] < 2:
        return False
    operands, results = graph.node_types(node)
    if node.op.view(operands) is not None or node.op.joined is not None:
        return False
    constants = {c.value for c in graph.constants}
    if not _is_divisible(node.op, operands):
        return False
    every = zip(node.inputs, operands, node.op.reads(operands, results), strict=True)
    return not any(
        follows(reads) and (value in constants or not _is_picture(operand))
        for value, operand, reads in every
    )


def runs(graph: Graph, needed: Sequence[Needs]) -> tuple[range, ...]:
    """The longest runs of consecutive nodes, by index, of which any part can be a chain.

    A node that needs all of an operand begins a new run, because the run must not compute it.
    """
    found: list[range] = []
    begin, own, in_loop = 0, set[str](), False
    for index, node in enumerate(graph.nodes):
        in_loop = isinstance(node.op, Enter) or (in_loop and not isinstance(node.op, Leave))
        fits = not in_loop and can_be_cut(graph, node, needed[index])
        if not fits or own & set(_read_whole(graph, node)):
            found.append(range(begin, index))
            begin, own = index + (not fits), set()
        if fits:
            own.add(node.output)
    found.append(range(begin, len(graph.nodes)))
    return tuple(run for run in found if run)


def _read_whole(graph: Graph, node: Node) -> Iterator[str]:
    """The operands of which a node needs all for any part of its result."""
    every = zip(node.inputs, node.op.reads(*graph.node_types(node)), strict=True)
    return (value for value, reads in every if not follows(reads))


def _is_picture(type_: TensorType) -> bool:
    return type_.rank == 4 and type_.shape[0] == 1 and 0 not in type_.shape


def follows(reads: Reads) -> bool:
    """Whether a part of the result needs only a part of the operand's rows or columns."""
    return any(along is not None and along.axis in (ROWS, COLUMNS) for along in reads)


def _is_divisible(op: Op, operands: Sequence[TensorType]) -> bool:
    anchor, window = anchor_of(op), op.slides(tuple(operands))
    if isinstance(anchor, Pointwise):
        return True
    if window is None or not isinstance(getattr(anchor, "padding", None), Padding):
        return False
    own = window.padding
    is_added = operands[0].dtype.is_float and not (own.is_zero or anchor.takes_largest)
    if is_added and not own.is_empty and operands[0].border is not None:
        # Kernels add such padding before or after other terms, depending on the edges of the part:
        # only those beside its columns are in a window. Without a border, it is always added first.
        return False
    top, left, bottom, right = own.amounts
    rows, columns = window.reach
    return max(top, bottom) < rows and max(left, right) < columns


@dataclass(frozen=True, slots=True)
class OperandPart:
    """The part of an operand that a step reads. `box` is None if it reads all of the operand."""

    value: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class NodePart:
    """The part of a node's result that one band adds, and the parts of operands that it reads."""

    node: Node
    box: Box
    operands: tuple[OperandPart, ...]
    is_last: bool
    """Whether no later band computes a part of the result."""


def operand_parts(graph: Graph, node: Node, box: Box) -> tuple[OperandPart, ...]:
    """The parts of a node's operands that are read to compute a part of its result."""
    operands, results = graph.node_types(node)
    wanted = tuple(
        {ROWS: box.rows, COLUMNS: box.columns}.get(axis, (0, extent))
        for axis, extent in enumerate(results[0].shape)
    )
    parts = []
    for value, type_, reads in zip(
        node.inputs, operands, node.op.reads(operands, results), strict=True
    ):
        if not follows(reads):
            parts.append(OperandPart(value, None))
            continue
        read = part(reads, type_.shape, wanted)
        parts.append(OperandPart(value, Box(read[ROWS], read[COLUMNS])))
    return tuple(parts)


def part_operator(graph: Graph, part: NodePart) -> Op:
    """The operator that computes a part of a node's result from the parts of its operands.

    A window keeps only the padding that the part reaches.
    """
    op = part.node.op
    operands, _ = graph.node_types(part.node)
    window = op.slides(operands)
    if window is None:
        return op
    own = window.padding
    amounts: list[Span] = []
    for side, (first, end), extent, before in (
        (0, part.box.rows, operands[0].shape[ROWS], own.top),
        (1, part.box.columns, operands[0].shape[COLUMNS], own.left),
    ):
        start = first * window.stride[side] - before
        stop = (end - 1) * window.stride[side] - before + window.reach[side]
        amounts.append((max(0, -start), max(0, stop - extent)))
    (top, bottom), (left, right) = amounts
    anchor: Any = anchor_of(op)  # `_is_divisible` says that it has a padding
    cut: Op = replace(anchor, padding=Padding(top, left, bottom, right, own.values))
    return replace(op, anchor=cut) if isinstance(op, Fused) else cut


class Bands:
    """The bands of one chain of a graph: what each step computes, and when.

    `granules` maps results to the number of which the first row and column of every part must be a
    multiple. Raises `InternalError` if the nodes do not form a chain.
    """

    def __init__(
        self, graph: Graph, chain: Chain, granules: Mapping[str, int] | None = None
    ) -> None:
        self._graph, self.chain = graph, chain
        self._granules = granules or {}
        positions = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
        self.first, self.last = positions[chain.first], positions[chain.last]
        self.nodes = graph.nodes[self.first : self.last + 1]
        if not self.nodes:
            raise InternalError(f"'{chain.last}' is computed before '{chain.first}'")
        own = {node.output for node in self.nodes}
        self._readers: dict[str, list[tuple[Node, int]]] = {v: [] for v in own}
        for node in self.nodes:
            for position, value in enumerate(node.inputs):
                if value in own:
                    self._readers[value].append((node, position))
        kept = {p.value for p in graph.outputs} | {s.next for s in graph.states}
        for index, node in enumerate(graph.nodes):
            if not self.first <= index <= self.last:
                kept |= own.intersection(node.inputs)
        self.results = frozenset(own & (kept | {chain.last}))
        """The results that something outside the chain reads."""
        self.inner = tuple(n.output for n in self.nodes if n.output not in self.results)
        """The results that only the chain's nodes read; they need windows, not whole buffers."""

    @cached_property
    def count(self) -> int:
        """The number of bands in a strip, with those at the start that lack the last result."""
        return self._lead + -(-self._extent(self.chain.last, ROWS) // self._step(self.chain.rows))

    @cached_property
    def _lead(self) -> int:
        """The number of bands before the last node begins.

        The first nodes are ahead of the last one, because windows reach beyond the rows that a band
        adds. They begin earlier, so that no band has to compute more rows than another.
        """
        lead = 0
        while any(end > 0 for end in self._progress(-lead * self._step(self.chain.rows)).values()):
            lead += 1
        return lead

    def _step(self, extent: int) -> int:
        """The rows or columns of the last result by which a band or strip advances."""
        granule = self._granules.get(self.chain.last, 1)
        return -(-extent // granule) * granule

    @cached_property
    def strips(self) -> tuple[Mapping[str, Span], ...]:
        """For each strip, the columns of every result that it computes."""
        width = self._extent(self.chain.last, COLUMNS)
        step = self._step(self.chain.columns or width)
        count = -(-width // step)
        return tuple(self._columns(i * step, min(width, (i + 1) * step)) for i in range(count))

    def _columns(self, start: int, stop: int) -> Mapping[str, Span]:
        width = self._extent(self.chain.last, COLUMNS)
        spans: dict[str, Span] = {}
        for node in reversed(self.nodes):
            value = node.output
            extent = self._extent(value, COLUMNS)
            wanted = [(start, stop)] if value == self.chain.last else []
            wanted += [
                self._reads(reader, position, COLUMNS, spans[reader.output])
                for reader, position in self._readers[value]
            ]
            if value in self.results and value != self.chain.last:
                wanted.append((extent * start // width, -(-extent * stop // width)))
            low, high = min(a for a, _ in wanted), max(b for _, b in wanted)
            granule = self._granules.get(value, 1)
            low, high = low // granule * granule, min(extent, -(-high // granule) * granule)
            spans[value] = (0 if start == 0 else low, extent if stop == width else high)
        return spans

    @cached_property
    def ends(self) -> tuple[Mapping[str, int], ...]:
        """For each band, the row before which every result is complete after the band."""
        return tuple(map(self._ends, range(self.count)))

    def _ends(self, band: int) -> Mapping[str, int]:
        done = (band + 1 - self._lead) * self._step(self.chain.rows)
        ends: dict[str, int] = {}
        for value, wanted in self._progress(done).items():
            rows, granule = self._extent(value, ROWS), self._granules.get(value, 1)
            end = min(rows, max(0, -(-wanted // granule) * granule))
            ends[value] = rows if band == self.count - 1 else end
        return ends

    def _progress(self, done: int) -> Mapping[str, int]:
        """For each result, the end of the rows that `done` rows of the last result need.

        All numbers may be negative: they then say how far a result is from its first row.
        """
        total = self._extent(self.chain.last, ROWS)
        ends: dict[str, int] = {}
        for node in reversed(self.nodes):
            value = node.output
            wanted = [done] if value == self.chain.last else []
            for reader, position in self._readers[value]:
                granule = self._granules.get(reader.output, 1)
                stop = -(-ends[reader.output] // granule) * granule
                stop = min(stop, self._extent(reader.output, ROWS))
                along = self._along(reader, position)
                wanted.append((stop - 1) * along.stride + along.offset + along.extent)
            if value in self.results and value != self.chain.last:
                wanted.append(-(-self._extent(value, ROWS) * done // total))
            ends[value] = max(wanted, default=done)
        return ends

    def _along(self, node: Node, position: int) -> Along:
        """How the rows of a result follow the rows of an operand."""
        along = node.op.reads(*self._graph.node_types(node))[position][ROWS]
        if along is None:
            raise InternalError(f"'{node.output}' needs all rows of an operand of its chain")
        return along

    def starts(self, band: int) -> Mapping[str, int]:
        """The first row of every inner result that this band or a later one reads or computes."""
        before = self.ends[band - 1] if band else dict.fromkeys(self.ends[0], 0)
        starts = {}
        for value in self.inner:
            rows = self._extent(value, ROWS)
            first = before[value]
            for reader, position in self._readers[value]:
                done, total = before[reader.output], self._extent(reader.output, ROWS)
                if done < total:
                    first = min(first, self._reads(reader, position, ROWS, (done, total))[0])
            starts[value] = min(first, rows)
        return starts

    def window_rows(self, value: str) -> int:
        """The rows of an inner result's window.

        These are the most rows that must be in memory at the same time, and those that further
        bands add before rows are moved.
        """
        ends = [self.ends[band][value] for band in range(self.count)]
        needed = max(end - self.starts(band)[value] for band, end in enumerate(ends))
        added = max(b - a for a, b in pairwise((0, *ends)))
        return min(self._extent(value, ROWS), needed + (self.chain.turns - 1) * added)

    def window_columns(self, value: str) -> int:
        """The most columns of an inner result that a strip computes."""
        return max(spans[value][1] - spans[value][0] for spans in self.strips)

    def parts(self, strip: int, band: int) -> Iterator[NodePart]:
        """What the nodes compute in a band, in order, without nodes that have nothing to do."""
        ends = self.ends[band]
        before = self.ends[band - 1] if band else dict.fromkeys(ends, 0)
        for node in self.nodes:
            value = node.output
            box = Box((before[value], ends[value]), self.strips[strip][value])
            if box.is_empty:
                continue
            complete = ends[value] == self._extent(value, ROWS)
            last = complete and strip == len(self.strips) - 1
            yield NodePart(node, box, operand_parts(self._graph, node, box), last)

    def macs(self) -> int:
        """The multiply-adds of all bands; more than those of the nodes if there are strips."""
        total = 0
        for node in self.nodes:
            pixels = self._extent(node.output, ROWS) * self._extent(node.output, COLUMNS)
            macs = node.op.macs(*self._graph.node_types(node))
            computed = sum(spans[node.output][1] - spans[node.output][0] for spans in self.strips)
            total += macs * self._extent(node.output, ROWS) * computed // pixels
        return total

    def _extent(self, value: str, axis: int) -> int:
        return self._graph.types[value].shape[axis]

    def _reads(self, node: Node, position: int, axis: int, span: Span) -> Span:
        """The rows or columns of an operand that a part of the result needs."""
        box = whole_box(self._graph.types[node.output])
        wanted = Box(span, box.columns) if axis == ROWS else Box(box.rows, span)
        read = operand_parts(self._graph, node, wanted)[position].box
        if read is None:
            raise InternalError(f"'{node.output}' needs all of an operand that its chain computes")
        return read.rows if axis == ROWS else read.columns
