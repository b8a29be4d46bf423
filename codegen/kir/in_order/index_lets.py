"""Translates statements on indices: sums stay sums, other results get registers."""

from __future__ import annotations

from collections.abc import Callable

from ellc.codegen.kir.in_order.affine import Affine, Atom, Writer
from ellc.codegen.kir.in_order.code import Op, Unsupported
from ellc.codegen.kir.ir import Imm, Let, Operand


class IndexLets:
    """Translates them; `affine` gives the sum that is an operand."""

    def __init__(self, writer: Writer, affine: Callable[[Operand], Affine]) -> None:
        self._writer, self._affine = writer, affine

    def value(self, let: Let) -> Affine:
        """The result of a statement. Raises `Unsupported`."""
        writer, affine = self._writer, self._affine
        match let.op, let.args:
            case "add", (a, b):
                return affine(a).plus(affine(b))
            case "sub", (a, b):
                return affine(a).plus(affine(b), -1)
            case "mul", (a, Imm() as factor) | (Imm() as factor, a):
                return affine(a).times(int(factor.value))
            case "mul", (a, b):
                reads = tuple(writer.index(affine(v)) for v in (a, b))
                return self._result(Op("multiply", "mul {0}, {1}, {2}", (), (), reads))
            case ("min" | "max") as op, (a, b):
                first, second = (writer.index(affine(v)) for v in (a, b))
                out = writer.new("x")
                writer.emit(writer.encoding.selected(out, first, second, op))
                return writer.atom(out)
            case "opaque", (a,):
                # It becomes the base of addresses, so that they do not share parts with others.
                value = affine(a)
                if not value.terms:
                    return value
                return Affine(((Atom(writer.index(value), value.level), 1),))
            case "convert", (a,):
                return affine(a)
            case ("div" | "rem") as op, (a, Imm() as divisor) if divisor.value > 0:
                return self._divided(op, affine(a), int(divisor.value))
        raise Unsupported(f"{let.op} of an index")

    def _divided(self, op: str, value: Affine, divisor: int) -> Affine:
        """The quotient, rounded towards zero, or the remainder."""
        writer = self._writer
        reads = (writer.index(value), writer.index(Affine((), divisor)))
        quotient = self._result(Op("divide", "sdiv {0}, {1}, {2}", (), (), reads))
        if op == "div":
            return quotient
        out, whole = writer.new("x"), writer.index(quotient)
        writer.emit(writer.encoding.subtracted(out, whole, reads[1], reads[0]))
        return writer.atom(out)

    def _result(self, op: Op) -> Affine:
        out = self._writer.new("x")
        self._writer.emit(Op(op.kind, op.text, (out,), op.updates, op.reads, op.late))
        return self._writer.atom(out)
