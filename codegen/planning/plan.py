"""The plan: which kernels run in which order on which bytes; later stages only write it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ellc.codegen.blocks.access import (
    Access,
    Buffer,
    Weight,
)
from ellc.codegen.blocks.calls import (
    BufferArg,
    KernelCall,
    Options,
)
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.memory import ArenaPlan
from ellc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition: the byte of `value` that `flag` points to is `wanted`."""

    value: str
    flag: BufferArg
    wanted: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call of `predict`, in order.

    `values` are the graph's values that it computes, `source` the layers of the model that they
    come from. `macs` counts multiply-adds and `moved_bytes` operands, weights and results once
    each, for all trips. The steps of a loop are neighbours with the same `repeat`. A step runs only
    if all its `guards` hold; otherwise nothing reads its results. The last step of a node has the
    `predictions` of its candidates, the chosen one first, and, if there are several families, the
    `layer` by which a tuning file names it (`planning.tuning`).
    """

    name: str
    call: KernelCall
    op: str
    values: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    macs: int = 0
    moved_bytes: int = 0
    repeat: Repeat | None = None
    guards: tuple[Guard, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    layer: str = ""


@dataclass(frozen=True)
class Plan:
    """A network as steps over an arena.

    `once` runs in init: it fills borders that nothing else ever overwrites. `weights` lists every
    constant with its byte offset in the weight section. `viewed` are results that are views, which
    no kernel writes. `notes` are messages for the user about entries of a tuning file that cannot
    be used.
    """

    graph: Graph
    target: Target
    options: Options
    steps: tuple[Step, ...]
    once: tuple[Step, ...]
    accesses: Mapping[str, Access]
    buffers: Mapping[str, Buffer]
    arena: ArenaPlan
    weights: tuple[tuple[Weight, int], ...]
    weight_bytes: int
    viewed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def arena_offset(self, buffer: Buffer) -> int:
        """Byte offset of a state, arena or scratch buffer in the arena."""
        return self.arena.offsets[buffer.id]
