"""The operator for one step gives the part of the result for this step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from ellc.ir.op import Case, Op, all_ops
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.shape import Reshape
from ellc.ir.step_rules import Axes, NotStepwise, one_step
from ellc.ir.types import Array, Padding, TensorType, type_of


def ways(case: Case) -> Iterator[tuple[int, Axes, Op, int]]:
    """(steps, axes of the operands, operator for one step, axis of its results) for a case."""
    types = case.types()
    for steps in sorted({e for t in types for e in t.shape if e > 1}):
        choices = [[None, *(a for a, e in enumerate(t.shape) if e == steps)] for t in types]
        for axes in product(*choices):
            if any(a is not None for a in axes):
                try:
                    yield steps, axes, *one_step(case.op, types, axes)
                except NotStepwise:
                    continue


def cases(cls: type[Op]) -> Iterator[Case]:
    yield from cls.samples(np.random.default_rng(7))
    x = np.arange(60, dtype=np.float32)
    if cls is Reshape:
        for before, after in (((5, 1, 12), (5, 3, 4)), ((3, 5, 4), (15, 4)), ((1, 5, 12), (5, 12))):
            yield Case(Reshape(after), (x.reshape(before),))
    if cls is MaxPool2D:
        yield Case(MaxPool2D((1, 3), (1, 2), Padding(0, 1, 0, 1)), (x.reshape(1, 5, 6, 2),))


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_a_step_alone_gives_its_part_of_the_result(cls: type[Op]) -> None:
    for case in cases(cls):
        found = list(ways(case))
        with np.errstate(all="ignore"):
            whole = case.op.reference(*case.inputs) if found else ()
            for steps, axes, op, axis in found:
                for step in (0, steps - 1):
                    part = op.reference(*_at(case.inputs, axes, step))
                    for every, one in zip(whole, part, strict=True):
                        _want_equal(one, np.take(every, [step], axis))


def _at(operands: tuple[Array, ...], axes: Axes, step: int) -> tuple[Array, ...]:
    pairs = zip(operands, axes, strict=True)
    return tuple(x if a is None else np.take(x, [step], a) for x, a in pairs)


def _want_equal(got: Array, want: Array) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, 1e-4, 1e-5)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [((5, 1, 12), (5, 3, 4), 0), ((1, 5, 12), (5, 12), 0), ((3, 5, 4), (15, 4), None)],
)
def test_steps_are_found_after_a_reshape(
    before: tuple[int, ...], after: tuple[int, ...], place: int | None
) -> None:
    type_: TensorType = type_of(np.zeros(before, np.float32))
    axis = before.index(5)
    if place is None:
        with pytest.raises(NotStepwise, match="needs other steps"):
            one_step(Reshape(after), (type_,), (axis,))
    else:
        assert one_step(Reshape(after), (type_,), (axis,))[1] == place
