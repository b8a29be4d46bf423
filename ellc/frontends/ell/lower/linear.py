"""Lowers reductions, positions of extrema, products with matrices, and squared distances."""

from __future__ import annotations

import numpy as np

from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Refused
from ellc.ir.builder import Ref
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.pointwise import Mul, Sub
from ellc.ir.ops.reduce import ArgMax, ArgMin, Reduce
from ellc.ir.types import Array


def lower_sum(lw: Lowering, job: Job) -> None:
    """`SumNode`: the sum of all elements."""
    lw.write(job, lw.emit(Reduce("sum", (0,), True), lw.vector(job, "input")))


def lower_norm(lw: Lowering, job: Job) -> None:
    """`L2NormSquaredNode`: the sum of the squares of all elements."""
    lw.write(job, lw.emit(Reduce("l2sum", (0,), True), lw.vector(job, "input")))


def lower_dot_product(lw: Lowering, job: Job) -> None:
    """`DotProductNode`: the dot product of two vectors."""
    x, y = lw.vector(job, "input1"), lw.vector(job, "input2")
    if x.type.shape != y.type.shape:
        raise Refused(f"vectors of lengths {x.type.elements} and {y.type.elements}")
    lw.write(job, lw.emit(Reduce("sum", (0,), True), lw.emit(Mul(), x, y)))


def lower_arg_max(lw: Lowering, job: Job) -> None:
    """`ArgMaxNode`: the maximum at port `val`, its index at port `argVal`."""
    x = lw.vector(job, "input")
    lw.write(job, lw.emit(Reduce("max", (0,), True), x), "val")
    lw.write(job, lw.emit(ArgMax(0, True), x), "argVal")


def lower_arg_min(lw: Lowering, job: Job) -> None:
    """`ArgMinNode`: the minimum at port `val`, its index at port `argVal`."""
    x = lw.vector(job, "input")
    lw.write(job, lw.emit(Reduce("min", (0,), True), x), "val")
    lw.write(job, lw.emit(ArgMin(0, True), x), "argVal")


def lower_matrix_vector_product(lw: Lowering, job: Job) -> None:
    """`MatrixVectorProductNode<T,layout>`: the stored matrix times the input."""
    rows, columns = job.view.integer("w_rows"), job.view.integer("w_columns")
    stored = job.view.vector("w", length=rows * columns)
    job.must_be_sound()
    x = lw.vector(job, "input")
    # The second template argument: 0 for column-major, 1 for row-major.
    by_columns = job.node.type.arguments[1:2] == ("0",)
    matrix = stored.reshape(columns, rows).T if by_columns else stored.reshape(rows, columns)
    lw.write(job, _times_vector(lw, _typed(lw, matrix, x), x))


def lower_matrix_vector_multiply(lw: Lowering, job: Job) -> None:
    """`MatrixVectorMultiplyNode`: an m x n matrix times a vector, both from input ports."""
    rows, columns = job.view.integer("m"), job.view.integer("n")
    step = job.view.integer("incx", default=1)
    job.must_be_sound()
    if step != 1:
        raise Refused(f"a distance of {step} between vector elements; only 1 is supported", "incx")
    matrix = lw.reshape(lw.vector(job, "inputMatrix"), (rows, columns))
    lw.write(job, _times_vector(lw, matrix, lw.vector(job, "inputVector")))


def _typed(lw: Lowering, array: Array, like: Ref) -> Ref:
    return lw.constant(np.asarray(array, order="C").astype(like.type.dtype.numpy))


def _times_vector(lw: Lowering, matrix: Ref, x: Ref) -> Ref:
    columns = matrix.type.shape[1]
    if x.type.elements != columns:
        raise Refused(f"a matrix of {columns} columns times a vector of {x.type.elements} elements")
    product = lw.emit(Dense(), lw.reshape(x, (1, columns)), matrix)
    return lw.reshape(product, (matrix.type.shape[0],))


def lower_matrix_product(lw: Lowering, job: Job) -> None:
    """`MatrixMatrixMultiplyNode`: the product of matrices [m, k] and [k, n].

    The fields `transpose1`, `transpose2` and `transposeOutput` say which matrices are transposed.
    The leading dimensions in the file are ignored, because ports are dense.
    """
    m, n, k = (job.view.integer(key, low=1) for key in ("m", "n", "k"))
    first, second = job.view.flag("transpose1"), job.view.flag("transpose2")
    transposed = job.view.flag("transposeOutput")
    job.must_be_sound()
    a = lw.reshape(lw.vector(job, "input1"), (k, m) if first else (m, k))
    b = lw.reshape(lw.vector(job, "input2"), (n, k) if second else (k, n))
    if transposed:
        # The transpose of A B is the product of the transposes in reverse order: B' A'.
        product = lw.emit(MatMul(not second, not first), b, a)
    else:
        product = lw.emit(MatMul(first, second), a, b)
    lw.write(job, lw.reshape(product, (m * n,)))


def lower_squared_distance(lw: Lowering, job: Job) -> None:
    """`SquaredEuclideanDistanceNode`: the input's squared distance from every row."""
    vectors = job.view.matrix("vectorsAsMatrix")
    job.must_be_sound()
    x = lw.vector(job, "input")
    if x.type.elements != vectors.shape[1]:
        raise Refused(f"vectors of length {vectors.shape[1]}, but the input has {x.type.elements}")
    difference = lw.emit(Sub(), _typed(lw, vectors, x), x)
    lw.write(job, lw.emit(Reduce("l2sum", (1,)), difference))


HANDLERS: dict[str, Handler] = {
    "SumNode": lower_sum,
    "L2NormSquaredNode": lower_norm,
    "DotProductNode": lower_dot_product,
    "ArgMaxNode": lower_arg_max,
    "ArgMinNode": lower_arg_min,
    "MatrixVectorProductNode": lower_matrix_vector_product,
    "MatrixVectorMultiplyNode": lower_matrix_vector_multiply,
    "MatrixMatrixMultiplyNode": lower_matrix_product,
    "MatrixMatrixMultiplyCodeNode": lower_matrix_product,
    "SquaredEuclideanDistanceNode": lower_squared_distance,
}
