"""Imports matrix products."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, no_integers, operand, optional
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.pointwise import Add, Mul

NO_INTEGER_PRODUCTS = no_integers("products of integers; cast the operands to float32")


@ONNX.imports("MatMul", limits="floating point", declines=(NO_INTEGER_PRODUCTS,))
def mat_mul(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The product as in numpy's matmul: leading axes broadcast; a vector is a row or a column."""
    return product(emitter, operand(inputs, 0), operand(inputs, 1))


def product(emitter: Emitter, a: Value, b: Value) -> Value:
    """Add numpy's product `a @ b`; a constant matrix b becomes the weights of a dense layer."""
    if min(a.type.rank, b.type.rank) == 0:
        raise Unsupported("a product with a scalar")
    if b.is_constant and b.type.rank == 2:
        return emitter.add(Dense(), a, transposed(emitter, b, (1, 0)))
    left = reshaped(emitter, a, (1, *a.shape)) if a.type.rank == 1 else a
    right = reshaped(emitter, b, (*b.shape, 1)) if b.type.rank == 1 else b
    result = emitter.add(MatMul(), left, right)
    rows = () if a.type.rank == 1 else result.shape[-2:-1]
    columns = () if b.type.rank == 1 else result.shape[-1:]
    return reshaped(emitter, result, (*result.shape[:-2], *rows, *columns))


@ONNX.imports("Gemm", limits="floating point", declines=(NO_INTEGER_PRODUCTS,))
def gemm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """alpha * a @ b + beta * c; `transA` and `transB` transpose a and b, and c broadcasts."""
    a, b, c = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    if a.type.rank != 2 or b.type.rank != 2:
        raise Unsupported(f"a product of shapes {a.shape} and {b.shape}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if node.flag("transA"):
        a = transposed(emitter, a, (1, 0))
    flipped = node.flag("transB")
    c = None if beta == 0 or c is None else scaled(emitter, c, beta)
    if b.is_constant:
        weights = scaled(emitter, b if flipped else transposed(emitter, b, (1, 0)), alpha)
        if (
            c is not None
            and c.is_constant
            and c.shape in ((weights.shape[0],), (1, weights.shape[0]))
        ):
            bias = reshaped(emitter, c, (weights.shape[0],))
            return emitter.add(Dense(), a, weights, bias)
        result = emitter.add(Dense(), a, weights)
    else:
        result = scaled(emitter, emitter.add(MatMul(False, flipped), a, b), alpha)
    return result if c is None else pointwise(emitter, Add(), result, c)


def scaled(emitter: Emitter, x: Value, factor: float) -> Value:
    """Multiply a value by a number; a known value is multiplied at import."""
    if factor == 1:
        return x
    number = np.array(factor, x.dtype.numpy)
    if x.array is not None:
        return emitter.constant(x.array * number)
    return emitter.add(Mul(), x, emitter.constant(number))
