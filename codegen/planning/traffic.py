"""Predicts how long nodes wait for memory, alone and in a chain.

A node reads its images from memory if they have left the second-level cache, and writes a result to
memory that leaves this cache before it is read. A line of a result is fetched and written back,
unless the result takes the place of the image. How much of this time is lost depends on the kernel:
products hide nearly all of it behind their instructions, if they prefetch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod

from ellc.codegen.machine.target import Target
from ellc.ir.graph import Graph, Node
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import anchor_of

_LOST_BY_PRODUCTS, _LOST_IN_PLACE, _LOST_BY_OTHERS = 0.05, 0.06, 0.4
"""The part of the time of lines from and to memory that kernels with prefetches lose: those that
add many products to each result, those that overwrite their image, and others. Thousand modelled
cycles on pi3_64 in MobileNet V1 1.0 224, layer by layer and in chains whose images stay in the
cache: 1x1, 112x112, 32 -> 64 10,011 and 9,858, of 4,014 for bytes; depthwise, in place in both
112x112x32 2,835 and 2,787, of 1,606; with stride 2, 112x112x64 3,181 and 2,436, of 2,409; depthwise
56x56x128, in place and at the end of a chain, where it is not, 2,931 and 3,750, of 1,606."""
_MANY_PRODUCTS = 16
"""Multiply-adds of each result that hide memory."""


@dataclass(frozen=True)
class Traffic:
    """The waits of a graph's nodes for memory.

    `sizes` has the bytes of every value, `missing` the part of a value that has left the cache when
    it is read, and `in_place` says whether a node overwrites its image if it is a layer.
    """

    graph: Graph
    target: Target
    sizes: Mapping[str, int]
    missing: Callable[[str], float]
    in_place: Callable[[Node], bool]

    def alone(self, node: Node) -> float:
        """The cycles that a node waits as a layer."""
        return self._waits(node, (), is_kept=False, in_place=self.in_place(node))

    def in_chain(self, node: Node, kept: Collection[str]) -> float:
        """The cycles that it waits in a chain. `kept` are the values that stay in the cache."""
        return self._waits(node, kept, is_kept=node.output in kept, in_place=False)

    def _waits(self, node: Node, kept: Collection[str], *, is_kept: bool, in_place: bool) -> float:
        images = [v for v in dict.fromkeys(node.inputs) if v in self.sizes and v not in kept]
        moved = sum(self._far(v) for v in images)
        if not is_kept:
            moved += self._far(node.output) * (1 if in_place else 2)
        return moved / self.target.core.memory_bytes * self._lost(node, in_place=in_place)

    def _far(self, value: str) -> float:
        return self.missing(value) * self.sizes[value]

    def _lost(self, node: Node, *, in_place: bool) -> float:
        if self.target.core.memory is None:
            return 1.0  # not measured
        if in_place:
            return _LOST_IN_PLACE
        types = self.graph.node_types(node)
        results = prod(types[1][0].shape)
        conv = anchor_of(node.op)
        is_depthwise = isinstance(conv, Conv2D) and conv.groups > 1
        many = node.op.macs(*types) >= _MANY_PRODUCTS * results
        return _LOST_BY_PRODUCTS if many and not is_depthwise else _LOST_BY_OTHERS
