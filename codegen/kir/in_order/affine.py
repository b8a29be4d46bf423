"""Indices and addresses as sums of registers times numbers, and the code that computes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ellc.codegen.kir.in_order.code import Bank, Code, Node, Op, Reg
from ellc.codegen.kir.in_order.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Atom:
    """A register that is written once in each trip of the loop of depth `level`."""

    reg: Reg
    level: int


@dataclass(frozen=True, slots=True)
class Affine:
    """A sum of atoms times numbers, plus a constant."""

    terms: tuple[tuple[Atom, int], ...] = ()
    constant: int = 0

    def plus(self, other: Affine, times: int = 1) -> Affine:
        """`self + times * other`."""
        sums = dict(self.terms)
        for atom, count in other.terms:
            sums[atom] = sums.get(atom, 0) + times * count
        return of_terms(sums.items(), self.constant + times * other.constant)

    def times(self, factor: int) -> Affine:
        """The product with a number."""
        return Affine().plus(self, factor)

    @property
    def level(self) -> int:
        """The depth of the innermost loop on which it depends; 0 for a constant."""
        return max((atom.level for atom, _ in self.terms), default=0)


def of_terms(terms: Iterable[tuple[Atom, int]], constant: int) -> Affine:
    """The sum with its terms in a fixed order, without those that are zero."""
    kept = sorted((t for t in terms if t[1]), key=lambda t: (t[0].level, t[0].reg.number))
    return Affine(tuple(kept), constant)


@dataclass(slots=True)
class Level:
    """The body of a loop while it is written, or the function around all loops.

    The last block of `nodes` is open. While a loop inside is written, code that does not depend on
    it is added to that block, which is in front of the loop.
    """

    nodes: list[Node] = field(default_factory=lambda: [Code()])
    computed: dict[Affine, Reg] = field(default_factory=dict)

    @property
    def code(self) -> Code:
        """The open block."""
        last = self.nodes[-1]
        assert isinstance(last, Code)
        return last


class Writer:
    """Writes nested loops, and computes an index at the outermost level where it is possible."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.levels = [Level()]
        self._count = 0

    def new(self, bank: Bank) -> Reg:
        """A new register."""
        self._count += 1
        return Reg(bank, self._count)

    @property
    def depth(self) -> int:
        """The depth of the loop whose body is being written."""
        return len(self.levels) - 1

    def emit(self, op: Op, level: int = -1) -> None:
        """Add an instruction to the open block of a level."""
        self.levels[level].code.ops.append(op)

    def atom(self, reg: Reg) -> Affine:
        """A register that was just written, as an index."""
        return Affine(((Atom(reg, self.depth), 1),))

    def index(self, value: Affine) -> Reg:
        """A register that contains an index; nothing may write it."""
        if not value.terms:
            return self._constant(value.constant, self.depth)
        if value.constant == 0 and len(value.terms) == 1 and value.terms[0][1] == 1:
            return value.terms[0][0].reg
        level = value.level
        known = self.levels[level].computed
        if value not in known:
            known[value] = self._computed(value, level)
        return known[value]

    def fresh_index(self, value: Affine) -> Reg:
        """A new register that contains an index, and may be written."""
        reg = self.new("x")
        if not value.terms:
            self._set(reg, value.constant, self.depth)
            return reg
        self.emit(Op("integer", "mov {0}, {1}", (reg,), (), (self.index(value),)))
        return reg

    def _computed(self, value: Affine, level: int) -> Reg:
        outer = [t for t in value.terms if t[0].level < level]
        inner = [t for t in value.terms if t[0].level == level]
        base, constant = None, value.constant
        if inner and constant and self.encoding.stream_reach:
            # Where registers are few, places of which only the constant differs share one base.
            return self._near(value, level)
        if outer:
            base, constant = self.index(of_terms(outer, constant)), 0
        for atom, factor in inner:
            base = self._term(base, atom.reg, factor, level)
        assert base is not None
        return self._sum(base, constant, level) if constant else base

    def _near(self, value: Affine, level: int) -> Reg:
        """A sum from a known one of which only the constant differs."""
        base = self.index(of_terms(value.terms, 0))
        known = [(base, value.constant)]
        for other, reg in self.levels[level].computed.items():
            if other.terms == value.terms:
                known.append((reg, value.constant - other.constant))
        near = (pair for pair in known if self.encoding.immediate(abs(pair[1])))
        return self._sum(*next(near, known[0]), level)

    def _term(self, base: Reg | None, reg: Reg, factor: int, level: int) -> Reg:
        if base is None and factor == 1:
            return reg
        out, shift = self.new("x"), abs(factor).bit_length() - 1
        operation = "add" if factor > 0 else "sub"
        if abs(factor) == 1 << shift and (base is not None or factor > 0):
            if base is None:
                op = Op("constant", f"lsl {{0}}, {{1}}, #{shift}", (out,), (), (reg,))
            elif shift:
                text = f"{operation} {{0}}, {{1}}, {{2}}, lsl #{shift}"
                op = Op("shifted", text, (out,), (), (base, reg))
            else:
                op = Op("integer", f"{operation} {{0}}, {{1}}, {{2}}", (out,), (), (base, reg))
        else:
            count = self._constant(factor, level)
            if base is None:
                op = Op("multiply", "mul {0}, {1}, {2}", (out,), (), (reg, count))
            else:
                op = self.encoding.multiplied(out, reg, count, base)
        self.emit(op, level)
        return out

    def _sum(self, base: Reg, constant: int, level: int) -> Reg:
        out, immediate = self.new("x"), self.encoding.immediate(abs(constant))
        if immediate:
            text = f"{'add' if constant > 0 else 'sub'} {{0}}, {{1}}, {immediate}"
            self.emit(Op("integer", text, (out,), (), (base,)), level)
        else:
            reads = (base, self._constant(constant, level))
            self.emit(Op("integer", "add {0}, {1}, {2}", (out,), (), reads), level)
        return out

    def _constant(self, value: int, level: int) -> Reg:
        out = self.new("x")
        self._set(out, value, level)
        return out

    def _set(self, reg: Reg, value: int, level: int) -> None:
        for op in self.encoding.constant(reg, value):
            self.emit(op, level)
