"""Values during an import: arrays as long as they are known, nodes of the graph otherwise.

Exporters write shape arithmetic as ordinary operators. Here an operator on known arrays is computed
at once by its own reference, so a handler that needs a number (the shape of a reshape) finds one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import DTypeLike

from ellc.frontends.budget import Budget
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.limits import Limits
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.pointwise import Cast, Select
from ellc.ir.ops.quantised import Dequantize
from ellc.ir.ranges import outside
from ellc.ir.types import Array, DType, Quant, TensorType, type_of

# Beyond these, and beyond `Limits.computed_elements` of one import, an operator on constants stays
# in the graph (where `fold_constants` decides): what a file makes the reader compute or hold must
# stay in proportion to the file.
_FOLDED_ELEMENTS = 1 << 22
_FOLDED_STEPS = 1 << 24


class Unsupported(EllcError):
    """A handler cannot express a node; the message says what is missing and what would work."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="E212")


class Extents(tuple[int, ...]):
    """The shape of an operand, which says what is wrong where an axis is asked for that is missing.

    Elsewhere it is the tuple.
    """

    name: str

    @staticmethod
    def of(shape: tuple[int, ...], name: str) -> Extents:
        """The shape of the tensor of a name, which may be ''."""
        made = Extents(shape)
        made.name = name
        return made

    @overload
    def __getitem__(self, axis: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, axis: slice) -> tuple[int, ...]: ...
    def __getitem__(self, axis: SupportsIndex | slice) -> int | tuple[int, ...]:
        try:
            return super().__getitem__(axis)
        except IndexError:
            said = f" '{self.name}'" if self.name else ""
            raise Unsupported(
                f"its operand{said} of shape {list(self)} has no axis {axis}"
            ) from None


class Nonsense(Unsupported):
    """A handler failed on numbers that it does not check; the cause is Python's own exception.

    A user is told the node, no more: `tests/soak` looks for these, to be given checks of their own.
    """


