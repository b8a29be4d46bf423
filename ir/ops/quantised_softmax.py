"""Softmax of stored integers in TFLite's fixed-point arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.fixed_point import softmax_exponentials, softmax_scaling, softmax_shares
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, exact, register_op, require
from ellc.ir.ops.common import along_last, want_operands
from ellc.ir.ops.quantised import BYTES, want_type
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, Quant, TensorType


@register_op("quant_softmax")
@dataclass(frozen=True, slots=True)
class QuantSoftmax(Op):
    """x [..,C] i8 or u8 -> i8 or u8: softmax along the last axis.

    The result has the scale 1/256, and as its zero point the lowest number of its type. The first
    three attributes are what `ellc.ir.fixed_point.softmax_scaling` returns for the scale of x.
    """

    input_multiplier: int
    input_shift: int
    diff_min: int
    dtype: DType
    quant: Quant | None = None

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("quant_softmax", inputs, 1)
        (x,) = inputs
        want_type("quant_softmax", "x", x, *BYTES)
        require(self.dtype in BYTES, f"quant_softmax: the result cannot be {self.dtype.value}")
        good = x.rank >= 1 and x.shape[-1] >= 1
        require(good, f"quant_softmax: no elements along the last axis of {x.shape}")
        fits = 0 <= self.input_shift <= 31 and 0 <= self.input_multiplier < 2**31
        pair = f"multiplier {self.input_multiplier} or shift {self.input_shift}"
        require(fits, f"quant_softmax: {pair} is out of range")
        return (TensorType(self.dtype, x.shape, quant=self.quant),)

    def exponentials(self) -> Array:
        """e^-d as Q0 for every difference d = 0..255 from the largest number; int32 [256]."""
        return softmax_exponentials(self.input_multiplier, self.input_shift, self.diff_min)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        return along_last(self, operands, p)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((operands[0].rank - 1,), operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        info = np.iinfo(self.dtype.numpy)
        shares = softmax_shares(inputs[0], self.exponentials()).astype(np.int64) + info.min
        return (np.clip(shares, info.min, info.max).astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, scale: float, of: DType, to: DType, *shape: int, span: int) -> Case:
            op = cls(*softmax_scaling(1.0, scale), to)
            x = rng.integers(-span, span, shape, np.int8, endpoint=True)
            return Case(op, (x.view(of.numpy),), label=label)

        same = (DType.I8, DType.I8)
        yield case("one element", 0.1, *same, 1, 1, span=127)
        yield case("classes", 0.07, *same, 1, 1000, span=100)
        yield case("uint8", 0.2, DType.U8, DType.U8, 1, 37, span=20)
        yield case("to uint8", 0.05, DType.I8, DType.U8, 3, 12, span=90)
        yield case("channels", 0.3, *same, 1, 5, 7, 3, span=9)
        yield case("small scale", 0.004, *same, 2, 65, span=127)
        yield case("large scale", 1.9, *same, 4, 2, span=127)
        yield case("many equal", 0.1, *same, 1, 2049, span=0)
        yield case("two classes", 0.06, DType.U8, DType.U8, 70, 2, span=127)
