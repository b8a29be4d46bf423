"""What operators declare about themselves holds for their reference, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ellc.ir.op import Arrays, Case, Op, Pointwise, all_ops
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array

POINTWISE = {n: c for n, c in all_ops().items() if issubclass(c, Pointwise)}


def cases(cls: type[Op]) -> Iterator[Case]:
    yield from cls.samples(np.random.default_rng(7))


def made(op: Op, *operands: Array) -> Arrays:
    with np.errstate(all="ignore"):
        return op.reference(*operands)


@pytest.mark.parametrize("cls", POINTWISE.values(), ids=POINTWISE.keys())
def test_operands_may_be_exchanged_where_an_operator_says_how(cls: type[Pointwise]) -> None:
    """And where it does not, that makes a difference: none forgets to say it."""
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
    """Samples of fused chains are compiled and compared; their anchors are those that say it."""
    anchors = {type(c.op.anchor) for c in cases(Fused) if isinstance(c.op, Fused)}
    declared = {c for c in all_ops().values() if c.takes_stages}
    assert anchors.difference(POINTWISE.values()) == declared.difference(POINTWISE.values())


def _equal(a: Arrays, b: Arrays) -> bool:
    pairs = zip(a, b, strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
