"""Base classes of operators: each is a frozen dataclass with shape rule, meaning and test cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from ellc.ir.arrangement import Permutation, requantised
from ellc.ir.errors import ShapeError
from ellc.ir.reads import Reads, View, Window, broadcast
from ellc.ir.types import Array, DType, Padding, TensorType, type_of

Types = tuple[TensorType, ...]
Arrays = tuple[Array, ...]

_OTHER_ROUNDINGS = 16.0  # roundings assumed for an operator without a formula


@dataclass(frozen=True, slots=True)
class Range:
    """The integers that an operand may hold, both ends included; `what` names one in messages."""

    what: str
    low: int
    high: int

    def within(self, other: Range) -> Range:
        """The range that two readers of one operand both accept."""
        return Range(self.what, max(self.low, other.low), min(self.high, other.high))


@dataclass(frozen=True)
class Arranged:
    """An operator on rearranged operands, with the arrangements of its operands and results.

    None means that an operand is not rearranged (a table). If an operand's rank is lower than its
    permutation's, axes of extent 1 come before its own axes, as in broadcasting.
    """

    op: Op
    operands: tuple[Permutation | None, ...]
    results: tuple[Permutation, ...]


class Op:
    """Base of all operators. Subclasses are frozen dataclasses whose fields are the attributes.

    Attributes are ints, floats, bools, strings, None, tuples of attributes, operators, or classes
    registered with `register_attribute`; the text form prints exactly these.
    """

    name: ClassVar[str]
    # True for an operator that a pass always replaces: it needs no kernel.
    composite: ClassVar[bool] = False
    # True if its kernels can apply pointwise operators to a result before they store it.
    takes_stages: ClassVar[bool] = False
    # True if its kernels can read, or write, an image in a buffer with a border.
    reads_bordered: ClassVar[bool] = False
    writes_bordered: ClassVar[bool] = False

    def infer(self, *inputs: TensorType) -> Types:
        """The result types; raises `ShapeError` when the operands do not fit."""
        raise NotImplementedError(self.name)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        """What a part of result `index` reads of every operand, axis by axis.

        It may name more elements than are needed, never fewer; `ellc.ir.reads` explains its uses.
        """
        raise NotImplementedError(self.name)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        """Whether its only result equals its first operand."""
        return False

    @property
    def takes_largest(self) -> bool:
        """Whether each element of the result is the maximum of some elements of its operand."""
        return False

    def view(self, operands: Types, index: int = 0) -> View | None:
        """How result `index` can be a view of the first operand's buffer; None if it cannot."""
        return None

    @property
    def joined(self) -> int | None:
        """The axis along which the result concatenates its operands; None for other operators."""
        return None

    def slides(self, operands: Types) -> Window | None:
        """The window that it slides over its first operand, an image; None if there is none."""
        return None

    def spreads(self, operands: Types) -> Window | None:
        """The window of the result to which it adds each pixel of its first operand, or None."""
        return None

    def with_extent(self, axis: int, extent: int) -> Op:
        """The operator whose result has another extent along an axis.

        It is the same operator unless an attribute holds the result's extents.
        """
        return self

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        """The ranges of operands that do not accept every number of their type, by position.

        A constant outside its range is refused (`ellc.ir.ranges`). Computed indices are clamped.
        Other operands must be computed by operators that stay inside the range.
        """
        return {}

    def reference(self, *inputs: Array) -> Arrays:
        """The meaning, as slow and obvious numpy.

        Float operands may all be float32 or all float64, whatever the graph's types say; results
        have the operands' precision. Bits are `bool` arrays.
        """
        raise NotImplementedError(self.name)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        """Test cases, edge cases included; every registered operator has some."""
        raise NotImplementedError(cls.name)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """A bound of the result's rounding error, elementwise, in units of the unit roundoff.

        Only the rounding inside the operator counts: float operands (float64) are exact. `result`
        is the result of `reference`. Called only for operators with one result.
        """
        raise NotImplementedError(self.name)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array | None:
        """A bound of the error that errors of the operands cause in the only result.

        `errors` are at least 0 and have the operands' shapes. None if there is no formula.
        """
        return None

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        """The operator on a first operand that is stored in another order of axes (`p`).

        `operands` and `results` are the logical types. None if no such operator exists.
        """
        return None

    @property
    def recurrent(self) -> bool:
        """Whether it is a recurrence, or one step of one: errors may grow through it."""
        return False

    def wanted_border(self) -> Padding | None:
        """The border that its kernels want around the first operand; None if they want none."""
        return None

    def with_border(self, border: Padding) -> Op | None:
        """The operator that gives, on an image, what this one gives on the image in a border.

        None if the attributes cannot express it. `border` is in the normal form of `Padding.of`.
        """
        return None

    def macs(self, inputs: Types, outputs: Types) -> int:
        """Multiply-adds (or sign products) of one evaluation; 0 where none are counted."""
        return 0

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        """The reference's work beyond one step for each element that it reads or computes."""
        return self.macs(inputs, outputs)


