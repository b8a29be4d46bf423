"""Lowers inputs, outputs, constants, and nodes that move or select data."""

from __future__ import annotations

import numpy as np

from ellc.frontends.ell.archive import Node
from ellc.frontends.ell.layers import Shape3
from ellc.frontends.ell.layout import MemoryLayout
from ellc.frontends.ell.lower.buffers import StoredValue, plain_layout, tensor_shape
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Refused
from ellc.frontends.ell.lower.names import input_name, unique_name
from ellc.frontends.ell.view import View
from ellc.frontends.problems import Problems
from ellc.ir.builder import Ref
from ellc.ir.ops.pointwise import Cast, Equal, Select
from ellc.ir.ops.shape import Concat, Expand, Gather, Transpose
from ellc.ir.types import DType, TensorType

# ---- inputs, outputs, constants -----------------------------------------------------------------


def lower_input(lw: Lowering, job: Job) -> None:
    """`InputNode`: a public input.

    If the input is a vector in the file, and all nodes that read it are predictors that expect the
    same image shape, the input gets this shape.
    """
    layout = _declared_layout(job)
    wanted_shape = _shape_seen_by_readers(lw, job.node)
    if wanted_shape is not None and not layout.has_padding and len(layout.size) < 3:
        wanted = plain_layout(wanted_shape)
        layout = wanted if wanted.elements == layout.elements else layout
    lw.write(job, _public_input(lw, job, layout))


def _public_input(lw: Lowering, job: Job, layout: MemoryLayout) -> StoredValue:
    shape = tensor_shape(layout.extent)
    lw.limits.product(shape, where=job.node.path, what="an input")
    name = unique_name(input_name(lw.archive, job.node), lw.input_names)
    lw.input_names.append(name)
    ref = lw.builder.input(name, TensorType(lw.dtype(job.element), shape))
    return StoredValue(ref, plain_layout(layout.extent))


def _declared_layout(job: Job, size_key: str = "size") -> MemoryLayout:
    """The layout that a node declares; older files have `shape`, or only a number of elements."""
    layout = job.layout("layout")
    if layout is None and "shape" in job.view:
        layout = plain_layout(_old_shape(job.view.integers("shape")))
    if layout is None:
        layout = plain_layout((job.view.integer(size_key),))
    job.must_be_sound()
    return layout


