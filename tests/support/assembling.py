"""A simple scheduler that translates blocks and loops to assembly functions.

It exists to test the interface for schedulers. It translates one instruction after the other
without reordering them, and supports few operations. A block that needs another operation, or more
registers than the machine has, is left unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from assembling_machines import MACHINES, Machine, Unknown

from ellc.codegen.kir.assembly import frame
from ellc.codegen.kir.dataflow import inputs, params_accessed, registers_defined, registers_read
from ellc.codegen.kir.ir import (
    Assembled,
    AssemblyFunction,
    For,
    Imm,
    Let,
    Load,
    Operand,
    Prefetch,
    Stmt,
    Store,
    Var,
    walk,
)
from ellc.codegen.kir.straight_line import Block
from ellc.codegen.kir.types import INDEX, VType
from ellc.codegen.machine.target import Target


def assemble_blocks(block: Block, target: Target) -> Sequence[int] | Assembled:
    """The scheduler: it assembles the whole loop if it can, else only the block, else nothing."""
    try:
        if block.loop is not None:
            return block.loop_assembled(_Function(target, (block.loop,), block.loop_out).written())
    except Unknown:
        pass
    try:
        return block.assembled(_Function(target, block.statements, block.live_out).written())
    except Unknown:
        return range(len(block.statements))


class _Function:
    """Writes an assembly function; a register is reused after the last reader of its value."""

    def __init__(self, target: Target, source: tuple[Stmt, ...], results: tuple[Var, ...]) -> None:
        assert target.convention is not None
        self._m: Machine = MACHINES[target.arch]
        self._convention = target.convention
        self._source, self._results = source, results
        for value in (*inputs(source), *(v for s in walk(source) for v in registers_defined(s))):
            self._m.check(value.type)
        self._frame = frame(source, results, target.word_bits)
        self._free = {True: [*self._m.words], False: [*self._m.vectors]}
        self._registers: dict[str, str] = {}
        self._left = Counter(v.name for s in walk(source) for v in registers_read(s))
        self._left.update(v.name for v in results)
        self._used: set[str] = set()
        self._lines: list[str] = []

    def written(self) -> AssemblyFunction:
        """The assembly function; raises `Unknown` if a statement is not supported."""
        m, pointer = self._m, self._convention.argument
        for param in params_accessed(self._source):
            register = self._new(param.name, INDEX)
            self._lines += m.load_word(register, pointer, self._frame.params[param.name])
        for value in inputs(self._source):
            register, offset = self._new(value.name, value.type), self._frame.inputs[value.name]
            if value.type == INDEX:
                self._lines += m.load_word(register, pointer, offset)
            else:
                self._lines += m.load(register, value.type, pointer, offset)
        self._body(self._source)
        for result in self._results:
            offset = self._frame.results[result.name]
            register = self._registers[result.name]
            if result.type == INDEX:
                self._lines += m.store_word(register, pointer, offset)
            else:
                self._lines += m.store(register, result.type, pointer, offset)
        saves = {half for r in self._used for half in m.halves(r)} & {*self._convention.preserved}
        return AssemblyFunction((*self._lines, *m.at_end), tuple(sorted(saves)))

    def _body(self, body: Sequence[Stmt]) -> None:
        for statement in body:
            match statement:
                case Let():
                    self._let(statement)
                case Load(result, param, index, offset, _):
                    base, place = self._address(param.name, index, offset * param.elem.bytes)
                    register = self._new(result.name, result.type)
                    self._lines += self._m.load(register, result.type, base, place)
                case Store(value, param, index, offset, _):
                    register = self._operand(value)
                    base, place = self._address(param.name, index, offset * param.elem.bytes)
                    self._lines += self._m.store(register, value.type, base, place)
                case For():
                    self._for(statement)
                case Prefetch():
                    pass
                case _:
                    raise Unknown
            self._release(registers_read(statement))

    def _let(self, let: Let) -> None:
        operands = [self._operand(a) for a in let.args]
        result = self._new(let.result.name, let.result.type)
        self._lines += self._m.operation(let, result, operands)

    def _for(self, loop: For) -> None:
        if any(isinstance(s, For) for s in loop.body):
            raise Unknown
        m = self._m
        index = self._new(loop.index.name, INDEX)
        self._lines += m.move(index, self._operand(loop.start), INDEX)
        stop = self._operand(loop.stop)
        for carried, first in zip(loop.carried, loop.inits, strict=True):
            register = self._new(carried.name, carried.type)
            self._lines += m.move(register, self._operand(first), carried.type)
        # Values from outside the loop, and those that the body carries, must keep their registers.
        outside = {*self._registers}
        self._left.update(dict.fromkeys(outside, 1))
        self._lines += [".Lhead:", *m.leave_unless_less(index, stop, ".Ldone")]
        self._body(loop.body)
        kept = []
        for carried, after in zip(loop.carried, loop.yields, strict=True):
            kept.append(self._new(f"{carried.name}.next", carried.type))
            self._lines += m.move(kept[-1], self._operand(after), carried.type)
        for carried, register in zip(loop.carried, kept, strict=True):
            self._lines += m.move(self._registers[carried.name], register, carried.type)
        self._lines += [*m.add_constant(index, loop.step), *m.jump(".Lhead"), ".Ldone:"]
        for carried, result in zip(loop.carried, loop.results, strict=True):
            self._registers[result.name] = self._registers[carried.name]

    # --- registers -------------------------------------------------------------------------------

    def _new(self, name: str, type_: VType) -> str:
        free = self._free[type_ == INDEX]
        if not free:
            raise Unknown
        register = self._registers[name] = free.pop(0)
        self._used.add(register)
        return register

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, Var):
            return self._registers[operand.name]
        self._m.check(operand.type)
        # This register is never released.
        register = self._new(f".{len(self._registers)}", operand.type)
        self._lines += self._m.literal(register, operand)
        return register

    def _address(self, param: str, index: Operand, offset: int) -> tuple[str, int]:
        base = self._registers[param]
        if isinstance(index, Imm) and not index.value and 0 <= offset < 256:
            return base, offset
        self._lines += self._m.address(base, self._operand(index), offset)
        return self._m.scratch, 0

    def _release(self, values: Sequence[Var]) -> None:
        for value in values:
            self._left[value.name] -= 1
            if not self._left[value.name]:
                register = self._registers[value.name]
                self._free[value.type == INDEX].append(register)


def assembled_in(body: tuple[Stmt, ...]) -> Iterator[Assembled]:
    """All calls of assembly functions in a body."""
    return (s for s in walk(body) if isinstance(s, Assembled))
