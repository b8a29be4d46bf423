"""What operators declare about themselves holds for their reference, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ellc.ir.op import Arrays, Case, Op, Pointwise, all_ops
from ellc.ir.ops.common import pad_image
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array, Padding

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


def borders(op: Op, x: Array) -> Iterator[Padding]:
    """Borders that an image may have, in the values that an operator may ask for."""
    values = {0.0, 2.0, -1.0, *(a for a in (getattr(op, "value", 0.0), *_own(op)))}
    for value in values:
        yield Padding.of((1, 2, 0, 1), (value,))
        yield Padding.of((3, 3, 3, 3), (value,))
    yield Padding.of((1, 1, 1, 1), np.arange(x.shape[3]) / 2 - 1)


def _own(op: Op) -> tuple[float, ...]:
    """What stands around the images that the operator reads itself, and its zero point."""
    padding = op.wanted_border()
    return (float(getattr(op, "input_zero", 0)), *(padding.values if padding else ()))


@pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())
def test_a_border_may_become_an_attribute(cls: type[Op]) -> None:
    """The operator with the border makes of an image what it made of the image in the border."""
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


def _equal(a: Arrays, b: Arrays) -> bool:
    pairs = zip(a, b, strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
