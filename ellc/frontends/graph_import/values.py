"""Values during an import: a value is a known array, or a reference to a value of the graph.

Exporters write shape arithmetic as ordinary operators. The emitter computes an operator on known
arrays at once with its reference. So a handler that needs a known number, such as the shape of a
reshape, usually gets it.
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

# A small file must not make the reader compute or allocate much. So the emitter does not compute an
# operator on constants if this would exceed one of these limits, use up `Limits.computed_elements`,
# or make results that are much larger than the operands (`_is_small`). Such an operator is added to
# the graph; the pass `fold_constants` decides whether to compute it.
_FOLDED_ELEMENTS = 1 << 22
_FOLDED_STEPS = 1 << 24


class Unsupported(EllcError):
    """Raised if a handler cannot import a node; the message says what is not supported."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="E212")


class Extents(tuple[int, ...]):
    """A shape; an index beyond its axes raises `Unsupported`."""

    name: str

    @staticmethod
    def of(shape: tuple[int, ...], name: str) -> Extents:
        """The shape of the tensor called `name`, which may be ''."""
        extents = Extents(shape)
        extents.name = name
        return extents

    @overload
    def __getitem__(self, axis: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, axis: slice) -> tuple[int, ...]: ...
    def __getitem__(self, axis: SupportsIndex | slice) -> int | tuple[int, ...]:
        try:
            return super().__getitem__(axis)
        except IndexError:
            name = f" '{self.name}'" if self.name else ""
            raise Unsupported(
                f"its operand{name} of shape {list(self)} has no axis {axis}"
            ) from None


class Nonsense(Unsupported):
    """Raised if a handler fails with a Python exception, because it does not check its numbers.

    The Python exception is the cause of this one. The message only tells the user which node
    failed. `tests/soak` searches for these errors, so that a check with a better message can be
    added to the handler.
    """


def cause_of_nonsense(error: BaseException | None) -> Nonsense | None:
    """The `Nonsense` in the chain of an error's causes, such as one in an inner graph, or None."""
    while error is not None and not isinstance(error, Nonsense):
        error = error.__cause__
    return error


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the model. `array` is set if the tensor is known at import, otherwise `ref` is.

    `name` is its name in the model, for messages.
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
        """Whether the tensor is known at import."""
        return self.array is not None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceValue(Value):
    """A sequence of tensors; only the handlers of sequence operators accept it.

    If the items are the parts of one tensor along axis 0, `stack` is this tensor.
    """

    items: tuple[Value, ...] = ()
    stack: Value | None = None

    @staticmethod
    def of(items: Iterable[Value], stack: Value | None = None) -> SequenceValue:
        """A sequence of the given tensors."""
        return SequenceValue(TensorType(DType.F32, (0,)), items=tuple(items), stack=stack)


