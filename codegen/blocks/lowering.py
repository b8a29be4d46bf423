"""From graph nodes to kernel calls: what a kernel family is told of its node, and gives back."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ellc.codegen.blocks.access import Access, Buffer, Weight, bit_bytes, dense
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError
from ellc.ir.graph import Constant, Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.weights import content_key


@dataclass(frozen=True, slots=True)
class BufferArg:
    """A pointer `offset_bytes` into a buffer, and inside a loop `trip_bytes` more every trip."""

    buffer: Buffer
    offset_bytes: int = 0
    trip_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WeightArg:
    """A pointer `offset_bytes` into constant bytes, which are aligned to 64."""

    weight: Weight
    offset_bytes: int = 0


Arg = BufferArg | WeightArg


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A kernel with what its parameters point to, and the extent of its parallel loop.

    `note` names the variant chosen (tile, algorithm) for reports.
    """

    kernel: Kernel
    args: tuple[Arg, ...]
    extent: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may say about code generation; defaults are the planner's own choice.

    `kernels` names the candidate (`family` or `family:schedule`) for some nodes, by a layer of the
    model or a value that the node makes.
    """

    threads: int = 1
    kernels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of a node as a kernel sees it: type, place if computed, array if constant.

    `NodeContext.place` gives the place of either kind.
    """

    type: TensorType
    access: Access | None
    array: Array | None


class NodeContext:
    """What a lowering knows of its node, and where it registers weights and scratch memory.

    `before` and `after` collect helper kernels that run around the node's own: copies of operands
    and results whose layout its kernel cannot walk.
    """

    def __init__(
        self,
        graph: Graph,
        node: Node,
        accesses: dict[str, Access],
        constants: Mapping[str, Constant],
        target: Target,
        options: Options,
        name: str,
        viewed: Container[str] = (),
    ) -> None:
        self.node = node
        self.target = target
        self.options = options
        self.name = name
        self.scratch: list[Buffer] = []
        self.before: list[KernelCall] = []
        self.after: list[KernelCall] = []
        self._viewed = viewed
        self._graph = graph
        self._accesses = accesses
        self._constants = constants
        self.anchor: Op = node.op.anchor if isinstance(node.op, Fused) else node.op
        self.stages: tuple[Stage, ...] = node.op.stages if isinstance(node.op, Fused) else ()
        self._anchor_operands = node.op.operands if isinstance(node.op, Fused) else len(node.inputs)

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The anchor's operands."""
        return tuple(self._operand(v) for v in self.node.inputs[: self._anchor_operands])

    @property
    def extras(self) -> tuple[Operand, ...]:
        """The further operands of all stages, in order."""
        return tuple(self._operand(v) for v in self.node.inputs[self._anchor_operands :])

    def result_type(self, index: int = 0) -> TensorType:
        """Type of a result."""
        return self._graph.types[self.node.outputs[index]]

    def result(self, index: int = 0) -> Access:
        """Where a result goes."""
        return self._accesses[self.node.outputs[index]]

    def is_viewed(self, index: int = 0) -> bool:
        """Whether a result is already where it belongs: no kernel has to write it."""
        return self.node.outputs[index] in self._viewed

    def place(self, operand: Operand) -> Access:
        """Where an operand is, computed or constant."""
        if operand.array is not None:
            return constant_access(operand.array, operand.type.dtype)
        assert operand.access is not None
        return operand.access

    def anchor_type(self) -> TensorType:
        """The type of what the anchor makes, before any stage."""
        types = tuple(x.type.meaning for x in self.inputs)
        return self.anchor.infer(*types)[0]

    def lazy_weight(
        self, what: str, index: int, bytes_: int, make: Callable[[], Array]
    ) -> WeightArg:
        """Large constant bytes derived from the constant operand `index`, made when written."""
        key = f"{what}:{self._constants[self.node.inputs[index]].key}"
        return WeightArg(Weight(key, bytes_, make))

    def constant(self, array: Array) -> WeightArg:
        """A small constant array as it is."""
        return WeightArg(_weight(array))

    def scratch_buffer(self, bytes_: int) -> Buffer:
        """Memory that lives during this node only."""
        buffer = Buffer(f"{self.node.outputs[0]}.scratch{len(self.scratch)}", "scratch", bytes_)
        self.scratch.append(buffer)
        return buffer

    def _operand(self, value: str) -> Operand:
        constant = self._constants.get(value)
        array = None if constant is None else self._graph.weights[constant.key]
        return Operand(self._graph.types[value], self._accesses.get(value), array)


def access_arg(access: Access) -> Arg:
    """The argument that points to a tensor's first element."""
    size = access.elem.bytes
    if isinstance(access.memory, Weight):
        return WeightArg(access.memory, access.offset * size)
    return BufferArg(access.memory, access.offset * size, access.trip * size)


def constant_access(array: Array, dtype: DType) -> Access:
    """A constant in the weights: dense and aligned."""
    data = stored_array(array, dtype)
    return Access(_weight(data), Elem.of(dtype), data.shape, dense(data.shape))


def _weight(array: Array) -> Weight:
    data = np.asarray(array, order="C")
    return Weight(content_key(data), data.nbytes, lambda: data)


def stored_array(array: Array, dtype: DType) -> Array:
    """A constant as bytes in memory: bits packed per pixel, booleans as 0 and 1."""
    if dtype is DType.BIT:
        packed = np.packbits(array, axis=-1, bitorder="little")
        width = bit_bytes(array.shape[-1]) - packed.shape[-1]
        return np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, width)])
    return array.astype(np.uint8) if dtype is DType.BOOL else array


def constant_weights(ctx: NodeContext) -> Array:
    """The array of the second operand; `EllcError` (E302) if it is computed."""
    weights = ctx.inputs[1].array
    if weights is None:
        raise EllcError(
            f"'{ctx.anchor.name}' needs constant weights",
            code="E302",
            where=", ".join(ctx.node.source) or ctx.name,
        )
    return weights


def renamed(call: KernelCall, name: str) -> KernelCall:
    """The same call of a kernel under another name."""
    return replace(call, kernel=replace(call.kernel, name=name))