def nonsense_before(error: BaseException | None) -> Nonsense | None:
    """An error itself or what it was raised from, if that is `Nonsense`: of an inner graph, say."""
    while error is not None and not isinstance(error, Nonsense):
        error = error.__cause__
    return error


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the model: `array` if it is known now, `ref` if a node or input makes it.

    `name` is what the model calls it, for reports.
    """

    type: TensorType
    array: Array | None = None
    ref: Ref | None = None
    name: str = ""

    @property
    def shape(self) -> Extents:
        """The static shape."""
        return Extents.of(self.type.shape, self.name)

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.type.dtype

    @property
    def quant(self) -> Quant | None:
        """The quantisation, if the type has one."""
        return self.type.quant

    @property
    def is_constant(self) -> bool:
        """Whether the array is known."""
        return self.array is not None


@dataclass(frozen=True, slots=True, eq=False)
class Listed(Value):
    """A sequence of tensors. Only handlers that ask for sequences are given one.

    `stack` is the tensor whose parts along axis 0 they are, if there is one.
    """

    items: tuple[Value, ...] = ()
    stack: Value | None = None

    @staticmethod
    def of(items: Iterable[Value], stack: Value | None = None) -> Listed:
        """The sequence of these tensors."""
        return Listed(TensorType(DType.F32, (0,)), items=tuple(items), stack=stack)


class Emitter:
    """Builds the graph of one import; operators on known arrays are computed instead of added."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._builder = GraphBuilder(name)
        self._budget = budget
        self._limits = budget.limits
        self._notes: dict[str, None] = {}
        self._states: dict[str, Value | None] = {}  # by name what each holds after the call
        self._state_types: dict[str, TensorType] = {}
        self.work = 0  # multiply-adds, and elements of what functions make, so far
        self.source: tuple[str, ...] = ()  # names of the model's node at work, for every new node

    def inner(self, name: str) -> Emitter:
        """For a graph inside this one, such as the body of a loop; the budget is the same."""
        made = Emitter(name, self._budget)
        made.source = self.source
        return made

    @property
    def limits(self) -> Limits:
        """What the import may take."""
        return self._limits

    def input(self, name: str, type: TensorType) -> Value:
        """A public input."""
        _want_elements(type)
        return Value(type, ref=self._builder.input(name, type))

    def output(self, name: str, value: Value, quant: Quant | None = None) -> None:
        """A public output; a constant one becomes a constant of the graph.

        `quant` is what the file says of its integers, for operators that leave that open.
        """
        ref = self.ref(value)
        if quant is not None:
            self._builder.describe(ref, quant)
        self._builder.output(name, ref)

    def constant(
        self, array: Array, quant: Quant | None = None, dtype: DType | None = None
    ) -> Value:
        """A known array; `dtype=DType.BIT` makes booleans signs."""
        data = np.asarray(array)
        type_ = type_of(data, dtype)
        return Value(TensorType(type_.dtype, type_.shape, quant=quant), array=data)

    def want_room(self, *shape: int) -> None:
        """Raise `EllcError` E203 unless a handler may fill a tensor of a shape.

        To be called before allocating anything whose size comes from the file.
        """
        self._budget.want(shape, self._where)

    def full(self, shape: tuple[int, ...], value: float | np.floating, dtype: DTypeLike) -> Array:
        """An array of one number. Raises `EllcError` E203 as `want_room` does."""
        return self._budget.full(shape, value, dtype, self._where)

    def counted(self, *shape: int, dtype: DTypeLike = np.int64) -> Array:
        """The numbers from 0 on in the order of rows. Raises as `want_room` does."""
        return self._budget.counted(shape, dtype, self._where)

    def numbers(self, values: Sequence[int | float], dtype: DType) -> Value:
        """Numbers as a constant vector of a type of the file's choice.

        Raises `Unsupported` for a number that the type does not hold.
        """
        array = np.asarray(values)
        if dtype.is_integer:
            info = np.iinfo(dtype.numpy)
            beyond = [n for n in values if not info.min <= n <= info.max]
            if beyond:
                raise Unsupported(f"{beyond[0]} does not fit into {dtype.value}")
        return self.constant(array.astype(dtype.numpy))

    def want_work(self, array: Array) -> None:
        """Raise `EllcError` E203 if a handler works on whole stored arrays again and again."""
        self._budget.pay_again(array, self._where)

    def begin(self, label: str) -> None:
        """The model's node with this name is next. Raises `EllcError` E203 beyond the limits."""
        self.source = (label,)
        self._budget.pay_node(label)

    def add(self, op: Op, *operands: Value) -> Value:
        """The only result of an operator. Raises `ShapeError`."""
        (result,) = self.add_multi(op, *operands)
        return result

    def add_multi(self, op: Op, *operands: Value) -> list[Value]:
        """The results of an operator: arrays if all operands are known and not too large."""
        operands = _fitting(operands) if isinstance(op, Pointwise) else operands
        operand_types = tuple(v.type for v in operands)
        types = op.infer(*operand_types)
        for type_ in types:
            self._limits.product(type_.shape, where=self._where, what="result")
        if said := outside(op, operand_types, [v.array for v in operands]):
            raise Unsupported("; ".join(said))
        arrays = [v.array for v in operands if v.array is not None]
        if len(arrays) == len(operands) and self._is_small(op, operand_types, types):
            self._budget.pay(_folding_work(op, operand_types, types), self._where)
            with np.errstate(all="ignore"):
                results = op.reference(*arrays)
            return [
                Value(t, array=np.asarray(r, t.dtype.numpy))
                for t, r in zip(types, results, strict=True)
            ]
        if not any(t.elements for t in types):
            return [Value(t, array=self.full(t.shape, 0, t.dtype.numpy)) for t in types]
        for type_ in types:
            _want_elements(type_)
        self.work += _work(op, operand_types, types)
        made = self._builder.add_multi(op, *(self.ref(v) for v in operands), source=self.source)
        return [Value(r.type, ref=r) for r in made]

    def ref(self, value: Value) -> Ref:
        """The value inside the graph under construction."""
        if value.ref is not None:
            return value.ref
        if value.array is None:
            raise Unsupported("a sequence where a tensor is expected")
        _want_elements(value.type)
        return self._builder.constant(value.array, value.type.dtype)

    def state(self, name: str, initial: Array) -> Value:
        """The current value of a state that lives between calls.

        Raises `Unsupported` for a second state of a name.
        """
        if name in self._states:
            raise Unsupported(f"its state '{name}' is that of another operator, too")
        self._states[name] = None
        ref = self._builder.state(name, initial)
        self._state_types[name] = ref.type
        return Value(ref.type, ref=ref)

    def set_state(self, name: str, value: Value) -> None:
        """What a state holds after the call.

        Raises `Unsupported` for a value of another type or shape than the state has.
        """
        held, new = self._state_types[name], value.type
        if (held.dtype, held.shape) != (new.dtype, new.shape):
            both = (f"{t.dtype.value}{list(t.shape)}" for t in (held, new))
            raise Unsupported(f"its state '{name}' of {' becomes '.join(both)}")
        self._builder.set_state(name, self.ref(value))
        self._states[name] = value

    def after_call(self, name: str) -> Value | None:
        """What a state holds after the call; None if there is no such state."""
        return self._states.get(name)

    def metadata(self, entries: dict[str, str]) -> None:
        """Metadata of the graph."""
        self._builder.metadata(entries)

    def note(self, text: str) -> None:
        """A remark for the user, once; it goes into the metadata as `note.N`."""
        self._notes[text] = None

    def build(self) -> Graph:
        """The finished graph."""
        self.metadata({f"note.{i}": text for i, text in enumerate(self._notes)})
        return self._builder.build()

    @property
    def _where(self) -> str:
        return ", ".join(self.source)

    def _is_small(
        self, op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]
    ) -> bool:
        held = sum(t.elements for t in operands)
        made = sum(t.elements for t in results)
        return (
            made <= min(max(2 * held, 4096) + 4096, _FOLDED_ELEMENTS)
            and op.inner_steps(operands, results) <= _FOLDED_STEPS
            and _folding_work(op, operands, results) <= self._budget.left
        )


