"""The builder of kernels. It appends statements, and folds constant index arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import TypeVar

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
    Var,
)
from ellc.codegen.kir.operations import result_type
from ellc.codegen.kir.ops import elem_code
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.codegen.kir.weaving import woven
from ellc.ir.errors import EllcError

ValueT = TypeVar("ValueT")
SideT = TypeVar("SideT")
MOST_VALUES = 1 << 16
"""A kernel has at most this many values. The length of straight-line code, for instance for all
taps of a window, depends on numbers in a model file. Kernels of real networks have a few thousand
values."""


@dataclass
class OpenLoop:
    """A loop whose body is being written.

    The body uses `index` and `carried`, and calls `carry` at its end. Code after the loop uses
    `results`.
    """

    index: Operand
    carried: tuple[Operand, ...]
    results: tuple[Operand, ...] = ()
    _yields: tuple[Operand, ...] = field(default=())

    def carry(self, values: Sequence[Operand]) -> None:
        """Set the values that `carried` has on the next trip, and `results` after the last one."""
        self._yields = tuple(values)


class KernelBuilder:
    """Builds a kernel by appending statements to the innermost open block.

    Values are `Var` or `Imm`. A Python int stands for an index.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._params: list[Param] = []
        self._blocks: list[list[Stmt]] = [[]]
        self._count = 0
        self._in_place: list[tuple[str, str]] = []
        self._ranges: dict[str, tuple[int, int]] = {}
        # For each `rarely`, by the index of its loop: (largest lane, limit).
        self._rare: dict[str, tuple[Var, Imm]] = {}
        # For several results of `largest`: the largest of them.
        self._joint: dict[tuple[Var, ...], Operand] = {}
        self.begin = Var("begin", INDEX)
        self.end = Var("end", INDEX)
        self.high_products = True
        """Whether an instruction of the target computes `mul_high`. Without one it takes some 15;
        functions that emit code may have a shorter way then."""

    # --- structure ---------------------------------------------------------------------------

    def param(
        self, name: str, elem: Elem, align_bytes: int = 0, *, writable: bool = False
    ) -> Param:
        """Declare a pointer parameter. By default it is aligned to the size of its elements."""
        param = Param(name, elem, align_bytes or elem.bytes, writable)
        self._params.append(param)
        return param

    def may_alias(self, a: Param, b: Param) -> None:
        """Declare that two parameters may point to the same buffer (an operation in place)."""
        self._in_place.append((a.name, b.name))

    def know_range(self, value: Operand, low: int, high: int) -> None:
        """Declare that all valid lanes of an integer value are in low..high.

        Functions that emit code may rely on this (`range_of`).
        """
        if isinstance(value, Var):
            self._ranges[value.name] = (low, high)

    def range_of(self, value: Operand) -> tuple[int, int]:
        """(low, high): the range in which all valid lanes of an integer value are known to be."""
        if isinstance(value, Imm):
            return int(value.value), int(value.value)
        info = np.iinfo(value.type.elem.numpy)
        return self._ranges.get(value.name, (int(info.min), int(info.max)))

    def finish(self) -> Kernel:
        """The finished kernel."""
        (body,) = self._blocks
        return Kernel(
            self._name,
            tuple(self._params),
            self.begin,
            self.end,
            tuple(body),
            tuple(self._in_place),
        )

    @contextmanager
    def loop(
        self,
        name: str,
        start: Operand | int,
        stop: Operand | int,
        step: int = 1,
        carry: Sequence[Operand] = (),
    ) -> Iterator[OpenLoop]:
        """`for name in range(start, stop, step)`, with the initial carried values `carry`.

        A loop that is known to have one trip becomes its body. A loop that is known to have no
        trips is dropped.
        """
        first, last = _index(start), _index(stop)
        if isinstance(first, Imm) and isinstance(last, Imm) and _trips(first, last, step) <= 1:
            yield from self._unlooped(first, last, step, tuple(carry))
            return
        index = self._var(INDEX, name)
        carried = tuple(self._var(v.type, "c") for v in carry)
        loop = OpenLoop(index, carried)
        self._blocks.append([])
        yield loop
        body = tuple(self._blocks.pop())
        yields = loop._yields or carried
        loop.results = tuple(self._var(v.type, "r") for v in carry)
        self._append(
            For(index, first, last, step, carried, tuple(carry), body, yields, loop.results)  # type: ignore[arg-type]
        )

    def _unlooped(
        self, first: Imm, last: Imm, step: int, carry: tuple[Operand, ...]
    ) -> Iterator[OpenLoop]:
        loop = OpenLoop(first, carry)
        runs = _trips(first, last, step) == 1
        self._blocks.append([])
        yield loop
        body = self._blocks.pop()
        loop.results = (loop._yields or carry) if runs else carry
        if runs:
            self._blocks[-1] += body

    @contextmanager
    def when(self, condition: Operand) -> Iterator[None]:
        """Run the following code only if the scalar mask is true."""
        self._blocks.append([])
        yield
        self._append(If(condition, tuple(self._blocks.pop())))

    @contextmanager
    def rarely(self, largest: Operand, limit: Imm, carry: Sequence[Operand]) -> Iterator[OpenLoop]:
        """Run the following code once if `largest`, a result of `largest()`, is above the limit.

        If several chains with `rarely` are interleaved, this code also runs when `largest` is above
        the limit only in another chain. The code must then leave its carried values unchanged.
        """
        trips = self.convert(self.compare("gt", largest, limit), Elem.INDEX)
        with self.loop("once", 0, trips, 1, carry) as loop:
            yield loop
        done = self._blocks[-1][-1]
        assert isinstance(done, For) and isinstance(largest, Var)
        self._rare[done.index.name] = (largest, limit)

    def interleaved(self, chains: Sequence[Callable[[], ValueT]]) -> list[ValueT]:
        """Write independent chains of code, one statement of each in turn. Returns their results.

        An in-order core can then run one chain while another chain waits for a result. A chain must
        not read what another chain stores. If every chain has a `rarely` at the same position, they
        share one branch. Any other loop or branch counts as one statement.
        """
        written: list[list[Stmt]] = []
        results: list[ValueT] = []
        for chain in chains:
            self._blocks.append([])
            results.append(chain())
            written.append(self._blocks.pop())
        self._interleave(written)
        return results

    def woven(
        self,
        side: Callable[[], SideT],
        main: Callable[[SideT], ValueT],
        ahead: int | None = None,
    ) -> tuple[SideT, ValueT]:
        """Write two chains of code in the order of `weaving.woven`. Returns their results.

        `main` gets the result of `side`.
        """
        self._blocks.append([])
        of_side = side()
        self._blocks.append([])
        of_main = main(of_side)
        written = self._blocks.pop()
        for statement in woven(written, self._blocks.pop(), ahead):
            self._append(statement)
        return of_side, of_main

    def _interleave(self, written: Sequence[Sequence[Stmt]]) -> None:
        for position in range(max(map(len, written), default=0)):
            row = [block[position] for block in written if position < len(block)]
            if not self._join_branches(row):
                for statement in row:
                    self._append(statement)
                self._join_largest(row)

    def _join_largest(self, row: Sequence[Stmt]) -> None:
        """If all statements of `row` are `largest`, also compute the largest of their results."""
        searches = [s for s in row if isinstance(s, Let) and s.op == "largest"]
        values = [s.args[0] for s in searches]
        if len(row) == len(searches) > 1 and len({v.type for v in values}) == 1:
            value = reduce(partial(self.op, "max"), values)
            self._joint[tuple(s.result for s in searches)] = self.largest(value)

    def _join_branches(self, row: Sequence[Stmt]) -> bool:
        """If all statements of `row` are `rarely` with the same limit, write one branch for them.

        Returns whether the branch was written.
        """
        loops = [s for s in row if isinstance(s, For) and s.index.name in self._rare]
        conditions = [self._rare[loop.index.name] for loop in loops]
        largest = self._joint.get(tuple(result for result, _ in conditions))
        limits = {limit for _, limit in conditions}
        if len(row) != len(loops) or largest is None or len(limits) != 1:
            return False
        stop = self.convert(self.compare("gt", largest, conditions[0][1]), Elem.INDEX)
        self._blocks.append([])
        self._interleave([loop.body for loop in loops])
        self._append(
            For(
                loops[0].index,
                loops[0].start,
                stop,
                loops[0].step,
                tuple(v for loop in loops for v in loop.carried),
                tuple(v for loop in loops for v in loop.inits),
                tuple(self._blocks.pop()),
                tuple(v for loop in loops for v in loop.yields),
                tuple(v for loop in loops for v in loop.results),
            )
        )
        return True

    # --- memory --------------------------------------------------------------------------------

    def load(
        self,
        param: Param,
        index: Operand | int,
        lanes: int = 1,
        *,
        offset: int = 0,
        align_bytes: int = 0,
    ) -> Var:
        """`lanes` elements at `param[index + offset]`.

        The default alignment is the size of an element.
        """
        result = self._var(VType(param.elem, lanes))
        base, extra = _split_index(index)
        align = align_bytes or param.elem.bytes
        self._append(Load(result, param, base, offset + extra, align))
        return result

    def store(
        self,
        value: Operand,
        param: Param,
        index: Operand | int,
        *,
        offset: int = 0,
        align_bytes: int = 0,
    ) -> None:
        """Store all lanes of `value` at `param[index + offset]`. Alignment works as for `load`."""
        base, extra = _split_index(index)
        align = align_bytes or param.elem.bytes
        self._append(Store(value, param, base, offset + extra, align))

    def prefetch(self, param: Param, index: Operand | int, *, offset: int = 0) -> None:
        """Prefetch the cache line of `param[index + offset]`, which may lie outside the buffer."""
        base, extra = _split_index(index)
        self._append(Prefetch(param, base, offset + extra))

    def load_some(
        self, param: Param, index: Operand | int, lanes: int, count: int, *, offset: int = 0
    ) -> Var:
        """A vector whose first `count` lanes are loaded; the others are 0, and are not read."""
        if count >= lanes:
            return self.load(param, index, lanes, offset=offset)
        parts: list[Operand] = []
        done = 0
        for size in _powers(count):
            parts.append(self.load(param, index, size, offset=offset + done))
            done += size
        for size in _powers(lanes - count)[::-1]:
            parts.append(Imm(0.0 if param.elem.is_float else 0, VType(param.elem, size)))
        result = parts[0]
        for part in parts[1:]:
            result = self.op("join", result, part)
        assert isinstance(result, Var)
        return result

    def store_some(
        self, value: Operand, param: Param, index: Operand | int, count: int, *, offset: int = 0
    ) -> None:
        """Store the first `count` lanes. The memory after these is not written."""
        if count >= value.type.lanes:
            self.store(value, param, index, offset=offset)
            return
        done = 0
        for size in _powers(count):
            part = self.part(value, done, size)
            self.store(part, param, index, offset=offset + done)
            done += size

    # --- operations ------------------------------------------------------------------------------

    def op(self, name: str, *args: Operand, attrs: tuple[int, ...] = ()) -> Operand:
        """The result of the operation `name`. `verify` checks the types of operands later."""
        types = tuple(a.type for a in args)
        result = self._var(result_type(name, types, attrs))
        self._append(Let(result, name, args, attrs))
        return result

    def add(self, a: Operand | int, b: Operand | int) -> Operand:
        """a + b. Like the other arithmetic methods, it folds constant index arithmetic."""
        return self._arith("add", _index(a), _index(b))

    def sub(self, a: Operand | int, b: Operand | int) -> Operand:
        """a - b."""
        return self._arith("sub", _index(a), _index(b))

    def mul(self, a: Operand | int, b: Operand | int) -> Operand:
        """a * b."""
        return self._arith("mul", _index(a), _index(b))

    def div(self, a: Operand | int, b: Operand | int) -> Operand:
        """a / b. Integers truncate toward zero."""
        return self._arith("div", _index(a), _index(b))

    def rem(self, a: Operand | int, b: Operand | int) -> Operand:
        """The remainder of `div`. It has the sign of a."""
        return self._arith("rem", _index(a), _index(b))

    def min(self, a: Operand | int, b: Operand | int) -> Operand:
        """The smaller of a and b, or NaN if either is NaN."""
        return self._arith("min", _index(a), _index(b))

    def max(self, a: Operand | int, b: Operand | int) -> Operand:
        """The larger of a and b, or NaN if either is NaN."""
        return self._arith("max", _index(a), _index(b))

    def mul_add(self, a: Operand, b: Operand, c: Operand) -> Operand:
        """a * b + c, fused if the target has one instruction for it."""
        return self.op("mul_add", a, b, c)

    def compare(self, how: str, a: Operand, b: Operand) -> Operand:
        """The mask of a comparison. `how` is eq, ne, lt, le, gt or ge."""
        return self.op(how, a, b)

    def select(self, mask: Operand, a: Operand, b: Operand) -> Operand:
        """For each lane, a if the mask is set, else b."""
        return self.op("select", mask, a, b)

    def const(self, value: int | float, like: Operand | VType) -> Imm:
        """A literal of the type `like`, or of the same type as the value `like`."""
        type_ = like if isinstance(like, VType) else like.type
        return Imm(float(value) if type_.elem.is_float else int(value), type_)

    def splat(self, scalar: Operand, lanes: int) -> Operand:
        """A vector with a scalar in every lane."""
        if lanes == 1:
            return scalar
        if isinstance(scalar, Imm):
            return Imm(scalar.value, scalar.type.with_lanes(lanes))
        return self.op("splat", scalar, attrs=(lanes,))

    def lane(self, vector: Operand, index: int) -> Operand:
        """One lane of a vector, as a scalar."""
        return vector if vector.type.lanes == 1 else self.op("lane", vector, attrs=(index,))

    def part(self, vector: Operand, start: int, count: int) -> Operand:
        """`count` lanes of a vector, from lane `start` on."""
        if start == 0 and count == vector.type.lanes:
            return vector
        if count == 1:
            return self.lane(vector, start)
        return self.op("part", vector, attrs=(start, count))

    def largest(self, vector: Operand) -> Operand:
        """The largest lane of a vector of integers, as a scalar."""
        return self.op("largest", vector)

    def convert(self, a: Operand, elem: Elem) -> Operand:
        """The value, converted to another element type."""
        return a if a.type.elem is elem else self.op("convert", a, attrs=(elem_code(elem),))

    def bitcast(self, a: Operand, elem: Elem) -> Operand:
        """The bits of the value, as another element type of equal size."""
        return a if a.type.elem is elem else self.op("bitcast", a, attrs=(elem_code(elem),))

    def shift_left(self, a: Operand, bits: int) -> Operand:
        """a << bits."""
        return self.op("shl", a, attrs=(bits,))

    def shift_right(self, a: Operand, bits: int) -> Operand:
        """a >> bits. Signed elements keep their sign."""
        return self.op("shr", a, attrs=(bits,))

    def iota(self, elem: Elem, lanes: int) -> Operand:
        """A vector whose lanes are 0, 1, 2, .."""
        return self.op("iota", attrs=(elem_code(elem), lanes))

    def fold(self, name: str, vector: Operand) -> Operand:
        """A scalar: all lanes, combined by the two-operand operation `name`, halves first."""
        value = vector
        while value.type.lanes > 1:
            half = value.type.lanes // 2
            rest = value.type.lanes - 2 * half
            tail = self.part(value, 2 * half, rest) if rest else None
            value = self._arith(name, self.part(value, 0, half), self.part(value, half, half))
            if tail is not None:
                value = self._arith(name, self.fold(name, value), tail)
        return value

    # --- helpers ---------------------------------------------------------------------------------

    def _arith(self, name: str, a: Operand, b: Operand) -> Operand:
        folded = _fold_index(name, a, b)
        return self.op(name, a, b) if folded is None else folded

    def _var(self, type_: VType, name: str = "v") -> Var:
        self._count += 1
        if self._count > MOST_VALUES:
            raise EllcError(
                f"kernel '{self._name}' would be too long: more than {MOST_VALUES:,} values",
                code="E304",
                hint="its window is too large; pool or convolve in several smaller steps",
            )
        return Var(f"{name}{self._count}", type_)

    def _append(self, statement: Stmt) -> None:
        self._blocks[-1].append(statement)


