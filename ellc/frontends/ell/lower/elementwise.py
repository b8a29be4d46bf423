"""Lowers elementwise and broadcasting nodes."""

from __future__ import annotations

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.layout import MemoryLayout
from ellc.frontends.ell.lower.buffers import StoredValue, plain_layout, tensor_shape
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Refused
from ellc.frontends.ell.lower.layers import activation_op, softmax
from ellc.ir.builder import Ref
from ellc.ir.op import Op
from ellc.ir.ops import pointwise as pw
from ellc.ir.ops.shape import Expand
from ellc.ir.types import DType

_UNARY: dict[str, Op] = {
    "abs": pw.Abs(),
    "cos": pw.Cos(),
    "exp": pw.Exp(),
    "hardSigmoid": pw.HardSigmoid(),
    "hardTanh": pw.Clip(-1.0, 1.0),
    "log": pw.Log(),
    "log10": pw.Log10(),
    "logicalNot": pw.Not(),
    "sigmoid": pw.Sigmoid(),
    "sign": pw.Sign(),
    "sin": pw.Sin(),
    "sqrt": pw.Sqrt(),
    "square": pw.Square(),
    "tanh": pw.Tanh(),
}
_BINARY: dict[str, Op] = {
    "add": pw.Add(),
    "subtract": pw.Sub(),
    "multiply": pw.Mul(),
    "coordinatewiseMultiply": pw.Mul(),
    "divide": pw.Div(),
    "coordinatewiseDivide": pw.Div(),
    "modulo": pw.Mod(),
    "logicalAnd": pw.And(),
    "logicalOr": pw.Or(),
    "logicalXor": pw.Xor(),
    "minimum": pw.Minimum(),
    "maximum": pw.Maximum(),
}
_PREDICATES: dict[str, Op] = {
    "equal": pw.Equal(),
    "less": pw.Less(),
    "greater": pw.Greater(),
    "notEqual": pw.NotEqual(),
    "lessOrEqual": pw.LessEqual(),
    "greaterOrEqual": pw.GreaterEqual(),
}


def lower_unary(lw: Lowering, job: Job) -> None:
    """`UnaryOperationNode`: applied to the whole buffer, including the border."""
    value = lw.read(job, "input")
    x = lw.with_border(value) if value.layout.has_padding else value.ref
    lw.write(job, StoredValue(_unary(lw, job, x), plain_layout(value.layout.extent)))


def _unary(lw: Lowering, job: Job, x: Ref) -> Ref:
    name = job.view.text("operation")
    if name == "none":
        return x
    if name == "softmax":
        return softmax(lw, x)
    op = _UNARY.get(name)
    if op is None:
        raise Refused(f"unknown unary operation '{name}'", "operation")
    return lw.emit(op, x)


def lower_binary(lw: Lowering, job: Job) -> None:
    """`BinaryOperationNode`: combines active regions; the operands' borders may differ."""
    op = _named(job, "operation", _BINARY)
    first, second = lw.read(job, "input1"), lw.read(job, "input2")
    x = lw.active(first, job.layout("inputLayout1") or first.layout)
    y = lw.active(second, job.layout("inputLayout2") or second.layout)
    result = lw.emit(op, x, _like(lw, y, x))
    _write_padded(lw, job, result, job.layout("outputLayout"), "padding")


def lower_predicate(lw: Lowering, job: Job) -> None:
    """`BinaryPredicateNode`: a comparison with boolean results."""
    op = _named(job, "predicate", _PREDICATES)
    x, y = lw.vector(job, "input1"), lw.vector(job, "input2")
    lw.write(job, lw.emit(op, x, _like(lw, y, x)))


def _named(job: Job, key: str, table: dict[str, Op]) -> Op:
    name = job.view.text(key)
    op = table.get(name)
    if op is None:
        raise Refused(f"unknown {key} '{name}'", key)
    return op


