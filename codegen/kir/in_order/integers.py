"""Translates operations on vectors of integers: those of products of bytes and of their epilogues.

Integers are 8, 16 or 32 bits wide. Some operations need no instruction: halves of vectors are
operands of `smull` and `smull2`, two joined vectors are those of `addp`, and four bytes that fill a
vector are a lane of `sdot`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.in_order.affine import Affine, Writer
from ellc.codegen.kir.in_order.code import Access, Op, Reg, Unsupported
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import For, Imm, Let, Load, Operand, Param, Store, Var, walk
from ellc.codegen.kir.types import Elem, VType

_BYTES = (Elem.I8, Elem.U8)
_I32X4, _I16X8, _I16X4 = VType(Elem.I32, 4), VType(Elem.I16, 8), VType(Elem.I16, 4)
INTEGERS = (*_BYTES, Elem.I16, Elem.I32)
VECTOR_BYTES = 16
_SIZES = {4: "s", 8: "d", 16: "q"}
"""The name of a vector register of which so many bytes are loaded or stored."""
_LANES = {Elem.I8: "b", Elem.U8: "b", Elem.I16: "h", Elem.I32: "s"}
_EACH = {"add": "add", "sub": "sub", "max": "smax", "min": "smin", "and": "and", "xor": "eor"}
_BITWISE = ("and", "xor")
_NARROWED = (VType(Elem.I16, 4), VType(Elem.I8, 8), VType(Elem.U8, 8))
"""Halves of a register, which one instruction makes of a whole one."""
_SATURATED = {Elem.I16: (-32768, 32767), Elem.I8: (-128, 127), Elem.U8: (0, 255)}
_MOST_SHIFTED = 16
"""The most bits by which numbers are shifted while their width is halved to 16 bits."""


def is_integers(type_: VType) -> bool:
    """Whether a register contains a vector of this type and nothing else."""
    return type_.elem in INTEGERS and type_.elem.bytes * type_.lanes == VECTOR_BYTES


def takes(let: Let) -> bool:
    """Whether this translation takes an operation: one of signed integers, or with a literal."""
    if let.op == "xor":
        return any(isinstance(a, Imm) or is_named_literal(a) for a in let.args)
    return let.op == "convert" or let.result.type.elem in (Elem.I8, Elem.I16, Elem.I32)


def _high_halves(nest: For) -> frozenset[str]:
    """The names of narrowed vectors that are only read as the second half of a vector.

    An instruction writes them into that half.
    """
    uses, narrowed, halves = Counter[str](), set[str](), set[str]()
    for statement in walk((nest,)):
        uses.update(v.name for v in registers_read(statement))
        match statement:
            case Let(result, "convert", _, _) if result.type in _NARROWED:
                narrowed.add(result.name)
            case Let(_, "join", (_, Var() as high), _):
                halves.add(high.name)
    return frozenset(name for name in narrowed & halves if uses[name] == 1)


def named_literal(literal: Imm) -> Var:
    """A variable that stands for a literal; no statement has such a name."""
    return Var(f"literal {literal.type} {literal.text}", literal.type)


def is_named_literal(operand: Operand) -> bool:
    """Whether an operand is such a variable."""
    return isinstance(operand, Var) and operand.name.startswith("literal ")


def pattern(literal: Imm) -> int:
    """The 32 bits that a vector of a literal consists of. Raises `Unsupported` for other types."""
    elem = literal.type.elem
    if elem not in (*INTEGERS, Elem.U16):
        raise Unsupported(f"a literal of type {literal.type}")
    bits = 8 * elem.bytes
    value = int(literal.value) & ((1 << bits) - 1)
    return sum(value << shift for shift in range(0, 32, bits))


def zero(reg: Reg) -> Op:
    """A vector of zeros. The instruction uses half of the unit, so two of them issue together."""
    return Op("integer_half", "movi {0.d}, #0", (reg,))


class Values(Protocol):
    """What this translation needs of the one around it."""

    def vector(self, operand: Operand) -> Reg:
        """A register that contains a vector; nothing may write it."""

    def updated(self, operand: Operand) -> Reg:
        """A register that contains a vector, and may be written: its last reader is this one."""

    def dies(self, operand: Operand, readers: int = 1) -> Reg | None:
        """The register of an operand with so many readers, of which this one is the last."""

    def address(
        self, param: Param, index: Operand, offset: int, stores: bool, size: int
    ) -> tuple[Reg, tuple[int, Access]]:
        """A pointer, and a displacement with the description of the access."""


@dataclass(frozen=True, slots=True)
class _Narrowing:
    """An instruction that halves the width of lanes; the operand that it reads."""

    kind: str
    name: str
    source: Operand
    bits: int = 0

    def text(self, to: str, *, high: bool = False) -> str:
        """The line for a result with such lanes, or for the high half of one."""
        lanes, wide = {"h": ("4h", "4s"), "b": ("8b", "8h")}[to]
        if high:
            lanes = {"h": "8h", "b": "16b"}[to]
        by = f", #{self.bits}" if self.bits else ""
        return f"{self.name}{'2' * high} {{0}}.{lanes}, {{1}}.{wide}{by}"


@dataclass(frozen=True, slots=True)
class _Half:
    """A half of a vector register, or a register of 8 bytes, which is a low half."""

    reg: Reg
    high: bool


class IntegerLets:
    """Translates statements. `let` returns the register of a result, or the statement itself if its
    readers need more than a register."""

    def __init__(self, writer: Writer, values: Values, nest: For, *, in_parts: bool) -> None:
        """`in_parts`: whether vectors are loaded in halves, which takes fewer cycles."""
        self._writer, self._values, self._in_parts = writer, values, in_parts
        self._highs = _high_halves(nest)
        self._lets: dict[str, Let] = {}
        self._loaded: dict[tuple[int, object], Reg] = {}
        self._written: dict[tuple[int, str], Reg] = {}
        self._places: dict[int, Reg] = {}
        self.shared: set[Reg] = set()
        """The registers of loads, which several values may have."""

    def forget(self) -> None:
        """A loop begins or ends, or something is stored: later loads are not shared."""
        self._loaded.clear()
        self._written.clear()

    # --- memory ----------------------------------------------------------------------------------

    def load(self, load: Load) -> Reg | Affine:
        """Load a vector of 4, 8 or 16 bytes, or an integer that becomes an index."""
        type_ = load.result.type
        size = type_.elem.bytes * type_.lanes
        pointer, (at, access) = self._values.address(
            load.param, load.index, load.offset, False, size
        )
        if type_ == VType(Elem.I32):
            word = self._writer.new("x")
            self._writer.emit(
                Op("load", f"ldrsw {{0}}, [{{1}}, #{at}]", (word,), (), (pointer,), (), access)
            )
            return self._writer.atom(word)
        if type_.elem not in INTEGERS or size not in _SIZES:
            raise Unsupported(f"a load of {type_}")
        key = (self._writer.depth, (access.alias, access.place, access.start, size))
        if key not in self._loaded:
            reg = self._writer.new("v")
            for op in self._load_of(reg, pointer, at, access):
                self._writer.emit(op)
            self._loaded[key] = reg
            self.shared.add(reg)
        return self._loaded[key]

    def _load_of(self, reg: Reg, pointer: Reg, at: int, access: Access) -> Iterator[Op]:
        encoding, size = self._writer.encoding, access.bytes
        if size == VECTOR_BYTES and self._in_parts and not at % 8:
            through, half = self._writer.new(encoding.halves), replace(access, bytes=8)
            yield encoding.half_load(reg, 0, pointer, at, half)
            yield encoding.core_load(through, pointer, at + 8, replace(half, start=half.start + 8))
            yield encoding.insertion(reg, 1, through)
            return
        kind = "vector_load" if size == VECTOR_BYTES else "half_load"
        text = f"ldr {{0.{_SIZES[size]}}}, [{{1}}, #{at}]"
        yield Op(kind, text, (reg,), (), (pointer,), (), access)

    def store(self, store: Store) -> None:
        """Store a vector of 4, 8 or 16 bytes."""
        type_ = store.value.type
        size = type_.elem.bytes * type_.lanes
        if type_.elem not in INTEGERS or size not in _SIZES:
            raise Unsupported(f"a store of {type_}")
        what = self._vector(store.value)
        pointer, (at, access) = self._values.address(
            store.param, store.index, store.offset, True, size
        )
        kind = "vector_store" if size == VECTOR_BYTES else "half_store"
        text = f"str {{1.{_SIZES[size]}}}, [{{0}}, #{at}]"
        self._writer.emit(Op(kind, text, (), (), (pointer,), (what,), access))
        self.forget()

    # --- values ----------------------------------------------------------------------------------

    def let(self, let: Let) -> Reg | Let:
        """Translate an operation. Raises `Unsupported` for those outside the subset."""
        self._lets[let.result.name] = let
        match let.op, let.args:
            case "join", (low, high) if self.joins_narrowed(let):
                return self._with_high(low, high)
            case (("part" | "join" | "bitcast" | "splat_lane" | "repeat"), _):
                return let
            case "wide_mul", (a, b):
                return self._product(let, a, b)
            case "wide_mul_add", (a, b, total):
                return self._product(let, a, b, total)
            case "add_pairs", (total, pairs) if _types(total, pairs) == (_I32X4, _I16X8):
                text = "sadalp {0}.4s, {1}.8h"
                return self._update("widening_add", text, total, self._vector(pairs))
            case op, (total, weights, four) if op == SIGNED_DOT:
                return self._dot(total, weights, four)
            case "pair_sums", (Var() as both,) if let.result.type == _I32X4:
                return self._pair_sums(both)
            case "mul_add", (a, b, total) if let.result.type == _I32X4:
                return self._multiply_add(a, b, total)
            case "convert", (a,):
                return let if let.result.name in self._highs else self._converted(let, a)
        return self._each(let)

    def joins_narrowed(self, let: Let) -> bool:
        """Whether an operation joins two halves, of which the second is narrowed into its place."""
        if let.op != "join" or not is_integers(let.result.type):
            return False
        return isinstance(let.args[1], Var) and let.args[1].name in self._highs

    def _with_high(self, low: Operand, high: Operand) -> Reg:
        """The register of the low half, and in it the high half, which is narrowed here."""
        let = self._defining(high)
        assert let is not None
        found = self._narrowing(let, let.args[0])
        text = found.text(_LANES[high.type.elem], high=True)
        return self._update(found.kind, text, low, self._vector(found.source))

    def _each(self, let: Let) -> Reg:
        """An operation lane by lane."""
        type_ = let.result.type
        match let.op, let.args, let.attrs:
            case "add", (a, b), () if type_ == _I32X4 and (both := self._with_shifted(a, b)):
                return both
            case op, (a, b), () if op in _EACH and (op in _BITWISE or type_.elem not in _BYTES):
                return self._lane_by_lane(op, type_, a, b)
            case "mul", (a, b), () if type_ == _I32X4:
                return self._emit("vector_multiply", "mul {0}.4s, {1}.4s, {2}.4s", a, b)
            case "mul_high", (a, b), () if type_ == _I32X4:
                return self._emit("vector_multiply", "sqrdmulh {0}.4s, {1}.4s, {2}.4s", a, b)
            case ("shl" | "shr") as op, (a,), (bits,) if type_ == _I32X4:
                name = "shl" if op == "shl" else "sshr"
                return self._emit("integer_vector", f"{name} {{0}}.4s, {{1}}.4s, #{bits}", a)
            case "shr_round", (a, b), () if type_ == _I32X4:
                return self._rounded(a, b)
        raise Unsupported(f"{let.op} of {type_}")

    def _with_shifted(self, a: Operand, b: Operand) -> Reg | None:
        """A value plus itself, shifted to the right; None if it is another sum.

        The shift, which has no other reader, is not written.
        """
        shift = self._defining(b)
        if shift is None or shift.op != "shr" or shift.args != (a,):
            return None
        reg = self._values.dies(a, readers=2)
        if reg is None or self._values.dies(b) is None:
            return None
        text = f"ssra {{0}}.4s, {{1}}.4s, #{shift.attrs[0]}"
        self._writer.emit(Op("widening_add", text, (), (reg,), (reg,)))
        return reg

    def _lane_by_lane(self, op: str, type_: VType, a: Operand, b: Operand) -> Reg:
        size = type_.elem.bytes * type_.lanes
        if size not in (8, 16) or type_.elem not in INTEGERS:
            raise Unsupported(f"{op} of {type_}")
        kind = "integer_vector" if size == VECTOR_BYTES else "integer_half"
        lanes = f"{size}b" if op in _BITWISE else f"{type_.lanes}{_LANES[type_.elem]}"
        return self._emit(kind, f"{_EACH[op]} {{0}}.{lanes}, {{1}}.{lanes}, {{2}}.{lanes}", a, b)

    def _product(self, let: Let, a: Operand, b: Operand, total: Operand | None = None) -> Reg:
        if let.result.type != _I16X8 or a.type.elem is not Elem.I8:
            raise Unsupported(f"{let.op} of {a.type}")
        first, second = self._half(a), self._half(b)
        if first.high != second.high:
            raise Unsupported("a product of different halves")
        name = ("smull" if total is None else "smlal") + ("2" if first.high else "")
        lanes = "16b" if first.high else "8b"
        text = f"{name} {{0}}.8h, {{1}}.{lanes}, {{2}}.{lanes}"
        if total is None:
            return self._new("vector_multiply", text, first.reg, second.reg)
        return self._update("integer_multiply_add", text, total, first.reg, second.reg)

    def _half(self, operand: Operand) -> _Half:
        let = self._defining(operand)
        if let is None or let.op != "part":
            return _Half(self._vector(operand), False)
        (whole,), (start, count) = let.args, let.attrs
        if count != 8 or start not in (0, 8) or whole.type.lanes != VECTOR_BYTES:
            raise Unsupported("another part of a vector")
        return _Half(self._repeated(whole) or self._vector(whole), bool(start))

    def _repeated(self, operand: Operand) -> Reg | None:
        """Two of 8 bytes, four times, and then the next two, four times; None for other vectors.

        They are looked up if a register has their places. Otherwise, all pairs are doubled, and
        pairs of the resulting words are doubled again.
        """
        join = self._defining(operand)
        if join is None or join.op != "join":
            return None
        (low, first), (high, second) = (self._repeated_pair(half) for half in join.args)
        if low != high or second != first + 2 or first % 4:
            raise Unsupported("other bytes repeated")
        if first in self._places:
            text, table = "tbl {0}.16b, {{{1}.16b}}, {2}.16b", self._vector(low)
            reads = (table, self._places[first])
            return self._once(operand, lambda: self._new("integer_vector", text, *reads))
        words = self._once(low, lambda: self._doubled("zip1 {0}.8h", self._vector(low)))
        name = "zip2 {0}.4s" if first else "zip1 {0}.4s"
        return self._once(operand, lambda: self._doubled(name, words))

    def _doubled(self, zipped: str, reg: Reg) -> Reg:
        """Each element of a half of a vector, twice."""
        lanes = zipped.partition(".")[2]
        return self._new("integer_vector", f"{zipped}, {{1}}.{lanes}, {{1}}.{lanes}", reg)

    def hold_places(self, of: Iterable[int]) -> None:
        """Keep the places of `_repeated`, for these first bytes and no others, in registers."""
        self._places = {first: self._new_places(first) for first in of}

    def _new_places(self, first: int) -> Reg:
        """The places of two bytes from `first` on, four times, and then of the next two."""
        halves = []
        for at in (first, first + 2):
            word = self._writer.index(Affine((), int.from_bytes((at, at + 1) * 2, "little")))
            halves.append(self._new("vector_splat", "dup {0}.4s, {1.w}", word))
        return self._new("integer_vector", "zip1 {0}.2d, {1}.2d, {2}.2d", *halves)

    def _repeated_pair(self, half: Operand) -> tuple[Operand, int]:
        """The 8 bytes of which two are repeated four times, and the place of the first one."""
        repeat = self._defining(half)
        part = self._defining(repeat.args[0]) if repeat and repeat.op == "repeat" else None
        if part is None or part.op != "part" or repeat is None or repeat.attrs != (4,):
            raise Unsupported("other halves of a vector")
        (whole,), (first, count) = part.args, part.attrs
        if count != 2 or whole.type.lanes != 8 or whole.type.elem not in _BYTES:
            raise Unsupported("other bytes repeated")
        return whole, first

    def _once(self, operand: Operand, write: Callable[[], Reg]) -> Reg:
        """The register that `write` returns for an operand at its first use at this depth."""
        assert isinstance(operand, Var)
        key = (self._writer.depth, operand.name)
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]

    def _dot(self, total: Operand, weights: Operand, four: Operand) -> Reg:
        """A dot product of bytes, by four bytes of a vector that `repeat` has put everywhere."""
        repeated = self._defining(four)
        if repeated is None or repeated.op != "repeat":
            raise Unsupported("a dot product of two vectors")
        (bytes_,), lane = repeated.args, 0
        part = self._defining(bytes_)
        if part is not None and part.op == "part":
            if part.attrs[0] % 4:
                raise Unsupported("a dot product by bytes of two lanes")
            (bytes_,), lane = part.args, part.attrs[0] // 4
        text = f"sdot {{0}}.4s, {{1}}.16b, {{2}}.4b[{lane}]"
        return self._update(
            "integer_multiply_add", text, total, self._vector(weights), self._vector(bytes_)
        )

    def _pair_sums(self, both: Var) -> Reg:
        join = self._defining(both)
        if join is None or join.op != "join":
            raise Unsupported("sums of pairs of one vector")
        return self._emit("integer_slow", "addp {0}.4s, {1}.4s, {2}.4s", *join.args)

    def _multiply_add(self, a: Operand, b: Operand, total: Operand) -> Reg:
        lane = self._defining(b)
        if lane is None or lane.op != "splat_lane" or lane.args[0].type != _I32X4:
            text, other = "mla {0}.4s, {1}.4s, {2}.4s", self._vector(b)
        else:
            text = f"mla {{0}}.4s, {{1}}.4s, {{2}}.s[{lane.attrs[0]}]"
            other = self._vector(lane.args[0])
        return self._update("integer_multiply_add", text, total, self._vector(a), other)

    def _rounded(self, a: Operand, b: Operand) -> Reg:
        """A shift to the right by a literal, or by numbers that are 0 minus others."""
        if isinstance(b, Imm):
            if not 0 < b.value < 32:
                raise Unsupported("a shift by no bits")
            return self._emit("integer_slow", f"srshr {{0}}.4s, {{1}}.4s, #{int(b.value)}", a)
        match self._defining(b):
            case Let(_, "sub", (Imm(value=0), left), ()):
                return self._emit("integer_slow", "srshl {0}.4s, {1}.4s, {2}.4s", a, left)
        raise Unsupported("a shift by any numbers")

    def _converted(self, let: Let, a: Operand) -> Reg:
        match a.type, let.result.type:
            case _, to if to in _NARROWED and to.lanes == a.type.lanes:
                found = self._narrowing(let, a)
                return self._emit(found.kind, found.text(_LANES[to.elem]), found.source)
            case VType(elem=Elem.I16, lanes=4), VType(elem=Elem.I8 | Elem.U8, lanes=4):
                return self._emit("integer_vector", "xtn {0}.8b, {1}.8h", a)
            case VType(elem=Elem.I8 | Elem.U8 as elem, lanes=4), VType(elem=Elem.I32, lanes=4):
                name = "sxtl" if elem is Elem.I8 else "uxtl"
                reg = self._emit("integer_vector", f"{name} {{0}}.8h, {{1}}.8b", a)
                return self._new("integer_vector", f"{name} {{0}}.4s, {{1}}.4h", reg)
        raise Unsupported(f"a conversion of {a.type} to {let.result.type}")

    def _narrowing(self, let: Let, a: Operand) -> _Narrowing:
        """How lanes become half as wide; what clamps or shifts them before takes part."""
        elem = let.result.type.elem
        if a.type not in (_I32X4, _I16X8) or a.type.elem.bytes != 2 * elem.bytes:
            raise Unsupported(f"a conversion of {a.type} to {let.result.type}")
        inner = self._clamped(a, *_SATURATED[elem])
        if inner is None:
            return _Narrowing("integer_vector", "xtn", a)
        match self._defining(inner):
            case Let(_, "shr_round", (raised, Imm(value=bits)), ()) if (
                elem is Elem.I16 and 0 < bits <= _MOST_SHIFTED
            ):
                return _Narrowing("integer_slow", "sqrshrn", raised, int(bits))
        return _Narrowing("integer_slow", "sqxtun" if elem is Elem.U8 else "sqxtn", inner)

    def _clamped(self, operand: Operand, low: int, high: int) -> Operand | None:
        """What is clamped to these numbers; None if `operand` is anything else."""
        match self._defining(operand):
            case Let(_, "min", (most, Imm(value=top)), ()) if top == high:
                match self._defining(most):
                    case Let(_, "max", (inner, Imm(value=bottom)), ()) if bottom == low:
                        return inner
        return None

    def _defining(self, operand: Operand) -> Let | None:
        return self._lets.get(operand.name) if isinstance(operand, Var) else None

    def _vector(self, operand: Operand) -> Reg:
        let = self._defining(operand)
        if let is not None and let.op == "bitcast":
            return self._vector(let.args[0])
        return self._values.vector(operand)

    # --- instructions ----------------------------------------------------------------------------

    def _emit(self, kind: str, text: str, *operands: Operand) -> Reg:
        return self._new(kind, text, *map(self._vector, operands))

    def _new(self, kind: str, text: str, *reads: Reg) -> Reg:
        reg = self._writer.new("v")
        self._writer.emit(Op(kind, text, (reg,), (), reads))
        return reg

    def _update(self, kind: str, text: str, total: Operand, *reads: Reg) -> Reg:
        reg = self._values.updated(total)
        self._writer.emit(Op(kind, text, (), (reg,), reads))
        return reg


def _types(*operands: Operand) -> tuple[VType, ...]:
    return tuple(operand.type for operand in operands)
