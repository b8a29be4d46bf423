"""The declarations of every operator agree with its reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from ellc.ir.op import Arrays, Case, Op, Pointwise, all_ops
from ellc.ir.ops.common import pad_image
from ellc.ir.ops.fused import Fused
from ellc.ir.reads import Box, PartOf, SameElements, part
from ellc.ir.rounding import SINGLE
from ellc.ir.types import Array, Padding

SMALLEST = float(np.finfo(np.float32).tiny)
POINTWISE = {n: c for n, c in all_ops().items() if issubclass(c, Pointwise)}


def cases(cls: type[Op]) -> Iterator[Case]:
    yield from cls.samples(np.random.default_rng(7))


def made(op: Op, *operands: Array) -> Arrays:
    with np.errstate(all="ignore"):
        return op.reference(*operands)


@pytest.mark.parametrize("cls", POINTWISE.values(), ids=POINTWISE.keys())
def test_operands_may_be_exchanged_where_an_operator_says_how(cls: type[Pointwise]) -> None:
    """Exchanging operands changes the result of an operator that does not declare `swapped`."""
    forgotten = False
    for case in cases(cls):
        op, types = case.op, case.types()
        if len(types) != 2 or types[0] != types[1] or op.ranges(*types):
            continue
        assert isinstance(op, Pointwise)
        x, y = case.inputs
        turned = op.swapped()
        same = _equal(made(op, x, y), made(turned or op, y, x))
        if turned is not None:
            assert same, case.label
        elif not same:
            return
        forgotten = forgotten or turned is None
    assert not forgotten, "exchanging the operands makes no difference: declare `swapped`"


def test_kernels_take_stages_where_the_operator_says_so() -> None:
    """The anchors in samples of fused operators (which are compiled) are those that declare it."""
    anchors = {type(c.op.anchor) for c in cases(Fused) if isinstance(c.op, Fused)}
    declared = {c for c in all_ops().values() if c.takes_stages}
    assert anchors.difference(POINTWISE.values()) == declared.difference(POINTWISE.values())


def boxes(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[Box]:
    """Parts of a result: one element, some rows, some columns, and random parts."""
    if 0 in shape:
        return
    for axis, extent in enumerate(shape):
        start, stop = extent // 3, extent // 3 + max(1, extent // 2)
        yield tuple((start, stop) if a == axis else (0, e) for a, e in enumerate(shape))
    for _ in range(2):
        starts = [int(rng.integers(0, e)) for e in shape]
        yield tuple((s, int(rng.integers(s, e)) + 1) for s, e in zip(starts, shape, strict=True))


def slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(*ends) for ends in box)


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_a_part_of_a_result_reads_no_more_than_an_operator_says(cls: type[Op]) -> None:
    """Changing elements outside of what is read does not change that part of the result."""
    rng = np.random.default_rng(5)
    for case in cases(cls):
        types = case.types()
        results, whole = case.op.infer(*types), made(case.op, *case.inputs)
        for index, result in enumerate(results):
            reads = case.op.reads(types, results, index)
            assert [len(read) for read in reads] == [t.rank for t in types]
            for wanted in boxes(result.shape, rng):
                operands = []
                for x, read in zip(case.inputs, reads, strict=True):
                    inside = slices(part(read, x.shape, wanted))
                    other = rng.permutation(x.reshape(-1)).reshape(x.shape)
                    other[inside] = x[inside]
                    operands.append(other)
                got = made(case.op, *operands)[index][slices(wanted)]
                np.testing.assert_array_equal(got, whole[index][slices(wanted)], case.label)


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_an_operator_changes_nothing_or_takes_the_largest_if_it_says_so(cls: type[Op]) -> None:
    for case in cases(cls):
        types, x = case.types(), case.inputs[0]
        if case.op.changes_nothing(types, case.op.infer(*types)):
            np.testing.assert_array_equal(made(case.op, *case.inputs)[0], x, case.label)
        if case.op.takes_largest:
            # A monotonic function can be applied before or after the operator.
            limit = np.sort(x, axis=None)[x.size // 4]
            after, before = np.minimum(made(case.op, x)[0], limit), np.minimum(x, limit)
            np.testing.assert_array_equal(made(case.op, before)[0], after, case.label)


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_a_view_is_what_its_operand_holds(cls: type[Op]) -> None:
    for case in cases(cls):
        x, results = case.inputs[0], made(case.op, *case.inputs)
        for index, result in enumerate(results):
            match case.op.view(case.types(), index):
                case SameElements():
                    np.testing.assert_array_equal(result.reshape(-1), x.reshape(-1))
                case PartOf(starts):
                    ends = zip(starts, result.shape, strict=True)
                    place = tuple(slice(start, start + size) for start, size in ends)
                    np.testing.assert_array_equal(result, x[place])
        if case.op.joined is not None:
            np.testing.assert_array_equal(results[0], np.concatenate(case.inputs, case.op.joined))


def borders(op: Op, x: Array) -> Iterator[Padding]:
    """Borders of an image with values that the operator may want."""
    values = {0.0, 2.0, -1.0, *(a for a in (getattr(op, "value", 0.0), *_own(op)))}
    for value in values:
        yield Padding.of((1, 2, 0, 1), (value,))
        yield Padding.of((3, 3, 3, 3), (value,))
    yield Padding.of((1, 1, 1, 1), np.arange(x.shape[3]) / 2 - 1)


def _own(op: Op) -> tuple[float, ...]:
    """The padding values of the operator, and its zero point."""
    padding = op.wanted_border()
    return (float(getattr(op, "input_zero", 0)), *(padding.values if padding else ()))


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_a_border_may_become_an_attribute(cls: type[Op]) -> None:
    """`with_border` gives the result of the operator on the image inside the border."""
    own = cls.with_border is not Op.with_border
    taken = 0
    for case in cases(cls) if own else ():
        x = case.inputs[0]
        for border in borders(case.op, x) if x.ndim == 4 else ():
            absorbed = case.op.with_border(border)
            if absorbed is None:
                continue
            taken += 1
            bits = x.dtype == np.bool_
            image = np.where(x, 1.0, -1.0).astype(np.float32) if bits else x
            padded = pad_image(image, border)
            want = made(case.op, padded > 0 if bits else padded, *case.inputs[1:])
            got = made(absorbed, *case.inputs)
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, 1e-4, 1e-5, err_msg=f"{case.label} {border}")
    assert taken or not own


FLOATS = {n: c for n, c in all_ops().items() if c is not Fused}


def of_floats(cls: type[Op]) -> Iterator[tuple[Case, Arrays, Array]]:
    """Cases with one float result, with operands and result in float64."""
    for case in cases(cls):
        doubles = tuple(x.astype(np.float64) if x.dtype == np.float32 else x for x in case.inputs)
        results = made(case.op, *doubles)
        if len(results) == 1 and results[0].dtype.kind == "f":
            yield case, doubles, results[0]


def within(distance: Array, bound: Array, *also_finite: Array) -> bool:
    """Whether distances are within bounds where bounds and `also_finite` are finite.

    Differences that are denormal are ignored."""
    with np.errstate(all="ignore"):
        far = distance > bound * (1 + 1e-6) + SMALLEST
        finite = [np.isfinite(np.broadcast_to(x, far.shape)) for x in (bound, *also_finite)]
    return not np.any(far & np.logical_and.reduce(finite))


@pytest.mark.parametrize("cls", FLOATS.values(), ids=FLOATS.keys())
def test_rounding_stays_within_what_an_operator_says(cls: type[Op]) -> None:
    """Compare the references in float32 and in float64 for the same float32 operands."""
    assert cls.own_error is not Op.own_error, "`own_error` must be declared"
    for case, wide, want in of_floats(cls):
        (got,) = made(case.op, *case.inputs)
        if got.dtype == np.float64 or _jumps(case.op):
            continue
        with np.errstate(all="ignore"):
            bound = SINGLE * case.op.own_error(wide, want)
            distance = np.abs(got.astype(np.float64) - want)
        assert bound.shape == want.shape
        assert within(distance, bound, got, want), case.label


@pytest.mark.parametrize("cls", FLOATS.values(), ids=FLOATS.keys())
def test_errors_of_operands_grow_by_no_more_than_an_operator_says(cls: type[Op]) -> None:
    rng = np.random.default_rng(11)
    for case, operands, middle in of_floats(cls):
        errors = tuple(
            np.abs(x) * 1e-3 * rng.random(x.shape) if x.dtype.kind == "f" else np.zeros(x.shape)
            for x in operands
        )
        bound = case.op.carried_error(operands, errors)
        for _ in range(4 if bound is not None else 0):
            assert bound is not None
            with np.errstate(all="ignore"):
                moved = [
                    x + e * rng.choice([-1.0, 1.0], x.shape) if x.dtype.kind == "f" else x
                    for x, e in zip(operands, errors, strict=True)
                ]
            (got,) = made(case.op, *moved)
            with np.errstate(all="ignore"):
                distance = np.abs(got - middle)
            assert within(distance, bound, got, middle), case.label


@pytest.mark.parametrize("cls", POINTWISE.values(), ids=POINTWISE.keys())
def test_what_jumps_says_so(cls: type[Pointwise]) -> None:
    """Only step functions have results that change noticeably between adjacent floats."""
    for case, operands, _ in of_floats(cls):
        if _jumps(case.op) or operands[0].dtype.kind != "f":
            continue
        for x in _places(case.op, operands[0]):
            others = [np.resize(y, (1,)) for y in operands[1:]]
            low, at, high = (
                made(case.op, np.array([z]), *others)[0]
                for z in (np.nextafter(x, -np.inf), x, np.nextafter(x, np.inf))
            )
            size = np.maximum(np.abs(at), np.abs(x)) + SMALLEST
            with np.errstate(all="ignore"):
                near = np.abs(np.stack([low - at, high - at])) <= 1e-6 * size
                pole = ~np.isfinite(low + at + high)
            assert np.all(near | pole), f"{case.op} jumps at {x}"


def _jumps(op: Op) -> bool:
    return isinstance(op, Pointwise) and op.jumps


def _places(op: Op, x: Array) -> list[float]:
    """Numbers at which an operator may have a step: its attributes, halves, and some others."""
    attributes = [getattr(op, f.name) for f in dataclasses.fields(op)]  # type: ignore[arg-type]
    own = [sign * a for a in attributes if isinstance(a, float) for sign in (-1, 1)]
    some = x[np.isfinite(x)].reshape(-1)[:5]
    return [float(v) for v in (*own, *np.arange(-8, 9) / 2, *some) if np.isfinite(v)]


def _equal(a: Arrays, b: Arrays) -> bool:
    pairs = zip(a, b, strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
