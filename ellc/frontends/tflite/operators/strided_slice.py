"""STRIDED_SLICE: what Python writes in brackets, with its rules for missing bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import Options, TfliteNode
from ellc.frontends.tflite.registry import TFLITE, Declined
from ellc.ir.ops.shape import Slice


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry between the brackets; `new` and `rest` take no axis of their own."""

    begin: int | None
    end: int | None
    step: int
    shrinks: bool = False
    new: bool = False
    rest: bool = False

    def on(self, extent: int) -> tuple[int, int, int]:
        """(first, count, step) on an axis."""
        if self.shrinks:
            first = (self.begin or 0) + (extent if (self.begin or 0) < 0 else 0)
            if not 0 <= first < extent:
                raise Unsupported(f"element {self.begin} of {extent}")
            return first, 1, 1
        taken = range(*slice(self.begin, self.end, self.step).indices(extent))
        first, count = (taken.start if len(taken) else 0), len(taken)
        return first, count, (self.step if count > 1 else 1)


_NO_ENTRY = Declined("NewAxisMask", "a mask of more axes than the slice has entries")
_ELLIPSES = Declined("EllipsisMask", "more than one ellipsis")


@TFLITE.imports(
    "STRIDED_SLICE",
    limits="what is not the data must be a constant",
    declines=(_NO_ENTRY, replace(_NO_ENTRY, option="EllipsisMask"), _ELLIPSES),
)
def strided_slice(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Every n-th element between bounds, axes dropped or added."""
    x = operand(inputs, 0)
    starts: list[int] = []
    sizes: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    for entry in _complete(_entries(node.options, inputs), x.type.rank):
        if entry.new:
            shape.append(1)
            continue
        first, count, step = entry.on(x.shape[len(starts)])
        starts.append(first)
        sizes.append(count)
        steps.append(step)
        if not entry.shrinks:
            shape.append(count)
    if (tuple(sizes), min(steps, default=1)) != (x.shape, 1):
        x = emitter.add(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)
    return reshaped(emitter, x, shape)


def _entries(options: Options, inputs: Inputs) -> list[_Entry]:
    begin, end, step = (
        known_ints(operand(inputs, i), what)
        for i, what in ((1, "where it begins"), (2, "where it ends"), (3, "its steps"))
    )
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise Unsupported(f"a slice from {begin} to {end} by {step}")
    if options.whole("NewAxisMask") >> len(begin) or options.whole("EllipsisMask") >> len(begin):
        raise Unsupported(f"{_NO_ENTRY.reason}, of which there are {len(begin)}")
    if options.flag("Offset"):
        end = tuple(b + e for b, e in zip(begin, end, strict=True))

    def is_set(mask: str, index: int) -> bool:
        return bool(options.whole(f"{mask}Mask") >> index & 1)

    return [
        _Entry(
            None if is_set("Begin", i) and not is_set("ShrinkAxis", i) else b,
            None if is_set("End", i) else e,
            s,
            is_set("ShrinkAxis", i),
            is_set("NewAxis", i),
            is_set("Ellipsis", i),
        )
        for i, (b, e, s) in enumerate(zip(begin, end, step, strict=True))
    ]


def _complete(entries: list[_Entry], rank: int) -> list[_Entry]:
    """Entries for all axes: the ellipsis, or what is left out after, stands for whole axes."""
    taken = sum(not (e.new or e.rest) for e in entries)
    if sum(e.rest for e in entries) > 1:
        raise Unsupported(_ELLIPSES.reason)
    if taken > rank:
        raise Unsupported(f"{len(entries)} entries for rank {rank}")
    whole = [_Entry(None, None, 1)] * (rank - taken)
    at = next((i for i, e in enumerate(entries) if e.rest), len(entries))
    return entries[:at] + whole + entries[at + 1 :]
