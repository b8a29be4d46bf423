"""Reads the windows of convolutions and pools: strides, dilations and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.frontends.graph_import.values import Emitter, Unsupported
from ellc.frontends.graph_import.volumes import window_positions
from ellc.frontends.onnx.model import OnnxNode
from ellc.ir.types import Array, Padding

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class OnnxWindow:
    """A window over rows and columns; every pair is (rows, columns).

    `before` and `after` are the padding that `pads` or `auto_pad` gives. `overhang` is the number
    of elements by which the last window extends beyond the padding, which happens only with
    `ceil_mode`.
    """

    size: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair
    overhang: Pair = (0, 0)

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """Padding as top, left, bottom, right, including the overhang."""
        bottom, right = (a + o for a, o in zip(self.after, self.overhang, strict=True))
        return (*self.before, bottom, right)

    def padding(self, value: float = 0.0) -> Padding:
        """The padding, including the overhang, with which every window fits; `value` fills it."""
        return Padding(*self.amounts, (value,))


@dataclass(frozen=True, slots=True)
class Span:
    """A window along one axis. The fields have the same meaning as in `OnnxWindow`."""

    size: int
    stride: int
    dilation: int
    before: int
    after: int
    overhang: int

    @property
    def reach(self) -> int:
        """The number of elements from the first tap to the last tap, both included."""
        return self.dilation * (self.size - 1) + 1

    def count(self, extent: int) -> int:
        """The number of positions of the window along an axis of `extent` elements."""
        total = extent + self.before + self.after + self.overhang
        if total < self.reach:
            raise Unsupported(f"a window of size {self.reach} on an axis of extent {total}")
        return (total - self.reach) // self.stride + 1

    def positions(self, emitter: Emitter, extent: int) -> Array:
        """The indices [count, size] that the taps read; an index outside of the axis is padding."""
        count, amounts = self.count(extent), (self.stride, self.dilation, self.before)
        return window_positions(emitter, count, self.size, *amounts)


def window_of(spans: Sequence[Span]) -> OnnxWindow:
    """Combine a span of rows and a span of columns, or only the latter, into a window."""
    none = Span(1, 1, 1, 0, 0, 0)
    rows, columns = spans if len(spans) == 2 else (none, spans[0])

    def pair(name: str) -> Pair:
        return getattr(rows, name), getattr(columns, name)

    names = ("size", "stride", "dilation", "before", "after", "overhang")
    return OnnxWindow(*(pair(name) for name in names))


def read_spans(
    node: OnnxNode, extents: Sequence[int], kernel: Sequence[int] | None = None
) -> tuple[Span, ...]:
    """Read the window of a node along every spatial axis.

    `extents` are the spatial extents of the image. `kernel` has the spatial extents of the weights;
    it is None for a pool.
    """
    rank = len(extents)
    if rank not in (1, 2, 3):
        raise Unsupported(f"its number of spatial axes is {rank}; 1, 2 and 3 are supported")
    size = node.integers("kernel_shape", None if kernel is None else tuple(kernel))
    if kernel is not None and tuple(kernel) != size:
        raise Unsupported(f"its kernel_shape is {size}, but its weights have {tuple(kernel)}")
    stride = per_axis(node, "strides", rank)
    dilation = per_axis(node, "dilations", rank)
    if len(size) != rank or min(size) < 1:
        raise Unsupported(f"a kernel of shape {list(size)} for {rank} spatial axes")
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
    before, after = _amounts(node, extents, reach, stride)
    overhang: tuple[int, ...] = (0,) * rank
    if node.flag("ceil_mode"):
        overhang = tuple(
            _overhang(*axis) for axis in zip(extents, before, after, reach, stride, strict=True)
        )
    return tuple(map(Span, size, stride, dilation, before, after, overhang))


def _amounts(
    node: OnnxNode, extents: Sequence[int], reach: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding (before, after) along every axis, as given by `pads` or `auto_pad`."""
    rank = len(extents)
    mode = node.text("auto_pad", "NOTSET")
    pads = node.integers("pads", (0,) * (2 * rank))
    match mode:
        case "NOTSET" | "":
            if len(pads) != 2 * rank or min(pads) < 0:
                raise Unsupported(f"pads {pads} for {rank} spatial axes")
            return pads[:rank], pads[rank:]
        case "VALID":
            return (0,) * rank, (0,) * rank
        case "SAME_UPPER" | "SAME_LOWER":
            totals = [
                max((-(-extent // step) - 1) * step + span - extent, 0)
                for extent, span, step in zip(extents, reach, stride, strict=True)
            ]
            small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
            return (small, large) if mode == "SAME_UPPER" else (large, small)
    raise Unsupported(f"auto_pad '{mode}'")


def _overhang(extent: int, before: int, after: int, reach: int, stride: int) -> int:
    """The number of elements by which the last window extends beyond the padding.

    If elements remain after the last window that fits, `ceil_mode` adds one more window, unless it
    would start in the padding at the end.
    """
    total = extent + before + after
    count = -(-(total - reach) // stride) + 1
    if (count - 1) * stride >= extent + before:
        count -= 1
    return max(0, (count - 1) * stride + reach - total)


def per_axis(node: OnnxNode, name: str, rank: int) -> tuple[int, ...]:
    """Read an attribute with an integer >= 1 for each spatial axis; its default is 1 for each."""
    values = node.integers(name, (1,) * rank)
    if len(values) != rank or min(values, default=1) < 1:
        raise Unsupported(f"{name} {list(values)} for {rank} spatial axes")
    return values
