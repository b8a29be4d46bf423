"""Imports arithmetic, logic, shifts, comparisons and selections with broadcasting, and ONE_HOT."""

from __future__ import annotations

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.broadcast import common_shape, expanded, pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import activated, is_stored, operand, tensor
from ellc.frontends.tflite.model import FusedActivation, TfliteNode
from ellc.frontends.tflite.operators.quantised_arithmetic import (
    compared_parts,
    stored_product,
    stored_quotient,
    stored_squared_difference,
    stored_sum,
    stored_sum_of_all,
)
from ellc.frontends.tflite.registry import NOT_ON_INTEGERS, TFLITE
from ellc.ir.op import Op
from ellc.ir.ops.arithmetic import (
    Add,
    Atan2,
    Div,
    FloorDiv,
    FloorMod,
    Maximum,
    Minimum,
    Mul,
    Pow,
    Sub,
)
from ellc.ir.ops.comparisons import (
    And,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    NotEqual,
    Or,
    Select,
    ShiftRight,
    Xor,
)
from ellc.ir.ops.functions import Neg, Not, Square

_SIGNED, _NO_UNSIGNED = ("INT8", "INT16"), "no runtime supports it for uint8 operands"
_NO_RUNTIME = "no runtime supports it for 8-bit operands"


def _both(inputs: Inputs) -> tuple[Value, Value]:
    return operand(inputs, 0), operand(inputs, 1)


def difference(emitter: Emitter, x: Value, y: Value) -> Value:
    """Compute x - y. If only y has the common shape, add -y and x, so that x is not expanded."""
    shape = common_shape(x, y)
    if x.shape != shape and y.shape == shape:
        return emitter.add(Add(), emitter.add(Neg(), y), x)
    return pointwise(emitter, Sub(), x, y)


def _activated(emitter: Emitter, node: TfliteNode, value: Value) -> Value:
    if value.dtype.is_float or node.options.activation is FusedActivation.NONE:
        return activated(emitter, value, node.options.activation)
    raise Unsupported(
        f"{NOT_ON_INTEGERS.reason}: {node.options.activation.name} on {value.dtype.value}"
    )


