"""Assigns memory to every value: buffers, views into buffers, and borders around images.

Reshapes, slices, splits and most concatenations become views: operand and result share memory, and
nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ellc.codegen.blocks.access import (
    Access,
    Buffer,
    BufferKind,
    dense,
    element_access,
    stored_shape,
)
from ellc.codegen.blocks.calls import CodeGoal
from ellc.codegen.blocks.placed_node import ConstantForms, NodeOperand, NodeResult, PlacedNode
from ellc.codegen.kernels.depthwise_columns import pixel_before
from ellc.codegen.kernels.direct import reads_planes
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.bands import Bands
from ellc.codegen.planning.loops import Enter, Leave, last_uses_in_loops
from ellc.ir.branches import Needs
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import Fused, anchor_of
from ellc.ir.ops.loop import Walk
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.ops.shape import Transpose
from ellc.ir.reads import PartOf, SameElements, View
from ellc.ir.types import DType, Padding, TensorType

CHANNELS_LAST = (0, 2, 3, 1)
"""The permutation from planes of channels to pixels."""


class Storage:
    """The accesses to a graph's values, and its buffers in order of creation.

    `accesses` covers every value that is not a constant and not an inner result of a chain.
    `windows` has the windows of these results. `viewed` contains the values that are views, which
    no kernel writes. `overwritten` contains the buffers of images whose place is taken by the
    result of a convolution, so that their borders do not last. The argument `needed` lists the
    conditions under which each node runs; the node counts as a reader of these conditions. If the
    waits of the target's core for cache lines are known, images that a convolution reads have gaps
    between pixels, where pixels would otherwise compete for a few sets of a cache (`pixel_pitch`).
    The kernels of the results `spared` cannot overwrite an image. `code` is that of placed nodes.
    """

    def __init__(
        self,
        graph: Graph,
        needed: Sequence[Needs],
        target: Target,
        chains: Sequence[Bands] = (),
        spared: frozenset[str] = frozenset(),
        code: CodeGoal = "speed",
    ) -> None:
        self._code: CodeGoal = code
        self._graph, self._target, self._chains, self._spared = graph, target, chains, spared
        self._windows: dict[str, Access] = {}
        self._buffers: dict[str, Buffer] = {}
        self._accesses: dict[str, Access] = {}
        self._viewed: set[str] = set()
        self._overwriting: dict[str, Buffer] = {}
        self._destinations: dict[str, Access] = {}
        self._constants = {c.value: c for c in graph.constants}
        self._forms: dict[str, ConstantForms] = {}
        self._producers = {v: n for n in graph.nodes for v in n.outputs}
        self._readers = _readers(graph)
        self._last_use = _last_uses(graph, needed)
        self._banded = {node.output for bands in chains for node in bands.nodes}
        self._reshaped = {
            v for n in graph.nodes if self._view_of(n) == SameElements() for v in n.inputs
        }
        self._spread = _convolved(graph) - self._reshaped if target.core.memory else set()
        self._assign_windows()
        self._assign_ports()
        self._assign_destinations()
        self._assign_forwards()
        self.accesses: Mapping[str, Access] = self._accesses
        self.viewed = frozenset(self._viewed)
        self.windows: Mapping[str, Access] = self._windows
        self.overwritten = frozenset(self._overwriting.values())

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every buffer, in order of creation."""
        return tuple(self._buffers.values())

    def placed(self, node: Node, threads: int, name: str) -> PlacedNode:
        """A node with its operands and results in memory. Its kernels' names begin with `name`."""
        op = node.op
        fused = op if isinstance(op, Fused) else Fused(op, len(node.inputs), ())
        operands = tuple(self._operand(v) for v in node.inputs)
        results = tuple(
            NodeResult(v, self._graph.types[v], self._whole(v), v in self._viewed)
            for v in node.outputs
        )
        return PlacedNode(
            name=name,
            where=", ".join(node.source) or name,
            target=self._target,
            threads=threads,
            anchor=fused.anchor,
            stages=fused.stages,
            inputs=operands[: fused.operands],
            extras=operands[fused.operands :],
            results=results,
            overwrites_image=node.outputs[0] in self._overwriting,
            code=self._code,
        )

    def _operand(self, value: str) -> NodeOperand:
        type_, constant = self._graph.types[value], self._constants.get(value)
        if constant is None:
            return NodeOperand(type_, self._whole(value))
        key = constant.key
        forms = self._forms.setdefault(key, {})
        return NodeOperand(type_, None, self._graph.weights[key], key, forms)

    def _whole(self, value: str) -> Access:
        """The access to a value. An inner result of a chain gets one as if it had a buffer."""
        return self._accesses.get(value) or self._buffer_access(value, "arena")

    def port_access(self, value: str, buffer: Buffer) -> Access:
        """The access to a value that lies densely in a buffer of the caller."""
        type_ = self._graph.types[value]
        shape = stored_shape(type_)
        return Access(buffer, Elem.of(type_.dtype), shape, dense(shape))

    # --- assignment ------------------------------------------------------------------------------

    def _assign_windows(self) -> None:
        """Assign windows to the inner results of chains, with the border beside their rows."""
        for bands in self._chains:
            for value in bands.inner:
                type_ = self._graph.types[value]
                border = type_.border if len(bands.strips) == 1 else None
                if border is not None:
                    beside = (0, border.left, 0, border.right)
                    border = Padding.of(beside, border.values) if any(beside) else None
                extents = (bands.window_rows(value), bands.window_columns(value))
                shape = (1, *extents, type_.shape[3])
                self._windows[value] = self._new_buffer(
                    value, "arena", type_=replace(type_, shape=shape, border=border)
                )

    def _assign_ports(self) -> None:
        graph = self._graph
        for index, port in enumerate(graph.inputs):
            self._accesses[port.value] = self._new_buffer(port.value, "input", index)
        for index, state in enumerate(graph.states):
            self._accesses[state.current] = self._new_buffer(state.current, "state", index)
        for index, port in enumerate(graph.outputs):
            self._destinations[port.value] = self._new_buffer(port.value, "output", index)

    def _assign_destinations(self) -> None:
        """Find the values that can be written directly to the memory of a later value.

        For example, the operands of a concatenation are written to the memory of its result. The
        memory of the result must be known first, so nodes are visited from the last to the first.
        """
        for node in reversed(self._graph.nodes):
            if isinstance(node.op, Leave):
                self._place_elements(node, node.op.walks, node.op.repeat.trips)
            elif node.op.joined is not None:
                self._place_concat_operands(node, node.op.joined)
            elif self._view_of(node) == SameElements():
                self._place_reshape_operand(node)

    def _place_elements(self, node: Node, walks: tuple[Walk, ...], trips: int) -> None:
        """Let the elements that a loop computes be written directly to sequences, if possible."""
        carried = len(node.outputs) - len(walks)
        for walk, value, sequence in zip(
            walks, node.inputs[carried:], node.outputs[carried:], strict=True
        ):
            destination = self._destinations.get(sequence) or self._new_buffer(sequence, "arena")
            self._destinations[sequence] = destination
            if self._is_placeable(value):
                self._destinations[value] = element_access(destination, walk, trips)

    def _place_concat_operands(self, node: Node, axis: int) -> None:
        type_ = self._graph.types[node.output]
        axis = axis % type_.rank
        if type_.dtype is DType.BIT and axis == type_.rank - 1:
            return
        destination = self._destinations.get(node.output) or self._new_buffer(node.output, "arena")
        self._destinations[node.output] = destination
        if not all(self._is_placeable(v) for v in node.inputs) or len(set(node.inputs)) < len(
            node.inputs
        ):
            return
        start = destination.offset
        for value in node.inputs:
            operand = self._graph.types[value]
            shape = stored_shape(operand)
            self._destinations[value] = replace(destination, shape=shape, offset=start, border=None)
            start += shape[axis] * destination.strides[axis]
        self._viewed.add(node.output)

    def _place_reshape_operand(self, node: Node) -> None:
        destination, value = self._destinations.get(node.output), node.inputs[0]
        if destination is None or not destination.is_dense or not self._is_placeable(value):
            return
        shape = stored_shape(self._graph.types[value])
        if math.prod(shape) == math.prod(destination.shape):
            self._destinations[value] = replace(destination, shape=shape, strides=dense(shape))
            self._viewed.add(node.output)

    def _is_placeable(self, value: str) -> bool:
        """Whether a kernel writes the value and the memory of the value can still be chosen."""
        producer = self._producers.get(value)
        return (
            producer is not None
            and value not in self._destinations
            and self._graph.types[value].border is None
            and not isinstance(producer.op, Enter)
            and not isinstance(self._view_of(producer), PartOf)
            and not (isinstance(producer.op, Leave) and value in self._last_values(producer))
        )

    def _last_values(self, leave: Node) -> tuple[str, ...]:
        """The results of a loop that stay in the memory of the carried values."""
        assert isinstance(leave.op, Leave)
        return leave.outputs[: len(leave.op.held)]

    def _assign_forwards(self) -> None:
        for index, node in enumerate(self._graph.nodes):
            match node.op:
                case Enter(walks=walks, carried=carried, repeat=repeat):
                    self._assign_loop_values(node, walks, carried, repeat.trips)
                    continue
                case Leave(held=held):
                    self._accesses.update(
                        zip(node.outputs, (self._accesses[v] for v in held), strict=False)
                    )
            for position, value in enumerate(node.outputs):
                if value in self._accesses or value in self._windows:
                    continue
                if value in self._destinations:
                    self._accesses[value] = self._destinations[value]
                    continue
                access = (
                    self._view(node, position)
                    or self._in_place(node, index)
                    or self._over_image(node, index)
                )
                self._accesses[value] = access or self._new_buffer(value, "arena")

    def _assign_loop_values(
        self, node: Node, walks: tuple[Walk, ...], carried: int, trips: int
    ) -> None:
        """Assign a new buffer to each carried value, and a view of its sequence to each element."""
        for value in node.outputs[:carried]:
            self._accesses[value] = self._new_buffer(value, "arena")
        pairs = zip(node.inputs[carried:], node.outputs[carried:], strict=True)
        for walk, (sequence, value) in zip(walks, pairs, strict=True):
            self._accesses[value] = element_access(self._accesses[sequence], walk, trips)
            self._viewed.add(value)

    def _view(self, node: Node, position: int) -> Access | None:
        source = self._accesses.get(node.inputs[0]) if node.inputs else None
        type_ = self._graph.types[node.outputs[position]]
        if source is not None and self._is_read_in_planes(node):
            self._viewed.add(node.output)
            strides = tuple(source.strides[a] for a in CHANNELS_LAST)
            return replace(source, shape=type_.shape, strides=strides, border=None)
        if source is None or type_.border is not None:
            return None
        access: Access | None = None
        match self._view_of(node, position):
            case SameElements():
                access = _reshaped(source, stored_shape(type_))
            case PartOf(starts):
                access = _sliced(source, starts, type_)
        if access is not None:
            self._viewed.add(node.outputs[position])
        return access

    def _is_read_in_planes(self, node: Node) -> bool:
        """Whether a node moves the channels last, for a convolution that can read their planes."""
        if not isinstance(node.op, Transpose) or node.op.permutation != CHANNELS_LAST:
            return False
        readers = self._readers.get(node.output, [])
        if len(readers) != 1 or self._last_use[node.output] == len(self._graph.nodes):
            return False
        (reader,), types = readers, self._graph.types
        operands, results = ([types[v] for v in x] for x in (reader.inputs, reader.outputs))
        return is_read_in_planes(reader, node.output, operands, results, self._target)

    def _view_of(self, node: Node, position: int = 0) -> View | None:
        return node.op.view(tuple(self._graph.types[v] for v in node.inputs), position)

    def _in_place(self, node: Node, index: int) -> Access | None:
        """The access to an operand that the result of a pointwise node may overwrite, or None.

        The operand must be in the arena, have the element type, shape and border of the result, and
        not consist of bits. Nothing may read the buffer of the operand later, and no other operand
        of the node may read this buffer through a different access.
        """
        if not is_pointwise(node.op) or len(node.outputs) != 1 or node.output in self._banded:
            return None
        type_ = self._graph.types[node.output]
        if type_.dtype is DType.BIT:
            return None
        elem, shape = Elem.of(type_.dtype), stored_shape(type_)
        for value in node.inputs:
            access = self._accesses.get(value)
            if access is None or access.buffer.kind != "arena" or value not in self._producers:
                continue
            same_type = (access.elem, access.shape, access.border) == (elem, shape, type_.border)
            is_last_use = self._buffer_last_use(access.buffer) == index
            fits = access.is_dense or not self._is_reshaped(node.output)
            if same_type and is_last_use and fits and not self._overlapped(node, access):
                return access
        return None

    def _over_image(self, node: Node, index: int) -> Access | None:
        """The access to the place of a convolution's image, if the result may take it, or None.

        The result of a window then lies where the first pixel of the window was, in the rows and
        columns of the image and its border. The image must be in the arena. Nothing may read its
        buffer later, no other operand of the node may be in it, and no view needs a dense result.
        """
        if not node.inputs or len(node.outputs) != 1:
            return None
        if node.output in self._banded or node.output in self._spared:
            return None
        types, image = self._graph.types, self._accesses.get(node.inputs[0])
        if image is None or image.buffer.kind != "arena" or node.inputs[0] not in self._producers:
            return None
        result = types[node.output]
        if result.border is not None or self._is_reshaped(node.output):
            return None
        if self._buffer_last_use(image.buffer) != index or self._overlapped(node, image):
            return None
        before = pixel_before(node.op, [types[v] for v in node.inputs], result, self._target)
        if before is None:
            return None
        shift = before[0] * image.strides[1] + before[1] * image.strides[2]
        self._overwriting[node.output] = image.buffer
        shape = stored_shape(result)
        return replace(image, shape=shape, offset=image.offset - shift, border=None)

    def _is_reshaped(self, value: str) -> bool:
        """Whether a node reads the value in another shape, for which it must be dense."""
        return value in self._reshaped

    def _overlapped(self, node: Node, access: Access) -> bool:
        """Whether another operand of the node reads the same buffer through a different access."""
        others = [self._accesses[v] for v in node.inputs if v in self._accesses]
        return any(a.buffer == access.buffer and a != access for a in others)

    def _buffer_last_use(self, buffer: Buffer) -> int:
        values = [v for v, a in self._accesses.items() if a.buffer == buffer]
        values += [v for v, a in self._destinations.items() if a.buffer == buffer]
        return max(self._last_use.get(v, -1) for v in values)

    def _new_buffer(
        self, value: str, kind: BufferKind, index: int = 0, type_: TensorType | None = None
    ) -> Access:
        """The access to a new buffer for a value, or for a part of it with the type `type_`."""
        access = self._buffer_access(value, kind, index, type_)
        self._buffers[access.buffer.id] = access.buffer
        return access

    def _buffer_access(
        self, value: str, kind: BufferKind, index: int = 0, type_: TensorType | None = None
    ) -> Access:
        """The access to a buffer for a value. An arena buffer includes the type's border."""
        type_ = type_ or self._graph.types[value]
        elem, shape = Elem.of(type_.dtype), stored_shape(type_)
        allocated, offset = shape, 0
        if kind == "arena" and value in self._spread:
            allocated = (*shape[:-1], pixel_pitch(elem, shape))
        if type_.border is not None and kind == "arena":
            top, left, bottom, right = type_.border.amounts
            allocated = (shape[0], shape[1] + top + bottom, shape[2] + left + right, allocated[3])
            offset = (top * allocated[2] + left) * allocated[3]
        name = f"{kind}{index}" if kind in ("input", "output", "state") else value
        buffer = Buffer(name, kind, math.prod(allocated) * elem.bytes, index)
        border = type_.border if kind == "arena" else None
        return Access(buffer, elem, shape, dense(allocated), offset, border)


