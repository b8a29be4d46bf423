"""Kernel calls: a kernel and what its parameters point to. Also the user's options for both."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.codegen.blocks.access import Access, Buffer, Scratch, Weight
from ellc.codegen.kir.ir import Kernel
from ellc.ir.errors import InternalError


@dataclass(frozen=True, slots=True)
class BufferArg:
    """A pointer `offset_bytes` into a buffer; inside a loop it advances by `trip_bytes` a trip."""

    buffer: Buffer
    offset_bytes: int = 0
    trip_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WeightArg:
    """A pointer `offset_bytes` into constant bytes, which are aligned to 64."""

    weight: Weight
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ScratchArg:
    """A pointer `offset_bytes` into scratch memory; the planner replaces it by a `BufferArg`."""

    scratch: Scratch
    offset_bytes: int = 0


PlacedArg = BufferArg | WeightArg
Arg = PlacedArg | ScratchArg


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A kernel with what its parameters point to, and the extent of its parallel loop.

    `note` names the variant chosen (tile, algorithm) for reports.
    """

    kernel: Kernel
    args: tuple[Arg, ...]
    extent: int
    note: str = ""

    @property
    def placed_args(self) -> tuple[PlacedArg, ...]:
        """The arguments of a call in a plan. Raises `InternalError` for scratch memory."""
        placed = tuple(arg for arg in self.args if not isinstance(arg, ScratchArg))
        if len(placed) < len(self.args):
            raise InternalError(f"{self.kernel.name}: the planner gave scratch memory no buffer")
        return placed


@dataclass(frozen=True, slots=True)
class Options:
    """The user's options for code generation; by default the planner chooses everything.

    `kernels` has pairs (node, candidate). The node is named by a layer of the model or by a value
    that it computes, the candidate as `family` or `family:schedule`.
    """

    threads: int = 1
    kernels: tuple[tuple[str, str], ...] = ()


def access_arg(access: Access) -> Arg:
    """The argument that points to a tensor's first element."""
    size = access.elem.bytes
    if isinstance(access.memory, Weight):
        return WeightArg(access.memory, access.offset * size)
    if isinstance(access.memory, Scratch):
        return ScratchArg(access.memory, access.offset * size)
    return BufferArg(access.memory, access.offset * size, access.trip * size)