@TFLITE.imports("ADD", declines=(NOT_ON_INTEGERS,))
def add(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x + y."""
    if is_stored(node):
        return stored_sum(emitter, node, *_both(inputs), subtract=False)
    return _activated(emitter, node, pointwise(emitter, Add(), *_both(inputs)))


@TFLITE.imports("SUB", declines=(NOT_ON_INTEGERS,))
def sub(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x - y."""
    if is_stored(node):
        return stored_sum(emitter, node, *_both(inputs), subtract=True)
    return _activated(emitter, node, difference(emitter, *_both(inputs)))


@TFLITE.imports("MUL", declines=(NOT_ON_INTEGERS,))
def mul(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x * y."""
    if is_stored(node):
        return stored_product(emitter, node, *_both(inputs))
    return _activated(emitter, node, pointwise(emitter, Mul(), *_both(inputs)))


@TFLITE.imports("DIV", declines=(NOT_ON_INTEGERS,))
def div(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute x / y."""
    if is_stored(node):
        return stored_quotient(emitter, node, *_both(inputs))
    return _activated(emitter, node, pointwise(emitter, Div(), *_both(inputs)))


@TFLITE.imports("ADD_N", limits="8-bit operands with one scale, as in TensorFlow Lite Micro")
def add_n(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Add any number of operands."""
    if is_stored(node):
        return stored_sum_of_all(emitter, node, [operand(inputs, i) for i in range(len(inputs))])
    value = operand(inputs, 0)
    for index in range(1, len(inputs)):
        value = emitter.add(Add(), value, operand(inputs, index))
    return value


@TFLITE.imports("SQUARED_DIFFERENCE", limits=_NO_UNSIGNED)
def squared_difference(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute (x - y) * (x - y)."""
    if is_stored(node):
        return stored_squared_difference(emitter, node, *_both(inputs))
    return emitter.add(Square(), difference(emitter, *_both(inputs)))


def _plain(kind: str, op: Op, *, stored: tuple[str, ...] = (), limits: str = "") -> None:
    """Register the operator `kind`, which becomes `op` in the graph.

    `stored` lists the supported types of stored integers, whose scales and zero points the kernels
    ignore.
    """

    @TFLITE.imports(kind, limits=limits)
    def binary(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
        if is_stored(node) and tensor(node, 0).kind not in stored:
            raise Unsupported(
                f"no runtime supports it for stored integers of type {tensor(node, 0).kind}"
            )
        return pointwise(emitter, op, *_both(inputs))


_plain("FLOOR_DIV", FloorDiv(), stored=_SIGNED, limits=_NO_UNSIGNED)
_plain("FLOOR_MOD", FloorMod(), stored=_SIGNED, limits=_NO_UNSIGNED)
_plain("POW", Pow(), limits=_NO_RUNTIME)
_plain("ATAN2", Atan2())
_plain("LOGICAL_AND", And())
_plain("LOGICAL_OR", Or())
_plain("BITWISE_XOR", Xor(), stored=(*_SIGNED, "UINT8"))
_plain("RIGHT_SHIFT", ShiftRight(), stored=(*_SIGNED, "UINT8"))


@TFLITE.imports("MINIMUM")
def minimum(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Select the smaller operand. As in the kernels, stored integers are compared as they are."""
    return pointwise(emitter, Minimum(), *_both(inputs))


@TFLITE.imports("MAXIMUM")
def maximum(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Select the larger operand. As in the kernels, stored integers are compared as they are."""
    return pointwise(emitter, Maximum(), *_both(inputs))


@TFLITE.imports("LOGICAL_NOT")
def logical_not(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Negate a boolean."""
    return emitter.add(Not(), operand(inputs, 0))


def _comparison(kind: str, op: Op, mirrored: Op) -> None:
    """Register a comparison; `mirrored` gives the same result with exchanged operands."""

    @TFLITE.imports(kind, limits="stored integers of 16 bits must have the same scale")
    def compare(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
        x, y = _both(inputs)
        if is_stored(node):
            x, y = compared_parts(emitter, node, x, y)
        shape = common_shape(x, y)
        if x.shape != shape and y.shape == shape:
            return emitter.add(mirrored, y, x)
        return pointwise(emitter, op, x, y)


_comparison("EQUAL", Equal(), Equal())
_comparison("NOT_EQUAL", NotEqual(), NotEqual())
_comparison("LESS", Less(), Greater())
_comparison("LESS_EQUAL", LessEqual(), GreaterEqual())
_comparison("GREATER", Greater(), Less())
_comparison("GREATER_EQUAL", GreaterEqual(), LessEqual())


@TFLITE.imports("SELECT", "SELECT_V2")
def select(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Select x where the condition is true, and y elsewhere."""
    condition, x, y = (operand(inputs, i) for i in range(3))
    if node.kind == "SELECT" and condition.type.rank == 1 and x.type.rank > 1:
        # A vector selects along the first axis, although shapes otherwise align at the last axis.
        condition = reshaped(emitter, condition, (*condition.shape, *[1] * (x.type.rank - 1)))
    shape = common_shape(condition, x, y)
    return emitter.add(Select(), expanded(emitter, x, shape), y, condition)


@TFLITE.imports("ONE_HOT", limits="depth and both values must be constants")
def one_hot(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Create one-hot vectors along a new axis: one value at the index, another one elsewhere."""
    indices, depth, on, off = (operand(inputs, i) for i in range(4))
    counts = known_ints(depth, "the depth")
    if len(counts) != 1 or not 0 < counts[0] < 1 << 24:
        raise Unsupported(f"a depth of {counts} is not supported")
    count, rank = counts[0], indices.type.rank
    axis = axis_of(node.options.whole("Axis"), rank + 1)
    shape = (*indices.shape[:axis], count, *indices.shape[axis:])
    thin = reshaped(emitter, indices, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    positions = emitter.counted(count, dtype=indices.dtype.numpy).reshape(-1, *[1] * (rank - axis))
    hit = emitter.add(Equal(), expanded(emitter, thin, shape), emitter.constant(positions))
    return emitter.add(Select(), expanded(emitter, on, shape), off, hit)
