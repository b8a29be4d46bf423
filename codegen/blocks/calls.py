"""Kernel calls: a kernel with the memory its parameters point to. Also the user's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.codegen.blocks.access import Access, Buffer, Scratch, Weight
from ellc.codegen.kir.ir import Kernel
from ellc.ir.errors import InternalError


@dataclass(frozen=True, slots=True)
class BufferArg:
    """A pointer to a buffer at `offset_bytes`; a loop of the graph adds `trip_bytes` per trip."""

    buffer: Buffer
    offset_bytes: int = 0
    trip_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WeightArg:
    """A pointer to constant bytes at `offset_bytes`. The constant is aligned to 64 bytes."""

    weight: Weight
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ScratchArg:
    """A pointer to scratch memory at `offset_bytes`. The planner replaces it by a `BufferArg`."""

    scratch: Scratch
    offset_bytes: int = 0


PlacedArg = BufferArg | WeightArg
Arg = PlacedArg | ScratchArg


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A kernel, the arguments of its parameters, and the extent of its parallel loop.

    `note` describes the chosen variant (algorithm, tile) in reports.
    """

    kernel: Kernel
    args: tuple[Arg, ...]
    extent: int
    note: str = ""

    @property
    def placed_args(self) -> tuple[PlacedArg, ...]:
        """The arguments. Raises `InternalError` if one of them still points to scratch memory."""
        placed = tuple(arg for arg in self.args if not isinstance(arg, ScratchArg))
        if len(placed) < len(self.args):
            raise InternalError(f"{self.kernel.name}: scratch memory has no buffer")
        return placed


@dataclass(frozen=True, slots=True)
class Chain:
    """A run of nodes that are computed together, in bands of rows (`planning.bands`).

    `first` and `last` are results of the first and the last node. A band has `rows` rows of the
    last result. If `columns` is not 0, the images are also cut into strips: each covers this many
    columns of the last result. Windows are so large that rows must be moved inside them only once
    in `turns` bands.
    """

    first: str
    last: str
    rows: int
    columns: int = 0
    turns: int = 1


CodeGoal = Literal["speed", "balanced", "size"]
"""What code is written for: the fastest code, short code if it is nearly as fast, or short code."""


@dataclass(frozen=True, slots=True)
class Options:
    """The user's options for code generation.

    `kernels` has pairs (node, candidate). A node is named by a layer of the model or by a value
    that it computes. A candidate is written `family` or `family:schedule`. The planner chooses the
    candidates of all other nodes. A plan lists at most `listed` candidates of each kernel family.

    `chains` are computed in bands. If there are none, `depth_first` lets the planner choose chains
    that are predicted to be faster than layers; if the arena would be larger than `max_ram_bytes`,
    it chooses chains that need less memory. `memories` has pairs (name, bytes) of the memories in
    which the arena must fit, the preferred one first; without any, the arena lies in one memory of
    any size. `code` says how long code may be; None means what suits the target.
    """

    threads: int = 1
    kernels: tuple[tuple[str, str], ...] = ()
    listed: int = 4
    chains: tuple[Chain, ...] = ()
    depth_first: bool = True
    max_ram_bytes: int | None = None
    memories: tuple[tuple[str, int], ...] = ()
    code: CodeGoal | None = None


def access_arg(access: Access) -> Arg:
    """The argument that points to a tensor's first element."""
    size = access.elem.bytes
    if isinstance(access.memory, Weight):
        return WeightArg(access.memory, access.offset * size)
    if isinstance(access.memory, Scratch):
        return ScratchArg(access.memory, access.offset * size)
    return BufferArg(access.memory, access.offset * size, access.trip * size)
