"""A node as kernel families see it: an operator, and the memory of its operands and results."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ellc.codegen.blocks.access import Access, Weight
from ellc.codegen.blocks.calls import CodeGoal, WeightArg
from ellc.codegen.blocks.weights import constant_access
from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError
from ellc.ir.op import Op
from ellc.ir.ops.fused import Stage
from ellc.ir.types import Array, TensorType

ConstantForms = dict[Hashable, Any]
FormT = TypeVar("FormT")


@dataclass(frozen=True, slots=True)
class NodeOperand:
    """One operand: its type, and either an access to its computed elements or a constant array.

    `key` identifies the content of a constant. `cache` holds forms derived from the constant, and
    is shared by all nodes that read it.
    """

    type: TensorType
    computed: Access | None
    array: Array | None = None
    key: str = ""
    cache: ConstantForms = field(default_factory=dict, compare=False, repr=False)

    @property
    def access(self) -> Access:
        """The access to the elements, whether computed or constant."""
        if self.array is not None:
            array, dtype = self.array, self.type.dtype
            return self.once(("access", dtype), lambda: constant_access(array, dtype))
        assert self.computed is not None
        return self.computed

    def once(self, what: Hashable, make: Callable[[], FormT]) -> FormT:
        """The result of `make`, which is called only once for all nodes that read this constant.

        A large constant that many nodes read is thus rearranged and hashed once, and is in memory
        once. `what` distinguishes this form from other forms of the same constant.
        """
        if what not in self.cache:
            self.cache[what] = make()
        form: FormT = self.cache[what]
        return form

    def derived(self, what: str, bytes_: int, make: Callable[[], Array]) -> WeightArg:
        """A pointer to `bytes_` bytes that `make` derives from this constant.

        `make` is called when the output file is written. `what` distinguishes these bytes from
        other bytes that are derived from the same constant.
        """
        return WeightArg(Weight(f"{what}:{self.key}", bytes_, make))


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One result: the name of its value in the graph, its type, and its memory.

    With `is_viewed` the value is a view of an operand, and no kernel has to write it.
    """

    value: str
    type: TensorType
    access: Access
    is_viewed: bool


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """An operator, the pointwise stages fused after it, and the memory of operands and results.

    `inputs` are the operands of the operator. `extras` are the other operands of all stages, in
    order. The names of the node's kernels begin with `name`. `where` names the node's layers in
    error messages. If the result `overwrites_image`, it lies in the memory of the first operand:
    the result of a window is where the window's first pixel was. `code` says what code and tables
    are written for.
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
    overwrites_image: bool = False
    code: CodeGoal = "speed"

    @property
    def result(self) -> NodeResult:
        """The first result. Most operators have only one."""
        return self.results[0]

    @property
    def operators(self) -> tuple[Op, ...]:
        """The anchor and the operators of the stages."""
        return (self.anchor, *(stage.op for stage in self.stages))

    def anchor_type(self) -> TensorType:
        """The type of the anchor's result, before any stage."""
        return self.anchor.infer(*(x.type.meaning for x in self.inputs))[0]

    def constant(self, index: int, what: str) -> Array:
        """The array of a constant operand.

        If the operand is computed, raises `EllcError` (E302), which calls the operand `what`.
        """
        array = self.inputs[index].array
        if array is None:
            message = f"the {what} of '{self.anchor.name}' must be constant"
            raise EllcError(message, code="E302", where=self.where)
        return array

    def refuse_stages(self) -> None:
        """For kernels that have no epilogue: raise `EllcError` (E301) if there are stages."""
        if self.stages:
            message = f"the kernel of '{self.anchor.name}' cannot compute fused stages"
            raise EllcError(message, code="E301", where=self.where)
