"""The plan: which kernels run, in which order, on which bytes. Later stages only write it out."""

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
    """A condition of a step: the Boolean `value`, to which `flag` points, must be `wanted`."""

    value: str
    flag: BufferArg
    wanted: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel call of `init` or `predict`.

    The steps of a loop are neighbours, and have the same `repeat`. A step runs only if all its
    `guards` hold; otherwise no step that runs reads its results. `source` names the layers of the
    model from which the step comes.

    The following fields are set only for the last step of a node. `values` are the values of the
    graph that the node computes. `macs` is the number of multiply-adds, and `moved_bytes` is the
    size of the operands, weights and results; both are for all trips together. `predictions` lists
    the candidates of the node, the chosen one first. If several families could compute the node,
    `layer` is its key in tuning files (`planning.tuning`).
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
    """A network as a sequence of steps over an arena.

    The steps `once` run in `init`; they fill borders whose memory no other step overwrites.
    `weights` lists pairs (constant, byte offset in the weight section). `viewed` contains the
    values that are views, which no kernel writes. `notes` tells the user which entries of a tuning
    file cannot be used.
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
        """The byte offset of a buffer in the arena. The caller's buffers have none."""
        return self.arena.offsets[buffer.id]
