"""Base classes and registry of operators, and formulas for rounding errors.

An operator class holds shape inference, reference and test cases.
"""

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

_OTHER_ROUNDINGS = 16.0  # roundings assumed for an operator without an error formula


@dataclass(frozen=True, slots=True)
class Range:
    """The integers from `low` to `high` that an operand may hold; messages call one `what`."""

    what: str
    low: int
    high: int

    def within(self, other: Range) -> Range:
        """The intersection, for an operand with two readers; `what` is that of this range."""
        return Range(self.what, max(self.low, other.low), min(self.high, other.high))


@dataclass(frozen=True)
class Arranged:
    """An operator for rearranged operands, with the arrangements of the operands and the results.

    None stands for an operand that must not be rearranged (a table). If an operand has fewer axes
    than its permutation, axes of extent 1 are put before its own axes, as in broadcasting.
    """

    op: Op
    operands: tuple[Permutation | None, ...]
    results: tuple[Permutation, ...]


class Op:
    """Base of all operators. Subclasses are frozen dataclasses whose fields are the attributes.

    Attributes are ints, floats, bools, strings, None, tuples of attributes, operators, graphs,
    `DType`, `Padding`, `Quant`, or objects of classes registered with `register_attribute`. The
    text form of an operator has exactly its attributes.
    """

    name: ClassVar[str]
    # True if a pass always replaces the operator, which therefore needs no kernel.
    composite: ClassVar[bool] = False
    # True if the operator's kernels can apply pointwise operators to a result before storing it.
    takes_stages: ClassVar[bool] = False
    # True if the operator's kernels can read (write) an image in a buffer with a border.
    reads_bordered: ClassVar[bool] = False
    writes_bordered: ClassVar[bool] = False

    def infer(self, *inputs: TensorType) -> Types:
        """The result types; raises `ShapeError` if the operator cannot take these operands."""
        raise NotImplementedError(self.name)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        """Which elements of every operand a part of result `index` needs, axis by axis.

        The answer contains all elements that are needed, and may contain others. `ellc.ir.reads`
        says what it is used for.
        """
        raise NotImplementedError(self.name)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        """Whether the operator's only result equals its first operand."""
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
        """The axis along which the result is the concatenation of the operands, or None."""
        return None

    def slides(self, operands: Types) -> Window | None:
        """The window that slides over the first operand, an image; None if there is no window."""
        return None

    def spreads(self, operands: Types) -> Window | None:
        """The window of the result to which a pixel of the first operand contributes, or None."""
        return None

    def with_extent(self, axis: int, extent: int) -> Op:
        """The same operator for a result with another extent along an axis.

        Only an operator with an attribute for the result's extents changes.
        """
        return self

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        """By position, the ranges of operands that may not hold every number of their type.

        A constant outside the range is refused (`ellc.ir.ranges`). Computed indices are clamped.
        Other computed operands must come from operators whose results are within the range.
        """
        return {}

    def reference(self, *inputs: Array) -> Arrays:
        """The definition of the operator, in simple and slow numpy.

        Float operands are all float32 or all float64, independently of the graph's types; the
        results have the same precision. Bits are `bool` arrays.
        """
        raise NotImplementedError(self.name)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        """Test cases, including edge cases; every registered operator has some."""
        raise NotImplementedError(cls.name)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """A bound on the result's rounding error, elementwise, in multiples of the unit roundoff.

        It covers the rounding inside the operator: float operands (float64) count as exact.
        `result` is the result of `reference`. Called only for operators with one result.
        """
        raise NotImplementedError(self.name)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array | None:
        """A bound on the error that errors of the operands cause in the only result.

        `errors` are not negative and have the operands' shapes. None if there is no formula.
        """
        return None

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        """The operator to use if the first operand is stored with its axes in the order `p`.

        `operands` and `results` are the logical types. None if no such operator exists.
        """
        return None

    @property
    def recurrent(self) -> bool:
        """Whether the operator is a recurrence or one step of it, so that errors may grow."""
        return False

    def wanted_border(self) -> Padding | None:
        """The border that the kernels want around the first operand; None if they want none."""
        return None

    def with_border(self, border: Padding) -> Op | None:
        """The operator that makes of an image what this one makes of the image inside `border`.

        None if no attributes give that result. `border` is in the normal form of `Padding.of`.
        """
        return None

    def macs(self, inputs: Types, outputs: Types) -> int:
        """Multiply-adds (or sign products) of one evaluation; 0 for operators that have none."""
        return 0

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        """The steps that the reference takes in addition to one per element read or computed."""
        return self.macs(inputs, outputs)


@dataclass(frozen=True)
class Case:
    """A test case of an operator: operands, and the positions of those that are constants."""

    op: Op
    inputs: Arrays
    constants: tuple[int, ...] = ()
    dtypes: tuple[DType | None, ...] = ()  # needed only for bits, whose arrays are of bool
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
    """`Op.reads` of operators whose result elements each depend on all elements of all operands."""
    return tuple((None,) * t.rank for t in operands)


def exact(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators that do not round, or whose result is not a float."""
    return np.zeros(result.shape)


def of_largest(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators without a formula: 16 roundings of the largest element."""
    return np.full(result.shape, _OTHER_ROUNDINGS * np.max(np.abs(result), initial=0.0))


def sizes(operands: Arrays) -> Arrays:
    """Absolute values of floats; integers unchanged."""
    return tuple(np.abs(x) if x.dtype.kind == "f" else x for x in operands)


def carried_by_products(bare: Op, padded: Op, operands: Arrays, errors: Arrays) -> Array:
    """`Op.carried_error` of sums of products: ex (|w| + ew) + |x| ew, plus the bias's error.

    ex and ew are the errors of x and w. `bare` is the operator with padding values of 0; `padded`
    has the absolute values of the padding.
    """
    x, w = sizes(operands[:2])
    first, second, *bias = errors
    total = bare.reference(first, w + second)[0]
    if np.any(second):
        total = total + padded.reference(x, second)[0]
    return np.asarray(total + bias[0] if bias else total)


class Pointwise(Op):
    """An operator that computes each result element from the first operand's element at its index.

    Further operands broadcast to the first operand's shape as in numpy. Such operators can run in
    the epilogue of the kernel that produces the first operand (`ellc.ir.ops.fused.Fused`).
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True
    # A bound on a float result's error, in unit roundoffs of the largest operand or result.
    roundings: ClassVar[float] = 4.0
    # True if integer operands need a loop per element, which an epilogue cannot contain.
    loops_on_integers: ClassVar[bool] = False

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return tuple(broadcast(t.shape, results[index].shape) for t in operands)

    @property
    def jumps(self) -> bool:
        """Whether the operator is a step function: a tiny change of an operand can make it jump."""
        return False

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """`roundings` times the largest magnitude among operands and result.

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
        """The operator that gives the same result when its operands are exchanged, or None."""
        return None


def require(condition: bool, message: str) -> None:
    """Raise `ShapeError(message)` unless `condition` holds."""
    if not condition:
        raise ShapeError(message)
