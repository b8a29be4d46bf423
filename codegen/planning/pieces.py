"""Predicts what a run of nodes costs as a chain: its memory, and the cycles that it saves or adds.

The figures are those of the middle of a chain, where every band advances by the same number of
rows; `bands.Bands` has the exact ones. They are found from the last node to the first, so that all
chains that end with the same node are predicted in one go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, product
from math import ceil, exp, prod

from ellc.codegen.blocks.access import ARENA_ALIGN
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.bands import COLUMNS, ROWS, follows
from ellc.codegen.planning.storage import Storage
from ellc.codegen.planning.traffic import Traffic
from ellc.ir.graph import Graph, Node
from ellc.ir.reads import Along

CALL_CYCLES = 400
"""The cycles that a call of a kernel takes in addition to its work: prologue, pointers, and loads
that find their lines in no cache. An estimate, not a measurement."""
MOVE_CYCLES = 0.5
"""The cycles per byte of a move inside a window. Modelled for MobileNet V2 on pi3_64: 3.5 MB of
rows are moved in 1.7 million cycles."""
MACS_PER_CYCLE = 2.5
"""The multiply-adds of a cycle, roughly; they weigh products that strips compute twice."""
LEFT_OF_L2 = 1.25
"""Results stay in the second-level cache until their reader has read them, if they and the reader's
results have at most this many times its size. On pi3_64 (512 KiB), chains save nothing for 28x28
pixels with 192 channels (588 KiB), and 5 % for 56x56 pixels with 144 channels (1.7 MiB)."""
L2_SHARE = 0.7
"""The part of the second-level cache that the windows and weights of a chain may fill. The rest is
for the images before and after the chain, and for other programs."""
GAIN, WINOGRAD_GAIN = 0.03, 0.01
"""A chain is worthwhile only if it saves this part of its predicted cycles. Its kernels compute few
rows at a time, its first and last bands have kernels of their own, and predictions err by as much:
on pi3_64 a chain of three layers of MobileNet V1 1.0 224 was predicted to save 1.1 % and saves
nothing. Winograd convolutions save more than predicted, because transformed tiles stay in the cache
as well: the second one of ELL d160 and its pool take 13.0 instead of 16.8 million
modelled cycles."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The nodes [first, stop) of a graph as a chain, or a single node as a layer.

    `rows`, `columns` and `turns` are those of the `Chain`; a layer has 0 rows. `ram_bytes` are live
    while the piece runs, `cycles` is the predicted difference to layers that run one after the
    other, and `more_macs` is the number of products that are computed again.
    """

    first: int
    stop: int
    rows: int
    columns: int
    turns: int
    ram_bytes: int
    cycles: float = 0.0
    more_macs: int = 0


@dataclass(frozen=True, slots=True)
class _Side:
    """How a reader's part of a result follows an operand along one axis."""

    stride: int
    reach: int
    before: int


@dataclass(frozen=True, slots=True)
class _Reader:
    """A node that reads a value, by its index."""

    node: int
    rows: _Side
    columns: _Side


