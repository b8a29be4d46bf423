"""Places the parts of a chain in memory, and makes their kernel calls.

An inner result of a chain has a *window*: a buffer for the rows that later bands still need. When a
band needs rows beyond the end of the window, the rows that are still needed are first moved to its
beginning. Equal parts share their kernels; only the offsets of the arguments differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from ellc.codegen.blocks.access import ARENA_ALIGN, Access, Buffer, stored_shape
from ellc.codegen.blocks.calls import Arg, BufferArg, KernelCall
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.blocks.movement import copy_call
from ellc.codegen.blocks.placed_node import NodeOperand, NodeResult, PlacedNode
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.bands import ROWS, Bands, Box, NodePart, part_operator
from ellc.codegen.planning.choice import Choice, choose_like
from ellc.codegen.planning.plan import PartAccess, StepPart
from ellc.codegen.planning.storage import Storage
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.fused import anchor_of
from ellc.ir.types import Padding, TensorType


@dataclass(frozen=True, slots=True)
class PartCalls:
    """The calls of one part, or of a move inside a window. `node` is the node of the result."""

    node: Node
    part: StepPart
    calls: tuple[KernelCall, ...]
    moved_bytes: int = 0
    macs: int = 0
    is_move: bool = False
    is_last: bool = False
    band: int = 0


@dataclass(frozen=True, slots=True)
class _Template:
    """The calls of a part, with the byte offsets of the accesses for which they were made."""

    calls: tuple[KernelCall, ...]
    offsets: tuple[int, ...]


class ChainCalls:
    """Makes the calls of a chain in order. `chosen` has the candidate of each result.

    The results in `asked` have a candidate that was requested or measured, with its schedule.

    The parts use one buffer for their scratch memory, one after the other. Its size is known after
    the last call; `with_scratch` then gives each call the buffer.
    """

    def __init__(
        self,
        graph: Graph,
        bands: Bands,
        storage: Storage,
        target: Target,
        threads: int,
        chosen: Mapping[str, Prediction],
        asked: Collection[str] = (),
    ) -> None:
        self._asked = asked
        self._graph, self._bands, self._storage = graph, bands, storage
        self._target, self._threads, self._chosen = target, threads, chosen
        self._base: dict[str, int] = {}  # the row of the image that the window's first row holds
        self._templates: dict[object, _Template] = {}
        self._scratch = Buffer(f"{bands.chain.last}.chain.scratch", "scratch", 0)

    def every(self, name: Callable[[Node], str]) -> Iterator[PartCalls]:
        """The calls of all strips and bands. `name` makes the name of the next step's kernels."""
        bands = self._bands
        for strip in range(len(bands.strips)):
            self._base = dict.fromkeys(bands.inner, 0)
            for band in range(bands.count):
                starts = bands.starts(band)
                # Bands between two moves are one band of the plan, so that equal ones are loops.
                number = strip * bands.count + band // bands.chain.turns
                for part in bands.parts(strip, band):
                    value = part.node.output
                    if value in self._base:
                        for move in self._moves(part, strip, starts[value], name):
                            yield replace(move, band=number)
                    yield replace(self._computed(part, strip, name), band=number)

    @property
    def scratch(self) -> tuple[Buffer, ...]:
        """The scratch memory of all parts, if they need any."""
        return (self._scratch,) if self._scratch.bytes else ()

    def with_scratch(self, call: KernelCall) -> KernelCall:
        """The call with the final buffer of scratch memory."""
        args = (
            replace(a, buffer=self._scratch)
            if isinstance(a, BufferArg) and a.buffer.id == self._scratch.id
            else a
            for a in call.args
        )
        return replace(call, args=tuple(args))

    # --- windows ---------------------------------------------------------------------------------

    def _moves(
        self, part: NodePart, strip: int, start: int, name: Callable[[Node], str]
    ) -> Iterator[PartCalls]:
        """Move the rows from `start` on to the window's beginning, if the part needs the room.

        A move of more rows than it skips is done in several steps, none of which reads what it
        writes, so that threads can share each of them.
        """
        value, base = part.node.output, self._base[part.node.output]
        window = self._storage.windows[value]
        if part.box.rows[1] - base <= window.shape[ROWS]:
            return
        self._base[value] = start
        columns = self._bands.strips[strip][value]
        distance, kept = start - base, part.box.rows[0] - start
        for first in range(0, kept, distance):
            rows = (first, min(kept, first + distance))
            box = Box((start + rows[0], start + rows[1]), columns)
            width = columns[1] - columns[0]
            target = _sub_access(window, rows, (0, width))
            source = _sub_access(window, (rows[0] + distance, rows[1] + distance), (0, width))
            key = ("move", value, rows, distance, width)
            if key not in self._templates:
                call = copy_call(
                    name(part.node), self._target, source, target, threads=self._threads
                )
                self._templates[key] = _Template((call,), ())
            size = (rows[1] - rows[0]) * width * window.shape[3] * window.elem.bytes
            moved = StepPart(PartAccess(value, box, target), (PartAccess(value, box, source),))
            calls = self._templates[key].calls
            yield PartCalls(part.node, moved, calls, 2 * size, is_move=True)

    def _place(self, value: str, box: Box, strip: int) -> Access:
        """The access to a part of a value, in its buffer or in its window."""
        window = self._storage.windows.get(value)
        if window is None:
            access = self._storage.accesses[value]
            return _bordered(_sub_access(access, box.rows, box.columns), access, box)
        base, left = self._base[value], self._bands.strips[strip][value][0]
        rows = (box.rows[0] - base, box.rows[1] - base)
        columns = (box.columns[0] - left, box.columns[1] - left)
        return replace(_sub_access(window, rows, columns), border=window.border)

    # --- parts -----------------------------------------------------------------------------------

    def _computed(self, part: NodePart, strip: int, name: Callable[[Node], str]) -> PartCalls:
        node = part.node
        result = replace(self._place(node.output, part.box, strip), border=None)
        operands: list[PartAccess | None] = []
        for operand in part.operands:
            if operand.box is None:
                operands.append(None)
            else:
                access = self._place(operand.value, operand.box, strip)
                operands.append(PartAccess(operand.value, operand.box, access))
        calls = self._calls(part, result, operands, name)
        step = StepPart(PartAccess(node.output, part.box, result), tuple(operands))
        moved = self._moved_bytes(part, operands, result)
        return PartCalls(node, step, calls, moved, self._macs(part), is_last=part.is_last)

    def _calls(
        self,
        part: NodePart,
        result: Access,
        operands: list[PartAccess | None],
        name: Callable[[Node], str],
    ) -> tuple[KernelCall, ...]:
        accesses = (result, *(x.access for x in operands if x is not None))
        operator = part_operator(self._graph, part)
        fixed = tuple((replace(a, offset=0), a.align_bytes) for a in accesses)
        key = (part.node.output, operator, fixed)
        offsets = tuple(a.offset * a.elem.bytes for a in accesses)
        template = self._templates.get(key)
        if template is not None:
            moved = _shifts(accesses, offsets, template.offsets)
            if moved is not None:
                return tuple(_shifted(call, moved) for call in template.calls)
        placed = self._placed(part, operator, result, operands, name(part.node))
        value = part.node.output
        same = value in self._asked
        choice = choose_like(placed, self._chosen[value], same_schedule=same)
        calls = tuple(
            replace(c, kernel=_named(c.kernel, placed.name, i, len(choice.calls)))
            for i, c in enumerate(self._shared_scratch(choice))
        )
        self._templates.setdefault(key, _Template(calls, offsets))
        return calls

    def _shared_scratch(self, choice: Choice) -> Iterator[KernelCall]:
        """The calls of a part, with their scratch memory in the buffer of the whole chain."""
        places: dict[str, int] = {}
        end = 0
        for buffer in choice.scratch:
            places[buffer.id] = end
            end += -(-buffer.bytes // ARENA_ALIGN) * ARENA_ALIGN
        self._scratch = replace(self._scratch, bytes=max(self._scratch.bytes, end))
        for call in choice.calls:
            args = (
                BufferArg(self._scratch, places[a.buffer.id] + a.offset_bytes)
                if isinstance(a, BufferArg) and a.buffer.id in places
                else a
                for a in call.args
            )
            yield replace(call, args=tuple(args))

    def _placed(
        self,
        part: NodePart,
        operator: Op,
        result: Access,
        operands: list[PartAccess | None],
        name: str,
    ) -> PlacedNode:
        """The part as a node of its own."""
        whole = self._storage.placed(part.node, self._threads, name)
        every = [
            x if p is None else NodeOperand(_part_type(x.type, p.box), p.access)
            for x, p in zip((*whole.inputs, *whole.extras), operands, strict=True)
        ]
        count = len(whole.inputs)
        type_ = _part_type(self._graph.types[part.node.output], part.box)
        return replace(
            whole,
            anchor=anchor_of(operator),
            inputs=tuple(every[:count]),
            extras=tuple(every[count:]),
            results=(NodeResult(part.node.output, type_, result, is_viewed=False),),
        )

    def _macs(self, part: NodePart) -> int:
        """The multiply-adds of a part. Those of a node are the same for every pixel."""
        macs = part.node.op.macs(*self._graph.node_types(part.node))
        _, rows, columns, _ = self._graph.types[part.node.output].shape
        return macs * part.box.pixels // (rows * columns)

    def _moved_bytes(
        self, part: NodePart, operands: list[PartAccess | None], result: Access
    ) -> int:
        total = _bytes(result)
        for value, access in zip(part.node.inputs, operands, strict=True):
            type_ = self._graph.types[value]
            if access is not None:
                total += _bytes(access.access)
            else:
                total += prod(stored_shape(type_)) * Elem.of(type_.dtype).bytes
        return total


def _named(kernel: Kernel, name: str, index: int, count: int) -> Kernel:
    return replace(kernel, name=name if count == 1 else f"{name}_{index}")


def _part_type(type_: TensorType, box: Box) -> TensorType:
    rows, columns = (end - start for start, end in (box.rows, box.columns))
    return replace(type_, shape=(1, rows, columns, type_.shape[3]), border=None)


def _sub_access(access: Access, rows: tuple[int, int], columns: tuple[int, int]) -> Access:
    """The access to some rows and columns of an image."""
    _, row_step, column_step, _ = access.strides
    shape = (1, rows[1] - rows[0], columns[1] - columns[0], access.shape[3])
    offset = access.offset + rows[0] * row_step + columns[0] * column_step
    return replace(access, shape=shape, offset=offset, border=None)


def _bordered(sub: Access, access: Access, box: Box) -> Access:
    """The part of an image, with the part of the image's border that touches it."""
    border = access.border
    if border is None:
        return sub
    amounts = (
        border.top if box.rows[0] == 0 else 0,
        border.left if box.columns[0] == 0 else 0,
        border.bottom if box.rows[1] == access.shape[1] else 0,
        border.right if box.columns[1] == access.shape[2] else 0,
    )
    return replace(sub, border=Padding(*amounts, border.values) if any(amounts) else None)


def _bytes(access: Access) -> int:
    _, rows, columns, channels = access.shape
    return rows * columns * channels * access.elem.bytes


def _shifts(
    accesses: tuple[Access, ...], offsets: tuple[int, ...], before: tuple[int, ...]
) -> dict[str, int] | None:
    """By how many bytes the accesses to each buffer have moved; None if they differ."""
    shifts: dict[str, int] = {}
    for access, now, then in zip(accesses, offsets, before, strict=True):
        if shifts.setdefault(access.buffer.id, now - then) != now - then:
            return None
    return shifts


def _shifted(call: KernelCall, shifts: Mapping[str, int]) -> KernelCall:
    def moved(arg: Arg) -> Arg:
        if not isinstance(arg, BufferArg):
            return arg
        return replace(arg, offset_bytes=arg.offset_bytes + shifts.get(arg.buffer.id, 0))

    return replace(call, args=tuple(map(moved, call.args)))
