"""The state while an archive is lowered: the graph so far, the values of ports, the problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ellc.frontends.budget import Budget
from ellc.frontends.ell.archive import Archive, Node
from ellc.frontends.ell.layout import MemoryLayout, read_layout
from ellc.frontends.ell.lower.buffers import StoredValue, plain_layout, same_memory, tensor_shape
from ellc.frontends.ell.options import EllOptions
from ellc.frontends.ell.ports import PortReference
from ellc.frontends.ell.view import View
from ellc.frontends.problems import Problems
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.limits import Limits
from ellc.ir.op import Op
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.pointwise import Cast
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice, Transpose
from ellc.ir.types import Array, DType, Padding

# These operators only move or convert data. They are computed at once if their operands are
# constants.
_MOVES = (Reshape, Transpose, Slice, Concat, Gather, Cast)

_DTYPES = {
    "float": DType.F32,
    "double": DType.F64,
    "int": DType.I32,
    "long": DType.I64,
    "longlong": DType.I64,
    "bool": DType.BOOL,
    "short": DType.I16,
    "int8": DType.I8,
    "uint8": DType.U8,
    "uint": DType.U32,
}


class Refused(Exception):
    """Raised if a node cannot be lowered: `text` is the reason, `key` the faulty field or ''."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.key = key


class Poisoned(Exception):
    """Raised if a node cannot be lowered because of a problem that is already recorded."""


@dataclass(frozen=True, slots=True)
class Job:
    """The node that is being lowered, with a view of its fields."""

    node: Node
    view: View

    @property
    def element(self) -> str:
        """The element type, which is the node's first template argument."""
        return self.node.type.element

    def layout(self, key: str) -> MemoryLayout | None:
        """The layout in a field; None if the field is missing.

        Raises `Refused` or `Poisoned` if the layout is invalid or not contiguous.
        """
        if key not in self.view:
            return None
        child = self.view.child(key)
        if child is None:
            raise Refused("expected a memory layout", key)
        layout = read_layout(child)
        if not child.sound:
            raise Poisoned
        if not layout.is_contiguous:
            raise Refused(f"increments {list(layout.increment)} do not fit the extents", key)
        return layout

    def must_be_sound(self) -> None:
        """Raise `Poisoned` if a field was invalid; its problem has been recorded."""
        if not self.view.sound:
            raise Poisoned