def _like(lw: Lowering, y: Ref, x: Ref) -> Ref:
    """Reshape y to the shape of x; raises `Refused` if the numbers of elements differ."""
    if y.type.elements != x.type.elements:
        raise Refused(
            f"the operands have different numbers of elements: {x.type.elements} and"
            f" {y.type.elements}"
        )
    return lw.reshape(y, x.type.shape)


def _write_padded(
    lw: Lowering, job: Job, result: Ref, layout: MemoryLayout | None, fill_key: str
) -> None:
    """Write a result with an output layout; the field `fill_key` has the number in the border."""
    if layout is None:
        lw.write(job, result)
        return
    fill = _fill(job, fill_key, result)
    lw.write(job, StoredValue(lw.reshape(result, tensor_shape(layout.size)), layout, fill))


def _fill(job: Job, key: str, result: Ref) -> float:
    if result.type.dtype is DType.BOOL:
        return 1.0 if job.view.flag(key) else 0.0
    return job.view.number(key, default=0.0)


# ---- broadcasting nodes -------------------------------------------------------------------------


def lower_broadcast_unary(lw: Lowering, job: Job) -> None:
    """`BroadcastUnaryOperationNode`: a unary operation on the active region."""
    (x,), layout = _broadcast_operands(lw, job, ("input",))
    _write_padded(lw, job, _unary(lw, job, x), layout, "padding")


def lower_broadcast_binary(lw: Lowering, job: Job) -> None:
    """`BroadcastBinaryOperationNode`: an operand is repeated along its dimensions of extent 1."""
    op = _named(job, "operation", _BINARY)
    (x, y), layout = _broadcast_operands(lw, job, ("input1", "input2"))
    _write_padded(lw, job, lw.emit(op, x, y), layout, "padding")


def lower_broadcast_ternary(lw: Lowering, job: Job) -> None:
    """`BroadcastTernaryOperationNode`: its only operation is fma, x * y + z."""
    name = job.view.text("operation")
    if name != "fma":
        raise Refused(f"unknown ternary operation '{name}'", "operation")
    operands, layout = _broadcast_operands(lw, job, ("input1", "input2", "input3"))
    _write_padded(lw, job, lw.emit(pw.MulAdd(), *operands), layout, "padding")


def _broadcast_operands(
    lw: Lowering, job: Job, keys: tuple[str, ...]
) -> tuple[list[Ref], MemoryLayout | None]:
    """The operands, reshaped so that they broadcast to the first operand, and the output layout.

    The first operand is expanded to the shape of the output.
    """
    layout = job.layout("outputLayout")
    values = [lw.read(job, key) for key in keys]
    size = layout.size if layout is not None else values[0].layout.size
    operands = [_aligned(lw, value, size, key) for value, key in zip(values, keys, strict=True)]
    wanted = tensor_shape(size)
    if operands[0].type.shape != wanted:
        operands[0] = lw.emit(Expand(wanted), operands[0])
    return operands, layout


def _aligned(lw: Lowering, value: StoredValue, size: tuple[int, ...], key: str) -> Ref:
    have = value.layout.size
    ref = value.ref
    if len(have) > len(size):
        raise Refused(f"{list(have)} does not broadcast to {list(size)}", key)
    padded = (1,) * (len(size) - len(have)) + have
    if any(
        have_extent not in (1, wanted_extent)
        for have_extent, wanted_extent in zip(padded, size, strict=True)
    ):
        if value.layout.active_elements == _product(size):
            return lw.reshape(ref, tensor_shape(size))
        raise Refused(f"{list(have)} does not broadcast to {list(size)}", key)
    return lw.reshape(ref, tensor_shape(padded))


def _product(size: tuple[int, ...]) -> int:
    total = 1
    for extent in size:
        total *= extent
    return total


