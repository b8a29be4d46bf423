"""With unusual attributes, an operator raises an error or gives results of the inferred types."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ellc.ir.attributes import build
from ellc.ir.errors import EllcError, ShapeError
from ellc.ir.graph import Graph
from ellc.ir.op import Case, Op, all_ops
from ellc.ir.text import parse
from ellc.ir.types import DType
from ellc.ir.weights import WeightPool

INTEGERS = (-1, 0, 1, 2, -2, 7, 2**31 - 1, 2**31, 2**62, -(2**63))
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-45)
MOST_OPERANDS, MOST_WORK, MOST_TRIPS = 1000, 20_000, 20


def odd(value: Any) -> Iterator[Any]:
    """Variants of an attribute: a changed number, a removed entry, a repeated entry."""
    match value:
        case bool():
            yield not value
        case int():
            yield from INTEGERS
        case float():
            yield from FLOATS
        case tuple():
            for index, entry in enumerate(value):
                yield from ((*value[:index], o, *value[index + 1 :]) for o in odd(entry))
            yield from (value[:-1], (*value, *value[-1:]), ())
        case Graph() | DType():
            return
        case _ if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                for changed in odd(getattr(value, field.name)):
                    yield dataclasses.replace(value, **{field.name: changed})  # type: ignore[type-var]


def readable(value: Any) -> bool:
    """Whether the text form accepts the value: it fits its annotation."""
    if isinstance(value, tuple):
        return all(map(readable, value))
    if not dataclasses.is_dataclass(value) or isinstance(value, Graph):
        return True
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    try:
        build(type(value), fields)
    except TypeError:
        return False
    return all(map(readable, fields.values()))


def refused(op: Op, case: Case) -> bool:
    """Whether the operator refuses the case; otherwise, the types of small results are checked."""
    try:
        promised = op.infer(*case.types())
    except ShapeError:
        return True
    assert all(extent >= 0 for type_ in promised for extent in type_.shape), op
    if sum(t.elements for t in promised) + op.macs(case.types(), promised) > MOST_WORK:
        return False
    if getattr(op, "trips", 0) > MOST_TRIPS:
        return False
    with np.errstate(all="ignore"):
        made = op.reference(*case.inputs)
    kinds = [(t.shape, t.dtype.numpy) for t in promised]
    assert [(x.shape, x.dtype) for x in made] == kinds, op
    return False


@pytest.mark.slow
@pytest.mark.parametrize("cls", [c for c in all_ops().values() if dataclasses.fields(c)])  # type: ignore[arg-type]
def test_odd_attributes_are_refused_or_mean_something(cls: type[Op]) -> None:
    tried = 0
    for case in cls.samples(np.random.default_rng(0)):
        if sum(t.elements for t in case.types()) > MOST_OPERANDS:
            continue
        for op in odd(case.op):
            if readable(op):
                refused(op, case)
                tried += 1
    assert tried or not any(list(odd(case.op)) for case in cls.samples(np.random.default_rng(0)))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 10**400])
def test_a_number_of_more_than_64_bits_is_no_attribute(number: int) -> None:
    text = f'graph "g" {{ input %x : f32[3] "x" %y = reshape{{shape=[{number}]}} (%x) : f32[3] }}'
    with pytest.raises(EllcError, match="E130"):
        parse(text, WeightPool())
