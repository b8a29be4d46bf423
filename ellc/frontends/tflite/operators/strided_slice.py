"""Imports STRIDED_SLICE, which follows Python's rules for slicing in brackets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.registry import TFLITE, DeclinedOption
from ellc.ir.ops.shape import Slice


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry between the brackets. With `new` or `rest`, it does not stand for one axis of x."""

    begin: int | None
    end: int | None
    step: int
    shrinks: bool = False  # the entry is an index, which removes the axis
    new: bool = False  # the entry is np.newaxis
    rest: bool = False  # the entry is an ellipsis

    def on(self, extent: int) -> tuple[int, int, int]:
        """Return (first, count, step) for the slice of an axis with `extent` elements."""
        if self.shrinks:
            first = (self.begin or 0) + (extent if (self.begin or 0) < 0 else 0)
            if not 0 <= first < extent:
                raise Unsupported(
                    f"the index {self.begin} is outside of an axis of extent {extent}"
                )
            return first, 1, 1
        indices = range(*slice(self.begin, self.end, self.step).indices(extent))
        first, count = (indices.start if len(indices) else 0), len(indices)
        return first, count, (self.step if count > 1 else 1)


_NO_ENTRY = DeclinedOption("NewAxisMask", "a mask with more bits than the slice has entries")
_ELLIPSES = DeclinedOption("EllipsisMask", "more than one ellipsis")


@TFLITE.imports(
    "STRIDED_SLICE",
    limits="all operands but the data must be constants",
    declines=(_NO_ENTRY, replace(_NO_ENTRY, option="EllipsisMask"), _ELLIPSES),
)
def strided_slice(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Take every n-th element between bounds along each axis; axes may be removed or added."""
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


def _entries(options: NodeOptions, inputs: Inputs) -> list[_Entry]:
    begin, end, step = (
        known_ints(operand(inputs, i), what)
        for i, what in ((1, "its begin"), (2, "its end"), (3, "its steps"))
    )
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise Unsupported(f"a slice from {begin} to {end} with steps {step}")
    if options.whole("NewAxisMask") >> len(begin) or options.whole("EllipsisMask") >> len(begin):
        raise Unsupported(f"{_NO_ENTRY.reason}; it has {len(begin)}")
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
    """Replace the ellipsis by whole axes; without an ellipsis, append whole axes."""
    used = sum(not (e.new or e.rest) for e in entries)
    if sum(e.rest for e in entries) > 1:
        raise Unsupported(_ELLIPSES.reason)
    if used > rank:
        raise Unsupported(f"{len(entries)} entries for rank {rank}")
    full_axes = [_Entry(None, None, 1)] * (rank - used)
    at = next((i for i, e in enumerate(entries) if e.rest), len(entries))
    return entries[:at] + full_axes + entries[at + 1 :]