def _old_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Remove the axes that old files add to the shape of a vector: [n, 1, 1] becomes [n]."""
    return shape[:1] if len(shape) == 3 and shape[1:] == (1, 1) else shape


def _shape_seen_by_readers(lw: Lowering, node: Node) -> Shape3 | None:
    """The image shape that all readers of an input node expect.

    The result is None if the readers expect different shapes, or if one of them is not a predictor.
    """
    shapes: set[Shape3 | None] = set()
    for other in lw.archive.map.model.nodes:
        for port in other.inputs.values():
            if any(part.node == node.id for part in port.reference.ranges):
                shapes.add(_shape_wanted_by(other))
    return shapes.pop() if len(shapes) == 1 else None


def _shape_wanted_by(node: Node) -> Shape3 | None:
    if node.type.base != "NeuralNetworkPredictorNode":
        return None
    quiet = Problems()
    predictor = View(node.object, node.path, quiet).child("predictor")
    first = predictor.child("inputLayer") if predictor is not None else None
    if first is None:
        return None
    sizes = [first.integer(f"data_{axis}") for axis in ("rows", "columns", "channels")]
    return None if quiet else (sizes[0], sizes[1], sizes[2])


def lower_output(lw: Lowering, job: Job) -> None:
    """`OutputNode`: its input, in the layout that the node declares."""
    value = lw.read(job, "input")
    if "layout" in job.view or "shape" in job.view:
        layout = _declared_layout(job)
        if layout.elements == value.layout.elements and not value.layout.has_padding:
            value = _reinterpret(lw, value, layout)
    lw.write(job, value)


def lower_constant(lw: Lowering, job: Job) -> None:
    """`ConstantNode`: has a layout since version 8 of the archive; before, it is a vector."""
    dtype = lw.dtype(job.element)
    stored = job.view.value("values")
    if not isinstance(stored, np.ndarray | tuple):
        raise Refused("expected an array", "values")
    if any(not isinstance(item, bool) for item in stored) and isinstance(stored, tuple):
        raise Refused("expected numbers or booleans", "values")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.array(stored).astype(dtype.numpy)
    layout = job.layout("layout") or plain_layout((array.size,))
    if layout.elements != array.size:
        raise Refused(f"{array.size} values for a layout of {layout.elements}", "values")
    shape = tensor_shape(layout.extent)
    lw.write(job, StoredValue(lw.constant(array.reshape(shape)), plain_layout(layout.extent)))


def lower_source(lw: Lowering, job: Job) -> None:
    """`SourceNode`: becomes a public input; in ELL a callback provides its value."""
    output = job.view.child("output")
    layout = plain_layout((0,))
    if output is not None:
        layout = _declared_layout(Job(job.node, output))
        job.view.sound = job.view.sound and output.sound
    job.must_be_sound()
    lw.note(f"source node '{job.node.id}' becomes an input: compiled code has no callbacks")
    lw.write(job, _public_input(lw, job, layout))


def lower_pass_through(lw: Lowering, job: Job) -> None:
    """`SinkNode` and `DebugSinkNode`: return their input; ELL also passes it to a callback."""
    if job.node.type.base == "SinkNode":
        lw.note(f"sink node '{job.node.id}' only returns its input: compiled code has no callbacks")
    lw.write(job, lw.read(job, "input"))


# ---- moving data --------------------------------------------------------------------------------


def _reinterpret(lw: Lowering, value: StoredValue, layout: MemoryLayout) -> StoredValue:
    return lw.region(value, layout)


def lower_reinterpret(lw: Lowering, job: Job) -> None:
    """`ReinterpretLayoutNode`: the same buffer with another layout."""
    layout = job.layout("outputLayout")
    if layout is None:
        raise Refused("there is no layout", "outputLayout")
    lw.write(job, _reinterpret(lw, lw.read(job, "input"), layout))


def lower_reorder(lw: Lowering, job: Job) -> None:
    """`ReorderDataNode`: transposes the active region and gives it another border."""
    value = lw.read(job, "input")
    given = job.layout("inputLayout") or value.layout
    target = job.layout("outputLayout")
    if target is None:
        raise Refused("there is no layout", "outputLayout")
    fill = job.view.number("paddingValue", default=0.0)
    job.must_be_sound()
    if "order" in job.view:
        target = _with_old_order(job, given, target)
    ref = lw.active(value, given)
    if given.order != target.order:
        ref = _transposed(lw, ref, given, target)
    wanted = tensor_shape(target.size)
    if ref.type.shape != wanted:
        raise Refused(
            f"an input of {list(ref.type.shape)} cannot have the size {list(target.size)}",
            "outputLayout",
        )
    lw.write(job, StoredValue(ref, target, fill))


def _with_old_order(job: Job, given: MemoryLayout, target: MemoryLayout) -> MemoryLayout:
    """The target layout with the node's field `order`, which archives before version 8 have.

    Physical dimension p of the result is dimension `order[p]` of the input.
    """
    order = job.view.integers("order", length=len(target.size))
    job.must_be_sound()
    if sorted(order) != list(range(len(given.size))):
        raise Refused(f"{list(order)} is not an order of {len(given.size)} dimensions", "order")
    logical = tuple(given.order[position] for position in order)
    return MemoryLayout(target.size, target.extent, target.offset, logical, target.increment)


def _transposed(lw: Lowering, ref: Ref, given: MemoryLayout, target: MemoryLayout) -> Ref:
    if len(given.order) != len(target.order):
        raise Refused("the layouts have different numbers of dimensions", "outputLayout")
    lead = ref.type.rank - len(given.order)
    moves = [given.order.index(dimension) for dimension in target.order]
    return lw.emit(Transpose((*range(lead), *(lead + position for position in moves))), ref)


def lower_slice(lw: Lowering, job: Job) -> None:
    """`SliceNode`: `count` indices of the slowest dimension, beginning at `start`."""
    value = lw.read(job, "input")
    start, count = job.view.integer("start"), job.view.integer("count")
    layout = job.layout("layout")
    job.must_be_sound()
    extent = value.layout.extent or (1,)
    if start + count > extent[0]:
        raise Refused(f"{start} + {count} is more than the extent {extent[0]}", "count")
    inner = value.layout.elements // max(1, extent[0])
    ref = lw.slice(lw.flat(value), (start * inner,), (count * inner,))
    shape = (count, *extent[1:])
    if layout is not None and layout.elements == count * inner:
        lw.write(job, lw.region(StoredValue(ref, plain_layout((count * inner,))), layout))
    else:
        lw.write(job, StoredValue(lw.reshape(ref, tensor_shape(shape)), plain_layout(shape)))


def lower_splice(lw: Lowering, job: Job) -> None:
    """`SpliceNode`: concatenates the inputs along the slowest dimension."""
    count = job.view.integer("numInputs")
    job.must_be_sound()
    if not 1 <= count <= len(job.node.inputs):
        raise Refused(
            f"{count} inputs by this field, but {len(job.node.inputs)} input ports", "numInputs"
        )
    values = [lw.read(job, f"input_{index}") for index in range(count)]
    joined = lw.emit(Concat(0), *(lw.flat(value) for value in values))
    tails = {value.layout.extent[1:] for value in values}
    first = sum(value.layout.extent[0] for value in values if value.layout.extent)
    shape = (first, *tails.pop()) if len(tails) == 1 and first else joined.type.shape
    lw.write(job, StoredValue(lw.reshape(joined, tensor_shape(shape)), plain_layout(shape)))


def lower_concatenation(lw: Lowering, job: Job) -> None:
    """`ConcatenationNode`: its input port joins the ranges; `shape` is the shape of the result."""
    ref = lw.vector(job, "input")
    shape = _old_shape(job.view.integers("shape")) if "shape" in job.view else ref.type.shape
    job.must_be_sound()
    lw.write(job, StoredValue(lw.reshape(ref, tensor_shape(shape)), plain_layout(shape)))


def lower_type_cast(lw: Lowering, job: Job) -> None:
    """`TypeCastNode<From,To>`: the input converted to the element type `To`."""
    arguments = job.node.type.arguments
    if len(arguments) != 2:
        raise Refused(f"'{job.node.type}' does not name two types")
    ref = lw.vector(job, "input")
    target = lw.dtype(arguments[1])
    lw.write(job, ref if ref.type.dtype is target else lw.emit(Cast(target), ref))


# ---- choosing -----------------------------------------------------------------------------------


def lower_multiplexer(lw: Lowering, job: Job) -> None:
    """`MultiplexerNode`: the element that the selector, an index or a boolean, chooses."""
    elements = lw.vector(job, "elements")
    lw.write(job, lw.emit(Gather(0), elements, _index(lw, job, "selector")))


def lower_demultiplexer(lw: Lowering, job: Job) -> None:
    """`DemultiplexerNode`: default values, except for the input at the selected index."""
    value = lw.vector(job, "input")
    index = _index(lw, job, "selector")
    size = job.view.integer("size", low=1)
    default = _scalar_field(job, "defaultValue")
    job.must_be_sound()
    positions = lw.constant(lw.budget.counted((size,), np.int32, job.node.path))
    chosen = lw.emit(Equal(), positions, index)
    spread = lw.emit(Expand((size,)), value)
    lw.write(job, lw.emit(Select(), spread, lw.scalar(default, value), chosen))


def _scalar_field(job: Job, key: str) -> float:
    stored = job.view.value(key)
    return float(stored) if isinstance(stored, bool) else job.view.number(key, default=0.0)


def _index(lw: Lowering, job: Job, key: str) -> Ref:
    """The value of a selector port as int32 [1]."""
    ref = lw.vector(job, key)
    if ref.type.shape != (1,):
        raise Refused(f"expected one selector, found {ref.type.elements}", key)
    return ref if ref.type.dtype is DType.I32 else lw.emit(Cast(DType.I32), ref)


def lower_value_selector(lw: Lowering, job: Job) -> None:
    """`ValueSelectorNode`: the first value if the condition is true, else the second."""
    condition = lw.vector(job, "condition")
    if condition.type.dtype is not DType.BOOL:
        condition = lw.emit(Cast(DType.BOOL), condition)
    first, second = lw.vector(job, "input1"), lw.vector(job, "input2")
    lw.write(job, lw.emit(Select(), first, second, condition))


HANDLERS: dict[str, Handler] = {
    "InputNode": lower_input,
    "OutputNode": lower_output,
    "ConstantNode": lower_constant,
    "SourceNode": lower_source,
    "SinkNode": lower_pass_through,
    "DebugSinkNode": lower_pass_through,
    "ReinterpretLayoutNode": lower_reinterpret,
    "ReorderDataNode": lower_reorder,
    "ReorderDataCodeNode": lower_reorder,
    "SliceNode": lower_slice,
    "SpliceNode": lower_splice,
    "ConcatenationNode": lower_concatenation,
    "TypeCastNode": lower_type_cast,
    "MultiplexerNode": lower_multiplexer,
    "DemultiplexerNode": lower_demultiplexer,
    "ValueSelectorNode": lower_value_selector,
}
