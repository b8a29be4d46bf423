"""Dense layers and matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import (
    Arranged,
    Arrays,
    Case,
    Op,
    Types,
    carried_by_products,
    register_op,
    require,
    sizes,
)
from ellc.ir.ops.common import (
    along_last,
    matrix_reads,
    normal,
    parameter_reads,
    want_floats,
    want_operands,
    want_shape,
    weights,
)
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, TensorType


@register_op("dense")
@dataclass(frozen=True, slots=True)
class Dense(Op):
    """(x [...,K], w [F,K][, bias [F]]) -> [...,F], float: x w^T + bias along the last axis."""

    takes_stages: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("dense", inputs, 2, 3)
        dtype = want_floats("dense", *inputs)
        x, w, *bias = inputs
        require(w.rank == 2, f"dense: weights of rank {w.rank}, expected [outputs,inputs]")
        require(
            x.rank >= 1 and x.shape[-1] == w.shape[1],
            f"dense: operand {x.shape} does not fit weights {w.shape}",
        )
        if bias:
            want_shape("dense", "bias", bias[0], w.shape[0])
        return (TensorType(dtype, (*x.shape[:-1], w.shape[0])),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        return along_last(self, operands, p)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        last = operands[0].rank - 1
        return (apart_from((last,), last + 1), *parameter_reads(operands[1:], last))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        product = np.matmul(x, w.T)
        return (product + bias[0] if bias else product,)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        (terms,) = self.reference(*sizes(operands))
        return np.asarray((operands[1].shape[-1] + 1) * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return carried_by_products(self, self, operands, errors)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * inputs[1].shape[1]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            x: tuple[int, ...], outputs: int, label: str, bias: bool = False, fixed: bool = True
        ) -> Case:
            arrays = [normal(rng, *x), weights(rng, outputs, x[-1])]
            arrays += [normal(rng, outputs)] if bias else []
            constants = tuple(range(1, len(arrays))) if fixed else ()
            return Case(cls(), tuple(arrays), constants, label=label)

        yield case((1, 1), 1, "one number")
        yield case((1, 64), 32, "round sizes", bias=True)
        yield case((1, 37), 19, "odd sizes", bias=True)
        yield case((1, 1), 33, "one input")
        yield case((1, 259), 1, "one output", bias=True)
        yield case((1, 1024), 10, "long sums")
        yield case((7, 30), 11, "several rows", bias=True)
        yield case((1, 3, 2, 9), 5, "pixels")
        yield case((21,), 6, "rank 1", bias=True)
        yield case((2, 12), 7, "computed weights", bias=True, fixed=False)


@register_op("mat_mul")
@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """(a [...,M,K], b [...,K,N]) -> [...,M,N], float.

    With `transpose_a` or `transpose_b`, the last two axes of that operand are exchanged first.
    Leading axes broadcast as in numpy; both operands have rank 2 or more.
    """

    takes_stages: ClassVar[bool] = True

    transpose_a: bool = False
    transpose_b: bool = False

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("mat_mul", inputs, 2)
        dtype = want_floats("mat_mul", *inputs)
        a, b = inputs
        require(
            min(a.rank, b.rank) >= 2, f"mat_mul: ranks {a.rank} and {b.rank}, expected at least 2"
        )
        rows, depth = a.shape[-2:][:: -1 if self.transpose_a else 1]
        other, columns = b.shape[-2:][:: -1 if self.transpose_b else 1]
        require(depth == other, f"mat_mul: {a.shape} and {b.shape} do not fit")
        try:
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            require(False, f"mat_mul: {a.shape} and {b.shape} do not broadcast")
            raise
        return (TensorType(dtype, (*batch, rows, columns)),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return matrix_reads(operands, results[0].shape, self.transpose_a, self.transpose_b)

    def reference(self, *inputs: Array) -> Arrays:
        a, b = inputs
        left = np.swapaxes(a, -1, -2) if self.transpose_a else a
        right = np.swapaxes(b, -1, -2) if self.transpose_b else b
        return (np.matmul(left, right),)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        (terms,) = self.reference(*sizes(operands))
        return np.asarray(operands[0].shape[-2 if self.transpose_a else -1] * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return carried_by_products(self, self, operands, errors)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * inputs[0].shape[-2 if self.transpose_a else -1]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            op: MatMul, a: tuple[int, ...], b: tuple[int, ...], label: str, fixed: bool = False
        ) -> Case:
            arrays = (normal(rng, *a), normal(rng, *b))
            return Case(op, arrays, (1,) if fixed else (), label=label)

        yield case(cls(), (1, 1), (1, 1), "one number")
        yield case(cls(), (5, 7), (7, 3), "odd sizes")
        yield case(cls(), (16, 32), (32, 24), "round sizes", fixed=True)
        yield case(cls(True), (7, 5), (7, 9), "first transposed")
        yield case(cls(False, True), (4, 19), (6, 19), "second transposed")
        yield case(cls(True, True), (8, 3), (5, 8), "both transposed", fixed=True)
        yield case(cls(), (3, 4, 6), (3, 6, 5), "batch")
        yield case(cls(False, True), (2, 3, 4, 6), (3, 5, 6), "batch broadcast")
        yield case(cls(), (1, 40), (40, 1), "dot product")
