"""Operands with Python operators; elementary functions such as `exp` are written with them."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.vmath_formats import FloatFormat, format_of


@dataclass(frozen=True, slots=True)
class Expression:
    """An operand of a kernel. Its Python operators emit operations; floats become literals."""

    b: KernelBuilder
    operand: Operand
    format: FloatFormat

    @staticmethod
    def of(b: KernelBuilder, x: Operand) -> Expression:
        return Expression(b, x, format_of(x.type.elem))

    def like(self, operand: Operand) -> Expression:
        return Expression(self.b, operand, self.format)

    def const(self, value: float) -> Expression:
        return self.like(Imm(float(value), self.operand.type.with_elem(self.format.elem)))

    def __add__(self, other: Expression | float) -> Expression:
        return self._binary("add", other)

    def __sub__(self, other: Expression | float) -> Expression:
        return self._binary("sub", other)

    def __mul__(self, other: Expression | float) -> Expression:
        return self._binary("mul", other)

    def __truediv__(self, other: Expression | float) -> Expression:
        return self._binary("div", other)

    def __neg__(self) -> Expression:
        return self.like(self.b.op("neg", self.operand))

    def abs(self) -> Expression:
        return self.like(self.b.op("abs", self.operand))

    def min(self, other: Expression | float) -> Expression:
        return self._binary("min", other)

    def max(self, other: Expression | float) -> Expression:
        return self._binary("max", other)

    def clamp(self, low: float, high: float) -> Expression:
        return self.max(low).min(high)

    def fma(self, factor: Expression, term: Expression) -> Expression:
        """`self * factor + term`, rounded once if the target can fuse them, else twice."""
        return self.like(self.b.mul_add(self.operand, factor.operand, term.operand))

    def select(self, mask: Operand, yes: Expression | float, no: Expression | float) -> Expression:
        return self.like(self.b.select(mask, self._lift(yes).operand, self._lift(no).operand))

    def choose(
        self,
        how: str,
        a: Expression,
        b: Expression | float,
        yes: Expression | float,
        no: Expression | float,
    ) -> Expression:
        """`yes` in the lanes in which the comparison of `a` and `b` holds, else `no`."""
        return self.select(a.test(how, b), yes, no)

    def test(self, how: str, other: Expression | float) -> Operand:
        """The mask of a comparison."""
        return self.b.compare(how, self.operand, self._lift(other).operand)

    def polynomial(self, coefficients: tuple[float, ...]) -> Expression:
        """The polynomial with these coefficients, lowest power first, by Horner's rule."""
        result = self.const(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = result.fma(self, self.const(coefficient))
        return result

    # The following methods work on the bits of a value, as integers of the same width.

    def bits(self) -> Operand:
        return self.b.bitcast(self.operand, self.format.bits)

    def from_bits(self, bits: Operand) -> Expression:
        return self.like(self.b.bitcast(bits, self.format.elem))

    def bits_const(self, value: int) -> Imm:
        """The signed integer literal with the bits of the unsigned integer `value`."""
        width = self.format.bits.bytes * 8
        signed = value - (1 << width) if value >> (width - 1) else value
        return Imm(signed, self.operand.type.with_elem(self.format.bits))

    def bits_op(self, name: str, other: Operand | int) -> Expression:
        """The value whose bits are the result of a bitwise operation on the bits of `self`."""
        literal = self.bits_const(other) if isinstance(other, int) else other
        return self.from_bits(self.b.op(name, self.bits(), literal))

    def sign_bits(self) -> Operand:
        return self.b.op("and", self.bits(), self.bits_const(self.format.sign_mask))

    def with_sign_of(self, other: Expression) -> Expression:
        """The value with the sign of `other`. The sign bit of `self` must be 0."""
        return self.bits_op("or", other.sign_bits())

    def upper_half(self) -> Expression:
        """The value with the lower half of its significand cleared. Its square is exact."""
        return self.bits_op("and", self.format.split_mask)

    def _lift(self, other: Expression | float) -> Expression:
        return other if isinstance(other, Expression) else self.const(other)

    def _binary(self, name: str, other: Expression | float) -> Expression:
        return self.like(self.b.op(name, self.operand, self._lift(other).operand))