def _fitting(operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """Operands of a pointwise operator: a number written as a vector fits a scalar, too."""
    first, *others = operands
    return operands if first.type.rank else (first, *map(_without_axes, others))


def _without_axes(value: Value) -> Value:
    if value.array is None or value.array.size != 1:
        return value
    return replace(value, type=replace(value.type, shape=()), array=value.array.reshape(()))


def _work(op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> int:
    """What an operator computes; nothing where it moves, converts or compares."""
    if isinstance(op, Pointwise) and not isinstance(op, Cast | Dequantize | Select):
        return sum(t.elements for t in results if t.dtype.is_float)
    return op.macs(operands, results)


def _folding_work(op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> int:
    """What computing an operator costs: elements read and made, and the steps between."""
    return sum(t.elements for t in (*operands, *results)) + op.inner_steps(operands, results)


def _want_elements(type_: TensorType) -> None:
    if type_.elements == 0:
        raise Unsupported(f"a tensor of shape {list(type_.shape)} has no elements to compute")


def known(value: Value, what: str) -> Array:
    """The array of a value that a handler must know; raises `Unsupported` if it is computed."""
    if value.array is None:
        raise Unsupported(
            f"{what} must be known at import, as a constant or by inputs fixed by --set, "
            "and not be computed by the network"
        )
    return value.array


def known_ints(value: Value, what: str) -> tuple[int, ...]:
    """A known array of whole numbers, flat; raises `Unsupported` for NaN and infinities."""
    array = known(value, what)
    if not np.isfinite(array).all():
        raise Unsupported(f"{what} holds a number that is not finite")
    return tuple(int(x) for x in _flat(array))


def known_int(value: Value, what: str) -> int:
    """A known whole number; raises `Unsupported` for an array of more or less than one."""
    numbers = known_ints(value, what)
    if len(numbers) != 1:
        raise Unsupported(f"{what} is {len(numbers)} numbers, not one")
    return numbers[0]


def known_number(value: Value, what: str) -> int | float:
    """A known finite number; raises `Unsupported` for an array of more or less than one."""
    array = known(value, what)
    if array.size != 1:
        raise Unsupported(f"{what} is {array.size} numbers, not one")
    number: int | float = array.reshape(()).item()
    if not math.isfinite(number):
        raise Unsupported(f"{what} is {number}, which is not finite")
    return number


def extents(value: Value, rank: int, what: str) -> tuple[int, ...]:
    """The shape of an operand that must have `rank` axes; raises `Unsupported` for others."""
    if len(value.shape) != rank:
        raise Unsupported(f"{what} has the shape {list(value.shape)}, not {rank} axes")
    return value.shape


def _flat(array: Array) -> Iterable[int]:
    flat: Iterable[int] = np.asarray(array).reshape(-1).tolist()
    return flat