def lower_broadcast_linear(lw: Lowering, job: Job) -> None:
    """`BroadcastLinearFunctionNode`: x * scale + bias along one dimension.

    The ports for scale and bias may be unconnected.
    """
    x, axis, layout = _primary(lw, job)
    scale = _secondary(lw, job, "secondaryInput1", x, axis)
    bias = _secondary(lw, job, "secondaryInput2", x, axis)
    if scale is not None and bias is not None:
        x = lw.emit(pw.MulAdd(), x, scale, bias)
    elif scale is not None:
        x = lw.emit(pw.Mul(), x, scale)
    elif bias is not None:
        x = lw.emit(pw.Add(), x, bias)
    _write_padded(lw, job, x, layout, "paddingValue")


def _primary(lw: Lowering, job: Job) -> tuple[Ref, int, MemoryLayout]:
    value = lw.read(job, "primaryInput")
    given = job.layout("inputLayout") or value.layout
    layout = job.layout("outputLayout") or plain_layout(given.size)
    axis = job.view.integer("broadcastDimension", default=0)
    job.must_be_sound()
    if axis >= max(1, len(given.size)):
        raise Refused(
            f"there is no dimension {axis} in a layout of {len(given.size)} dimensions",
            "broadcastDimension",
        )
    x = lw.active(value, given)
    return x, axis + x.type.rank - len(given.size), layout


def _secondary(lw: Lowering, job: Job, key: str, x: Ref, axis: int) -> Ref | None:
    if not lw.has_input(job, key):
        return None
    ref = lw.vector(job, key)
    extent = x.type.shape[axis] if x.type.rank else 1
    if ref.type.elements != extent:
        raise Refused(f"expected {extent} numbers, found {ref.type.elements}", key)
    return lw.reshape(ref, (extent, *(1,) * (x.type.rank - 1 - axis)))


def lower_broadcast_function(lw: Lowering, job: Job) -> None:
    """`BroadcastUnaryFunctionNode<T,F>`: the activation function F."""
    x, _, layout = _primary(lw, job)
    result = lw.emit(_function(job), x)
    _write_padded(lw, job, result, layout, "paddingValue")


def _function(job: Job) -> Op:
    arguments = job.node.type.arguments
    name = (
        arguments[1].partition("<")[0].removesuffix("ActivationFunction") if arguments[1:] else ""
    )
    if name == ell.ActivationKind.LEAKY_RELU.value:
        raise Refused("the file does not store the leak factor of this node")
    try:
        return activation_op(ell.Activation(ell.ActivationKind(name)))
    except ValueError:
        raise Refused(f"unknown function '{name}'") from None


def lower_prelu_function(lw: Lowering, job: Job) -> None:
    """`BinaryFunctionNode<T,ParametricReLUActivationFunction<T>>`: the second input is alpha."""
    arguments = job.node.type.arguments
    if len(arguments) < 2 or not arguments[1].startswith("ParametricReLU"):
        raise Refused("only a parametric ReLU is supported here")
    value, alpha = lw.read(job, "input1"), lw.read(job, "input2")
    layout = job.layout("inputLayout") or value.layout
    x = lw.active(value, layout)
    if alpha.layout.elements == layout.elements:
        factors = lw.active(alpha, layout)
    else:
        factors = _like(lw, lw.flat(alpha), x)
    result = lw.emit(pw.PRelu(), x, factors)
    _write_padded(lw, job, result, job.layout("outputLayout"), "paddingValue")


HANDLERS: dict[str, Handler] = {
    "UnaryOperationNode": lower_unary,
    "BinaryOperationNode": lower_binary,
    "BinaryPredicateNode": lower_predicate,
    "BroadcastUnaryOperationNode": lower_broadcast_unary,
    "BroadcastBinaryOperationNode": lower_broadcast_binary,
    "BroadcastTernaryOperationNode": lower_broadcast_ternary,
    "BroadcastLinearFunctionNode": lower_broadcast_linear,
    "BroadcastUnaryFunctionNode": lower_broadcast_function,
    "BinaryFunctionNode": lower_prelu_function,
}