class Emitter:
    """Builds the graph of one import; operators on known arrays are computed instead of added."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._builder = GraphBuilder(name)
        self._budget = budget
        self._limits = budget.limits
        self._notes: dict[str, None] = {}
        self._states: dict[str, Value | None] = {}  # state name -> its value after the call
        self._state_types: dict[str, TensorType] = {}
        self.work = 0  # multiply-adds, and result elements of pointwise functions, so far
        # The name of the model's node that is being imported; it is the source of each new node.
        self.source: tuple[str, ...] = ()

    def inner(self, name: str) -> Emitter:
        """An emitter for a graph inside this one, such as a loop's body; it shares the budget."""
        emitter = Emitter(name, self._budget)
        emitter.source = self.source
        return emitter

    @property
    def limits(self) -> Limits:
        """The limits of this import."""
        return self._limits

    def input(self, name: str, type: TensorType) -> Value:
        """Add a public input."""
        _want_elements(type)
        return Value(type, ref=self._builder.input(name, type))

    def output(self, name: str, value: Value, quant: Quant | None = None) -> None:
        """Add a public output; a known value becomes a constant of the graph.

        `quant` is the quantisation that the file gives, needed if the operator does not determine
        it.
        """
        ref = self.ref(value)
        if quant is not None:
            self._builder.describe(ref, quant)
        self._builder.output(name, ref)

    def constant(
        self, array: Array, quant: Quant | None = None, dtype: DType | None = None
    ) -> Value:
        """A value with a known array; with `dtype=DType.BIT`, booleans are stored as bits."""
        data = np.asarray(array)
        type_ = type_of(data, dtype)
        return Value(TensorType(type_.dtype, type_.shape, quant=quant), array=data)

    def want_room(self, *shape: int) -> None:
        """Pay for a tensor of this shape; raises `EllcError` E203 beyond the limits.

        This must be called before each allocation whose size comes from the file.
        """
        self._budget.want(shape, self._where)

    def full(self, shape: tuple[int, ...], value: float | np.floating, dtype: DTypeLike) -> Array:
        """An array with all elements equal to `value`. Raises E203 and E212 like `Budget.full`."""
        return self._budget.full(shape, value, dtype, self._where)

    def counted(self, *shape: int, dtype: DTypeLike = np.int64) -> Array:
        """An array that holds 0, 1, 2, ... in row-major order. Raises E203 as `want_room` does."""
        return self._budget.counted(shape, dtype, self._where)

    def numbers(self, values: Sequence[int | float], dtype: DType) -> Value:
        """A constant vector of numbers; raises `Unsupported` if `dtype` cannot hold a number."""
        array = np.asarray(values)
        if dtype.is_integer:
            info = np.iinfo(dtype.numpy)
            beyond = [n for n in values if not info.min <= n <= info.max]
            if beyond:
                raise Unsupported(f"{beyond[0]} does not fit into {dtype.value}")
        return self.constant(array.astype(dtype.numpy))

    def want_work(self, array: Array) -> None:
        """Pay for work on a whole stored array, except the first time; raises `EllcError` E203."""
        self._budget.pay_again(array, self._where)

    def begin(self, label: str) -> None:
        """Start to import the node `label`; raise `EllcError` E203 beyond the limits."""
        self.source = (label,)
        self._budget.pay_node(label)

    def add(self, op: Op, *operands: Value) -> Value:
        """Add an operator with one result. Raises as `add_multi` does."""
        (result,) = self.add_multi(op, *operands)
        return result

    def add_multi(self, op: Op, *operands: Value) -> list[Value]:
        """Add an operator, and return its results.

        If all operands are known and the results are small enough, the operator is computed at once
        and the results are known arrays. Results without elements are known arrays, too. Raises
        `ShapeError` for operands that do not fit the operator, `Unsupported` for known operands
        outside the operator's range, and `EllcError` E203 beyond the limits.
        """
        operands = _fitting(operands) if isinstance(op, Pointwise) else operands
        operand_types = tuple(v.type for v in operands)
        types = op.infer(*operand_types)
        for type_ in types:
            self._limits.product(type_.shape, where=self._where, what="a result")
        if problems := outside(op, operand_types, [v.array for v in operands]):
            raise Unsupported("; ".join(problems))
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
        refs = self._builder.add_multi(op, *(self.ref(v) for v in operands), source=self.source)
        return [Value(r.type, ref=r) for r in refs]

    def ref(self, value: Value) -> Ref:
        """The reference of a value in the graph; a known value is added as a constant."""
        if value.ref is not None:
            return value.ref
        if value.array is None:
            raise Unsupported("it reads a sequence where a tensor is expected")
        _want_elements(value.type)
        return self._builder.constant(value.array, value.type.dtype)

    def state(self, name: str, initial: Array) -> Value:
        """Add a state, and return its value at the start of a call.

        Raises `Unsupported` if another state has the same name.
        """
        if name in self._states:
            raise Unsupported(f"its state '{name}' is also the state of another operator")
        self._states[name] = None
        ref = self._builder.state(name, initial)
        self._state_types[name] = ref.type
        return Value(ref.type, ref=ref)

    def set_state(self, name: str, value: Value) -> None:
        """Set the value that a state has after the call.

        Raises `Unsupported` if its element type or shape is not that of the state.
        """
        old, new = self._state_types[name], value.type
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            before, after = (f"{t.dtype.value}{list(t.shape)}" for t in (old, new))
            raise Unsupported(f"its state '{name}' is {before} before the call and {after} after")
        self._builder.set_state(name, self.ref(value))
        self._states[name] = value

    def after_call(self, name: str) -> Value | None:
        """The value that `set_state` set for a state; None without such a value or state."""
        return self._states.get(name)

    def metadata(self, entries: dict[str, str]) -> None:
        """Add entries to the graph's metadata."""
        self._builder.metadata(entries)

    def note(self, text: str) -> None:
        """Add a note for the user as metadata `note.N`; equal notes are added once."""
        self._notes[text] = None

    def build(self) -> Graph:
        """Make the graph."""
        self.metadata({f"note.{i}": text for i, text in enumerate(self._notes)})
        return self._builder.build()

    @property
    def _where(self) -> str:
        return ", ".join(self.source)

    def _is_small(
        self, op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]
    ) -> bool:
        read = sum(t.elements for t in operands)
        written = sum(t.elements for t in results)
        return (
            written <= min(max(2 * read, 4096) + 4096, _FOLDED_ELEMENTS)
            and op.inner_steps(operands, results) <= _FOLDED_STEPS
            and _folding_work(op, operands, results) <= self._budget.left
        )


