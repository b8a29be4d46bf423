"""Interprets a kernel with numpy, one operation at a time. Tests compare the emitters with this."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ellc.codegen.kir.ir import (
    Assembled,
    For,
    If,
    Imm,
    Kernel,
    Let,
    Load,
    Operand,
    Param,
    Prefetch,
    Stmt,
    Store,
    Var,
)
from ellc.codegen.kir.operations import OPERATIONS
from ellc.codegen.kir.types import VType
from ellc.ir.errors import InternalError
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to element `first` of an array. Earlier elements have negative indices."""

    array: Array
    first: int = 0


_Memory = tuple[Array, int, int]
"""(array, number of its elements before the pointer, number of its other elements)."""
_Registers = list[Array]
_Memories = list[_Memory]
_Function = Callable[[_Registers, _Memories], None]
_UNSET = np.empty(0)
"""The content of a register that has no value yet."""


def run(kernel: Kernel, buffers: Mapping[str, Array | Pointer], begin: int, end: int) -> None:
    """Run the trips [begin, end) of the outermost loop on 1-D arrays, one per parameter.

    An array has the parameter's element type (`Elem.numpy`). Arrays of writable parameters are
    changed in place. Raises `InternalError` for a missing or unsuitable array, for an access
    outside its array, for an access that is misaligned relative to the pointer or that assumes more
    alignment than its parameter has, for a store to a parameter that is not writable, for a value
    that is read before it is defined, and for an operation whose result does not have its type.
    """
    Program(kernel).run(buffers, begin, end)


