"""Assigns buffers to the scratch memory of kernels, and adds the copies to and from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ellc.codegen.blocks.access import Access, Buffer, Scratch, dense
from ellc.codegen.blocks.calls import Arg, BufferArg, KernelCall, ScratchArg
from ellc.codegen.blocks.movement import copy_step
from ellc.codegen.blocks.placed_node import PlacedNode


class ScratchBuffers:
    """Makes buffers for the scratch memory of one node, in the order of the kernels' arguments."""

    def __init__(self, node: PlacedNode) -> None:
        self._node = node
        self._buffers: dict[Scratch, Buffer] = {}
        self._before: list[KernelCall] = []
        self._after: list[KernelCall] = []

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All buffers made so far."""
        return tuple(self._buffers.values())

    def surrounded(self, calls: Sequence[KernelCall]) -> tuple[KernelCall, ...]:
        """The calls of a node, with buffers for scratch memory and with copies before and after."""
        placed = [self._placed(call) for call in calls]
        return (*self._before, *placed, *self._after)

    def _placed(self, call: KernelCall) -> KernelCall:
        return replace(call, args=tuple(map(self._argument, call.args)))

    def _argument(self, arg: Arg) -> Arg:
        if not isinstance(arg, ScratchArg):
            return arg
        if arg.scratch not in self._buffers:
            self._add(arg.scratch)
        return BufferArg(self._buffers[arg.scratch], arg.offset_bytes)

    def _add(self, scratch: Scratch) -> None:
        name = f"{self._node.result.value}.scratch{len(self._buffers)}"
        self._buffers[scratch] = Buffer(name, "scratch", scratch.bytes)
        if (source := scratch.source) is not None:
            call = copy_step(self._node, source, _dense(scratch, source))
            self._before.append(self._placed(call))
        if (target := scratch.target) is not None:
            call = copy_step(self._node, _dense(scratch, target), target)
            self._after.append(self._placed(call))


def _dense(scratch: Scratch, other: Access) -> Access:
    """A dense access to scratch memory that is copied to or from `other`, with the same shape."""
    return Access(scratch, other.elem, other.shape, dense(other.shape))
