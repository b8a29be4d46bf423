"""Translates a loop nest of kernel IR to instructions on virtual registers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Union

from ellc.codegen.kir.assembly import Frame
from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.in_order.affine import Affine, Level, Writer
from ellc.codegen.kir.in_order.byte_lets import ELEMENTS, VECTORS, ByteLets, HalfLoad, Pair, joined
from ellc.codegen.kir.in_order.byte_loop import ByteLoopWriter, byte_loop
from ellc.codegen.kir.in_order.carried import VECTOR_BYTES, advance, coalesced, split, stream_of
from ellc.codegen.kir.in_order.code import Access, Code, Loop, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.index_lets import IndexLets
from ellc.codegen.kir.in_order.integers import IntegerLets, is_integers, pattern, takes, zero
from ellc.codegen.kir.in_order.literals import Lane, LiteralLanes, float_bits
from ellc.codegen.kir.in_order.placing import LEAST_PRODUCTS
from ellc.codegen.kir.in_order.product_loop import product_loop
from ellc.codegen.kir.in_order.steady import LINE_BYTES, SteadyLoop, steady
from ellc.codegen.kir.ir import (
    For,
    Imm,
    Let,
    Load,
    Operand,
    Param,
    Prefetch,
    Stmt,
    Store,
    Var,
    walk,
)
from ellc.codegen.kir.types import INDEX, Elem, VType

F32X4 = VType(Elem.F32, 4)
_VECTOR_OPS = ("add", "sub", "mul", "max", "min")


Value = Union[Affine, Reg, Lane, Pair, HalfLoad, Let]  # noqa: UP007
"""A vector that only has a meaning together with what reads it is the statement that defines it."""


class Lowering:
    """Translates the statements of one nest. Raises `Unsupported` if it is outside the subset.

    With `in_parts`, all vectors are loaded in parts, also those beside few products.
    """

    def __init__(
        self,
        loop: For,
        outs: Sequence[Var],
        frame: Frame,
        aliases: Mapping[str, str],
        encoding: Encoding,
        *,
        places_loads: bool = True,
        product_loops: bool = True,
        in_parts: bool = False,
    ) -> None:
        self._encoding, self._writer = encoding, Writer(encoding)
        self._places_loads, self._product_loops = places_loads, places_loads and product_loops
        self._frame, self._aliases = frame, aliases
        self._uses = Counter(v.name for s in walk((loop,)) for v in registers_read(s))
        self._uses.update(v.name for v in outs)
        self._joined = joined(loop)
        self._values: dict[str, Value] = {}
        self._depths: dict[str, int] = {}
        self._pointers: dict[str, Affine] = {}
        self._shared: dict[tuple[int, object], Reg] = {}
        self._literals = LiteralLanes(self._writer)
        self._indices = IndexLets(self._writer, self.affine)
        self._bytes = ByteLets(self._writer, self)
        self._integers = IntegerLets(self._writer, self, loop, in_parts=places_loads)
        self._loads_in_parts = in_parts
        self._copyable: set[Reg] = set()
        self._stored: set[object] = set()
        self._labels = 0
        self._carried: set[Reg] = set()
        self._streams: dict[Reg, str] = {}
        self._nest = loop
        self._dense = False
        self._start(loop)
        self._statement(loop)
        for out in outs:
            self._give(out)

    @property
    def nodes(self) -> list[Code | Loop]:
        """The whole function."""
        return self._writer.levels[0].nodes

    # --- the interface ---------------------------------------------------------------------------

    def _start(self, loop: For) -> None:
        """Load the inputs from the frame."""
        types = {v.name: v.type for s in walk((loop,)) for v in registers_read(s)}
        for name, offset in self._frame.params.items():
            self._pointers[name] = self._word(offset)
        for name, offset in self._frame.inputs.items():
            if types[name] == INDEX:
                self.define(name, self._word(offset))
            elif self._fills_register(types[name]):
                reg = self._writer.new("v")
                self._emit(self._encoding.vector_load(reg, None, offset))
                self.define(name, reg)
            else:
                raise Unsupported(f"an input of type {types[name]}")

    def _fills_register(self, type_: VType) -> bool:
        return type_ in VECTORS or (self._encoding.has_integers and is_integers(type_))

    def _word(self, offset: int) -> Affine:
        reg = self._writer.new("x")
        self._emit(self._encoding.word_slot(reg, offset, stores=False))
        return self._writer.atom(reg)

    def _give(self, out: Var) -> None:
        """Store a result in the frame."""
        if not self._fills_register(out.type):
            raise Unsupported(f"a result of type {out.type}")
        at = self._frame.results[out.name]
        self._emit(self._encoding.vector_store(self.vector(out), None, at))

    # --- statements ------------------------------------------------------------------------------

    def _statement(self, statement: Stmt) -> None:
        match statement:
            case Let(result, _, _, _) if result.type == INDEX:
                self.define(result.name, self._indices.value(statement))
            case Let():
                self.vector_let(statement)
            case Load(result, param, index, offset, _) if result.type in VECTORS:
                self.define(result.name, self._load(param, index, offset))
            case Load(result, param, index, offset, _) if result.name in self._joined:
                self.define(result.name, HalfLoad(param, index, offset))
            case Store(value, param, index, offset, _) if value.type in VECTORS:
                self._store(self.vector(value), param, index, offset)
            case Load() if self._encoding.has_integers:
                self.define(statement.result.name, self._integers.load(statement))
            case Store() if self._encoding.has_integers:
                self._integers.store(statement)
                self._forget_loads()
            case Prefetch(param, index, offset):
                self._prefetch(param, index, offset)
            case For():
                self._for(statement)
            case _:
                raise Unsupported(type(statement).__name__)

    def _for(self, loop: For) -> None:
        if not all(c.type == INDEX or self._fills_register(c.type) for c in loop.carried):
            raise Unsupported("a carried value that is neither vector nor index")
        cells = self._cells(loop)
        self._forget_all()
        product = product_loop(loop) if self._product_loops else None
        if product is not None and self._encoding.loads_halves_apart:
            product = product.by_vector()
        found = steady(product, len(cells), self._encoding) if product is not None else None
        bytes_ = byte_loop(loop) if self._product_loops and self._encoding.has_integers else None
        if bytes_ is not None:
            ByteLoopWriter(self._writer, self._label(), bytes_, cells, self).write()
        elif product is not None and found is not None:
            SteadyLoop(self._writer, self._label(), loop, product, found, cells, self).write()
        else:
            self._plain_loop(loop, cells)
        for result, cell in zip(loop.results, cells, strict=True):
            self.define(result.name, self._in_cell(cell))
        self._forget_all()

    def _forget_all(self) -> None:
        """A loop begins or ends."""
        self._shared.clear()
        self._literals.forget()
        self._integers.forget()

    def _plain_loop(self, loop: For, cells: Sequence[Reg]) -> None:
        writer = self._writer
        start, stop = self.affine(loop.start), self.affine(loop.stop)
        index = writer.fresh_index(start)
        guard: tuple[Op, ...] = ()
        label = self._label()
        trips = 8
        if start.terms or stop.terms:
            guard = (self._compared(index, stop), self._encoding.branch("ge", f".Ldone{label}"))
        else:
            trips = len(range(start.constant, stop.constant, loop.step))
            if not trips:
                raise Unsupported("a loop without trips")
        compared = self._compared(index, stop)
        writer.levels.append(Level())
        self.define(loop.index.name, writer.atom(index))
        for carried, cell in zip(loop.carried, cells, strict=True):
            self.define(carried.name, self._in_cell(cell))
        before = self._carried, self._dense
        self._carried, self._dense = set(cells), self._is_dense(loop)
        for statement in loop.body:
            self._statement(statement)
        self._yield(loop, cells)
        self._carried, self._dense = before
        step = self._encoding.immediate(loop.step)
        if not step:
            raise Unsupported("a loop with a large step")
        self._emit(Op("integer", f"add {{0}}, {{0}}, {step}", (), (index,)))
        body = writer.levels.pop().nodes
        streams = tuple(self._streams.get(cell, "") for cell in cells)
        latch = (compared, self._encoding.branch("lt", f".Lloop{label}"))
        writer.levels[-1].nodes += [
            Loop(label, guard, body, latch, tuple(cells), streams, index, trips),
            Code(),
        ]

    def _is_dense(self, loop: For) -> bool:
        """Whether a loop has enough multiply-adds to hide loads in parts."""
        if not (self._encoding.offsets_are_rare and self._places_loads):
            return False
        products = sum(isinstance(s, Let) and s.op == "mul_add" for s in loop.body)
        return products >= LEAST_PRODUCTS

    def _compared(self, index: Reg, stop: Affine) -> Op:
        number = "" if stop.terms else self._encoding.immediate(stop.constant)
        if number:
            return Op("integer", f"cmp {{0}}, {number}", (), (), (index,))
        return Op("integer", "cmp {0}, {1}", (), (), (index, self._writer.index(stop)))

    def _label(self) -> str:
        self._labels += 1
        return str(self._labels)

    def _fetch_for_store(self, pointer: Reg, displacement: int, access: Access) -> None:
        """Fetch a line behind a loop of products before its results are stored.

        The products of its last trip take long enough for lines to come.
        """
        line = (access.alias, access.place, access.start // LINE_BYTES)
        ops = self._writer.levels[-1].code.ops
        if line in self._stored or sum(op.kind == "multiply_add" for op in ops) < LEAST_PRODUCTS:
            return
        self._stored.add(line)
        if displacement >= 0:
            for op in self._encoding.prefetch(pointer, displacement // 8 * 8, stores=True):
                self._emit(op)

    def _forget_loads(self) -> None:
        """After a store, loads are not shared; literals are."""
        self._shared = {k: reg for k, reg in self._shared.items() if isinstance(k[1], Imm)}

    # --- values ----------------------------------------------------------------------------------

    def define(self, name: str, value: Value) -> None:
        """Define a value."""
        self._values[name] = value
        self._depths[name] = self._writer.depth

    def _emit(self, op: Op) -> None:
        self._writer.emit(op)
        if self._copyable and not self._copyable.isdisjoint(op.defined):
            self._shared = {k: r for k, r in self._shared.items() if r not in op.defined}

    def index_let(self, let: Let) -> None:
        """Define the result of a statement on indices."""
        self.define(let.result.name, self._indices.value(let))

    def affine(self, operand: Operand) -> Affine:
        """An index as a sum."""
        if isinstance(operand, Imm):
            return Affine((), int(operand.value))
        value = self._values[operand.name]
        assert isinstance(value, Affine)
        return value

    def dies(self, operand: Operand, readers: int = 1) -> Reg | None:
        """The register of an operand that the present statement is the last to read."""
        if not isinstance(operand, Var) or self._uses[operand.name] != readers:
            return None
        value = self._values[operand.name]
        if self._depths[operand.name] != self._writer.depth or not isinstance(value, Reg):
            return None
        return None if value in self._integers.shared else value

    def vector(self, operand: Operand) -> Reg:
        """A register that contains a vector; nothing may write it."""
        if isinstance(operand, Imm):
            key = (self._writer.depth, operand)
            if key not in self._shared:
                self._shared[key] = self._literal(operand, self._writer.new("v"))
            return self._shared[key]
        value = self._values[operand.name]
        if isinstance(value, Lane):
            reg = self._writer.new("v")
            self._emit(self._encoding.lane_splat(reg, value.reg, value.lane))
            return reg
        if not isinstance(value, Reg):
            raise Unsupported("a vector that is in no register")
        return value

    def hold_places(self, of: Iterable[int]) -> None:
        """See `IntegerLets.hold_places`."""
        self._integers.hold_places(of)

    def _literal(self, literal: Imm, reg: Reg) -> Reg:
        is_float = literal.type == F32X4
        bits = float_bits(literal.value) if is_float else pattern(literal)
        if not bits:
            self._emit(self._encoding.zero(reg) if literal.type in VECTORS else zero(reg))
            return reg
        if is_float and (number := self._encoding.number(reg, literal.value)):
            self._emit(number)
            return reg
        word = self._writer.index(Affine((), bits))
        self._emit(self._encoding.word_splat(reg, word))
        return reg

    def _copied(self, operand: Operand, to: Reg) -> None:
        if isinstance(operand, Imm):
            self._literal(operand, to)
            return
        self._move(self.vector(operand), to)

    def _cells(self, loop: For) -> list[Reg]:
        """The registers of a loop's carried values, which contain the initial values."""
        cells = list[Reg]()
        for init in loop.inits:
            if init.type == INDEX:
                cells.append(self._index_cell(loop, len(cells)))
                continue
            cells.append(self.updated(init))
        return cells

    def _index_cell(self, loop: For, number: int) -> Reg:
        """The register of a carried index: an address, if it only serves for addresses."""
        init = self.affine(loop.inits[number])
        param = stream_of(self._nest, loop, number) if self._encoding.offsets_are_rare else None
        if param is None:
            return self._writer.fresh_index(init)
        cell = self._writer.fresh_index(self.byte_address(param, loop.inits[number], 0))
        self._streams[cell] = param.name
        return cell

    def _in_cell(self, cell: Reg) -> Value:
        """A carried value, which is in a register that was just written."""
        return cell if cell.bank == "v" else self._writer.atom(cell)

    def _yield(self, loop: For, cells: Sequence[Reg]) -> None:
        """Move the yielded values to the registers of the carried ones."""
        moves = []
        for value, cell in zip(loop.yields, cells, strict=True):
            if value.type == INDEX:
                size = Elem.F32.bytes if cell in self._streams else 1
                self._emit(advance(self._writer, cell, self.affine(value), size))
            elif isinstance(value, Imm) or self._values[value.name] != cell:
                moves.append((value, cell))
        if self._dense:
            moves = [move for move in moves if not self._coalesced(loop, *move)]
        kept, targets = dict[int, Reg](), {cell for _, cell in moves}
        for number, (value, _) in enumerate(moves):
            if self._source_of(value) in targets:
                kept[number] = self._writer.new("v")
                self._copied(value, kept[number])
        for number, (value, cell) in enumerate(moves):
            if number in kept:
                self._move(kept[number], cell)
            else:
                self._copied(value, cell)

    def _coalesced(self, loop: For, value: Operand, cell: Reg) -> bool:
        """Let a yielded value be computed in the register of the carried one, if this is free."""
        reg, level = self._source_of(value), self._writer.levels[-1]
        carried = loop.carried[loop.yields.index(value)]
        if reg is None or reg in self._carried or len(level.nodes) > 1:
            return False
        if carried in loop.yields or loop.yields.count(value) > 1:
            return False
        together = coalesced(level.code.ops, reg, cell)
        level.code.ops = together or level.code.ops
        return bool(together)

    def _source_of(self, operand: Operand) -> Reg | None:
        """The register from which a vector comes; None for a literal."""
        value = self._values[operand.name] if isinstance(operand, Var) else None
        if isinstance(value, Lane):
            return value.reg
        return value if isinstance(value, Reg) else None

    def _move(self, source: Reg, to: Reg) -> None:
        self._emit(self._encoding.vector_move(to, source))

    def updated(self, operand: Operand) -> Reg:
        """A register that contains a vector, and may be written."""
        dying = self.dies(operand)
        if dying is not None:
            return dying
        copy = self._writer.new("v")
        self._copied(operand, copy)
        return copy

    def vector_let(self, let: Let) -> None:
        """Translate an operation on vectors."""
        self.define(let.result.name, self._vector_let(let))

    # --- instructions ----------------------------------------------------------------------------

    def _vector_let(self, let: Let) -> Value:
        if self._encoding.has_integers and (takes(let) or self._integers.joins_narrowed(let)):
            return self._integers.let(let)
        if let.result.type != F32X4:
            return self._bytes.value(let)
        match let.op, let.args, let.attrs:
            case "splat_lane", (Var() as vector,), (lane, 4) if let.result.type == F32X4:
                return Lane(self.vector(vector), lane)
            case "mul_add", (a, b, total), () if let.result.type == F32X4:
                return self._multiply_add(a, b, total)
            case "mul", (Var() as a, Imm() as b) | (Imm() as b, Var() as a), () if self._lane_of(b):
                return self._scaled(a, b)
            case op, (a, b), () if op in _VECTOR_OPS and let.result.type == F32X4:
                reads = (self.vector(a), self.vector(b))
                out = self.place(a, b)
                self._emit(self._encoding.arithmetic(op, out, *reads))
                return out
        raise Unsupported(f"{let.op} of {let.result.type}")

    def place(self, *operands: Operand) -> Reg:
        """The register for a result: that of a dying operand, first of a carried value."""
        free = [reg for reg in map(self.dies, operands) if reg is not None]
        carried = [reg for reg in free if reg in self._carried]
        return (*carried, *free, None)[0] or self._writer.new("v")

    def _multiply_add(self, a: Operand, b: Operand, total: Operand) -> Reg:
        out = self.updated(total)
        if self._lane_of(a) is not None:
            a, b = b, a
        lane = self._lane_of(b)
        vector = self.vector(a)
        other = lane.reg if lane else self.vector(b)
        self._emit(self._encoding.product(out, vector, other, lane.lane if lane else None))
        return out

    def _scaled(self, vector: Var, literal: Imm) -> Reg:
        """A vector times a literal, which is a lane."""
        factor, reads, out = self._lane_of(literal), self.vector(vector), self.place(vector)
        assert factor is not None
        self._emit(self._encoding.product_by_lane(out, reads, factor.reg, factor.lane))
        return out

    def _lane_of(self, operand: Operand) -> Lane | None:
        if isinstance(operand, Imm):
            shared = self._encoding.literals_by_lane and operand.type == F32X4 and operand.value
            return self._literals.place(operand) if shared else None
        value = self._values[operand.name]
        return value if isinstance(value, Lane) else None

    def _load(self, param: Param, index: Operand, offset: int) -> Reg:
        pointer, (displacement, access) = self.address(param, index, offset, False)
        reg, encoding = self._writer.new("v"), self._encoding
        key = (self._writer.depth, (access.alias, access.place, access.start))
        if key in self._shared:
            self._move(self._shared[key], reg)
            return reg
        beside = encoding.loads_beside or param.elem is not Elem.F32
        if self._dense or self._loads_in_parts or (beside and self._places_loads):
            through = self._writer.new(encoding.halves)
            for op in encoding.split_load(reg, through, pointer, displacement, access):
                self._emit(op)
        else:
            self._emit(encoding.vector_load(reg, pointer, displacement, access))
        if not self._dense:
            self._shared[key] = reg
            self._copyable.add(reg)
        return reg

    def _store(self, register: Reg, param: Param, index: Operand, offset: int) -> None:
        if self._dense:
            address = self.byte_address(param, index, offset)
            access = Access(
                self.alias(param), Affine(address.terms), address.constant, VECTOR_BYTES, True
            )
            pointer = self._writer.index(address)
            self._emit(self._encoding.whole_store(register, pointer, access))
        else:
            pointer, (displacement, access) = self.address(param, index, offset, True)
            self._fetch_for_store(pointer, displacement, access)
            self._emit(self._encoding.vector_store(register, pointer, displacement, access))
        self._forget_loads()

    def _prefetch(self, param: Param, index: Operand, offset: int) -> None:
        pointer, (displacement, _) = self.address(param, index, offset, False)
        for op in self._encoding.prefetch(pointer, displacement):
            self._emit(op)

    def byte_address(self, param: Param, index: Operand, offset: int) -> Affine:
        """The address of an element."""
        if param.elem not in ELEMENTS and not self._encoding.has_integers:
            raise Unsupported(f"elements of type {param.elem}")
        bytes_ = self.affine(index).times(param.elem.bytes)
        if any(atom.reg in self._streams for atom, _ in bytes_.terms):
            ((atom, _),) = bytes_.terms
            far = bytes_.constant + offset * param.elem.bytes
            return Affine(((atom, 1),), far)
        return self._pointers[param.name].plus(bytes_).plus(Affine((), offset * param.elem.bytes))

    def alias(self, param: Param) -> str:
        """The name of the buffers that may be the same as a parameter's."""
        return self._aliases.get(param.name, param.name)

    def value_of(self, operand: Var) -> object:
        """What is known of a value."""
        return self._values[operand.name]

    def address(
        self, param: Param, index: Operand, offset: int, stores: bool, size: int = VECTOR_BYTES
    ) -> tuple[Reg, tuple[int, Access]]:
        """A pointer, and a displacement with the description of the access."""
        address = self.byte_address(param, index, offset)
        pointer, displacement = self._split(address)
        place = Affine(address.terms)
        access = Access(self.alias(param), place, address.constant, size, stores)
        return self._writer.index(pointer), (displacement, access)

    def _split(self, address: Affine) -> tuple[Affine, int]:
        if not self._dense:
            return split(address, self._encoding)
        displacement = address.constant % self._encoding.split_reach // VECTOR_BYTES
        displacement *= VECTOR_BYTES
        return Affine(address.terms, address.constant - displacement), displacement
