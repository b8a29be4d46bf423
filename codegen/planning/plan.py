"""The plan: which kernels run, in which order, on which bytes. Later stages only write it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from ellc.codegen.blocks.candidates import DIRECT, Prediction, Sums
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.bands import Box
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.memory import ArenaPlan
from ellc.ir.graph import Graph

MOVE = "move"
"""`Step.op` of a step that moves rows inside a window."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition of a step: the Boolean `value`, to which `flag` points, must be `wanted`."""

    value: str
    flag: BufferArg
    wanted: bool


@dataclass(frozen=True, slots=True)
class PartAccess:
    """A part of an image, and where it lies in memory during a step.

    In a loop over bands, every trip adds `trip_rows` to the rows, and `access.trip` to the offset.
    """

    value: str
    box: Box
    access: Access
    trip_rows: int = 0


@dataclass(frozen=True, slots=True)
class StepPart:
    """What a step of a chain writes, and what it reads of each operand of its node.

    An operand of which it reads all, such as a constant, is None. A move inside a window reads and
    writes the same part of the same value.
    """

    result: PartAccess
    operands: tuple[PartAccess | None, ...]


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

    A node of a chain has steps for every band (`planning.bands`). The last step of each band has a
    `part`, and `macs` and `moved_bytes` of this part. All steps of a band have the same number
    `band`. Equal bands are a loop (`planning.rolling`).
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
    part: StepPart | None = None
    band: int | None = None

    @property
    def sums(self) -> Sums:
        """How the chosen candidate adds products; set for the last step of a node, like it."""
        return self.predictions[0].sums if self.predictions else DIRECT


@dataclass(frozen=True)
class Plan:
    """A network as a sequence of steps over an arena.

    The steps `once` run in `init`; they fill borders whose memory no other step overwrites.
    `weights` lists pairs (constant, byte offset in the weight section). `viewed` contains the
    values that are views, which no kernel writes. `windows` has the windows of a chain's inner
    results, which have no `accesses`: rows and columns are those of the window. `notes` tells the
    user which entries of a tuning file cannot be used.
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
    windows: Mapping[str, Access] = field(default_factory=dict)

    def arena_offset(self, buffer: Buffer) -> int:
        """The byte offset of a buffer in the arena. The caller's buffers have none."""
        return self.arena.offsets[buffer.id]
