"""Counts the issue slots of a kernel without running it.

An operation counts once for each vector register of its widest value. There are exceptions: loads
and long operations such as divisions count several times, and address calculations and the
operations in `_FREE` do not count. This is an estimate for comparing layers, with the same rule for
every kernel. The body of a loop counts once for each trip, or once in all if the bounds are
unknown. The loop's index is assumed to have the middle value of its range, so that conditions that
hold only at the edges of an image are false. Caches are ignored, and so are instructions that LLVM
removes or adds.
"""

from __future__ import annotations

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
    Prefetch,
    Stmt,
    Store,
)
from ellc.codegen.kir.ops import OPS
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target

_FREE = frozenset({"splat_lane", "bitcast", "part", "lane"})
"""Operations that usually become part of the instruction that reads their result."""
_LONG = {"div": 10.0, "rem": 12.0, "sqrt": 10.0}
"""Operations that take several cycles on every core. The cycles are those in the tables for
Cortex-A53 and A72."""


def issue_slots(kernel: Kernel, extent: int, target: Target) -> float:
    """The issue slots of a kernel call whose outermost loop has `extent` trips."""
    counter = _Counter(target)
    counter.known = {kernel.begin.name: 0, kernel.end.name: extent}
    return counter.body(kernel.body)


class _Counter:
    """Counts issue slots; `known` has the values of scalars that are not loaded from memory."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._load = target.core.load_cycles
        self.known: dict[str, int] = {}

    def body(self, body: tuple[Stmt, ...]) -> float:
        return sum(self._statement(statement) for statement in body)

    def _statement(self, statement: Stmt) -> float:
        match statement:
            case Let():
                return self._let(statement)
            case Load(result, _, _, _, _):
                return self._load * self._registers(result.type)
            case Store(value, _, _, _, _):
                return self._registers(value.type)
            case Prefetch():
                return 1.0
            case For():
                return self._for(statement)
            case If(condition, inner):
                return 1.0 if self._value(condition) == 0 else 1.0 + self.body(inner)
            case Assembled(_, source, _):
                return self.body(source)
        assert_never(statement)

    def _for(self, loop: For) -> float:
        start, stop = self._value(loop.start), self._value(loop.stop)
        if start is None or stop is None:
            return 1.0 + self.body(loop.body)
        trips = max(0, -(-(stop - start) // loop.step))
        if not trips:
            return 1.0
        self.known[loop.index.name] = start + trips // 2 * loop.step
        return trips * (1.0 + self.body(loop.body))

    def _let(self, let: Let) -> float:
        type_ = let.result.type
        if type_.lanes == 1 and type_.elem in (Elem.INDEX, Elem.MASK):
            self._evaluate(let)
            return 0.0  # scalar units compute addresses while the vector units work
        if let.op in _FREE:
            return 0.0
        widest = max(map(self._registers, (type_, *(a.type for a in let.args))))
        return _LONG.get(let.op, 1.0) * widest

    def _evaluate(self, let: Let) -> None:
        values = [self._value(a) for a in let.args]
        arrays = [
            np.array([value], a.type.elem.numpy)
            for a, value in zip(let.args, values, strict=True)
            if value is not None
        ]
        if len(arrays) == len(let.args):
            with np.errstate(all="ignore"):
                self.known[let.result.name] = int(OPS[let.op].meaning(*arrays, *let.attrs)[0])

    def _value(self, operand: Operand) -> int | None:
        if isinstance(operand, Imm):
            is_integer = operand.type.elem in (Elem.INDEX, Elem.MASK)
            return int(operand.value) if is_integer else None
        return self.known.get(operand.name)

    def _registers(self, type_: VType) -> float:
        """The number of registers that hold a value; a scalar, a mask or an index needs one."""
        if type_.lanes == 1 or type_.elem in (Elem.MASK, Elem.INDEX):
            return 1.0
        return float(-(-type_.lanes * type_.elem.bytes // self._target.vector_bytes))
