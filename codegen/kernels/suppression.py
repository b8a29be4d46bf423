"""Non-maximum suppression. Each chosen box costs one pass over all boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.vectors import load_lanes, vector_lanes
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.detection import NonMaxSuppression

_NONE = float("-inf")
# `scores(start, count)` is a vector of `count` scores from box `start` on; other lanes are -inf.
_Scores = Callable[[Operand, int], Operand]


@lowers(NonMaxSuppression)
def lower_suppression(node: PlacedNode) -> list[KernelCall]:
    """A kernel in which one thread computes all rows.

    Threads cannot share the rows, because the index of a row depends on how many boxes were chosen
    before.
    """
    op = node.anchor
    assert isinstance(op, NonMaxSuppression)
    node.refuse_stages()
    operands = [x.access for x in node.inputs]
    lanes = vector_lanes(node.target, Elem.F32)
    boxes = operands[1].shape[2]
    left = scratch(Elem.F32, (-(-boxes // lanes) * lanes,))
    rows = node.result.access
    b = KernelBuilder(node.name)
    names = ("corners", "scores", "overlap", "threshold")
    corners, scores, overlap, threshold = (
        b.param(n, a.elem, a.align_bytes) for n, a in zip(names, operands, strict=True)
    )
    search = _SuppressionWriter(
        b,
        op,
        corners,
        scores,
        overlap,
        threshold,
        b.param("left", left.elem, left.align_bytes, writable=True),
        b.param("rows", rows.elem, rows.align_bytes, writable=True),
        (operands[0], operands[1], rows),
        lanes,
    )
    search.write()
    args = tuple(access_arg(a) for a in (*operands, left, rows))
    return [KernelCall(b.finish(), args, 1, op.name)]


@dataclass(frozen=True, slots=True)
class _SuppressionWriter:
    """Writes the kernel. `left` holds the scores of one class.

    The score of a chosen or rejected box is replaced by -inf, which also fills the lanes after the
    last box.
    """

    b: KernelBuilder
    op: NonMaxSuppression
    corners: Param
    scores: Param
    overlap: Param
    threshold: Param
    left: Param
    rows: Param
    accesses: tuple[Access, Access, Access]
    lanes: int

    def write(self) -> None:
        """Write rows for the chosen boxes of every image and class; fill further rows with -1."""
        b = self.b
        images, classes, _ = self.accesses[1].shape
        with b.loop("once", b.begin, b.end):
            with b.loop("image", 0, images, carry=(Imm(0),)) as image:
                with b.loop("class", 0, classes, carry=image.carried) as kind:
                    kind.carry((self._class(image.index, kind.index, kind.carried[0]),))
                image.carry(kind.results)
            with b.loop("row", image.results[0], self.accesses[2].shape[0]) as row:
                nothing = Imm(-1, VType(Elem.I32))
                self._store(row.index, (nothing, nothing, nothing))

    def _class(self, image: Operand, kind: Operand, count: Operand) -> Operand:
        """Write the rows of one class, from row `count` on. Returns the new number of rows."""
        b = self.b
        value, box_index = self._first(image, kind)
        with b.loop("rank", 0, self.op.most, carry=(count, value, box_index)) as rank:
            row, value, box_index = rank.carried
            exists = b.compare("gt", value, b.const(_NONE, value))
            with b.when(exists):
                values = (b.convert(image, Elem.I32), b.convert(kind, Elem.I32), box_index)
                self._store(row, values)
            stop = b.select(exists, Imm(self._vectors[0]), Imm(0))
            following = b.add(row, b.select(exists, Imm(1), Imm(0)))
            rank.carry((following, *self._without(image, box_index, stop)))
        return rank.results[0]

    def _first(self, image: Operand, kind: Operand) -> tuple[Operand, Operand]:
        """Store the scores that pass the threshold in `left`, and -inf for all other boxes.

        With `at_least`, a score that equals the threshold passes. Returns (best score, its box).
        """
        b, access = self.b, self.accesses[1]
        base = b.add(b.mul(image, access.strides[0]), b.mul(kind, access.strides[1]))
        least = b.splat(b.load(self.threshold, 0), self.lanes)

        def scores(start: Operand, count: int) -> Operand:
            index = b.add(base, b.mul(start, access.strides[2]))
            score = load_lanes(b, self.scores, index, self.lanes, count, access.strides[2])
            is_eligible = b.compare("ge" if self.op.at_least else "gt", score, least)
            if count < self.lanes:
                lane = b.iota(Elem.I32, self.lanes)
                exists = b.compare("lt", lane, b.const(count, lane))
                is_eligible = b.op("and", is_eligible, exists)
            return b.select(is_eligible, score, b.const(_NONE, score))

        return self._best(scores, Imm(self._vectors[0]))

    def _without(
        self, image: Operand, box_index: Operand, stop: Operand
    ) -> tuple[Operand, Operand]:
        """Remove a box, and all boxes that overlap it, from `left`. Returns (best score, its box).

        Boxes up to `stop` are visited, and then the boxes after the last whole vector.
        """
        b, lanes = self.b, self.lanes
        access = self.accesses[0]
        image_base = b.mul(image, access.strides[0])
        bases = [b.add(image_base, i * access.strides[1]) for i in range(4)]
        # If no box was left, the index has no meaning, but the loads below need a valid index.
        own_index = b.max(b.convert(box_index, Elem.INDEX), 0)
        step = b.mul(own_index, access.strides[2])
        own = [b.splat(b.load(self.corners, b.add(base, step)), lanes) for base in bases]
        limit = b.splat(b.load(self.overlap, 0), lanes)
        own_lanes = b.splat(box_index, lanes)

        def scores(start: Operand, count: int) -> Operand:
            ends = [
                load_lanes(b, self.corners, b.add(base, b.mul(start, access.strides[2])), lanes,
                           count, access.strides[2])
                for base in bases
            ]  # fmt: skip
            rejected = b.op("or", self._overlaps(ends, own, limit), b.compare(
                "eq", self._numbers(start), own_lanes))  # fmt: skip
            score = b.load(self.left, start, lanes)
            return b.select(rejected, b.const(_NONE, score), score)

        return self._best(scores, stop)

    def _overlaps(self, ends: list[Operand], own: list[Operand], limit: Operand) -> Operand:
        """For each box in `ends`, whether its intersection over union with `own` exceeds the limit.

        The ratio counts as 0 if one of the two boxes is empty.
        """
        b = self.b
        zero = b.const(0.0, limit)
        height, width = (
            b.max(b.sub(b.min(ends[i + 2], own[i + 2]), b.max(ends[i], own[i])), zero)
            for i in (0, 1)
        )
        shared = b.mul(height, width)
        area, other = (b.mul(b.sub(c[2], c[0]), b.sub(c[3], c[1])) for c in (ends, own))
        ratio = b.div(shared, b.sub(b.add(area, other), shared))
        solid = b.op("and", b.compare("gt", area, zero), b.compare("gt", other, zero))
        return b.compare("gt", b.select(solid, ratio, zero), limit)

    def _best(self, scores: _Scores, stop: Operand) -> tuple[Operand, Operand]:
        """Store the scores of all boxes in `left`. Returns (best score, its box).

        Whole vectors are visited up to `stop`. Of equal scores the first one is the best.
        """
        b = self.b
        none = b.const(_NONE, VType(Elem.F32, self.lanes))
        with b.loop(
            "box", 0, stop, self.lanes, (none, b.const(0, VType(Elem.I32, self.lanes)))
        ) as box:
            box.carry(self._better(scores, box.index, self.lanes, box.carried))
        best = box.results
        whole_vectors_end, rest = self._vectors
        if rest:
            best = self._better(scores, Imm(whole_vectors_end), rest, best)
        value, box_index = best
        while value.type.lanes > 1:
            half = value.type.lanes // 2
            value, box_index = self._first_of(
                *((b.part(value, at, half), b.part(box_index, at, half)) for at in (0, half))
            )
        return value, box_index

    def _better(
        self, scores: _Scores, start: Operand, count: int, best: tuple[Operand, ...]
    ) -> tuple[Operand, ...]:
        value = scores(start, count)
        self.b.store(value, self.left, start)
        wins = self.b.compare("gt", value, best[0])
        numbers = self._numbers(start)
        return self.b.select(wins, value, best[0]), self.b.select(wins, numbers, best[1])

    def _first_of(
        self, first: tuple[Operand, Operand], second: tuple[Operand, Operand]
    ) -> tuple[Operand, Operand]:
        b = self.b
        earlier = b.op(
            "and", b.compare("eq", second[0], first[0]), b.compare("lt", second[1], first[1])
        )
        wins = b.op("or", b.compare("gt", second[0], first[0]), earlier)
        return b.select(wins, second[0], first[0]), b.select(wins, second[1], first[1])

    def _numbers(self, start: Operand) -> Operand:
        b = self.b
        first = b.splat(b.convert(start, Elem.I32), self.lanes)
        return b.add(first, b.iota(Elem.I32, self.lanes))

    @property
    def _vectors(self) -> tuple[int, int]:
        """(boxes in whole vectors, boxes after them)."""
        boxes = self.accesses[1].shape[2]
        return boxes - boxes % self.lanes, boxes % self.lanes

    def _store(self, row: Operand, values: tuple[Operand, Operand, Operand]) -> None:
        row_stride, column_stride = self.accesses[2].strides
        for column, value in enumerate(values):
            index = self.b.add(self.b.mul(row, row_stride), column * column_stride)
            self.b.store(value, self.rows, index)