def _index(value: Operand | int) -> Operand:
    return Imm(value) if isinstance(value, int) else value


def _split_index(index: Operand | int) -> tuple[Operand, int]:
    """(index, offset). A constant index becomes an offset from index 0."""
    operand = _index(index)
    return (Imm(0), int(operand.value)) if isinstance(operand, Imm) else (operand, 0)


def _trips(first: Imm, last: Imm, step: int) -> int:
    return max(0, -(-(int(last.value) - int(first.value)) // step))


def _fold_index(name: str, a: Operand, b: Operand) -> Operand | None:
    """The result of index arithmetic if it needs no instruction, else None."""
    if a.type.elem is not Elem.INDEX:
        return None
    if isinstance(a, Imm) and isinstance(b, Imm):
        x, y = int(a.value), int(b.value)
        match name:
            case "add":
                return Imm(x + y)
            case "sub":
                return Imm(x - y)
            case "mul":
                return Imm(x * y)
            case "min":
                return Imm(min(x, y))
            case "max":
                return Imm(max(x, y))
            case "div":
                return Imm(int(x / y))
            case "rem":
                return Imm(x - int(x / y) * y)
    match name, a, b:
        case ("add" | "sub", _, Imm(value=0)) | ("mul" | "div", _, Imm(value=1)):
            return a
        case ("add", Imm(value=0), _) | ("mul", Imm(value=1), _):
            return b
        case ("mul", _, Imm(value=0)) | ("mul", Imm(value=0), _) | ("rem", _, Imm(value=1)):
            return Imm(0)
    return None


def _powers(count: int) -> list[int]:
    """The powers of two that add up to `count`, largest first."""
    return [1 << i for i in range(count.bit_length() - 1, -1, -1) if count >> i & 1]