class Program:
    """A kernel, prepared to run several times: a function per statement, a register per value.

    Raises `InternalError` if a statement reads a value that no earlier statement defines.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._registers: dict[str, int] = {}
        # The registers of literals, by the `id` of the literal: comparing literals is slower.
        self._literals: dict[int, int] = {}
        self._start: list[Array] = []
        self._memories = {param.name: number for number, param in enumerate(kernel.params)}
        self._begin, self._end = self._new(kernel.begin), self._new(kernel.end)
        self._body = self._functions(kernel.body)

    def run(self, buffers: Mapping[str, Array | Pointer], begin: int, end: int) -> None:
        """Like the function `run`."""
        memories = [self._memory(param, buffers.get(param.name)) for param in self._kernel.params]
        registers = self._start.copy()
        registers[self._begin] = np.array([begin], np.int64)
        registers[self._end] = np.array([end], np.int64)
        # numpy need not warn: the results for overflow and invalid operands are defined.
        with np.errstate(all="ignore"):
            for function in self._body:
                function(registers, memories)

    def _memory(self, param: Param, given: Array | Pointer | None) -> _Memory:
        pointer = Pointer(given) if isinstance(given, np.ndarray) else given
        if pointer is None or pointer.array.ndim != 1 or pointer.array.dtype != param.elem.numpy:
            raise self._error(f": {param.name} must be a 1-D array of {param.elem.value}")
        if param.writable and not pointer.array.flags.writeable:
            raise self._error(f": the array for {param.name} is read-only")
        return pointer.array, pointer.first, len(pointer.array) - pointer.first

    def _functions(self, body: tuple[Stmt, ...]) -> tuple[_Function, ...]:
        # A prefetch changes no value, and its address may be outside the array.
        return tuple(self._function(s) for s in body if not isinstance(s, Prefetch))

    def _function(self, statement: Stmt) -> _Function:
        match statement:
            case Let():
                return self._let(statement)
            case Load():
                return self._load(statement)
            case Store():
                return self._store(statement)
            case For():
                return self._for(statement)
            case If():
                return self._if(statement)
            case Assembled():
                return self._assembled(statement)
            case Prefetch():
                raise AssertionError("left out by the caller")
            case _:
                assert_never(statement)

    def _let(self, let: Let) -> _Function:
        meaning, attrs = OPERATIONS[let.op].meaning, let.attrs
        args = tuple(self._register(arg) for arg in let.args)
        result, type_ = self._new(let.result), let.result.type
        dtype, shape = type_.elem.numpy, (type_.lanes,)

        def check(value: Array) -> None:
            if value.dtype != dtype or value.shape != shape:
                gave = f"{value.dtype}{list(value.shape)}"
                raise self._error(f" {let.op} gave {gave} for {let.result.name}: {type_}")

        # Each number of operands has its own function, as calls of `meaning` take most of the time.
        def unary(registers: _Registers, memories: _Memories) -> None:
            registers[result] = value = meaning(registers[first], *attrs)
            if value.dtype is not dtype or value.shape != shape:
                check(value)

        def binary(registers: _Registers, memories: _Memories) -> None:
            registers[result] = value = meaning(registers[first], registers[second])
            if value.dtype is not dtype or value.shape != shape:
                check(value)

        def ternary(registers: _Registers, memories: _Memories) -> None:
            registers[result] = value = meaning(
                registers[first], registers[second], registers[third]
            )
            if value.dtype is not dtype or value.shape != shape:
                check(value)

        def general(registers: _Registers, memories: _Memories) -> None:
            registers[result] = value = meaning(*[registers[arg] for arg in args], *attrs)
            check(value)

        match args, attrs:
            case (first,), _:
                return unary
            case (first, second), ():
                return binary
            case (first, second, third), ():
                return ternary
            case _:
                return general

    def _load(self, load: Load) -> _Function:
        elements = self._elements(
            load.param, load.index, load.offset, load.result.type, load.align_bytes
        )
        memory, result = self._memories[load.param.name], self._new(load.result)

        def function(registers: _Registers, memories: _Memories) -> None:
            array = memories[memory]
            registers[result] = array[0][elements(registers, array)].copy()

        return function

    def _store(self, store: Store) -> _Function:
        param = store.param
        elements = self._elements(
            param, store.index, store.offset, store.value.type, store.align_bytes
        )
        memory, value = self._memories[param.name], self._register(store.value)

        def function(registers: _Registers, memories: _Memories) -> None:
            if not param.writable:
                raise self._error(f" writes to {param.name}, which is not writable")
            array = memories[memory]
            array[0][elements(registers, array)] = registers[value]

        return function

    def _if(self, statement: If) -> _Function:
        condition = self._register(statement.condition)
        body = self._functions(statement.body)

        def function(registers: _Registers, memories: _Memories) -> None:
            if registers[condition][0]:
                for inner in body:
                    inner(registers, memories)

        return function

    def _assembled(self, statement: Assembled) -> _Function:
        source = self._functions(statement.source)

        def function(registers: _Registers, memories: _Memories) -> None:
            for inner in source:
                inner(registers, memories)

        return function

    def _for(self, loop: For) -> _Function:
        start, stop = self._register(loop.start), self._register(loop.stop)
        inits = [self._register(v) for v in loop.inits]
        index, carried = self._new(loop.index), [self._new(v) for v in loop.carried]
        body = self._functions(loop.body)
        yields = [self._register(v) for v in loop.yields]
        results = [self._new(v) for v in loop.results]

        def function(registers: _Registers, memories: _Memories) -> None:
            values = [registers[v] for v in inits]
            for trip in range(registers[start].item(), registers[stop].item(), loop.step):
                registers[index] = np.array([trip], np.int64)
                for to, value in zip(carried, values, strict=True):
                    registers[to] = value
                for inner in body:
                    inner(registers, memories)
                values = [registers[v] for v in yields]
            for to, value in zip(results, values, strict=True):
                registers[to] = value

        return function

    def _elements(
        self, param: Param, index: Operand, offset: int, type_: VType, align: int
    ) -> Callable[[_Registers, _Memory], slice]:
        """A function that returns the elements of an access after checking bounds and alignment."""
        register, lanes = self._register(index), type_.lanes
        # The pointer is aligned to `param.align_bytes`. An access must not assume more than that.
        aligned = align <= param.align_bytes
        multiple = align // math.gcd(align, param.elem.bytes)

        def elements(registers: _Registers, memory: _Memory) -> slice:
            _, before, after = memory
            first = registers[register].item() + offset
            if not -before <= first <= first + lanes <= after:
                extent = f"{after} elements" + (f" and {before} before them" if before else "")
                last = first + lanes - 1
                raise self._error(f" accesses {param.name}[{first}..{last}], which has {extent}")
            if not aligned or first % multiple:
                raise self._error(f" accesses {param.name}[{first}], not aligned to {align} bytes")
            return slice(before + first, before + first + lanes)

        return elements

    def _new(self, variable: Var) -> int:
        """The register of a value that a statement defines."""
        number = self._registers.get(variable.name)
        if number is None:
            number = self._registers[variable.name] = len(self._start)
            self._start.append(_UNSET)
        return number

    def _register(self, operand: Operand) -> int:
        """The register of a value that a statement reads."""
        if isinstance(operand, Imm):
            return self._literal(operand)
        try:
            return self._registers[operand.name]
        except KeyError:
            raise self._error(f" reads {operand.name} before it has a value") from None

    def _literal(self, imm: Imm) -> int:
        number = self._literals.get(id(imm))
        if number is None:
            number = self._literals[id(imm)] = len(self._start)
            self._start.append(literal(imm))
            self._start[number].flags.writeable = False
        return number

    def _error(self, what: str) -> InternalError:
        return InternalError(f"kernel {self._kernel.name}{what}")


def literal(imm: Imm) -> Array:
    """The array of shape (lanes,) for a literal. Integers wrap to their width."""
    to = imm.type.elem.numpy
    if to.kind in "iu":
        bits = to.itemsize * 8
        one = np.array([int(imm.value) & ((1 << bits) - 1)], f"u{to.itemsize}").view(to)
    else:
        with np.errstate(over="ignore"):
            one = np.array([imm.value]).astype(to)
    return np.repeat(one, imm.type.lanes)
