"""What an operator is: one frozen dataclass with its shape rule, its meaning and its test cases."""

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

_POINTWISE_ROUNDINGS = 4.0  # of one operator: our exp and tanh are within this
_OTHER_ROUNDINGS = 16.0  # of an operator without a formula


@dataclass(frozen=True, slots=True)
class Range:
    """The whole numbers that an operand may hold, both ends included; `what` is one of them."""

    what: str
    low: int
    high: int

    def within(self, other: Range) -> Range:
        """What two readers of one operand take."""
        return Range(self.what, max(self.low, other.low), min(self.high, other.high))


@dataclass(frozen=True)
class Arranged:
    """An operator on rearranged operands, and how its operands and results are then arranged.

    None stands for an operand that stays what it is (a table). An operand of lower rank than its
    permutation is meant with axes of extent 1 in front, as in broadcasting.
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
    # True for an operator that some pass always replaces: it needs no kernel.
    composite: ClassVar[bool] = False
    # True where a kernel can go on with pointwise operators on what it has just computed.
    takes_stages: ClassVar[bool] = False
    # True where a kernel reads its image out of a buffer with a border around it, or writes there.
    reads_bordered: ClassVar[bool] = False
    writes_bordered: ClassVar[bool] = False

    def infer(self, *inputs: TensorType) -> Types:
        """The result types; raises `ShapeError` when the operands do not fit."""
        raise NotImplementedError(self.name)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        """What result `index` reads of every operand for a part of it, axis by axis.

        More than needed is allowed, less is not: `ellc.ir.reads` says what is asked of it.
        """
        raise NotImplementedError(self.name)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        """Whether its only result is its first operand as it is."""
        return False

    @property
    def takes_largest(self) -> bool:
        """Whether each element of the result is the largest of some of its only operand."""
        return False

    def view(self, operands: Types, index: int = 0) -> View | None:
        """How result `index` can lie in the first operand's buffer; None if it has to be made."""
        return None

    @property
    def joined(self) -> int | None:
        """The axis along which the result is its operands one after the other, and nothing else."""
        return None

    def slides(self, operands: Types) -> Window | None:
        """The window that it slides over its first operand, an image; None if it slides none."""
        return None

    def spreads(self, operands: Types) -> Window | None:
        """The window of its result that it adds each pixel of its first operand to, if any."""
        return None

    def with_extent(self, axis: int, extent: int) -> Op:
        """The operator that makes a result of another extent, where an attribute says extents."""
        return self

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        """Operands for which some numbers of their type have no meaning, and which ones have one.

        A constant outside is refused (`ellc.ir.ranges`). Computed indices are clamped; what
        computes another operand keeps it inside.
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
        """Bound of the error of the floats it makes, elementwise, in units of the unit roundoff.

        That is the rounding inside the operator: float operands (float64) are taken as exact.
        `result` is what `reference` makes of them. Asked of operators with one result only.
        """
        raise NotImplementedError(self.name)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array | None:
        """What errors of its operands make of the one result at most; None if no formula says it.

        `errors` are at least 0 and have the operands' shapes.
        """
        return None

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        """The operator on a first operand that is stored in another order of axes (`p`).

        `operands` and `results` are meant as they were. None if it cannot work on that.
        """
        return None

    @property
    def recurrent(self) -> bool:
        """Whether it is a recurrence, or one step of one: errors may grow through it."""
        return False

    def wanted_border(self) -> Padding | None:
        """The border that the first operand's buffer would best have, None for no matter which."""
        return None

    def with_border(self, border: Padding) -> Op | None:
        """The operator on an image that makes what this one makes of the image in a border.

        None if no attribute can say it. `border` is in the form of `Padding.of`.
        """
        return None

    def macs(self, inputs: Types, outputs: Types) -> int:
        """Multiply-adds (or sign products) of one evaluation; 0 where none are counted."""
        return 0

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        """What the reference does beyond one step for each element that it reads or makes."""
        return self.macs(inputs, outputs)


@dataclass(frozen=True)
class Case:
    """One test case of an operator: operands, and which of them are constants of the graph."""

    op: Op
    inputs: Arrays
    constants: tuple[int, ...] = ()
    dtypes: tuple[DType | None, ...] = ()  # only where numpy's type does not say it (bits)
    label: str = ""

    def types(self) -> Types:
        """The operand types."""
        given = self.dtypes + (None,) * (len(self.inputs) - len(self.dtypes))
        return tuple(type_of(x, d) for x, d in zip(self.inputs, given, strict=True))


_OPS: dict[str, type[Op]] = {}
_ATTRIBUTES: dict[str, type] = {}
OpT = TypeVar("OpT", bound=type[Op])
ClsT = TypeVar("ClsT", bound=type)


def register_op(name: str) -> Callable[[OpT], OpT]:
    """Class decorator: makes an operator known by its text-form name."""

    def add(cls: OpT) -> OpT:
        if name in _OPS or name in _ATTRIBUTES:
            raise ValueError(f"two operators are called {name!r}")
        cls.name = name
        _OPS[name] = cls
        return cls

    return add


def register_attribute(name: str) -> Callable[[ClsT], ClsT]:
    """Class decorator: a frozen dataclass that may be (part of) an attribute's value."""

    def add(cls: ClsT) -> ClsT:
        _ATTRIBUTES[name] = cls
        return cls

    return add


def all_ops() -> dict[str, type[Op]]:
    """Every registered operator by name, sorted."""
    import ellc.ir.ops  # noqa: F401  (fills the registry)

    return dict(sorted(_OPS.items()))


def attribute_class(name: str) -> type | None:
    """The operator or attribute class of a text-form name."""
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
    """`Op.reads` of operators that need all of their operands for any part of a result."""
    return tuple((None,) * t.rank for t in operands)


def exact(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators that round nothing, or make no floats."""
    return np.zeros(result.shape)


def of_largest(op: Op, operands: Arrays, result: Array) -> Array:
    """`Op.own_error` of operators without a formula: some roundings of the largest result."""
    return np.full(result.shape, _OTHER_ROUNDINGS * np.max(np.abs(result), initial=0.0))


def sizes(operands: Arrays) -> Arrays:
    """Absolute values of floats, integers as they are."""
    return tuple(np.abs(x) if x.dtype.kind == "f" else x for x in operands)


def carried_by_products(bare: Op, padded: Op, operands: Arrays, errors: Arrays) -> Array:
    """`Op.carried_error` of sums of products: ex (|w| + ew) + |x| ew, and the error of a bias.

    `bare` is the operator with zeros outside the image; `padded` has there the magnitudes of
    its padding values.
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
    # True for what integers need a loop for: no epilogue has room for one.
    loops_on_integers: ClassVar[bool] = False

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return tuple(broadcast(t.shape, results[index].shape) for t in operands)

    @property
    def jumps(self) -> bool:
        """Whether a result can change by a step when an operand changes a little."""
        return False

    def own_error(self, operands: Arrays, result: Array) -> Array:
        """Of `_POINTWISE_ROUNDINGS` roundings of the largest of operands and result.

        Absolute values may stand for both.
        """
        size = np.abs(result)
        for operand in operands:
            if operand.dtype.kind == "f":
                size = np.maximum(size, np.abs(operand))
        return np.asarray(_POINTWISE_ROUNDINGS * size)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(requantised(self, p), (p,) * len(operands), (p,))

    def swapped(self) -> Pointwise | None:
        """The operator that makes the same of its two operands exchanged, None if there is none."""
        return None


def require(condition: bool, message: str) -> None:
    """Raise `ShapeError(message)` unless `condition` holds."""
    if not condition:
        raise ShapeError(message)