@dataclass(frozen=True)
class Facts:
    """What is known about the nodes and buffers of a graph that is computed layer by layer.

    `storage` is that of the layers. `scratch` has the scratch memory of each node, and `granules`
    the granule of its candidate.
    """

    graph: Graph
    storage: Storage
    target: Target
    scratch: Sequence[int]
    granules: Sequence[int]

    @cached_property
    def last_use(self) -> dict[str, int]:
        """The last node that reads or computes each value; outputs are live to the end."""
        last: dict[str, int] = {}
        for index, node in enumerate(self.graph.nodes):
            last.update(dict.fromkeys((*node.inputs, *node.outputs), index))
        end = len(self.graph.nodes)
        last.update({p.value: end for p in self.graph.outputs})
        last.update({s.next: end for s in self.graph.states})
        return last

    @cached_property
    def live(self) -> tuple[tuple[int, int, int], ...]:
        """(first node, last node, bytes) of every buffer of the arena."""
        spans: dict[str, tuple[int, int, int]] = {}
        end = len(self.graph.nodes)
        for index, node in enumerate(self.graph.nodes):
            for value in (*node.inputs, *node.outputs):
                access = self.storage.accesses.get(value)
                if access is None or access.buffer.kind not in ("arena", "state"):
                    continue
                first, last = index, self.last_use[value]
                if access.buffer.kind == "state":
                    first, last = 0, end
                known = spans.get(access.buffer.id, (first, last, 0))
                size = -(-access.buffer.bytes // ARENA_ALIGN) * ARENA_ALIGN
                spans[access.buffer.id] = (min(first, known[0]), max(last, known[1]), size)
        return tuple(spans.values())

    @cached_property
    def ending(self) -> dict[int, int]:
        """The bytes of the buffers that are last used by each node."""
        ending: dict[int, int] = {}
        for _, last, size in self.live:
            ending[last] = ending.get(last, 0) + size
        return ending

    @cached_property
    def readers(self) -> dict[str, tuple[_Reader, ...]]:
        """The nodes that need only a part of each value for a part of their results."""
        found: dict[str, list[_Reader]] = {}
        for index, node in enumerate(self.graph.nodes):
            operands, results = self.graph.node_types(node)
            if len(results) != 1 or results[0].rank != 4:
                continue
            for value, reads in zip(node.inputs, node.op.reads(operands, results), strict=True):
                if len(reads) == 4 and follows(reads):
                    rows, columns = map(_side, reads[1:3])
                    found.setdefault(value, []).append(_Reader(index, rows, columns))
        return {value: tuple(readers) for value, readers in found.items()}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of the elements of every value; 0 for constants."""
        return {
            value: prod(access.shape) * access.elem.bytes
            for value, access in self.storage.accesses.items()
        }

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """The bytes of each node's constants. Those with a granule are transformed, and larger."""
        constants = {c.value: self.graph.weights[c.key].nbytes for c in self.graph.constants}
        return tuple(
            sum(constants.get(value, 0) for value in node.inputs)
            * (granule + 2) ** 2
            // (9 if granule > 1 else (granule + 2) ** 2)
            for node, granule in zip(self.graph.nodes, self.granules, strict=True)
        )

    @cached_property
    def traffic(self) -> Traffic:
        """The waits for memory."""
        produced = {node.output: index for index, node in enumerate(self.graph.nodes)}

        def missing(value: str) -> float:
            return self.missing(produced[value]) if value in produced else 0.0

        return Traffic(self.graph, self.target, self.sizes, missing, self._overwrites)

    @cached_property
    def alone(self) -> tuple[float, ...]:
        """The waits of all nodes for memory, as layers."""
        return tuple(map(self.traffic.alone, self.graph.nodes))

    def missing(self, index: int) -> float:
        """The part of a node's result that has left the cache when another node reads it.

        The reader writes a result of its own, unless it overwrites what it reads.
        """
        value = self.graph.nodes[index].output
        own = self.storage.accesses[value].buffer
        written = [self.graph.nodes[r.node].output for r in self.readers.get(value, ())]
        others = [self.sizes[v] for v in written if self.storage.accesses[v].buffer != own]
        touched = self.sizes[value] + max(others, default=0)
        return min(1.0, max(0.0, touched / max(1, self.target.l2_bytes) - LEFT_OF_L2))

    def _overwrites(self, node: Node) -> bool:
        """Whether a node overwrites its image, if it is computed as a layer."""
        if not node.inputs:
            return False
        own = self.storage.accesses[node.output].buffer
        image = self.storage.accesses.get(node.inputs[0])
        return image is not None and image.buffer == own


def _side(along: Along | None) -> _Side:
    return _Side(1, 1, 0) if along is None else _Side(along.stride, along.extent, -along.offset)


@dataclass
class _Sweep:
    """Predicts the chains that end with one node, as nodes are added before it.

    `advance` and `ahead` describe the rows of each result: after band t, row
    (t + 1) * advance + ahead is the first that is missing. `waits` has the waits of each node for
    memory, and `kept` the values that stay in windows.
    """

    facts: Facts
    stop: int
    rows: int
    columns: int
    turns: int
    advance: dict[int, float] = field(default_factory=dict)
    ahead: dict[int, float] = field(default_factory=dict)
    width: dict[int, float] = field(default_factory=dict)
    windows: int = 0
    scratch: int = 0
    weights: int = 0
    moved: float = 0.0
    waits: dict[int, float] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    again: float = 0.0
    gain: float = 0.0
    whole: dict[str, int] = field(default_factory=dict)
    """The bytes of the buffers that windows replace; 0 for a buffer that also holds a result."""

    def add(self, index: int) -> None:
        """Add the node before the nodes that were added so far."""
        facts, graph = self.facts, self.facts.graph
        node = graph.nodes[index]
        value, type_ = node.output, graph.types[node.output]
        extent, columns = type_.shape[ROWS], type_.shape[COLUMNS]
        inside = [r for r in facts.readers.get(value, ()) if index < r.node < self.stop]
        self._follow(index, inside, extent, columns)
        widened = min(columns, ceil(self.width[index])) * self.strips / columns
        macs = node.op.macs(*graph.node_types(node))
        self.gain += macs * (WINOGRAD_GAIN if facts.granules[index] > 1 else GAIN)
        self.again += macs * max(0.0, widened - 1)
        self.weights += facts.weights[index]
        self.scratch = max(self.scratch, facts.scratch[index])
        buffer = facts.storage.accesses[value].buffer
        if facts.last_use[value] >= self.stop or not inside:
            self.whole[buffer.id] = 0
            self.waits[index] = facts.traffic.in_chain(node, self.kept)
            return
        self.kept.add(value)
        for each in (index, *(r.node for r in inside)):
            self.waits[each] = facts.traffic.in_chain(graph.nodes[each], self.kept)
        if buffer.kind == "arena":
            self.whole.setdefault(buffer.id, -(-buffer.bytes // ARENA_ALIGN) * ARENA_ALIGN)
        access = facts.storage.accesses[value]
        first = min(r.rows.stride * self.ahead[r.node] - r.rows.before for r in inside)
        kept = max(0.0, self.ahead[index] - first)
        granule = facts.granules[index] - 1
        held = min(float(extent), self.turns * self.advance[index] + kept + granule)
        border = type_.border
        beside = border.left + border.right if border is not None and self.strips == 1 else 0
        row = (min(columns, ceil(self.width[index])) + beside) * access.shape[3] * access.elem.bytes
        self.windows += -(-ceil(held) * row // ARENA_ALIGN) * ARENA_ALIGN
        self.moved += kept * row * self.bands * self.strips / self.turns

    def _left(self, first: int) -> float:
        """The part of the windows that is still in the second-level cache when it is read.

        Until then, windows, weights, and a band of the images before and after the chain pass
        through it. The Cortex-A53 replaces lines at random.
        """
        facts, nodes = self.facts, self.facts.graph.nodes
        outside = [v for v in nodes[first].inputs if v in facts.sizes and v not in self.kept]
        passing = sum(facts.sizes[v] for v in (*outside, nodes[self.stop - 1].output))
        filled = self.windows + self.weights + passing / (self.bands * self.strips)
        times = filled / max(1, facts.target.l2_bytes)
        return (1 - exp(-times)) / times if times else 1.0

    @property
    def strips(self) -> int:
        """The number of strips."""
        extent = self.facts.graph.types[self.facts.graph.nodes[self.stop - 1].output].shape[COLUMNS]
        return ceil(extent / self.columns) if self.columns else 1

    @property
    def bands(self) -> int:
        """The number of bands in a strip."""
        extent = self.facts.graph.types[self.facts.graph.nodes[self.stop - 1].output].shape[ROWS]
        return ceil(extent / self.rows)

    def _follow(self, index: int, inside: list[_Reader], extent: int, columns: int) -> None:
        """Find how the rows and columns of a result follow those of its readers."""
        if not inside:
            last = self.facts.graph.types[self.facts.graph.nodes[self.stop - 1].output]
            self.advance[index] = extent * self.rows / last.shape[ROWS]
            self.width[index] = (
                columns * (self.columns or last.shape[COLUMNS]) / last.shape[COLUMNS]
            )
            self.ahead[index] = 0.0
            return
        self.advance[index] = max(r.rows.stride * self.advance[r.node] for r in inside)
        self.ahead[index] = max(
            r.rows.stride * self.ahead[r.node] + r.rows.reach - r.rows.stride - r.rows.before
            for r in inside
        )
        self.width[index] = max(
            r.columns.stride * self.width[r.node] + r.columns.reach - r.columns.stride
            for r in inside
        )

    def piece(self, first: int, live: int) -> Piece:
        """The chain from node `first` on; `live` bytes of whole buffers are live in layers."""
        ram = (
            live
            - sum(self.whole.values())
            + self.windows
            + -(-self.scratch // ARENA_ALIGN) * ARENA_ALIGN
        )
        target = self.facts.target
        rate = target.core.memory_bytes
        bands = self.bands * self.strips
        cycles = bands * (self.stop - first) * CALL_CYCLES + self.moved * MOVE_CYCLES
        cycles += (self.again + self.gain) / MACS_PER_CYCLE
        usable = target.l2_bytes * L2_SHARE
        if self.windows + self.weights > usable:
            cycles += (bands - 1) * self.weights / rate
        if self.windows <= usable:
            saved = sum(self.facts.alone[first : self.stop]) - sum(self.waits.values())
            cycles -= saved * (self._left(first) if saved > 0 else 1.0)
        shape = (self.rows, self.columns, self.turns)
        return Piece(first, self.stop, *shape, ram, cycles, round(self.again))


def layers(facts: Facts) -> list[Piece]:
    """Every node as a layer of its own."""
    count = len(facts.graph.nodes)
    sums = [0] * (count + 1)
    for first, last, size in facts.live:
        sums[first] += size
        sums[min(count, last + 1)] -= size
    live = list(accumulate(sums))
    return [Piece(i, i + 1, 0, 0, 1, live[i] + facts.scratch[i]) for i in range(count)]


def chains(
    facts: Facts,
    run: range,
    heights: Sequence[int],
    parts: Sequence[int],
    turns: Sequence[int],
    most_nodes: int,
) -> Iterator[Piece]:
    """The chains of 2 to `most_nodes` nodes in a run, with bands of `heights` rows.

    `parts` are the numbers of strips, where 1 stands for whole rows; `turns` are those of `Chain`.
    """
    for stop in range(run.start + 2, run.stop + 1):
        shape = facts.graph.types[facts.graph.nodes[stop - 1].output].shape
        live = sum(size for first, last, size in facts.live if first < stop <= last)
        heights_here = [h for h in heights if h < shape[ROWS]]
        parts_here = [n for n in parts if n <= shape[COLUMNS]]
        for rows, count, every in product(heights_here, parts_here, turns):
            columns = ceil(shape[COLUMNS] / count) if count > 1 else 0
            start = max(run.start, stop - most_nodes)
            yield from _ending(_Sweep(facts, stop, rows, columns, every), start, live)


def _ending(sweep: _Sweep, start: int, live: int) -> Iterator[Piece]:
    """The chains that end with one node. Before it, `live` bytes are live that it leaves alive."""
    for index in range(sweep.stop - 1, start - 1, -1):
        live += sweep.facts.ending.get(index, 0)
        sweep.add(index)
        if index < sweep.stop - 1:
            yield sweep.piece(index, live)
