"""A node as kernel families see it: its operator, and its operands and results in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.codegen.blocks.access import Access, Weight
from ellc.codegen.blocks.calls import WeightArg
from ellc.codegen.blocks.weights import constant_access
from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError
from ellc.ir.op import Op
from ellc.ir.ops.fused import Stage
from ellc.ir.types import Array, TensorType


@dataclass(frozen=True, slots=True)
class NodeOperand:
    """One operand: its type, and where it lies if it is computed, or else its array.

    `key` names the content of a constant.
    """

    type: TensorType
    computed: Access | None
    array: Array | None = None
    key: str = ""

    @property
    def access(self) -> Access:
        """Where it lies, computed or constant."""
        if self.array is not None:
            return constant_access(self.array, self.type.dtype)
        assert self.computed is not None
        return self.computed

    def derived(self, what: str, bytes_: int, make: Callable[[], Array]) -> WeightArg:
        """Large constant bytes that `make` derives from this constant, when they are written.

        `what` tells them from other bytes derived from it.
        """
        return WeightArg(Weight(f"{what}:{self.key}", bytes_, make))


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One result: its value in the graph, its type, and where it goes.

    One that `is_viewed` is already where it belongs: no kernel has to write it.
    """

    value: str
    type: TensorType
    access: Access
    is_viewed: bool


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """An operator, the pointwise stages fused after it, and what both read and write.

    `inputs` are the operator's operands and `extras` those of all stages, in order. `name` is that
    of the node's kernels, `where` names its layers in errors.
    """

    name: str
    where: str
    target: Target
    threads: int
    anchor: Op
    stages: tuple[Stage, ...]
    inputs: tuple[NodeOperand, ...]
    extras: tuple[NodeOperand, ...]
    results: tuple[NodeResult, ...]

    @property
    def result(self) -> NodeResult:
        """The first result, which is the only one of most operators."""
        return self.results[0]

    @property
    def operators(self) -> tuple[Op, ...]:
        """All that its kernel computes: the anchor and the stages."""
        return (self.anchor, *(stage.op for stage in self.stages))

    def anchor_type(self) -> TensorType:
        """The type of what the anchor makes, before any stage."""
        return self.anchor.infer(*(x.type.meaning for x in self.inputs))[0]

    def constant(self, index: int, what: str) -> Array:
        """The array of an operand, called `what` in the `EllcError` (E302) if it is computed."""
        array = self.inputs[index].array
        if array is None:
            message = f"'{self.anchor.name}' needs constant {what}"
            raise EllcError(message, code="E302", where=self.where)
        return array

    def refuse_stages(self) -> None:
        """Raise `EllcError` (E301) if a stage is fused after an operator that takes none."""
        if self.stages:
            message = f"'{self.anchor.name}' with an epilogue"
            raise EllcError(message, code="E301", where=self.where)