@dataclass(frozen=True)
class Case:
    """One test case of an operator: operands, and which of them are constants of the graph."""

    op: Op
    inputs: Arrays
    constants: tuple[int, ...] = ()
    dtypes: tuple[DType | None, ...] = ()  # needed only for bits, which numpy has as bool
    label: str = ""

    def types(self) -> Types:
        """The operand types."""
        dtypes = self.dtypes + (None,) * (len(self.inputs) - len(self.dtypes))
        return tuple(type_of(x, d) for x, d in zip(self.inputs, dtypes, strict=True))


_OPS: dict[str, type[Op]] = {}
_ATTRIBUTES: dict[str, type] = {}
OpT = TypeVar("OpT", bound=type[Op])
ClsT = TypeVar("ClsT", bound=type)


def register_op(name: str) -> Callable[[OpT], OpT]:
    """Class decorator: registers an operator under its name in the text form."""

    def add(cls: OpT) -> OpT:
        if name in _OPS or name in _ATTRIBUTES:
            raise ValueError(f"two operators are called {name!r}")
        cls.name = name
        _OPS[name] = cls
        return cls

    return add


def register_attribute(name: str) -> Callable[[ClsT], ClsT]:
    """Class decorator: registers a frozen dataclass whose objects may occur in attributes."""

    def add(cls: ClsT) -> ClsT:
        _ATTRIBUTES[name] = cls
        return cls

    return add


def all_ops() -> dict[str, type[Op]]:
    """Every registered operator by name, sorted."""
    import ellc.ir.ops  # noqa: F401  (fills the registry)

    return dict(sorted(_OPS.items()))


def attribute_class(name: str) -> type | None:
    """The operator or attribute class with this name in the text form, None if there is none."""
    return all_ops().get(name) or _ATTRIBUTES.get(name)


def attribute_name(value: object) -> str | None:
    """The text-form name of an operator or attribute object, None for anything else."""
    if isinstance(value, Op):
        return value.name
    return next((n for n, c in _ATTRIBUTES.items() if type(value) is c), None)


def attributes(op: object) -> dict[str, object]:
    """The attributes of an operator in order of declaration."""
    return {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}  # type: ignore[arg-type]


def everything(op: Op, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
    """`Op.reads` of operators for which every part of a result needs all of the operands."""
    return tuple((None,) * t.rank for t in operands)


def exact(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators that round nothing or whose result is not a float."""
    return np.zeros(result.shape)


def of_largest(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators without a formula: 16 roundings of the largest result."""
    return np.full(result.shape, _OTHER_ROUNDINGS * np.max(np.abs(result), initial=0.0))


def sizes(operands: Arrays) -> Arrays:
    """Absolute values of floats; integers unchanged."""
    return tuple(np.abs(x) if x.dtype.kind == "f" else x for x in operands)


def carried_by_products(bare: Op, padded: Op, operands: Arrays, errors: Arrays) -> Array:
    """`Op.carried_error` of sums of products: ex (|w| + ew) + |x| ew, plus the error of a bias.

    `bare` is the operator with zero padding; `padded` has the magnitudes of the padding values.
    """
    x, w = sizes(operands[:2])
    first, second, *bias = errors
    total = bare.reference(first, w + second)[0]
    if np.any(second):
        total = total + padded.reference(x, second)[0]
    return np.asarray(total + bias[0] if bias else total)


class Pointwise(Op):
    """An operator whose result element depends on the same element of its first operand.

    Further operands broadcast to the first operand's shape as in numpy. Such operators can run in
    the epilogue of the kernel that produces the first operand (`ellc.ir.ops.fused.Fused`).
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True
    # Unit roundoffs by which a float result may be wrong.
    roundings: ClassVar[float] = 4.0
    # True if integers need a loop, for which an epilogue has no room.
    loops_on_integers: ClassVar[bool] = False

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return tuple(broadcast(t.shape, results[index].shape) for t in operands)

    @property
    def jumps(self) -> bool:
        """Whether a small change of an operand can change a result by a step."""
        return False

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """`roundings` of the largest magnitude among operands and result.

        Callers may pass absolute values of operands and result.
        """
        size = np.abs(result)
        for operand in operands:
            if operand.dtype.kind == "f":
                size = np.maximum(size, np.abs(operand))
        return np.asarray(self.roundings * size)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(requantised(self, p), (p,) * len(operands), (p,))

    def swapped(self) -> Pointwise | None:
        """The operator with the same result when the two operands are exchanged, or None."""
        return None


def require(condition: bool, message: str) -> None:
    """Raise `ShapeError(message)` unless `condition` holds."""
    if not condition:
        raise ShapeError(message)