_CONFLICT_BYTES = 1024
_LINE_BYTES = 64


def pixel_pitch(elem: Elem, shape: tuple[int, ...]) -> int:
    """The distance of neighbouring pixels of an image, in elements: the channels, and maybe a gap.

    The cache of a core with 8 KB in each way has 128 sets. If pixels are a multiple of 1 KB apart,
    the lines of one channel in a row of pixels lie in 8 sets or fewer, and replace each other. A
    gap of a cache line between pixels, at most a sixteenth of the memory, prevents this. Thousand
    modelled cycles on pi3_64 without and with gaps: 1x1, 7x7, 1,024 -> 1,024 channels 27,574 and
    23,961; MobileNet V1 1.0 224 297,700 and 288,750. Gaps for 128 channels gain nothing.
    """
    channels = shape[-1]
    if shape[1] * shape[2] == 1 or channels * elem.bytes % _CONFLICT_BYTES:
        return channels
    return channels + _LINE_BYTES // elem.bytes


def is_read_in_planes(
    reader: Node,
    value: str,
    operands: Sequence[TensorType],
    results: Sequence[TensorType],
    target: Target,
) -> bool:
    """Whether a node can read an image whose channels are planes: `value`, its first operand."""
    if reader.inputs[0] != value or reader.inputs.count(value) > 1 or len(results) != 1:
        return False
    return reads_planes(reader.op, operands, results[0], target)


