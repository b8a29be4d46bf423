"""Runs statements on vectors of integers on symbols."""

from __future__ import annotations

from collections.abc import Callable

from ellc.codegen.kir.in_order.proof.integers import Integers
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    literal_lanes,
)
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import Imm, Let, Operand, Var
from ellc.codegen.kir.types import Elem, VType

_WORD = 4
_ELEMS = (Elem.I8, Elem.U8, Elem.I16, Elem.I32)
_EACH = ("add", "sub", "max", "min", "and", "xor", "mul", "mul_high", "shr_round")
_BITWISE = ("and", "xor")
_KEPT = ("part", "join", "splat_lane", "repeat")
"""Operations that are read together with what they apply to."""


def is_integers(type_: VType) -> bool:
    """Whether a value is a vector of integers of whole words."""
    return type_.elem in _ELEMS and type_.elem.bytes * type_.lanes % _WORD == 0


def loaded(symbols: Symbols, memory: Memory, at: Linear, type_: VType) -> Lanes:
    """The words at an address; those behind the vector are unknown."""
    count = type_.elem.bytes * type_.lanes // _WORD
    words = [symbols.element(memory, at.shifted(_WORD * k)) for k in range(count)]
    w, x, y, z = (*words, *[UNKNOWN] * (4 - count))
    return (w, x, y, z)