def _fitting(operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """Prepare the operands of a pointwise operator.

    If the first operand is a scalar, known operands with one element become scalars too, because
    files may store a single number as a scalar or as a vector of one element.
    """
    first, *others = operands
    return operands if first.type.rank else (first, *map(_without_axes, others))


def _without_axes(value: Value) -> Value:
    if value.array is None or value.array.size != 1:
        return value
    return replace(value, type=replace(value.type, shape=()), array=value.array.reshape(()))


def _work(op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> int:
    """The work of an operator; 0 if it only moves, converts or compares elements.

    A pointwise operator with integer results counts as 0, too.
    """
    if isinstance(op, Pointwise) and not isinstance(op, Cast | Dequantize | Select):
        return sum(t.elements for t in results if t.dtype.is_float)
    return op.macs(operands, results)


def _folding_work(op: Op, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> int:
    """The cost of computing an operator at import: elements read and written, and inner steps."""
    return sum(t.elements for t in (*operands, *results)) + op.inner_steps(operands, results)


def _want_elements(type_: TensorType) -> None:
    if type_.elements == 0:
        raise Unsupported(f"a tensor of shape {list(type_.shape)} has no elements to compute")


def known(value: Value, what: str) -> Array:
    """The array of a value; raises `Unsupported` if the network computes the value."""
    if value.array is None:
        raise Unsupported(
            f"{what} must be known at import, as a constant or from inputs fixed by --set, "
            "but the network computes it"
        )
    return value.array


def known_ints(value: Value, what: str) -> tuple[int, ...]:
    """The elements of a known array as integers; raises `Unsupported` for NaN and infinities."""
    array = known(value, what)
    if not np.isfinite(array).all():
        raise Unsupported(f"{what} holds a number that is not finite")
    return tuple(int(x) for x in _flat(array))


def known_int(value: Value, what: str) -> int:
    """A known integer; raises `Unsupported` if there is not exactly one finite element."""
    numbers = known_ints(value, what)
    if len(numbers) != 1:
        raise Unsupported(f"{what} has {len(numbers)} elements, not 1")
    return numbers[0]


def known_number(value: Value, what: str) -> int | float:
    """A known finite number; raises `Unsupported` if there is not exactly one finite element."""
    array = known(value, what)
    if array.size != 1:
        raise Unsupported(f"{what} has {array.size} elements, not 1")
    number: int | float = array.reshape(()).item()
    if not math.isfinite(number):
        raise Unsupported(f"{what} is {number}, which is not finite")
    return number


def extents(value: Value, rank: int, what: str) -> tuple[int, ...]:
    """The shape of a value; raises `Unsupported` if it does not have `rank` axes."""
    if len(value.shape) != rank:
        raise Unsupported(f"{what} has the shape {list(value.shape)}, but its rank must be {rank}")
    return value.shape


def _flat(array: Array) -> Iterable[int]:
    flat: Iterable[int] = np.asarray(array).reshape(-1).tolist()
    return flat
