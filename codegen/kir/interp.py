"""Runs a kernel with numpy, one operation at a time; the tests compare every emitter with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ellc.codegen.kir.ir import (
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
)
from ellc.codegen.kir.operations import OPERATIONS
from ellc.ir.errors import InternalError
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to element `first` of an array; elements before it have negative indices."""

    array: Array
    first: int = 0


def run(kernel: Kernel, buffers: Mapping[str, Array | Pointer], begin: int, end: int) -> None:
    """Run iterations `begin` to `end` of the outermost loop on 1-D arrays, one per parameter.

    Arrays have the parameter's element type (`Elem.numpy`); writable ones are changed in place.
    An access outside its array, a misaligned one (relative to the pointer) and a write to a
    parameter that is not writable raise `InternalError`: nothing is clipped or wrapped.
    """
    pointers = {n: b if isinstance(b, Pointer) else Pointer(b) for n, b in buffers.items()}
    _check_buffers(kernel, pointers)
    machine = _Machine(kernel, pointers)
    machine.set(kernel.begin.name, np.array([begin], np.int64))
    machine.set(kernel.end.name, np.array([end], np.int64))
    # Operations define their results for overflow and invalid operands, so numpy need not warn.
    with np.errstate(all="ignore"):
        machine.body(kernel.body)


def _check_buffers(kernel: Kernel, pointers: Mapping[str, Pointer]) -> None:
    for param in kernel.params:
        found = pointers[param.name].array if param.name in pointers else None
        if found is None or found.ndim != 1 or found.dtype != param.elem.numpy:
            raise InternalError(
                f"kernel {kernel.name}: {param.name} must be a 1-D array of {param.elem.value}"
            )
        if param.writable and not found.flags.writeable:
            raise InternalError(f"kernel {kernel.name}: the array for {param.name} is read-only")


class _Machine:
    """The registers of one call: every value is an array of shape (lanes,)."""

    def __init__(self, kernel: Kernel, pointers: Mapping[str, Pointer]) -> None:
        self._kernel = kernel
        self._pointers = pointers
        self._values: dict[str, Array] = {}
        self._literals: dict[int, Array] = {}  # by `id`, since 0.0 == -0.0 are different literals

    def set(self, name: str, value: Array) -> None:
        self._values[name] = value

    def body(self, body: tuple[Stmt, ...]) -> None:
        for statement in body:
            match statement:
                case Let():
                    self._let(statement)
                case Load(result, param, index, offset, align):
                    elements = self._elements(param, index, offset, result.type.lanes, align)
                    self.set(result.name, self._pointers[param.name].array[elements].copy())
                case Store(value, param, index, offset, align):
                    if not param.writable:
                        raise self._error(f"writes to {param.name}, which is not writable")
                    elements = self._elements(param, index, offset, value.type.lanes, align)
                    self._pointers[param.name].array[elements] = self._value(value)
                case For():
                    self._for(statement)
                case If(condition, inner):
                    if self._value(condition)[0]:
                        self.body(inner)
                case Prefetch():
                    pass  # changes no value, and its address may lie outside of the array
                case _:
                    assert_never(statement)

    def _let(self, let: Let) -> None:
        args = [self._value(a) for a in let.args]
        result = np.asarray(OPERATIONS[let.op].meaning(*args, *let.attrs))
        type_ = let.result.type
        if result.dtype != type_.elem.numpy or result.shape != (type_.lanes,):
            raise self._error(
                f"{let.op} gave {result.dtype}{list(result.shape)} for {let.result.name}: {type_}"
            )
        self.set(let.result.name, result)

    def _for(self, loop: For) -> None:
        start, stop = self._scalar(loop.start), self._scalar(loop.stop)
        carried = [self._value(v) for v in loop.inits]
        for index in range(start, stop, loop.step):
            self.set(loop.index.name, np.array([index], np.int64))
            for var, value in zip(loop.carried, carried, strict=True):
                self.set(var.name, value)
            self.body(loop.body)
            carried = [self._value(v) for v in loop.yields]
        for var, value in zip(loop.results, carried, strict=True):
            self.set(var.name, value)

    def _elements(self, param: Param, index: Operand, offset: int, lanes: int, align: int) -> slice:
        """The elements of its array that an access touches; checks bounds and alignment."""
        first = self._scalar(index) + offset
        pointer = self._pointers[param.name]
        before, after = pointer.first, len(pointer.array) - pointer.first
        if not -before <= first <= first + lanes <= after:
            extent = f"{after} elements" + (f" and {before} before them" if before else "")
            raise self._error(
                f"accesses {param.name}[{first}..{first + lanes - 1}], which has {extent}"
            )
        # Only the pointer is known to be aligned, to `align_bytes`: an access cannot rely on more.
        if align > param.align_bytes or first * param.elem.bytes % align:
            raise self._error(f"accesses {param.name}[{first}] as if aligned to {align} bytes")
        return slice(before + first, before + first + lanes)

    def _scalar(self, operand: Operand) -> int:
        return int(self._value(operand)[0])

    def _value(self, operand: Operand) -> Array:
        if isinstance(operand, Imm):
            found = self._literals.get(id(operand))
            if found is None:
                found = self._literals[id(operand)] = literal(operand)
                found.flags.writeable = False
            return found
        try:
            return self._values[operand.name]
        except KeyError:
            raise self._error(f"reads {operand.name} before it has a value") from None

    def _error(self, what: str) -> InternalError:
        return InternalError(f"kernel {self._kernel.name} {what}")


def literal(imm: Imm) -> Array:
    """The array of shape (lanes,) that a literal stands for; integers wrap to their width."""
    to = imm.type.elem.numpy
    if to.kind in "iu":
        bits = to.itemsize * 8
        one = np.array([int(imm.value) & ((1 << bits) - 1)], f"u{to.itemsize}").view(to)
    else:
        with np.errstate(over="ignore"):
            one = np.array([imm.value]).astype(to)
    return np.repeat(one, imm.type.lanes)