class SourceIntegers:
    """The results of operations; `lanes` gives the value of an operand."""

    def __init__(self, symbols: Symbols, lanes: Callable[[Operand], Lanes]) -> None:
        self._symbols, self._lanes = symbols, lanes
        self._integers = Integers(symbols)
        self._kept: dict[str, Let] = {}

    def literal(self, literal: Imm) -> Lanes:
        """A vector with the same number in all lanes."""
        bits = 8 * literal.type.elem.bytes
        one = int(literal.value) & ((1 << bits) - 1)
        return literal_lanes(self._symbols, sum(one << shift for shift in range(0, 32, bits)))

    def run(self, let: Let) -> Lanes | None:
        """The result of a statement; None if only its readers need it."""
        if let.op == "join" and self._fills_register(let):
            return self._halves(let)
        if let.op in _KEPT:
            self._kept[let.result.name] = let
            return None
        integers, type_ = self._integers, let.result.type
        match let.op, let.args:
            case "bitcast", (a,) if a.type.elem.bytes == type_.elem.bytes:
                return self._lanes(a)
            case (("wide_mul" | "wide_mul_add"), (a, b, *total)) if a.type.elem is Elem.I8:
                return self._product(a, b, *total)
            case "add_pairs", (total, pairs) if pairs.type == VType(Elem.I16, 8):
                return integers.add_pairs(self._lanes(total), self._lanes(pairs))
            case op, (total, a, four) if op == SIGNED_DOT:
                return integers.dot(self._lanes(total), self._lanes(a), self._four(four))
            case "pair_sums", (both,) if type_ == VType(Elem.I32, 4):
                first, second = self._kept_of(both, "join").args
                return integers.pair_sums(self._lanes(first), self._lanes(second))
            case "mul_add", (a, b, total) if type_ == VType(Elem.I32, 4):
                rest = (self._lanes(a), self._splat(b))
                return integers.each("mul_add", 32, 4, self._lanes(total), *rest)
            case "convert", (a,):
                return self._converted(a, type_)
        return self._each(let)

    def _fills_register(self, join: Let) -> bool:
        type_ = join.result.type
        is_read_apart = any(isinstance(a, Var) and a.name in self._kept for a in join.args)
        return type_.elem.bytes * type_.lanes == 4 * _WORD and not is_read_apart

    def _halves(self, let: Let) -> Lanes:
        """Two narrowed vectors side by side."""
        low, high = (self._lanes(arg)[:2] for arg in let.args)
        return (*low, *high)

    def _each(self, let: Let) -> Lanes:
        type_, integers = let.result.type, self._integers
        bits, words = 8 * type_.elem.bytes, type_.elem.bytes * type_.lanes // _WORD
        match let.op, let.args, let.attrs:
            case op, (a, b), () if op in _EACH and (bits > 8 or op in _BITWISE):
                return integers.each(op, bits, words, self._lanes(a), self._lanes(b))
            case ("shl" | "shr") as op, (a,), (by,) if type_ == VType(Elem.I32, 4):
                return integers.shifted(op, self._lanes(a), by)
        raise Unproved(f"the source contains {let.op} of {type_}")

    def _product(self, a: Operand, b: Operand, *total: Operand) -> Lanes:
        first, high = self._half(a)
        second, other = self._half(b)
        if high != other:
            raise Unproved("a product of different halves")
        return self._integers.product(first, second, high, *map(self._lanes, total))

    def _four(self, operand: Operand) -> int:
        """The word of four bytes that fills a vector."""
        repeated = self._kept_of(operand, "repeat")
        (four,) = repeated.args
        if four.type.elem.bytes * four.type.lanes != _WORD:
            raise Unproved("repeats another number of bytes")
        part = self._kept.get(four.name) if isinstance(four, Var) else None
        if part is None:
            return self._lanes(four)[0]
        if part.op != "part" or part.attrs[0] % _WORD:
            raise Unproved("repeats bytes of two words")
        return self._lanes(part.args[0])[part.attrs[0] // _WORD]

    def _half(self, operand: Operand) -> tuple[Lanes, bool]:
        part = self._kept.get(operand.name) if isinstance(operand, Var) else None
        if part is None:
            return self._lanes(operand), False
        if part.op != "part" or part.attrs[1] != 8 or part.attrs[0] not in (0, 8):
            raise Unproved("another part of a vector")
        (whole,) = part.args
        join = self._kept.get(whole.name) if isinstance(whole, Var) else None
        lanes = self._lanes(whole) if join is None else self._repeated(join)
        return lanes, bool(part.attrs[0])

    def _repeated(self, join: Let) -> Lanes:
        """Two bytes, four times, and two others, four times."""
        low, high = (self._repeated_pair(half) for half in self._kept_of(join.result, "join").args)
        return (low, low, high, high)

    def _repeated_pair(self, half: Operand) -> int:
        """A word of two bytes of 8, twice."""
        repeat = self._kept_of(half, "repeat")
        part = self._kept_of(repeat.args[0], "part")
        (whole,), (first, count) = part.args, part.attrs
        if repeat.attrs != (4,) or count != 2 or first % 2 or whole.type.elem.bytes > 1:
            raise Unproved("other bytes repeated")
        return self._integers.doubled(self._lanes(whole)[first // _WORD], first % _WORD // 2)

    def _splat(self, operand: Operand) -> Lanes:
        lane = self._kept.get(operand.name) if isinstance(operand, Var) else None
        if lane is None:
            return self._lanes(operand)
        (whole,) = self._kept_of(operand, "splat_lane").args
        return (self._lanes(whole)[lane.attrs[0]],) * 4

    def _kept_of(self, operand: Operand, op: str) -> Let:
        let = self._kept.get(operand.name) if isinstance(operand, Var) else None
        if let is None or let.op != op:
            raise Unproved(f"the source reads something else than a {op}")
        return let

    def _converted(self, a: Operand, to: VType) -> Lanes:
        integers = self._integers
        match a.type, to:
            case VType(elem=Elem.I32, lanes=4), VType(elem=Elem.I16):
                return integers.narrowed_if_clamped(self._lanes(a), "16")
            case VType(elem=Elem.I16, lanes=4), VType(elem=Elem.I8 | Elem.U8):
                return integers.narrowed(self._lanes(a), "8")
            case VType(elem=Elem.I16, lanes=8), VType(elem=Elem.I8 | Elem.U8 as elem):
                kind = "8" if elem is Elem.I8 else "unsigned 8"
                return integers.narrowed_if_clamped(self._lanes(a), kind)
            case VType(elem=Elem.I8 | Elem.U8 as elem, lanes=4), VType(elem=Elem.I32):
                signed = elem is Elem.I8
                half = integers.widened(self._lanes(a), 8, signed=signed)
                return integers.widened(half, 16, signed=signed)
        raise Unproved(f"the source converts {a.type} to {to}")