class Lowering:
    """Builds the graph of an archive. Handlers call `read`, `emit` and `write`."""

    def __init__(self, archive: Archive, options: EllOptions, builder: GraphBuilder) -> None:
        self.archive = archive
        self.options = options
        self.budget = Budget(options.limits)
        self.builder = builder
        self.problems = Problems()
        self.source: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.input_names: list[str] = []
        self.values: dict[tuple[str, str], StoredValue] = {}
        self.poisoned: set[str] = set()
        self.constants: dict[str, Array] = {}
        self.viewed: dict[str, Ref] = {}

    @property
    def limits(self) -> Limits:
        """The limits of this import."""
        return self.options.limits

    # ---- values ---------------------------------------------------------------------------------

    def dtype(self, element: str) -> DType:
        """The graph's element type for an element type of the archive.

        If doubles are computed in float32, this adds a note. Raises `Refused` for unknown types.
        """
        dtype = _DTYPES.get(element)
        if dtype is None:
            raise Refused(f"element type '{element}' is not supported")
        if dtype is DType.F64 and self.options.double_is == "float":
            self.note("the model's doubles are computed in float32")
            return DType.F32
        return dtype

    def note(self, text: str) -> None:
        """Add a note for the user to the graph's metadata, once."""
        if text not in self.notes:
            self.notes.append(text)

    def constant(self, array: Array) -> Ref:
        """Add a constant to the graph."""
        ref = self.builder.constant(np.asarray(array, order="C"))
        self.constants[ref.id] = array
        return ref

    def scalar(self, value: float, like: Ref) -> Ref:
        """A constant of one element, with the element type of `like`."""
        with np.errstate(all="ignore"):
            return self.constant(np.array([value]).astype(like.type.dtype.numpy))

    def zero_state(self, job: Job, name: str, shape: tuple[int, ...], like: Ref) -> Ref:
        """Add a state of the node that is initially zero; `set_state` sets its next value."""
        self.budget.want(shape, job.node.path)
        zeros = np.zeros(shape, like.type.dtype.numpy)
        return self.builder.state(f"{job.node.id}.{name}", zeros)

    def set_state(self, job: Job, name: str, value: Ref) -> None:
        """Set the value that a state of the node has after the call."""
        self.builder.set_state(f"{job.node.id}.{name}", value)

    def emit_multi(self, op: Op, *operands: Ref) -> list[Ref]:
        """Add an operator, with the current node as its source, and return its results.

        An operator that only moves or converts constants is computed at once and not added, unless
        its result is too large.
        """
        arrays = [self.constants.get(ref.id) for ref in operands]
        known = [array for array in arrays if array is not None]
        if isinstance(op, _MOVES) and len(known) == len(arrays):
            types = op.infer(*(ref.type for ref in operands))
            if all(type_.elements <= self.limits.filled_elements for type_ in types):
                return [self.constant(result) for result in op.reference(*known)]
        return self.builder.add_multi(op, *operands, source=self.source)

    def emit(self, op: Op, *operands: Ref) -> Ref:
        """Add an operator that has one result, like `emit_multi`."""
        (result,) = self.emit_multi(op, *operands)
        return result

    def reshape(self, ref: Ref, shape: Sequence[int]) -> Ref:
        """Reshape a tensor; if the tensor already has this shape, the graph does not change."""
        wanted = tuple(shape)
        # If the tensor is itself the result of a reshape, the original tensor is reshaped instead.
        base = self.viewed.get(ref.id, ref)
        if base.type.shape == wanted:
            return base
        if ref.type.shape == wanted:
            return ref
        if prod(wanted) != ref.type.elements:
            raise Refused(
                f"a tensor of {list(ref.type.shape)} does not fit the shape {list(wanted)}"
            )
        result = self.emit(Reshape(wanted), base)
        self.viewed[result.id] = base
        return result

    def slice(self, ref: Ref, starts: Sequence[int], sizes: Sequence[int]) -> Ref:
        """Take the block of a tensor that begins at `starts` and has the shape `sizes`."""
        if tuple(sizes) == ref.type.shape:
            return ref
        return self.emit(Slice(tuple(starts), tuple(sizes), (1,) * len(starts)), ref)

    # ---- ports ----------------------------------------------------------------------------------

    def write(self, job: Job, value: StoredValue | Ref, port: str = "output") -> None:
        """Set the value of an output port of the node; a `Ref` is a value without a border."""
        if isinstance(value, Ref):
            shape = value.type.shape
            size = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
            value = StoredValue(value, plain_layout(size))
        self.values[job.node.id, port] = value

    def has_input(self, job: Job, key: str) -> bool:
        """Whether the node has this input port and it is connected."""
        port = job.node.inputs.get(key)
        return port is not None and not port.reference.is_empty

    def reference(self, job: Job, key: str) -> PortReference:
        """The reference of an input port; raises `Refused` if it is not connected."""
        port = job.node.inputs.get(key)
        if port is None:
            raise Refused(f"there is no input port '{key}'")
        if port.reference.is_empty:
            raise Refused("the input port is not connected", key)
        return port.reference

    def read(self, job: Job, key: str) -> StoredValue:
        """The value that an input port reads."""
        return self.resolve(self.reference(job, key), key)

    def resolve(self, reference: PortReference, key: str = "") -> StoredValue:
        """The value of a reference.

        This is the value of a whole port, or a vector with the ranges of the reference joined.
        Raises `Poisoned` if the reference names a node that could not be lowered, and `Refused` if
        the reference is invalid.
        """
        if reference.is_empty:
            raise Refused("the reference is empty", key)
        for part in reference.ranges:
            if part.node in self.poisoned:
                raise Poisoned
            if (part.node, part.port) not in self.values:
                raise Refused(f"'{part}' is not an output of an earlier node", key)
        if reference.is_single:
            port_range = reference.ranges[0]
            return self.values[port_range.node, port_range.port]
        pieces: list[Ref] = []
        for part in reference.ranges:
            ref = self.flat(self.values[part.node, part.port])
            if part.start is not None and part.stop is not None:
                if part.stop > ref.type.elements:
                    raise Refused(
                        f"'{part}' goes beyond the port, whose extent is {ref.type.elements}", key
                    )
                ref = self.slice(ref, (part.start,), (part.stop - part.start,))
            pieces.append(ref)
        joined = pieces[0] if len(pieces) == 1 else self.emit(Concat(0), *pieces)
        return StoredValue(joined, plain_layout(joined.type.shape))

    def flat(self, buffer: StoredValue) -> Ref:
        """The whole buffer of a port as a vector, including the border."""
        layout = buffer.layout
        ref = buffer.ref
        if layout.has_padding:
            ref = self.with_border(buffer)
        return self.reshape(ref, (layout.elements,))

    def with_border(self, buffer: StoredValue) -> Ref:
        """The whole buffer of a port, including the border, as a tensor."""
        layout = buffer.layout
        lead = buffer.ref.type.rank - len(layout.size)
        before = (0,) * lead + layout.offset
        if not isinstance(buffer.fill, np.ndarray):
            return self.emit(Pad(before, (0,) * lead + layout.after, buffer.fill), buffer.ref)
        filled = buffer.fill.reshape(tensor_shape(layout.extent))
        filled = filled.astype(buffer.ref.type.dtype.numpy)
        return self.emit(Embed(before), buffer.ref, self.constant(filled))

    def region(self, buffer: StoredValue, layout: MemoryLayout) -> StoredValue:
        """Reinterpret a port's buffer for a node that declares `layout` for it.

        If the active region is the same in both layouts, the result has the declared layout.
        Otherwise the border is written into the value, and the active region of the result is the
        whole buffer.
        """
        if layout.elements != buffer.layout.elements:
            have, want = buffer.layout.elements, layout.elements
            raise Refused(f"the input has the extent {have}, but the layout needs {want}")
        if not same_memory(buffer.layout, layout):
            ref = self.reshape(self.flat(buffer), tensor_shape(layout.extent))
            return StoredValue(ref, plain_layout(layout.extent))
        fill = buffer.fill
        if isinstance(fill, np.ndarray):
            fill = fill.reshape(layout.extent)
        return StoredValue(self.reshape(buffer.ref, tensor_shape(layout.size)), layout, fill)

    def active(self, buffer: StoredValue, layout: MemoryLayout) -> Ref:
        """The part of a port's buffer that is the active region in `layout`."""
        region = self.region(buffer, layout)
        if region.layout.size == layout.size:
            return region.ref
        lead = region.ref.type.rank - len(layout.size)
        sizes = (1,) * lead + layout.size
        return self.slice(region.ref, (0,) * lead + layout.offset, sizes)

    def padded_input(self, buffer: StoredValue, layout: MemoryLayout) -> tuple[Ref, Padding]:
        """An image and its padding, for an operator that has an attribute for padding.

        If the border cannot be expressed by an attribute, the image includes the border and the
        padding is empty.
        """
        region = self.region(buffer, layout)
        if not region.layout.has_padding:
            return region.ref, Padding()
        if isinstance(region.fill, np.ndarray) or region.layout.size[2] != region.layout.extent[2]:
            return self.with_border(region), Padding()
        top, left, _ = region.layout.offset
        bottom, right, _ = region.layout.after
        return region.ref, Padding(top, left, bottom, right, (region.fill,))

    def vector(self, job: Job, key: str) -> Ref:
        """The value that an input port reads, as a vector that includes the border."""
        return self.flat(self.read(job, key))


Handler = Callable[[Lowering, Job], None]