def is_pointwise(op: Op) -> bool:
    """Whether each result element depends only on the same element of the operands."""
    return isinstance(anchor_of(op), Pointwise)


def _reshaped(source: Access, shape: tuple[int, ...]) -> Access | None:
    if source.border is None and source.is_dense:
        return replace(source, shape=shape, strides=dense(shape))
    if [n for n in source.shape if n > 1] != [n for n in shape if n > 1]:
        return None
    steps = iter([s for n, s in zip(source.shape, source.strides, strict=True) if n > 1])
    strides = tuple(next(steps) if n > 1 else 1 for n in shape)
    return replace(source, shape=shape, strides=strides, border=None)


def _sliced(source: Access, starts: tuple[int, ...], type_: TensorType) -> Access | None:
    shape = stored_shape(type_)
    if type_.dtype is DType.BIT and shape[-1] != source.shape[-1]:
        return None
    shift = sum(a * s for a, s in zip(starts, source.strides, strict=True))
    return replace(source, shape=shape, offset=source.offset + shift, border=None)


def _convolved(graph: Graph) -> set[str]:
    """The images that convolutions of floats or integers read."""
    convolutions = (n for n in graph.nodes if isinstance(anchor_of(n.op), Conv2D | IntConv2D))
    return {n.inputs[0] for n in convolutions}


def _readers(graph: Graph) -> dict[str, list[Node]]:
    """The nodes that read each value; a node that reads it twice counts once."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for value in dict.fromkeys(node.inputs):
            readers.setdefault(value, []).append(node)
    return readers


def _last_uses(graph: Graph, needed: Sequence[Needs]) -> dict[str, int]:
    """For each value, the index of the last node that computes it, reads it or has it as condition.

    A loop extends the last uses of values that its trips read (`last_uses_in_loops`). Outputs and
    the next values of states are live to the end.
    """
    last: dict[str, int] = {}
    for index, (node, conditions) in enumerate(zip(graph.nodes, needed, strict=True)):
        last.update(dict.fromkeys((*node.inputs, *node.outputs), index))
        last.update(dict.fromkeys((c.condition for c in conditions), index))
    last.update({p.value: len(graph.nodes) for p in graph.outputs})
    last.update({s.next: len(graph.nodes) for s in graph.states})
    return last_uses_in_loops(graph.nodes, last)
